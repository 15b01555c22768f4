"""How long does `explain` take a user, after loading? Processor time of one thread.

    .venv/bin/python -m benchmarks.speed.explaining --folder FOLDER [--run RUN] [--users 200]

FOLDER holds a data set with a graph and a finished run.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from kgrec_cli.runs.recommender import load_recommender
from kgrec_cli.runs.run_dir import find_run


def main() -> None:
    """Explains the lists of some users, and prints the milliseconds of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run")
    parser.add_argument("--users", type=int, default=200)
    options = parser.parse_args()
    run_dir = find_run(options.folder, options.run)
    recommender = load_recommender(run_dir, options.folder, threads=1)
    assert recommender.path_finder is not None, "the data set has no graph"
    users = np.random.default_rng(2020).permutation(list(recommender.dataset.users.tokens[1:]))
    spent = []
    for user in users[: options.users]:
        (found,) = recommender.recommend([str(user)])
        began = time.process_time()
        recommender.explain(found)
        spent.append(1000 * (time.process_time() - began))
    median, most = np.median(spent), max(spent)
    print(f"{run_dir.name}: {len(spent)} users, median {median:.1f} ms, at most {most:.1f} ms")


if __name__ == "__main__":
    main()
