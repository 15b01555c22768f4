"""kgrec: from raw interactions and a knowledge graph to a trained, measured GRU4RecKG.

    import kgrec_cli as kgrec

    kgrec.prepare("ml-100k")
    kgrec.pretrain_kg(method="TransE")
    run = kgrec.train(freeze_kg=True)
    print(run.metrics["test_masked"]["ndcg@10"])

    result = kgrec.evaluate(run.run_dir)
    print(result.baselines["ItemKNN"]["test_masked"]["ndcg@10"])

    recommender = kgrec.load_run(run.run_dir)
    for item in recommender.recommend(users=["42"], topk=5)[0].items:
        print(item.rank, item.title, item.score)
    recommender.recommend(histories=[["50", "181", "172"]])
    recommender.item_vectors()

Each function is the command of its name (`kgrec --help`); docs/python.md explains them.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Recommender",
    "__version__",
    "evaluate",
    "load_run",
    "prepare",
    "pretrain_kg",
    "report",
    "train",
    "tune",
]

if TYPE_CHECKING:
    from kgrec_cli.api import evaluate, load_run, prepare, pretrain_kg, report, train, tune
    from kgrec_cli.runs.recommender import Recommender
else:  # loaded when they are asked for, so that the command line's help is quick

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in __all__:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        owner = "kgrec_cli.runs.recommender" if name == "Recommender" else "kgrec_cli.api"
        return getattr(import_module(owner), name)

    def __dir__() -> list[str]:
        return [*__all__, *(name for name in globals() if name.startswith("__"))]
