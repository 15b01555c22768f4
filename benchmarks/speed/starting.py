"""Start-up: `kgrec --help` beside bare imports; `kgrec train` to its first batch.

    .venv/bin/python -m benchmarks.speed.starting --folder FOLDER [--out FILE]

FOLDER is a working folder in which `kgrec prepare ml-100k` and `kgrec pretrain-kg` have been run.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = "import typer, rich.console, rich.table, rich.progress"
IMPORTS = "import torch, polars, scipy.sparse, rapidfuzz, kgrec_cli.stages.train"
FIRST_BATCH = """
import time
import torch, polars, scipy.sparse, rapidfuzz, kgrec_cli.stages.train
began = time.perf_counter()
from pathlib import Path
from kgrec_cli.config import choose_dataset, resolve_settings
from kgrec_cli.core.training.epoch import EpochRunner
from kgrec_cli.stages import train

class Done(Exception):
    pass

def stop(self, chunk):
    raise Done

EpochRunner.start = stop
settings = choose_dataset(resolve_settings(folder=Path()), Path())
try:
    train.run_train(settings, Path(), on_event=lambda event: None)
except Done:
    print(time.perf_counter() - began)
"""


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of a command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each, round after round."""
    found: dict[str, list[float]] = {"bare import of typer and rich": [], "kgrec --help": []}
    found |= {"imports of kgrec train": [], "from there to the first batch": []}
    for _ in range(rounds):
        python = [sys.executable]
        found["bare import of typer and rich"].append(seconds([*python, "-c", BARE], folder))
        found["kgrec --help"].append(seconds([*python, "-m", "kgrec_cli", "--help"], folder))
        found["imports of kgrec train"].append(seconds([*python, "-c", IMPORTS], folder))
        told = subprocess.run(
            [*python, "-c", FIRST_BATCH],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        found["from there to the first batch"].append(float(told.stdout))
    return found


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "dataset").symlink_to((options.folder / "dataset").resolve())
        found = measure(folder, options.rounds)
    for name, values in found.items():
        print(f"{name:34}{statistics.median(values):>7.2f} s")
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
