"""What a second process is worth, and what each one holds: one, two and four processes of a thread.

    .venv/bin/python -m benchmarks.speed.workers --data DATA --folder FOLDER [--pairs 3]
        [--steps 120] [--record]

Speed: ml-1m, GRU4Rec's default settings, the same global batches by one process and by two, in
turn (A B A B); medians of the time of a step, and their ratio. For two it also times the sum of the
gradients with the wait for the other process, and without it. To see what does not halve, one
process alone makes steps of half the targets, and so do two at once that know nothing of each
other. Memory: five million invented
interactions of 100,000 users, what each of 1, 2 and 4 processes holds once it trains. `--record`
writes `results/workers.json`. Run it alone on the machine: five minutes, 6 GB.
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
BATCH = 2048


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


def child(folder: Path, name: str, n_steps: int, batch_size: int, out: Path) -> None:
    """Trains some steps as one of the processes; each writes a file of JSON."""
    torch.set_num_threads(1)
    values = {"dataset": name, "model": "GRU4Rec", "train_batch_size": batch_size}
    settings = Settings.model_validate(values)
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
        out.with_name(f"{out.name}-{workers.number}.json").write_text(json.dumps(found))


def measure(
    folder: Path, name: str, count: int, n_steps: int, batch_size: int = BATCH, alone: int = 1
) -> list[dict[str, Any]]:
    """What each of `count` processes found that train together; `alone` such trainings at once."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO_DIR)}
    outs = [folder / f"{name}-{batch_size}-{count}-{number}" for number in range(alone)]
    children = []
    for out in outs:
        more = ["--child", name, "--folder", str(folder), "--steps", str(n_steps)]
        more += ["--batch-size", str(batch_size), "--out", str(out)]
        command = [sys.executable, "-m", "benchmarks.speed.workers", *more]
        if count > 1:
            command[1:1] = ["-m", "torch.distributed.run", f"--nproc-per-node={count}"]
        children.append(subprocess.Popen(command, env=environ))
    codes = [process.wait() for process in children]
    if any(codes):
        raise SystemExit("a process failed")
    return [
        json.loads(out.with_name(f"{out.name}-{number}.json").read_text())
        for out in outs
        for number in range(count)
    ]


def measure_speed(folder: Path, n_pairs: int, n_steps: int) -> dict[str, Any]:
    """One process, two, and one and two alone with half the targets, in turn."""
    half = BATCH // 2
    kinds = {
        "one_process": (1, BATCH, 1),
        "two_processes": (2, BATCH, 1),
        "half_the_targets": (1, half, 1),
        "half_the_targets_two_at_once": (1, half, 2),
    }
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for _ in range(n_pairs):
        for kind, (count, batch_size, alone) in kinds.items():
            rows = measure(folder, "ml-1m", count, n_steps, batch_size, alone)
            found[kind] += rows
            print(kind, json.dumps(rows), flush=True)
    medians = {
        kind: {
            key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "process"
        }
        for kind, rows in found.items()
    }
    firsts = [row for row in found["two_processes"] if row["process"] == 0]
    pairs = zip(found["one_process"], firsts, strict=True)
    ratios = [round(one["step_ms"] / two["step_ms"], 3) for one, two in pairs]
    return {
        "dataset": "ml-1m",
        **medians,
        "ratios": ratios,
        "median_ratio": statistics.median(ratios),
    }


def main() -> None:
    """Measures, and prints or records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, default=BATCH, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--parts", nargs="+", default=["speed", "memory"])
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.child:
        child(options.folder, options.child, options.steps, options.batch_size, options.out)
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
