"""Commands of kgrec in forked children of a process that has imported all that they need.

The parent runs no command itself: torch's and polars' threads do not survive a fork.
"""

import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import optuna.visualization
import pykeen.models
import pykeen.training
import scipy.sparse
import torch

import kgrec_cli
from benchmarks.reliability.file_events import watch

Command = tuple[str, ...]

CRASHED = 70
"""The exit code of a command that ended in an exception."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (None when it was killed) and what it printed."""

    command: Command
    code: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Child:
    """What a child did: an outcome for each command it came to, its file events, its modules."""

    outcomes: list[Outcome]
    events: list[str]
    was_killed: bool
    modules: list[str]


def import_all() -> None:
    """Imports what the commands import, so that children need not; one thread for torch."""
    torch.set_num_threads(1)
    _ = (optuna.visualization, pykeen.models, pykeen.training, scipy.sparse)
    for module in pkgutil.walk_packages(kgrec_cli.__path__, "kgrec_cli."):
        if module.name != "kgrec_cli.__main__":
            with suppress(ModuleNotFoundError):  # of an extra: no command here needs it
                importlib.import_module(module.name)


def import_like(child: Child) -> None:
    """Imports what a child has imported while it worked: torch takes a second for its optimizer."""
    for name in child.modules:
        if name not in sys.modules:
            with suppress(Exception):  # made by hand, or no module of its own
                importlib.import_module(name)


def run_child(
    folder: Path, commands: Sequence[Command], scratch_dir: Path, die_at: int | None = None
) -> Child:
    """Runs commands in `folder`, one after the other, in a forked child.

    Args:
        folder: Their working folder.
        commands: Without the word kgrec.
        scratch_dir: An empty folder, for what they print; emptied again.
        die_at: The file event before which the child is killed.
    """
    pid = os.fork()
    if pid == 0:
        try:
            _serve(folder, commands, scratch_dir, die_at)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    outcomes = []
    for number, command in enumerate(commands):
        texts = [
            path.read_text(errors="replace") if (path := scratch_dir / f"{number}.{kind}").is_file()
            else None
            for kind in ("out", "err", "code")
        ]  # fmt: skip
        if texts[0] is not None:
            code = None if texts[2] is None else int(texts[2])
            ended = "" if code is not None else f"ended by signal {status & 127}"
            outcomes.append(Outcome(command, code, texts[0], f"{texts[1] or ''}{ended}"))
    events, modules = (
        path.read_text().splitlines() if (path := scratch_dir / name).is_file() else []
        for name in ("events", "modules")
    )
    for path in scratch_dir.iterdir():
        path.unlink()
    return Child(outcomes, events, os.WIFSIGNALED(status), modules)


def _serve(
    folder: Path, commands: Sequence[Command], scratch_dir: Path, die_at: int | None
) -> None:
    from kgrec_cli.cli import run

    os.chdir(folder)
    os.environ["COLUMNS"] = "160"
    events = os.open(scratch_dir / "events", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    watch(folder, die_at, lambda line: os.write(events, f"{line}\n".encode()))
    for number, command in enumerate(commands):
        for descriptor, kind in ((1, "out"), (2, "err")):
            handle = os.open(scratch_dir / f"{number}.{kind}", os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, descriptor)
            os.close(handle)
        sys.argv = ["kgrec", *command]
        try:
            code = run(command)
        except BaseException:
            traceback.print_exc()
            code = CRASHED
        sys.stdout.flush()
        sys.stderr.flush()
        (scratch_dir / f"{number}.code").write_text(str(code))
    (scratch_dir / "modules").write_text("\n".join(sys.modules))
    os._exit(0)
