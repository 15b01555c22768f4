"""Does `learner: sparse_adam` cost accuracy? Its loss curve beside Adam's, epoch by epoch.

    python -m benchmarks.accuracy.learners --folder FOLDER --dataset NAME [--seeds 3] [--epochs 15]
        [--sample-num 256] [--jobs 2] [--record]

FOLDER holds the data set (`kgrec prepare`). Trains GRU4Rec with the sampled softmax and each of the
two learners, seed 1 and on, one thread each. Takes few negatives: with as many as there are items a
step reads all of them, and the two are the same. A run that is there already is kept. --record puts
the means over the seeds into benchmarks/results/items.json.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.accuracy.trainings import train_all
from benchmarks.record import RESULTS_DIR, package_commit
from kgrec_cli.runs.run_files import EpochRow, read_history

LEARNERS = ("adam", "sparse_adam")


def training(learner: str, seed: int, options: argparse.Namespace) -> tuple[str, list[str]]:
    """The name and the arguments of a run."""
    name = f"{options.dataset}-{learner}-{seed}-{options.epochs}-{options.sample_num}"
    settings = {
        "learner": learner,
        "loss_type": "SSM",
        "train_neg_sample_args": f"{{sample_num: {options.sample_num}}}",
        "stopping_step": options.epochs,
    }
    arguments = ["--dataset", options.dataset, "--model", "GRU4Rec", "--seed", str(seed)]
    arguments += ["--epochs", str(options.epochs)]
    return name, arguments + [f"--set={key}={value}" for key, value in settings.items()]


def curve(histories: list[list[EpochRow]]) -> dict[str, list[float]]:
    """The training loss and the validation NDCG@10 of each epoch, means over the seeds."""
    epochs = list(zip(*histories, strict=True))
    return {
        "loss": [round(mean(row.loss for row in rows), 4) for rows in epochs],
        "ndcg@10": [round(mean(row.valid["ndcg@10"] for row in rows), 4) for rows in epochs],
        "best ndcg@10 by seed": [
            round(max(row.valid["ndcg@10"] for row in history), 4) for history in histories
        ],
    }


def main() -> None:
    """Trains what is missing, prints the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--sample-num", type=int, default=256, help="negatives of a step")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    seeds = range(1, options.seeds + 1)
    wanted = {learner: [training(learner, seed, options) for seed in seeds] for learner in LEARNERS}
    runs = train_all(
        options.folder, [run for each in wanted.values() for run in each], options.jobs
    )
    found: dict[str, Any] = {
        "seeds": list(seeds),
        "sample_num": options.sample_num,
        "commit": package_commit(),
    }
    for learner, of_learner in wanted.items():
        histories = [read_history(options.folder / runs[name]) for name, _ in of_learner]
        found[learner] = curve(histories)
        print(learner, found[learner])
    if options.record:
        path = RESULTS_DIR / "items.json"
        kept = json.loads(path.read_text()) if path.exists() else {}
        kept[f"curves, {options.dataset}"] = found
        path.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
