"""How much sooner than RecBole does kgrec reach RecBole's best validation NDCG@10 on ml-100k?

    make parity                             # once, for RecBole's virtual environment
    .venv/bin/python -m benchmarks.speed.time_to_quality --folder FOLDER [--threads 1] [--seeds 3]

On RecBole's own setting (its bundled ml-100k with 1,598 items and its links, TransE vectors made
here, `recbole_compat`). kgrec's time goes from the start of `kgrec train` to the line of the epoch
that passes TARGET, validations included. RecBole's is EPOCH times what an epoch's batches take it,
measured in turn with ours; its start-up and its validations are given to it. TARGET and EPOCH are
those of RecBole 1.2.1 trained to its end on this setting, seed 2020.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.accuracy.beside_recbole import write_wide_vectors
from benchmarks.recbole_side.data import write_bundled
from benchmarks.recbole_side.run import example_dir
from benchmarks.speed.batching import prepare, training
from benchmarks.speed.training import recbole_rate

TARGET, EPOCH, N_TARGETS = 0.0771, 46, 94_725


def passed(run_dirs: list[Path]) -> int | None:
    """The first epoch whose validation NDCG@10 is TARGET or more, of what has been written."""
    for run_dir in run_dirs:
        for line in (run_dir / "history.jsonl").read_text().splitlines(keepends=True):
            if line.endswith("\n") and json.loads(line)["valid"]["ndcg@10"] >= TARGET:
                epoch: int = json.loads(line)["epoch"]
                return epoch
    return None


def kgrec_time(folder: Path, seed: int, options: argparse.Namespace) -> tuple[float, int]:
    """Seconds from the start of the command to the epoch that passes, and the epoch."""
    _, arguments = training("sequence", seed, options.epochs)
    arguments += [part for setting in options.set for part in ("--set", setting)]
    where = folder / f"saved/time-{time.time_ns()}"
    arguments += ["--set", f"checkpoint_dir={where}", "--threads", str(options.threads)]
    began = time.perf_counter()
    command = [sys.executable, "-m", "kgrec_cli", "train", *arguments]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            time.sleep(0.05)
            epoch = passed([path.parent for path in where.glob("*/history.jsonl")])
            if epoch:
                seconds = time.perf_counter() - began
                process.kill()
                return seconds, epoch
    return float("inf"), options.epochs


def main() -> None:
    """Measures in turn, prints a line a seed and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=80, help="at most")
    parser.add_argument("--set", action="append", default=[], help="a setting of kgrec's")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options.folder)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        beside = Path(name)
        write_bundled(beside / "dataset", example_dir())
        write_wide_vectors(beside / "dataset/bundled")
        for seed in range(1, options.seeds + 1):
            seconds, epoch = kgrec_time(options.folder.resolve(), seed, options)
            ours.append(seconds)
            print(f"kgrec, seed {seed}: {seconds:.1f} s, epoch {epoch}", flush=True)
            for system, rate in recbole_rate(beside, 3, options.threads).items():
                theirs.setdefault(system, []).append(EPOCH * N_TARGETS / rate)
    kgrec = statistics.median(ours)
    print(f"{options.threads} threads; kgrec, median: {kgrec:.0f} s")
    for system, times in theirs.items():
        median = statistics.median(times)
        print(f"{system}: {EPOCH} epochs of batches {median:,.0f} s, {median / kgrec:.1f} times")


if __name__ == "__main__":
    main()
