"""A large catalogue: the training step, a checkpoint, whole commands, `recommend --all-users`.

    .venv/bin/python -m benchmarks.speed.catalogue --folder FOLDER [PART ...] [--threads 2]
        [--items 1000000] [--users 100000] [--rows 10000000] [--visitors 0] [--record]

Parts: CE, SSM, sparse, recommend (default: CE, SSM, recommend), commands, KG. Invented: users with
`rows` interactions and visitors with one each, every item at least once, the others as Zipf has
them. CE, SSM and sparse time whole steps of GRU4Rec (batch of 2,048 targets, GRU, loss, gradient,
Adam) with the full softmax, the sampled one, and the sampled one with `learner: sparse_adam`, and a
checkpoint; KG those of sparse with an entity vector for every item. `commands` runs `kgrec train`
with sparse_adam, stops it after its first checkpoint, resumes it, and asks for one user's items.
`recommend` takes the model that the steps left.
Peaks are of a whole process, the imports included. Parts can be run one by one: FOLDER keeps the
data (about 200 MB) and the runs (250 MB each). Run it alone on the machine. --record puts the
parts into benchmarks/results/items.json. Ten million items: `--items 10000000 --users 100 --rows
100000 --visitors 10000000`, so that an epoch is 50 steps.
"""

import argparse
import json
import os
import resource
import shutil
import signal
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
from benchmarks.record import RESULTS_DIR, machine_words, package_commit
from benchmarks.speed.training import best_product_rate
from kgrec_cli.config import narrow
from kgrec_cli.core.data.splits import split_leave_one_out
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training.batches import Batch
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.core.training.fit import TrainingState, pack_state, trained_weights
from kgrec_cli.core.training.optimizer import build_optimizer
from kgrec_cli.core.workers import ALONE
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.events import ignore_event
from kgrec_cli.runs.run_dir import finish_run, new_run
from kgrec_cli.runs.run_files import CHECKPOINT, HISTORY, write_tensors
from kgrec_cli.settings import Settings

PARTS = ("CE", "SSM", "recommend")
WARM_STEPS = 1
SPARSE = {"loss_type": "SSM", "learner": "sparse_adam"}
SETTINGS = {
    "CE": {"model": "GRU4Rec", "loss_type": "CE"},
    "SSM": {"model": "GRU4Rec", "loss_type": "SSM"},
    "sparse": {"model": "GRU4Rec", **SPARSE},
    "KG": {"model": "GRU4RecKG", **SPARSE},
}
"""The settings of the parts that time steps."""


