"""How far does a reader go? Files, lines and calls on the way of two commands.

    python -m benchmarks.ways [--json]

Counts the files of the package that execute anything once the command line is imported: in
`kgrec train --freeze-kg --epochs 1` (until the run is written), and in all commands from a raw row
to a recommendation (`prepare`, `pretrain-kg`, `train`, `recommend`). Lines are those of these
files, with and without blank ones. Calls are the frames of the package from `commands/train.py`,
itself included, to the innermost one that reads the weights of a GRU for a training step. Runs on
the bundled sample data, on the CPU, in a temporary folder. A file whose module is only imported
executes its definitions, so it counts; an `__init__` that holds a docstring alone is counted apart.
"""

import argparse
import ast
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks import REPO_DIR

PACKAGE_DIR = REPO_DIR / "kgrec_cli"
SAMPLE = REPO_DIR / "sample_data"
PREPARE = (
    *("prepare", "sample", "--raw", str(SAMPLE), "--kg", str(SAMPLE / "kg.tsv")),
    *("--links", str(SAMPLE / "links.tsv")),
)
PRETRAIN = ("pretrain-kg", "--method", "TransE", "--epochs", "1")
TRAIN = ("train", "--freeze-kg", "--epochs", "1")
RECOMMEND = ("recommend", "--user", "1")


class Way:
    """The frames of the package that were entered: which files, and how deep a GRU step lies."""

    def __init__(self) -> None:
        self.files: set[Path] = set()
        self.deepest: list[str] = []

    def enter(self, frame: FrameType, event: str, argument: Any) -> None:
        """A profile function (`sys.setprofile`)."""
        path = Path(frame.f_code.co_filename)
        if event != "call" or PACKAGE_DIR not in path.parents:
            return
        self.files.add(path)
        if is_gru_step(frame):
            calls = list(reversed(list(_calls_of(frame))))
            begin = next((i for i, call in enumerate(calls) if "commands/train.py" in call), None)
            if begin is not None and len(calls) - begin > len(self.deepest):
                self.deepest = calls[begin:]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watches this thread and those that it starts."""
        threading.setprofile(self.enter)
        sys.setprofile(self.enter)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def summary(self) -> dict[str, int]:
        """Files that execute, their lines, the calls."""
        bare = {path for path in self.files if is_docstring_only(path)}
        texts = [path.read_text().splitlines() for path in self.files - bare]
        return {
            "files": len(self.files - bare),
            "docstring_only_files": len(bare),
            "lines": sum(map(len, texts)),
            "non_blank_lines": sum(bool(line.strip()) for text in texts for line in text),
            "calls": len(self.deepest),
        }


def is_gru_step(frame: FrameType) -> bool:
    """Whether a frame runs a GRU while a model trains: a function of the GRU's own files."""
    name = Path(frame.f_code.co_filename).name
    return name in ("recurrence.py", "gru.py", "gru_cpu.py") and frame.f_code.co_name != "<module>"


def is_docstring_only(path: Path) -> bool:
    """Whether a module has no code but its docstring."""
    body = ast.parse(path.read_text()).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def _calls_of(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if PACKAGE_DIR in path.parents and not frame.f_code.co_name.startswith("<"):
            yield f"{path.relative_to(PACKAGE_DIR)}:{frame.f_code.co_name}"
        frame = frame.f_back


def measure(folder: Path, commands: Sequence[Sequence[str]]) -> Way:
    """The way of some commands, run one after another in the folder, in this process."""
    from kgrec_cli import cli

    way = Way()
    before = Path.cwd()
    os.chdir(folder)
    try:
        for command in commands:
            said = io.StringIO()
            with way.watching(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = cli.run(command)
            if code:
                raise SystemExit(f"kgrec {' '.join(command)}: exit code {code}\n{said.getvalue()}")
    finally:
        os.chdir(before)
    return way


def main() -> None:
    """Prints both ways; each is counted in a process of its own, where nothing is imported yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--way", choices=("train", "whole"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way is None:
        answers = {
            way: json.loads(
                subprocess.run(
                    [sys.executable, "-m", "benchmarks.ways", "--way", way],
                    check=True,
                    stdout=subprocess.PIPE,
                    cwd=REPO_DIR,
                ).stdout
            )
            for way in ("train", "whole")
        }
        print(json.dumps(answers, indent=2) if options.json else _as_text(answers))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.way == "train":
            for command in (PREPARE, PRETRAIN):
                subprocess.run(
                    [sys.executable, "-m", "kgrec_cli", *command],
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": str(REPO_DIR)},
                    check=True,
                    capture_output=True,
                )
            way = measure(folder, [TRAIN])
        else:
            way = measure(folder, [PREPARE, PRETRAIN, TRAIN, RECOMMEND])
    files = sorted(str(path.relative_to(PACKAGE_DIR)) for path in way.files)
    print(json.dumps({**way.summary(), "way": files, "deepest": way.deepest}))


def _as_text(answers: dict[str, dict[str, Any]]) -> str:
    train, whole = answers["train"], answers["whole"]
    lines = [
        f"{name}: {way['files']} files (and {way['docstring_only_files']} with a docstring alone), "
        f"{way['lines']:,} lines ({way['non_blank_lines']:,} not blank)"
        for name, way in (("train", train), ("prepare to recommend", whole))
    ]
    calls = "\n".join(f"  {call}" for call in train["deepest"])
    return "\n".join([*lines, f"calls to the GRU step: {train['calls']}", calls])


if __name__ == "__main__":
    main()
