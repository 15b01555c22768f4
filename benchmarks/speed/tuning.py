"""Do the 180 points of `hyper.test` finish in an hour on two cores, and what is the best one worth?

    .venv/bin/python -m benchmarks.speed.tuning --data DATA --folder FOLDER [--jobs 2] [--seeds 3]

DATA as for `benchmarks.accuracy.link_check`. Prepares ml-100k (repaired links, TransE), runs `kgrec
tune hyper.test --pruner asha`, tells its time and what early stopping and pruning saved, then
trains the best point and the defaults with seeds of their own and compares them by user. A search
that was stopped goes on (the time told is then that of the last call); a training that is there is
kept.
"""

import argparse
import csv
import json
import time
from pathlib import Path
from statistics import mean

from benchmarks.accuracy.study import prepare
from benchmarks.accuracy.trainings import kgrec, train_all
from kgrec_cli.settings import Settings
from kgrec_cli.stages.prepare.starter_files import REFERENCE_HYPER_TEST

STUDY = Path("studies/ml-100k-GRU4RecKG-hyper")


def main() -> None:
    """Searches, trains, compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    prepare("ml-100k", options.data.resolve(), folder)
    (folder / "hyper.test").write_text(REFERENCE_HYPER_TEST)
    began = time.perf_counter()
    search = ["--pruner", "asha", "--jobs", str(options.jobs), "--dataset", "ml-100k"]
    told = json.loads(kgrec(folder, "tune", "hyper.test", *search, "--json"))
    print(f"{told['n_new']} trials in {(time.perf_counter() - began) / 60:.1f} minutes")

    with (folder / STUDY / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    epochs = {
        state: [int(row["epochs"]) for row in rows if row["state"] == state]
        for state in ("complete", "pruned", "failed")
    }
    n_run = sum(map(sum, epochs.values()))
    stopped = mean(epochs["complete"])
    whole = Settings.model_fields["epochs"].default
    print(
        f"epochs: {n_run:,} run; without pruning about {stopped * len(rows):,.0f} (a trial that is "
        f"not given up ends after {stopped:.0f}); without early stopping {whole * len(rows):,}"
    )

    seeds = range(1, options.seeds + 1)
    best = ["--config", str(STUDY / "best.yaml")]
    wanted = [
        (f"{name}-{seed}", ["--dataset", "ml-100k", *config, "--seed", str(seed)])
        for seed in seeds
        for name, config in (("default", []), ("tuned", best))
    ]
    runs = train_all(folder, wanted, options.jobs)
    order = [runs[f"{name}-{seed}"] for name in ("default", "tuned") for seed in seeds]
    print(kgrec(folder, "compare", *order))


if __name__ == "__main__":
    main()
