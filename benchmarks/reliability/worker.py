"""One process that gives damaged files to commands, and says how each ended.

Commands run in this process, as `kgrec ARGUMENTS...` would. An input is a fault when anything but a
result or one line of error comes out, or when it takes over 2 s of processor time or 500 MB.
"""

import io
import os
import resource
import shutil
import signal
import time
import traceback
import unicodedata
from collections.abc import Collection
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.reliability.readers import READERS, Input, draw_input, read_corpus
from kgrec_cli.cli import run

MAX_CPU_S = 2.0
MAX_WALL_S = 30.0
MAX_BYTES = 500 * 10**6
MAX_LINE = 300 + len("error: ")
ADDRESS_SPACE = 3 * 2**30
"""What the process may map beyond what it has: more than `MAX_BYTES`, since not all is used."""
KEPT = frozenset({"done", "open"})


@dataclass(frozen=True)
class Fault:
    """An input that ended in something else than a result or one line.

    Attributes:
        reader: Key of `READERS`.
        seed: With `reader`, makes the input again.
        error: The exception, or what is wrong with what was printed.
        where: The deepest frame of kgrec, `file:function`; "" when there is none.
        detail: The first line of what the exception says.
    """

    reader: str
    seed: int
    error: str
    where: str = ""
    detail: str = ""


class TooSlow(BaseException):
    """Raised in the middle of a command whose time is over."""


class Worker:
    """A folder of its own with the corpus, and the limits of this process."""

    def __init__(self, corpus_dir: Path, folder: Path, readers: Collection[str]) -> None:
        self.corpus_dir, self.folder = corpus_dir, folder
        shutil.copytree(corpus_dir, folder)
        self.corpus = read_corpus(corpus_dir)
        os.chdir(folder)
        self.printed = os.memfd_create("stderr")  # what native code prints past sys.stderr
        os.dup2(self.printed, 1)
        os.dup2(self.printed, 2)
        for name in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(name, _stop)
        commands = {
            command[0]: Input(source, b"", command)
            for reader in {*readers, "history"}  # whose command trains
            for source in READERS[reader]
            for command in source.commands
        }
        for made in commands.values():  # what is loaded late is loaded now
            made = Input(made.source, self.corpus[made.source.path], made.command)
            self._run(made)
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = mapped + ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        self.first_peak = _peak()

    @property
    def is_worn(self) -> bool:
        """Whether so much memory is held that a new process should go on."""
        return _peak() - self.first_peak > MAX_BYTES // 2

    def try_input(self, reader: str, seed: int) -> Fault | int:
        """Runs the input of a seed; the fault, if it is one, else the exit code."""
        made = draw_input(reader, seed, self.corpus)
        began, n_printed = time.process_time(), os.fstat(self.printed).st_size
        try:
            code, shown, errors = self._run(made)
        except BaseException as error:
            if isinstance(error, TooSlow):
                return Fault(reader, seed, "over 2 s", _deepest(error))
            detail = str(error).strip().partition("\n")[0][:200]
            return Fault(reader, seed, type(error).__name__, _deepest(error), detail)
        problem = check_output(made.command, code, shown, errors)
        if not problem and os.fstat(self.printed).st_size > n_printed:
            problem = "printed past sys.stderr"
        if not problem and time.process_time() - began > MAX_CPU_S:
            problem = "over 2 s"
        if not problem and _peak() - self.first_peak > MAX_BYTES:
            problem = "over 500 MB"
        last = errors.splitlines()[-1][:200] if errors else ""
        return Fault(reader, seed, problem, made.command[0], last) if problem else code

    def _run(self, made: Input) -> tuple[int, str, str]:
        """The exit code and what was printed on standard output and standard error."""
        Path(made.path).write_bytes(made.data)
        out, err = io.StringIO(), io.StringIO()
        try:
            signal.setitimer(signal.ITIMER_PROF, MAX_CPU_S)
            signal.setitimer(signal.ITIMER_REAL, MAX_WALL_S)
            with redirect_stdout(out), redirect_stderr(err):
                code = run(made.command)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._restore(made)
        return code, out.getvalue(), err.getvalue()

    def _restore(self, made: Input) -> None:
        """The folder as it was: deterministic, whatever ran before."""
        command = made.command[0]
        if made.source.in_place:
            Path(made.path).write_bytes(self.corpus[made.source.path])
        else:
            Path(made.path).unlink()
        if command == "prepare":
            shutil.rmtree("dataset/fuzz", ignore_errors=True)
        elif command in ("train", "evaluate", "import", "compare"):
            for path in Path("saved").iterdir():
                if path.name not in KEPT or command != "import":
                    shutil.rmtree(path)
            if command != "import":
                shutil.copytree(self.corpus_dir / "saved", "saved", dirs_exist_ok=True)
        elif command == "tune":
            shutil.rmtree("studies")
            shutil.copytree(self.corpus_dir / "studies", "studies")
        Path("out.pth").unlink(missing_ok=True)


def check_output(command: tuple[str, ...], code: int, shown: str, errors: str) -> str:
    """What is wrong with an exit code and what was printed; "" when nothing is."""
    for text in (shown, errors):
        for character in text:
            if not character.isprintable() and character != "\n" and is_control(character):
                return f"control character {character!a} printed"
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if code == 0:
        return "an error, but exit code 0" if lines else ""
    if command[0] == "doctor" and shown and not lines:  # its findings are its result
        return ""
    if len(lines) != 1 or not errors.rstrip("\n").endswith(lines[0]):
        return f"{len(lines)} lines of error, expected one at the end"
    if lines[0].count("Error(") or "Traceback" in lines[0]:
        return "Python's words in an error"
    return f"an error of {len(lines[0])} characters" if len(lines[0]) > MAX_LINE else ""


def is_control(character: str) -> bool:
    """Whether a terminal may obey a character, or show nothing for it."""
    if character in "\u200c\u200d":  # the joiners of Persian and of emoji
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _peak() -> int:
    """The most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def _deepest(error: BaseException) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/kgrec_cli/" in frame.filename
    ]
    if not frames:
        return ""
    return f"{frames[-1].filename.partition('/kgrec_cli/')[2]}:{frames[-1].name}"
