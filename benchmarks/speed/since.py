"""Has training become slower since a commit? The ratio of CPU time, pair by pair.

    make parity                             # once, for RecBole's bundled ml-100k
    .venv/bin/python -m benchmarks.speed.since COMMIT [--pairs 7] [--epochs 6] [--out FILE]

Both trees train the same data in turn, on one thread: RecBole's bundled ml-100k with wide vectors,
the default settings. What counts is user and system time of `kgrec train` with so many epochs, less
that of one epoch: so neither start-up nor loading nor another program's share of the core counts.
Prints the median of the ratios with a 95 % interval of the median (order statistics; of seven pairs
the smallest and the largest ratio, 98 %).
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from math import comb
from pathlib import Path

from benchmarks import REPO_DIR
from benchmarks.accuracy.beside_recbole import write_wide_vectors
from benchmarks.recbole_side.data import write_bundled
from benchmarks.recbole_side.run import example_dir
from benchmarks.speed.training import check_out

ARGUMENTS = ("--config", "settings.json", "--threads", "1", "--json")


def cpu_seconds(tree: Path, folder: Path, epochs: int) -> float:
    """User and system time of `kgrec train` by the code of a tree."""
    shutil.rmtree(folder / "saved", ignore_errors=True)
    values = {"dataset": "bundled", "epochs": epochs, "eval_step": epochs}
    (folder / "settings.json").write_text(json.dumps(values))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "kgrec_cli", "train", *ARGUMENTS],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def median_interval(values: list[float]) -> tuple[float, float]:
    """The narrowest pair of order statistics that holds the median in 95 % of samples or more.

    With few values the smallest and the largest.
    """
    ordered, n = sorted(values), len(values)
    outside = 0.0
    for rank in range(n // 2):
        outside += 2 * comb(n, rank) / 2**n
        if outside > 0.05:
            return (ordered[max(rank - 1, 0)], ordered[n - 1 - max(rank - 1, 0)])
    return ordered[(n - 1) // 2], ordered[n // 2]


def main() -> None:
    """Measures, prints a line a pair and the median."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pairs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundled(folder / "dataset", example_dir())
        write_wide_vectors(folder / "dataset/bundled")
        trees = [check_out(options.commit, folder), REPO_DIR]
        for number in range(options.pairs):
            order = trees if number % 2 == 0 else trees[::-1]
            seconds = {
                tree: cpu_seconds(tree, folder, options.epochs) - cpu_seconds(tree, folder, 1)
                for tree in order
            }
            pairs.append([seconds[tree] for tree in trees])
            before, now = pairs[-1]
            print(f"{before:7.2f} s then, {now:7.2f} s now: {now / before:.3f}", flush=True)
    ratios = [now / before for before, now in pairs]
    low, high = median_interval(ratios)
    print(f"median ratio {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})")
    if options.out:
        report = {"commit": options.commit, "cpu_s": pairs, "ratios": ratios}
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
