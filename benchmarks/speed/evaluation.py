"""Full ranking beside RecBole, at ml-1m's size: 6,040 users by 3,706 items, histories of 50.

    make parity                                   # once, for RecBole's virtual environment
    .venv/bin/python -m benchmarks.speed.evaluation --threads 1 [--out FILE]

An untrained GRU4RecKG of the default size ranks the validation and the test item of every user.
kgrec reports both parts with seen items masked and not; RecBole each part once, not masked. The
floor is the arithmetic of the products at the machine's best rate. Run it alone on the machine.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import REPO_DIR
from benchmarks.recbole_side.data import write_dataset
from benchmarks.recbole_side.run import read_told, run_recbole_side
from benchmarks.speed.training import BRANCHES, EMBEDDING, HIDDEN, best_product_rate
from kgrec_cli.core.data import histories, splits
from kgrec_cli.core.evaluation.ranking import rank_targets, score_by
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model

N_USERS, N_ITEMS, LENGTH = 6_040, 3_706, 50


def floor_seconds(threads: int) -> float:
    """Seconds that the products of one part would take, the GRUs' inputs' made once an item."""
    inputs = 2 * N_ITEMS * BRANCHES * EMBEDDING * 3 * HIDDEN
    grus = LENGTH * BRANCHES * HIDDEN * 3 * HIDDEN
    per_user = 2 * (grus + BRANCHES * HIDDEN * EMBEDDING + EMBEDDING * N_ITEMS)
    return (inputs + N_USERS * per_user) / best_product_rate(threads)


def make_histories() -> histories.Histories:
    """Every user has 60 random events."""
    rng = np.random.default_rng(0)
    n_events = 60
    users = np.repeat(np.arange(1, N_USERS + 1, dtype=np.int32), n_events)
    items = rng.integers(1, N_ITEMS + 1, len(users)).astype(np.int32)
    items[:N_ITEMS] = np.arange(1, N_ITEMS + 1)
    return histories.build_histories(users, items, np.arange(len(users)))


def kgrec_seconds(histories: histories.Histories, threads: int) -> float:
    """Seconds for the ranks of both parts, masked and not."""
    torch.set_num_threads(threads)
    tables = {"entity": np.random.default_rng(1).normal(size=(N_ITEMS + 1, 64)).astype("f4")}
    model = build_model(ModelSettings(), N_ITEMS + 1, tables, torch.device("cpu")).eval()
    split = splits.split_leave_one_out(histories)
    score = score_by(model, histories, max_length=LENGTH, device=torch.device("cpu"))
    both = (splits.valid_targets(histories, split), splits.test_targets(histories, split))
    began = time.perf_counter()
    for targets in both:
        rank_targets(score, histories, targets, n_items=N_ITEMS + 1, topk=10)
    return time.perf_counter() - began


def recbole_seconds(folder: Path, threads: int) -> float:
    """Seconds for the metrics of both parts."""
    for name in ("told", "recbole"):
        shutil.rmtree(folder / name, ignore_errors=True)
    settings = {"embedding_size": EMBEDDING, "hidden_size": HIDDEN, "topk": [10]}
    case = {"dataset": "log", "tell": ["ranking"], "settings": settings}
    out_dir = run_recbole_side(folder, {"ranking": case}, threads=threads)
    return float(read_told(out_dir, "ranking").said["ranking_s"])


def write_log(folder: Path, histories: histories.Histories) -> None:
    """The same histories as atomic files, every item its own entity."""
    owners, times = histories.owners + 1, histories.times % 2**23
    events = [
        (f"u{user}", f"i{item}", 1, at)
        for user, item, at in zip(owners, histories.items, times, strict=True)
    ]
    names = range(1, N_ITEMS + 1)
    vectors = np.random.default_rng(1).normal(size=(N_ITEMS, EMBEDDING)).round(3)
    write_dataset(
        folder / "dataset" / "log",
        events,
        [(f"i{item}", f"e{item}") for item in names],
        [(f"e{item}", "r", "x") for item in names],
        [(f"e{item}", " ".join(map(str, vectors[item - 1]))) for item in names],
    )


def in_own_process(threads: int) -> float:
    """`kgrec_seconds` in a fresh process, as RecBole's side is."""
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.evaluation", "--side", "--threads", str(threads)],
        cwd=REPO_DIR,
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        check=True,
    )
    return float(finished.stdout)


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.side:
        print(kgrec_seconds(make_histories(), options.threads))
        return
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder, make_histories())
        for _ in range(options.rounds):
            ours.append(in_own_process(options.threads))
            theirs.append(recbole_seconds(folder, options.threads))
    floor = 2 * floor_seconds(options.threads)
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"{options.threads} threads, {options.rounds} rounds, both parts; medians")
    print(f"kgrec {mine:.2f} s (floor {floor:.2f} s, {floor / mine:.0%}); RecBole {other:.2f} s")
    print(f"{other / mine:.1f} times RecBole's speed")
    if options.out:
        report = {"threads": options.threads, "kgrec_s": ours, "recbole_s": theirs}
        options.out.write_text(json.dumps({**report, "floor_s": floor}, indent=2) + "\n")


if __name__ == "__main__":
    main()
