"""Does whole-sequence training cost accuracy? Sequence and prefix batches on RecBole's own setting.

    make parity                                # once: RecBole's bundled ml-100k comes with it
    .venv/bin/python -m benchmarks.speed.batching --folder FOLDER [--sequence 5] [--prefix 3]

Trains with `recbole_compat` (1,598 items, RecBole's links, TransE vectors made here), seed 1 and
on, one thread each, to early stopping, and compares by user. A run that is there already is kept,
one that was stopped goes on. A prefix run of 50 epochs takes about an hour of one core.

One epoch's validation goes up and down by a tenth; so the mean over the last ten epochs of a run is
compared, too, run by run (Welch's t-interval): it tells about these users, and more of the seeds.
"""

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean

from scipy.stats import ttest_ind

from benchmarks.accuracy.trainings import kgrec, train_all
from benchmarks.recbole_side.run import example_dir

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


def last_epochs(run_dir: Path) -> float:
    """The mean validation NDCG@10 of a run's last ten epochs."""
    lines = (run_dir / "history.jsonl").read_text().splitlines()[-10:]
    return mean(float(json.loads(line)["valid"]["ndcg@10"]) for line in lines)


def main() -> None:
    """Trains what is missing, prints `kgrec compare` and the difference of the last epochs."""
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
    runs = train_all(options.folder, chosen, options.jobs)
    print(kgrec(options.folder, "compare", *runs.values()))
    reached = {
        batching: [
            last_epochs(options.folder / run)
            for name, run in runs.items()
            if name.startswith(batching)
        ]
        for batching in wanted
    }
    for batching, values in reached.items():
        print(f"{batching}, last ten epochs: {mean(values):.4f} of", *(f"{v:.4f}" for v in values))
    found = ttest_ind(reached["sequence"], reached["prefix"], equal_var=False).confidence_interval()
    shares = [(mean(reached["sequence"]) - mean(reached["prefix"])), found.low, found.high]
    middle, low, high = (share / mean(reached["prefix"]) for share in shares)
    print(f"sequence less prefix: {middle:+.1%} (95 % {low:+.1%} to {high:+.1%})")


if __name__ == "__main__":
    main()
