"""What a second process is worth, and what each one holds: one, two and four processes of a thread.

    .venv/bin/python -m benchmarks.speed.workers --data DATA --folder FOLDER [--pairs 3]
        [--steps 120] [--record]

Speed: ml-1m, GRU4Rec's default settings, the same global batches by one process and by two, in
turn (A B A B); medians of the time of a step, and their ratio. For two it also times the sum of the
gradients with the wait for the other process, and without it. Memory: five million invented
interactions of 100,000 users, what each of 1, 2 and 4 processes holds once it trains. `--record`
writes `results/workers.json`. Run it alone on the machine: three minutes, 6 GB.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import REPO_DIR
from benchmarks.record import RESULTS_DIR
from benchmarks.speed.catalogue import write_interactions
from kgrec_cli.config import narrow
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.core.workers import join_workers
from kgrec_cli.dataset.load import load_dataset, split_dataset
from kgrec_cli.events import ignore_event
from kgrec_cli.settings import Settings
from kgrec_cli.stages.train import share_out

WARM_STEPS = 5
N_SUMS = 50


def resident_mib() -> float:
    """What this process holds now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Timed(EpochRunner):
    """Notes how long the sums of the gradients take, the wait for the others included."""

    sums_s = 0.0

    def add_up_gradients(self) -> None:
        """As in `EpochRunner`."""
        began = time.perf_counter()
        super().add_up_gradients()
        self.sums_s += time.perf_counter() - began


def child(folder: Path, name: str, n_steps: int) -> None:
    """Trains some steps as one of the processes; each prints a line of JSON."""
    torch.set_num_threads(1)
    settings = Settings.model_validate({"dataset": name, "model": "GRU4Rec"})
    cpu = torch.device("cpu")
    with join_workers() as workers:
        start_mib = resident_mib()
        dataset = load_dataset(settings, folder, ignore_event)
        read_mib = resident_mib()
        dataset, split, workers = share_out(dataset, split_dataset(settings, dataset), workers)
        histories = dataset.histories
        model = build_model(narrow(settings, ModelSettings), len(dataset.items), {}, cpu).train()
        adam = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
        training = narrow(settings, TrainingSettings)
        runner = Timed(model, adam, histories, split, training, cpu, workers=workers)
        total = torch.zeros((), dtype=torch.float64)
        steps = runner.steps(np.random.default_rng(0), torch.Generator(), total)
        n_targets = 0
        for number, n_new in enumerate(steps):
            if number == WARM_STEPS:
                runner.sums_s, n_targets, began = 0.0, 0, time.perf_counter()
            n_targets += n_new
            if number == WARM_STEPS + n_steps:
                break
        elapsed_s = time.perf_counter() - began
        step_ms, sums_ms = (1000 * s / (n_steps + 1) for s in (elapsed_s, runner.sums_s))
        gradients = [w.grad for w in model.parameters() if w.grad is not None]
        workers.add_up(gradients)
        began = time.perf_counter()
        for _ in range(N_SUMS):
            workers.add_up(gradients)
        sum_ms = 1000 * (time.perf_counter() - began) / N_SUMS
        began = time.perf_counter()
        for _ in range(N_SUMS):
            adam.step()
        adam_ms = 1000 * (time.perf_counter() - began) / N_SUMS
        found = {
            "process": workers.number,
            "step_ms": round(step_ms, 2),
            "targets_per_s": round(n_targets / elapsed_s),
            "sum_and_wait_ms": round(sums_ms, 2),
            "sum_ms": round(sum_ms, 2),
            "adam_ms": round(adam_ms, 2),
            "gradient_mib": round(sum(g.nbytes for g in gradients) / 2**20, 2),
            "histories_mib": round((histories.items.nbytes + histories.times.nbytes) / 2**20, 1),
            "before_reading_mib": round(start_mib),
            "after_reading_mib": round(read_mib),
            "training_mib": round(resident_mib()),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
        }
        (folder / f"{name}-{workers.count}-{workers.number}.json").write_text(json.dumps(found))


def measure(folder: Path, name: str, count: int, n_steps: int) -> list[dict[str, Any]]:
    """What each of some processes found."""
    more = ["--child", name, "--folder", str(folder), "--steps", str(n_steps)]
    command = [sys.executable, "-m", "benchmarks.speed.workers", *more]
    if count > 1:
        command[1:1] = ["-m", "torch.distributed.run", f"--nproc-per-node={count}"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO_DIR)}
    subprocess.run(command, env=environ, check=True)
    files = [folder / f"{name}-{count}-{number}.json" for number in range(count)]
    return [json.loads(file.read_text()) for file in files]


def measure_speed(folder: Path, n_pairs: int, n_steps: int) -> dict[str, Any]:
    """One process and two in turn."""
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(n_pairs):
        for count, rows in found.items():
            rows += measure(folder, "ml-1m", count, n_steps)
            print(json.dumps(rows[-count:]), flush=True)
    medians = {
        count: {
            key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "process"
        }
        for count, rows in found.items()
    }
    firsts = [row for row in found[2] if row["process"] == 0]
    pairs = zip(found[1], firsts, strict=True)
    ratios = [round(one["step_ms"] / two["step_ms"], 3) for one, two in pairs]
    return {
        "dataset": "ml-1m",
        "one_process": medians[1],
        "two_processes": medians[2],
        "ratios": ratios,
        "median_ratio": statistics.median(ratios),
    }


def main() -> None:
    """Measures, and prints or records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--parts", nargs="+", default=["speed", "memory"])
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.child:
        child(options.folder, options.child, options.steps)
        return
    out = RESULTS_DIR / "workers.json"
    result = json.loads(out.read_text()) if out.is_file() else {}
    result |= {"command": "python -m benchmarks.speed.workers --record", "torch": torch.__version__}
    result["machine"] = f"{os.cpu_count()} cores, {platform.machine()}"
    if "speed" in options.parts:
        if not (options.folder / "dataset" / "ml-1m").is_dir():
            raw = options.data.resolve() / "ml-1m" / "interactions_ordered.tsv.gz"
            columns = ["--user-col", "user_id", "--item-col", "item_id", "--time-col", "position"]
            subprocess.run(
                [sys.executable, "-m", "kgrec_cli", "prepare", "ml-1m", "--raw", raw, *columns],
                cwd=options.folder, check=True,
            )  # fmt: skip
        result["speed"] = measure_speed(options.folder, options.pairs, options.steps)
    if "memory" in options.parts:
        if not (options.folder / "dataset" / "large").is_dir():
            write_interactions(options.folder / "dataset", 100_000, 20_000, 5_000_000, 0)
        result["memory"] = {
            "dataset": "5,000,000 interactions, 100,000 users, 20,000 items",
            **{str(count): measure(options.folder, "large", count, 3) for count in (1, 2, 4)},
        }
    print(json.dumps(result, indent=1))
    if options.record:
        out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
