"""For scripts: RecBole's `run_recbole` under its own name, and a run's model in memory.

    from kgrec_cli.quick_start import run_recbole
    run_recbole(model="GRU4RecKG", dataset="ml-100k")

works in the folder that `kgrec prepare` and `kgrec pretrain-kg` have left.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kgrec_cli import console
from kgrec_cli.config import choose_dataset, resolve_settings
from kgrec_cli.core.model import GRU4RecKG
from kgrec_cli.core.sequences import Split
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import ignore_event
from kgrec_cli.formats.run_dir import find_run
from kgrec_cli.recbole_keys import translate
from kgrec_cli.settings import Settings
from kgrec_cli.stages.dataset import Dataset, load_dataset, split_dataset
from kgrec_cli.stages.recommend import Recommendations, recommend_after, recommend_to_users
from kgrec_cli.stages.train import run_train
from kgrec_cli.stages.trained import load_trained


def run_recbole(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    queue: Any = None,
) -> dict[str, Any]:
    """Trains and measures, and returns what RecBole's `run_recbole` returns.

    Args:
        model: GRU4RecKG or GRU4Rec; None leaves it to the settings.
        dataset: Name of the data set.
        config_file_list: Settings files, later over earlier.
        config_dict: Settings over those of the files.
        saved: Keep the run folder under `checkpoint_dir`.
        queue: Where to put the result as well (RecBole's multi-process runs).

    Returns:
        `best_valid_score`, `valid_score_bigger`, `best_valid_result` and `test_result` (lower-case
        metric names to values rounded to `metric_decimal_place`; seen items not masked), and
        `run_dir`, None when not saved.

    Raises:
        KgrecError: What the command line would say in one line.
    """
    folder = Path()
    settings = resolve_settings(
        folder=folder,
        config_paths=[Path(name) for name in config_file_list or ()],
        options={
            **translate(config_dict or {}, "config_dict", console.note),
            **({"model": model} if model else {}),
            **({"dataset": dataset} if dataset else {}),
        },
        on_note=console.note,
    )
    settings = choose_dataset(settings, folder)
    with tempfile.TemporaryDirectory() as elsewhere, console.listening() as on_event:
        if not saved:
            settings = settings.model_copy(update={"checkpoint_dir": elsewhere})
        (run,) = run_train(settings, folder, on_event=on_event)
    digits = settings.metric_decimal_place
    results = {
        part: {name: round(value, digits) for name, value in run.metrics.get(part, {}).items()}
        for part in ("valid", "test")
    }
    told = {
        "best_valid_score": round(run.best_score, digits),
        "valid_score_bigger": True,
        "best_valid_result": results["valid"],
        "test_result": results["test"],
        "run_dir": str(run.run_dir) if saved else None,
    }
    if queue is not None:
        queue.put(told)
    return told


class LoadedRun(NamedTuple):
    """A run in memory.

    Attributes:
        settings: What it was trained with.
        model: Its best weights, in evaluation mode.
        dataset: Its data: vocabularies, histories, titles.
        split: Which events train, validate and test.
    """

    settings: Settings
    model: GRU4RecKG
    dataset: Dataset
    split: Split


def load_data_and_model(model_file: str | None = None) -> LoadedRun:
    """The data and the model of a finished run.

    Differs from RecBole: takes a run folder (or its name under `saved/`; None for the newest)
    instead of a pickle; `kgrec import` makes one of RecBole's checkpoints.

    Raises:
        KgrecError: No such run, or its data set is missing.
    """
    trained = load_trained(_run_dir(model_file), device=None, threads=None)
    dataset = load_dataset(trained.settings, Path(), ignore_event, items=trained.items)
    split = split_dataset(trained.settings, dataset)
    return LoadedRun(trained.settings, trained.model, dataset, split)


def recommend(
    run: str | None = None,
    *,
    users: Sequence[str] | None = None,
    items: Sequence[str] | None = None,
    topk: int = 10,
) -> list[Recommendations]:
    """The top-k for some users, or after a list of items; items already seen are left out.

    Args:
        run: Run folder or its name; None for the newest finished run.
        users: User tokens; one list each comes back.
        items: Item tokens of a history, oldest first; one list comes back.
        topk: Items of a list.

    Raises:
        KgrecError: An unknown user or item; neither or both of `users` and `items`.
    """
    if (users is None) == (items is None):
        raise KgrecError("recommend takes users or items")
    run_dir = _run_dir(run)
    if items is not None:
        return [recommend_after(run_dir, list(items), topk=topk)]
    return recommend_to_users(run_dir, Path(), users or (), topk=topk, on_event=ignore_event)


def _run_dir(name: str | None) -> Path:
    return find_run(Path(resolve_settings(folder=Path()).checkpoint_dir), name)
