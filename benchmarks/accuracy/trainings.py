"""Trainings that a study keeps: each is made once, and one that was stopped goes on."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

from benchmarks import REPO_DIR
from benchmarks.record import package_commit
from kgrec_cli.runs.run_dir import is_finished
from kgrec_cli.runs.run_files import CHECKPOINT

COMMIT = "commit.txt"
"""Beside a run: the last commit of the package that it was trained with."""


def kgrec(folder: Path, *arguments: str, option: str | None = None) -> str:
    """Runs a command in the folder, with one of `options`; returns what it prints."""
    module = ["kgrec_cli"] if option is None else ["benchmarks.accuracy.options", option]
    return subprocess.run(
        [sys.executable, "-m", *module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPO_DIR)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def trained(folder: Path, name: str, *arguments: str, option: str | None = None) -> str:
    """The run of a name, from the folder; trained by `kgrec train ARGUMENTS` unless it is there."""
    saved = folder / "saved" / name
    if not any(is_finished(run_dir) for run_dir in saved.glob("*")):
        stopped = sorted(saved.glob(f"*/{CHECKPOINT}"))
        if stopped:
            kgrec(
                folder,
                "train",
                "--resume",
                str(stopped[-1].parent.relative_to(folder)),
                option=option,
            )
        else:
            where = ["--set", f"checkpoint_dir=saved/{name}"]
            kgrec(folder, "train", *arguments, *where, "--threads", "1", option=option)
        (saved / COMMIT).write_text(package_commit() + "\n")
    (run_dir,) = (run_dir for run_dir in saved.glob("*") if is_finished(run_dir))
    return str(run_dir.relative_to(folder))


def train_all(
    folder: Path,
    wanted: Iterable[tuple[str, list[str]]],
    jobs: int,
    options: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """The run of each name and its arguments, so many trained at a time; some with an option."""
    names, arguments = zip(*wanted, strict=True)

    def train(name: str, more: list[str]) -> str:
        return trained(folder, name, *more, option=options.get(name))

    with ThreadPoolExecutor(jobs) as pool:
        runs = pool.map(train, names, arguments)
    return dict(zip(names, runs, strict=True))
