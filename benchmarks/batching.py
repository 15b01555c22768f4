"""Does whole-sequence training cost accuracy? Sequence and prefix batches on RecBole's own setting.

    make parity                                # once: RecBole's bundled ml-100k comes with it
    .venv/bin/python -m benchmarks.batching --folder FOLDER [--sequence 5] [--prefix 3]

Trains with `recbole_compat` (1,598 items, RecBole's links, TransE vectors made here), seed 1 and
on, one thread each, to early stopping, and compares by user. A run that is there already is kept,
one that was stopped goes on. A prefix run of 50 epochs takes about an hour of one core.
"""

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from tests.parity.conftest import example_dir

SUFFIXES = ("inter", "item", "kg", "link", "user")
WRITING = Lock()


def kgrec(folder: Path, *arguments: str) -> str:
    """Runs a command in the folder; returns what it prints."""
    command = [sys.executable, "-m", "kgrec_cli", *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def prepare(folder: Path) -> None:
    """RecBole's bundled files under another name, and the entity vectors."""
    dataset_dir = folder / "dataset" / "bundled"
    dataset_dir.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        shutil.copy(example_dir() / f"ml-100k.{suffix}", dataset_dir / f"bundled.{suffix}")
    if not (dataset_dir / "bundled.ent_feature").is_file():
        kgrec(folder, "pretrain-kg", "--dataset", "bundled", "--threads", "2")


def train(folder: Path, batching: str, seed: int, epochs: int | None) -> str:
    """The name of the run of a seed, trained unless it is there."""
    kept_path = folder / "runs.json"
    kept: dict[str, str] = json.loads(kept_path.read_text()) if kept_path.is_file() else {}
    name = f"{batching}-{seed}" + (f"-{epochs}" if epochs else "")
    if name not in kept:
        started = sorted((folder / "saved" / name).glob("*/checkpoint.safetensors"))
        if started:
            told = kgrec(folder, "train", "--resume", str(started[-1].parent), "--json")
        else:
            settings = ["--set", "recbole_compat=true", "--set", f"train_batching={batching}"]
            settings += ["--set", "valid_metric=NDCG@10", "--set", f"checkpoint_dir=saved/{name}"]
            settings += ["--seed", str(seed), "--threads", "1"]
            if epochs:
                settings += ["--epochs", str(epochs), "--stopping-step", str(epochs)]
            told = kgrec(folder, "train", "--dataset", "bundled", *settings, "--json")
        with WRITING:
            kept = json.loads(kept_path.read_text()) if kept_path.is_file() else {}
            kept[name] = json.loads(told)[0]["run"]
            kept_path.write_text(json.dumps(kept, indent=2) + "\n")
    return kept[name]


def main() -> None:
    """Trains what is missing, prints `kgrec compare`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sequence", type=int, default=5, help="seeds")
    parser.add_argument("--prefix", type=int, default=3, help="seeds")
    parser.add_argument("--jobs", type=int, default=1, help="runs trained at once")
    parser.add_argument("--epochs", type=int, help="train so long, without early stopping")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options.folder)
    wanted = {"prefix": options.prefix, "sequence": options.sequence}
    chosen = [(name, seed) for name, n in wanted.items() for seed in range(1, n + 1)]
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(lambda run: train(options.folder, *run, options.epochs), chosen))
    print(kgrec(options.folder, "compare", *runs))


if __name__ == "__main__":
    main()
