"""Does the sampled softmax cost accuracy? Against the full one on all interactions of ml-1m.

    .venv/bin/python -m benchmarks.accuracy.sampled --folder FOLDER --interactions FILE
        [--seeds 3] [--epochs 20] [--jobs 2] [--sample-num 2048]

FILE is a table with columns user_id, item_id, position (the time order). Trains GRU4Rec with both
losses for a fixed number of epochs, seed 1 and on, one thread each; the best epoch's weights are
kept. Ends in `kgrec compare`. A run that is there already is kept, one that was stopped goes on.
An epoch takes about a minute of one core.
"""

import argparse
from pathlib import Path

from benchmarks.accuracy.trainings import kgrec, train_all

LOSSES = ("CE", "SSM")


def prepare(folder: Path, interactions: Path) -> None:
    """The atomic files."""
    if not (folder / "dataset/log/log.inter").is_file():
        columns = ["--user-col", "user_id", "--item-col", "item_id", "--time-col", "position"]
        kgrec(folder, "prepare", "log", "--raw", str(interactions.resolve()), *columns)


def training(loss_type: str, seed: int, options: argparse.Namespace) -> tuple[str, list[str]]:
    """The name and the arguments of a run."""
    name, settings = f"{loss_type}-{seed}-{options.epochs}", ["--dataset", "log"]
    if loss_type == "SSM":
        name += f"-{options.sample_num}"
        settings += ["--set", f"train_neg_sample_args={{sample_num: {options.sample_num}}}"]
    settings += ["--loss-type", loss_type, "--model", "GRU4Rec", "--seed", str(seed)]
    settings += ["--epochs", str(options.epochs), "--stopping-step", str(options.epochs)]
    return name, settings


def main() -> None:
    """Trains what is missing, prints `kgrec compare`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--sample-num", type=int, default=2048, help="negatives of a step")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options.folder, options.interactions)
    seeds = range(1, options.seeds + 1)
    wanted = [training(loss, seed, options) for loss in LOSSES for seed in seeds]
    print(
        kgrec(options.folder, "compare", *train_all(options.folder, wanted, options.jobs).values())
    )


if __name__ == "__main__":
    main()
