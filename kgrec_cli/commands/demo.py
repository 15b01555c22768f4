"""`kgrec demo`: the five commands one after another on the bundled sample data."""

from contextlib import chdir
from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.errors import KgrecError

DATASET = "sample"


def demo(
    into: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Working folder; it is not removed.")
    ] = Path("kgrec-demo"),
    threads: opt.Threads = None,
) -> None:
    """Run the whole pipeline on the bundled sample data, in a minute or two."""
    from kgrec_cli.commands.evaluate import evaluate
    from kgrec_cli.commands.prepare import prepare
    from kgrec_cli.commands.pretrain_kg import pretrain_kg
    from kgrec_cli.commands.recommend import recommend
    from kgrec_cli.commands.train import train

    sample_dir = find_sample_data()
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KgrecError(f"{into}: cannot make this folder ({error.strerror})") from error
    console.say(f"Invented films, users and ratings. The working folder is {into}/.")
    with chdir(into):
        _step(
            1,
            "Read the raw ratings and the knowledge graph into one data set.",
            f"kgrec prepare {DATASET} --raw sample_data --kg sample_data/kg.tsv "
            "--links sample_data/links.tsv",
        )
        kg_path, links_path = sample_dir / "kg.tsv", sample_dir / "links.tsv"
        prepare(DATASET, raw=sample_dir, kg=[str(kg_path)], links=[links_path])
        _step(
            2,
            "Train entity vectors from the graph with TransE.",
            "kgrec pretrain-kg --method TransE --epochs 30",
        )
        pretrain_kg(method="TransE", epochs=30, threads=threads)
        _step(
            3,
            "Train GRU4RecKG: one GRU reads the films, one their entity vectors.",
            "kgrec train --freeze-kg --epochs 10 --learning-rate 0.005 --train-batch-size 512",
        )
        train(freeze_kg=True, epochs=10, learning_rate=0.005, train_batch_size=512, threads=threads)
        _step(4, "Measure it on what was held out, beside baselines.", "kgrec evaluate")
        evaluate(threads=threads)
        _step(5, "Recommend films to user 7.", "kgrec recommend --user 7 --topk 5")
        recommend(user=["7"], topk=5, threads=threads)
    console.say(f"All files are in {into}/. Try there, for instance: kgrec recommend --user 12")


def find_sample_data() -> Path:
    """The bundled sample data: inside an installed package, else at the top of the checkout."""
    import kgrec_cli

    package_dir = Path(kgrec_cli.__file__).resolve().parent
    for sample_dir in (package_dir / "sample_data", package_dir.parent / "sample_data"):
        if (sample_dir / "ratings.csv").is_file():
            return sample_dir
    raise KgrecError("the bundled sample data is missing: this installation is not whole")


def _step(number: int, what: str, command: str) -> None:
    console.say("")
    console.heading(f"{number}/5  {what}")
    console.say(f"$ {command}")
