"""Does whole-sequence training cost accuracy? Sequence and prefix batches on RecBole's own setting.

    make parity                                # once: RecBole's bundled ml-100k comes with it
    .venv/bin/python -m benchmarks.batching --folder FOLDER [--sequence 5] [--prefix 3]

Trains with `recbole_compat` (1,598 items, RecBole's links, TransE vectors made here), seed 1 and
on, one thread each, to early stopping, and compares by user. A run that is there already is kept,
one that was stopped goes on. A prefix run of 50 epochs takes about an hour of one core.
"""

import argparse
import shutil
from pathlib import Path

from benchmarks.trainings import kgrec, train_all
from tests.parity.conftest import example_dir

SUFFIXES = ("inter", "item", "kg", "link", "user")


def prepare(folder: Path) -> None:
    """RecBole's bundled files under another name, and the entity vectors."""
    dataset_dir = folder / "dataset" / "bundled"
    dataset_dir.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        shutil.copy(example_dir() / f"ml-100k.{suffix}", dataset_dir / f"bundled.{suffix}")
    if not (dataset_dir / "bundled.ent_feature").is_file():
        kgrec(folder, "pretrain-kg", "--dataset", "bundled", "--threads", "2")


def training(batching: str, seed: int, epochs: int | None) -> tuple[str, list[str]]:
    """The name and the arguments of a run."""
    settings = ["--dataset", "bundled", "--set", "recbole_compat=true"]
    settings += ["--set", f"train_batching={batching}", "--set", "valid_metric=NDCG@10"]
    settings += ["--seed", str(seed)]
    if epochs:
        settings += ["--epochs", str(epochs), "--stopping-step", str(epochs)]
    return f"{batching}-{seed}" + (f"-{epochs}" if epochs else ""), settings


def main() -> None:
    """Trains what is missing, prints `kgrec compare`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sequence", type=int, default=5, help="seeds")
    parser.add_argument("--prefix", type=int, default=3, help="seeds")
    parser.add_argument("--jobs", type=int, default=1, help="runs trained at once")
    parser.add_argument("--epochs", type=int, help="train so long, without early stopping")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options.folder)
    wanted = {"prefix": options.prefix, "sequence": options.sequence}
    chosen = [
        training(batching, seed, options.epochs)
        for batching, n_seeds in wanted.items()
        for seed in range(1, n_seeds + 1)
    ]
    runs = train_all(options.folder, chosen, options.jobs).values()
    print(kgrec(options.folder, "compare", *runs))


if __name__ == "__main__":
    main()