def write_interactions(
    data_path: Path, n_users: int, n_items: int, n_rows: int, n_visitors: int
) -> None:
    """Writes `large/large.inter`."""
    rng = np.random.default_rng(0)
    visitors = np.arange(n_users, n_users + n_visitors)
    users = np.concatenate([rng.permutation(np.arange(n_rows) % n_users), visitors])
    n_rows += n_visitors
    popularity = 1 / (np.arange(n_items) + 20)
    borders = np.cumsum(popularity / popularity.sum())
    drawn = np.searchsorted(borders, rng.random(n_rows - n_items)).clip(max=n_items - 1)
    items = rng.permutation(np.concatenate([np.arange(n_items), drawn]))
    table = pl.DataFrame(
        {
            "user_id:token": users,
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


def time_steps(folder: Path, part: str, n_steps: int, threads: int) -> dict[str, Any]:
    """Seconds of loading, of steps and of a checkpoint, in this process; leaves a run folder."""
    torch.set_num_threads(threads)
    settings = Settings.model_validate({"dataset": "large", **SETTINGS[part]})
    cpu = torch.device("cpu")
    began = time.perf_counter()
    dataset = load_dataset(settings, folder, ignore_event)
    load_s, load_peak_gib = time.perf_counter() - began, peak_gib()
    split = split_leave_one_out(dataset.histories)
    shape = len(dataset.items), settings.embedding_size
    tables = {"entity": np.full(shape, 0.1, dtype=np.float32)} if part == "KG" else {}
    model = build_model(narrow(settings, ModelSettings), len(dataset.items), tables, cpu).train()
    training = narrow(settings, TrainingSettings)
    optimizer = build_optimizer(model, training, cpu, ALONE)
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
    began = time.perf_counter()
    state = TrainingState(1, model.state_dict(), {}, optimizer.state_dict(), 1, 0.0)
    state.best_model = {name: value.clone() for name, value in trained_weights(model).items()}
    write_tensors(folder / CHECKPOINT, *pack_state(state))
    written_s, size = time.perf_counter() - began, (folder / CHECKPOINT).stat().st_size
    (folder / CHECKPOINT).unlink()
    with new_run(folder / "saved", settings, dataset, cpu, suffix=f"-{part}") as run_dir:
        finish_run(run_dir, model, {"on_all_data": False}, {})
    return {
        "checkpoint_s": written_s,
        "checkpoint_gb": size / 1e9,
        "checkpoint_peak_gib": peak_gib(),
        "load_s": load_s,
        "load_peak_gib": load_peak_gib,
        "step_s": seconds[WARM_STEPS:],
        "targets": n_targets[WARM_STEPS:],
        "peak_gib": step_peak_gib,
    }


def run_child(
    folder: Path, *arguments: str, stop_at: Path | None = None
) -> tuple[float, float, str]:
    """Seconds and peak GiB of a Python process in the folder, and what it prints.

    `stop_at` is a file: as soon as it is there, the process gets Ctrl-C.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPO_DIR)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    if stop_at is not None:
        while not stop_at.exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != (0 if stop_at is None else 130):
        raise SystemExit(f"{' '.join(arguments)}: ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_maxrss / 2**20, told


def measure_steps(folder: Path, part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Steps in a process of their own; prints a line."""
    how = ["--steps", str(options.steps), "--threads", str(options.threads)]
    _, _, told = run_child(
        folder, "benchmarks.speed.catalogue", "--folder", ".", "--child", part, *how
    )
    found: dict[str, Any] = json.loads(told)
    print(
        f"{part}: loading {found['load_s']:.1f} s, peak {found['load_peak_gib']:.2f} GiB; "
        f"a step {statistics.median(found['step_s']):.2f} s (longest {max(found['step_s']):.2f}), "
        f"peak {found['peak_gib']:.2f} GiB; checkpoint {found['checkpoint_gb']:.2f} GB, "
        f"{found['checkpoint_s']:.1f} s, peak {found['checkpoint_peak_gib']:.2f} GiB",
        flush=True,
    )
    return found


def measure_commands(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """`kgrec train`, stopped after a checkpoint, its resume, and one user's items; prints lines."""
    settings = [f"--set={name}={value}" for name, value in SETTINGS["sparse"].items()]
    threads, run_dir = ["--threads", str(options.threads)], folder / "saved/large-commands"
    shutil.rmtree(run_dir, ignore_errors=True)
    train = ["train", "--dataset", "large", "--name", run_dir.name, "--epochs", "2", *settings]
    user = pl.scan_csv(folder / "dataset/large/large.inter", separator="\t").head(1).collect()
    report: dict[str, Any] = {}
    for name, arguments, stop_at in (
        ("train", train, run_dir / CHECKPOINT),
        ("resume", ["train", "--resume", run_dir.name], None),
        ("recommend", ["recommend", run_dir.name, "--user", str(user.item(0, 0))], None),
    ):
        seconds, peak, _ = run_child(folder, "kgrec_cli", *arguments, *threads, stop_at=stop_at)
        report[name] = {"seconds": seconds, "peak_gib": peak}
        print(f"kgrec {name}: {seconds:.0f} s, peak {peak:.2f} GiB", flush=True)
    n_targets = options.rows - 3 * options.users  # all but each user's first and last two
    rows = [json.loads(line) for line in (run_dir / HISTORY).read_text().splitlines()]
    report["valid_s_per_target"] = [
        (row["elapsed_s"] - n_targets / row["targets_per_s"]) / options.users for row in rows
    ]
    return report


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
    parser.add_argument("--visitors", type=int, default=0, help="users of one interaction each")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(time_steps(Path(), options.child, options.steps, options.threads)))
        return
    folder = options.folder
    if not (folder / "dataset").exists():
        sizes = options.users, options.items, options.rows, options.visitors
        write_interactions(folder / "dataset", *sizes)
    whole_commands = {"recommend": measure_recommend, "commands": measure_commands}
    for part in options.parts or PARTS:
        found = {"items": options.items, "threads": options.threads, "machine": machine_words()}
        found |= {"commit": package_commit()}
        if part in whole_commands:
            found |= whole_commands[part](folder, options)
        else:
            found |= measure_steps(folder, part, options)
        if options.record:
            path = RESULTS_DIR / "items.json"
            kept = json.loads(path.read_text()) if path.exists() else {}
            kept[f"{part}, {options.items:,} items, threads {options.threads}"] = found
            path.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
