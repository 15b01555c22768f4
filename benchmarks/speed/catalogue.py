"""A catalogue of a million items: the training step, and `kgrec recommend --all-users`.

    .venv/bin/python -m benchmarks.speed.catalogue --folder FOLDER [CE] [SSM] [recommend]
        [--threads 2] [--out FILE]

Invented: 100,000 users and ten million interactions, every item at least once, the others as Zipf
has them. Times whole steps of GRU4Rec (batch of 2,048 targets, GRU, loss, gradient, Adam) with the
full softmax (CE) and the sampled one (SSM); `recommend` then takes the model that the steps left.
Peaks are of a whole process, the imports included. Parts can be run one by one: FOLDER keeps the
data (about 200 MB) and the runs (250 MB each). Run it alone on the machine.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from benchmarks import REPO_DIR
from benchmarks.speed.training import best_product_rate
from kgrec_cli.config import narrow
from kgrec_cli.core.data.splits import split_leave_one_out
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training.batches import Batch
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.events import ignore_event
from kgrec_cli.runs.run_dir import finish_run, new_run
from kgrec_cli.settings import Settings

PARTS = ("CE", "SSM", "recommend")
WARM_STEPS = 1


def write_interactions(data_path: Path, n_users: int, n_items: int, n_rows: int) -> None:
    """Writes `large/large.inter`."""
    rng = np.random.default_rng(0)
    popularity = 1 / (np.arange(n_items) + 20)
    borders = np.cumsum(popularity / popularity.sum())
    drawn = np.searchsorted(borders, rng.random(n_rows - n_items)).clip(max=n_items - 1)
    items = rng.permutation(np.concatenate([np.arange(n_items), drawn]))
    table = pl.DataFrame(
        {
            "user_id:token": rng.permutation(np.arange(n_rows) % n_users),
            "item_id:token": items,
            "timestamp:float": np.arange(n_rows),
        }
    )
    folder = data_path / "large"
    folder.mkdir(parents=True)
    table.write_csv(folder / "large.inter", separator="\t")


def peak_gib() -> float:
    """The most memory that this process held so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def time_steps(folder: Path, loss_type: str, n_steps: int, threads: int) -> dict[str, Any]:
    """Seconds of loading and of steps, in this process; leaves a run folder."""
    torch.set_num_threads(threads)
    settings = Settings.model_validate(
        {"dataset": "large", "model": "GRU4Rec", "loss_type": loss_type}
    )
    cpu = torch.device("cpu")
    began = time.perf_counter()
    dataset = load_dataset(settings, folder, ignore_event)
    load_s, load_peak_gib = time.perf_counter() - began, peak_gib()
    split = split_leave_one_out(dataset.histories)
    model = build_model(narrow(settings, ModelSettings), len(dataset.items), {}, cpu).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    training = narrow(settings, TrainingSettings)
    runner = EpochRunner(model, optimizer, dataset.histories, split, training, cpu)
    all_batches = runner.batches
    seconds, n_targets = [], []

    def timed_batches(rng: np.random.Generator) -> Iterator[Batch]:
        for batch in islice(all_batches(rng), n_steps + WARM_STEPS):
            began = time.perf_counter()
            yield batch  # the step is done when the next batch is asked for
            seconds.append(time.perf_counter() - began)
            n_targets.append(batch.n_targets)

    runner.batches = timed_batches  # type: ignore[method-assign]
    runner.run(1, 1, ignore_event)
    step_peak_gib = peak_gib()
    with new_run(folder / "saved", settings, dataset, cpu, suffix=f"-{loss_type}") as run_dir:
        finish_run(run_dir, model, {}, {})
    return {
        "load_s": load_s,
        "load_peak_gib": load_peak_gib,
        "step_s": seconds[WARM_STEPS:],
        "targets": n_targets[WARM_STEPS:],
        "peak_gib": step_peak_gib,
    }


def run_child(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Seconds and peak GiB of a Python process in the folder, and what it prints."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPO_DIR)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)}: ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_maxrss / 2**20, told


def measure_steps(folder: Path, loss_type: str, options: argparse.Namespace) -> dict[str, Any]:
    """Steps in a process of their own; prints a line."""
    part = ["--steps", str(options.steps), "--threads", str(options.threads)]
    _, _, told = run_child(
        folder, "benchmarks.speed.catalogue", "--folder", ".", "--child", loss_type, *part
    )
    found: dict[str, Any] = json.loads(told)
    print(
        f"{loss_type}: loading {found['load_s']:.1f} s, peak {found['load_peak_gib']:.2f} GiB; "
        f"a step {statistics.median(found['step_s']):.2f} s (longest {max(found['step_s']):.2f}), "
        f"peak {found['peak_gib']:.2f} GiB",
        flush=True,
    )
    return found


def measure_recommend(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The command for all users, with the newest run; prints a line."""
    rate = best_product_rate(options.threads)
    arguments = ["--out", "recs.parquet", "--threads", str(options.threads)]
    seconds, peak, _ = run_child(folder, "kgrec_cli", "recommend", "--all-users", *arguments)
    n_rows = pl.scan_parquet(folder / "recs.parquet").select(pl.len()).collect().item()
    floor_s = 2 * 64 * options.items * options.users / rate
    print(
        f"recommend --all-users: {seconds:.0f} s ({floor_s / seconds:.0%} of the floor, "
        f"{floor_s:.0f} s of products at {rate / 1e9:.0f} GFLOP/s); peak {peak:.2f} GiB; "
        f"{n_rows:,} rows"
    )
    return {
        "seconds": seconds,
        "peak_gib": peak,
        "rows": n_rows,
        "product_flop_per_s": rate,
        "floor_s": floor_s,
    }


def main() -> None:
    """Measures, prints a line a part, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(time_steps(Path(), options.child, options.steps, options.threads)))
        return
    folder = options.folder
    if not (folder / "dataset").exists():
        write_interactions(folder / "dataset", options.users, options.items, options.rows)
    report: dict[str, Any] = {"threads": options.threads, "machine": platform.platform()}
    report |= {"items": options.items, "users": options.users, "rows": options.rows}
    for part in options.parts or PARTS:
        if part == "recommend":
            report[part] = measure_recommend(folder, options)
        else:
            report[part] = measure_steps(folder, part, options)
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
