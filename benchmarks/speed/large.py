"""Interactions that are more than the memory: time and memory of `prepare` and of training.

    .venv/bin/python -m benchmarks.speed.large --folder F [--interactions 10 32 100 320] [--record]

`--interactions` counts millions. Each size is made as a stream: a folder of Parquet parts in
ml-32m's proportions (160 a user, 365 an item, popular items as Zipf has them, rows in the order of
time). Then one process prepares it to Parquet, another loads it (the first time makes the mapped
files) and makes `STEPS` steps of 2,048 targets, and a third one does so again. Seconds, and the
peak of resident memory of the largest process of the tree (`ru_maxrss`), mapped pages included.
What a size wrote is removed when it is measured. 320 million take 14 GB of disk. `--record` writes
`results/large.json`.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import REPO_DIR
from benchmarks.record import RESULTS_DIR

PART_ROWS = 4_000_000
STEPS = 20
NAME = "large"


def write_log(folder: Path, n_rows: int) -> int:
    """Writes the parts of a log; returns their bytes."""
    folder.mkdir(parents=True)
    n_users, n_items = n_rows // 160, n_rows // 365

    def draw(uniform: np.ndarray, n: int, head: float) -> np.ndarray:
        """Numbers from 1 to n, x drawn in proportion to 1 / (x + head)."""
        return (head * ((n + head) / head) ** uniform - head).astype(np.int64) + 1

    users = np.random.default_rng(0).permutation(n_users) + 1  # the active ones are anywhere
    n_bytes = 0
    for number, start in enumerate(range(0, n_rows, PART_ROWS)):
        rng = np.random.default_rng([1, number])
        n = min(PART_ROWS, n_rows - start)
        table = {
            "user_id": users[draw(rng.random(n), n_users, n_users / 20) - 1],
            "item_id": draw(rng.random(n), n_items, 50),
            "rating": (rng.integers(1, 11, n) / 2).astype(np.float32),
            "timestamp": 1_000_000_000 + start + np.arange(n),
        }
        path = folder / f"part-{number:03}.parquet"
        pl.DataFrame(table).write_parquet(path)
        n_bytes += path.stat().st_size
    return n_bytes


def steps(folder: Path) -> dict[str, float]:
    """Loads the data set in this process and makes some steps: seconds and MB of each."""
    import torch

    from kgrec_cli.config import narrow
    from kgrec_cli.core.data.splits import check_targets, n_train_targets
    from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
    from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
    from kgrec_cli.dataset.load import load_dataset, split_dataset
    from kgrec_cli.settings import Settings

    settings = Settings(dataset=NAME, model="GRU4Rec", loss_type="SSM", threads=1)
    torch.set_num_threads(1)
    began = time.perf_counter()
    dataset = load_dataset(settings, folder, lambda event: None)
    loaded = time.perf_counter()
    memory = peak_mb()
    split = split_dataset(settings, dataset)
    check_targets(dataset.histories, split, validate=True)
    training = narrow(settings, TrainingSettings)
    device = torch.device("cpu")
    model = build_model(narrow(settings, ModelSettings), len(dataset.items), {}, device)
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate, fused=True)
    runner = EpochRunner(model, optimizer, dataset.histories, split, training, device)
    total = torch.zeros((), dtype=torch.float64)
    begun = 0.0
    made = runner.steps(np.random.default_rng(0), torch.Generator().manual_seed(0), total)
    for number, _ in enumerate(made):
        begun = begun or time.perf_counter()  # the first step waits for the order of the epoch
        if number == STEPS:
            break
    return {
        "load_s": loaded - began,
        "load_mb": memory,
        "first_step_s": begun - loaded,
        "step_s": (time.perf_counter() - begun) / STEPS,
        "mb": peak_mb(),
        "targets": n_train_targets(dataset.histories, split),
    }


def peak_mb() -> float:
    """The peak of resident memory of this process and of those that it waited for, MB."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


def run(command: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Seconds, those of processors, MB and output; MB of the largest of it and its children."""
    began = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(REPO_DIR)}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - began, cpu_s, usage.ru_maxrss / 1024, output


def measure(millions: float, folder: Path) -> dict[str, float]:
    """All figures of one size."""
    n_rows = int(millions * 1e6)
    figures: dict[str, float] = {"interactions": n_rows}
    figures["log_mb"] = write_log(folder / "log", n_rows) / 1e6
    command = ["-m", "kgrec_cli", "prepare", NAME, "--raw", "log", "--kg", "none", "--format"]
    command += ["parquet", "--min-user-inter", "5", "--min-item-inter", "5", "--json"]
    seconds, cpu_s, mb, output = run(command, folder)
    figures |= {"prepare_s": seconds, "prepare_cpu_s": cpu_s, "prepare_mb": mb}
    counted = json.loads(output)["interactions"]
    figures |= {name: counted[name] for name in ("kept", "users", "items", "repeated_pairs")}
    shutil.rmtree(folder / "log")
    inter = folder / "dataset" / NAME / f"{NAME}.inter.parquet"
    figures["inter_mb"] = inter.stat().st_size / 1e6
    for when in ("first", "again"):
        seconds, cpu_s, mb, output = run(["-m", "benchmarks.speed.large", "--steps"], folder)
        told = json.loads(output)
        figures |= {f"{when}_{name}": value for name, value in told.items()}
        figures |= {f"{when}_s": seconds, f"{when}_cpu_s": cpu_s, f"{when}_mb": mb}
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--interactions", type=float, nargs="+", default=[10, 32, 100, 320])
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps:
        print(json.dumps(steps(Path())))
        return
    if options.folder is None:
        parser.error("--folder is where the data is made and removed again")
    path = RESULTS_DIR / "large.json"
    measured = json.loads(path.read_text())["sizes"] if options.record and path.is_file() else {}
    for millions in options.interactions:
        folder = options.folder.absolute() / f"large-{millions:g}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            figures = measure(millions, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps(figures, indent=1), flush=True)
        measured[f"{millions:g}"] = figures
        if options.record:
            machine = {"machine": platform.platform(), "cpus": os.cpu_count()}
            in_order = dict(sorted(measured.items(), key=lambda each: float(each[0])))
            path.write_text(json.dumps({**machine, "sizes": in_order}, indent=1) + "\n")


if __name__ == "__main__":
    main()
