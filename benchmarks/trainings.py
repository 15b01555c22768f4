"""Trainings that a study keeps: each is made once, and one that was stopped goes on."""

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kgrec_cli.formats.run_dir import CHECKPOINT, is_finished


def kgrec(folder: Path, *arguments: str) -> str:
    """Runs a command in the folder; returns what it prints."""
    command = [sys.executable, "-m", "kgrec_cli", *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def trained(folder: Path, name: str, *arguments: str) -> str:
    """The run of a name, from the folder; trained by `kgrec train ARGUMENTS` unless it is there."""
    saved = folder / "saved" / name
    if not any(is_finished(run_dir) for run_dir in saved.glob("*")):
        stopped = sorted(saved.glob(f"*/{CHECKPOINT}"))
        if stopped:
            kgrec(folder, "train", "--resume", str(stopped[-1].parent.relative_to(folder)))
        else:
            where = ["--set", f"checkpoint_dir=saved/{name}"]
            kgrec(folder, "train", *arguments, *where, "--threads", "1")
    (run_dir,) = (run_dir for run_dir in saved.glob("*") if is_finished(run_dir))
    return str(run_dir.relative_to(folder))


def train_all(folder: Path, wanted: Iterable[tuple[str, list[str]]], jobs: int) -> dict[str, str]:
    """The run of each name and its arguments, so many trained at a time."""
    names, arguments = zip(*wanted, strict=True)
    with ThreadPoolExecutor(jobs) as pool:
        runs = pool.map(lambda name, more: trained(folder, name, *more), names, arguments)
    return dict(zip(names, runs, strict=True))
