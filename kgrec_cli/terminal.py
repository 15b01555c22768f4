"""Standard output and error: how wide they are, how much is shown, how a line is printed.

What is drawn at the foot of a terminal (`display`) is taken away before anything else is printed.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.text import Text

from kgrec_cli.visible import wrap

ENDLESS = 100_000
QUIET, USUAL, VERBOSE = -1, 0, 1

level = USUAL
_clear: list[Callable[[], None]] = []


def set_level(chosen: int) -> None:
    """How much is shown: QUIET leaves out notes, bars and epochs; warnings and results stay."""
    global level
    level = chosen


def on_clear(clear: Callable[[], None]) -> None:
    """`clear` takes away the foot; it is called once, before anything is printed."""
    _clear.append(clear)


def clear_foot() -> None:
    """Takes away the foot of the terminal."""
    while _clear:
        _clear.pop()()


def stream(file: TextIO) -> TextIO:
    """Standard output or error, so that characters which its encoding lacks become escapes."""
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="backslashreplace")
    return file


def out() -> Console:
    """Standard output as it is now (tests replace it); in a pipe it has no end of a line."""
    clear_foot()
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else ENDLESS
    return Console(file=stream(sys.stdout), highlight=False, soft_wrap=False, width=width)


def err() -> Console:
    """Standard error, as it is now."""
    clear_foot()
    return Console(file=stream(sys.stderr), highlight=False)


def print_line(
    console: Console, text: str, *, label: str = "", style: str = "", indent: int = 0
) -> None:
    """Prints a line; on a terminal it is wrapped between words, elsewhere it stays one line.

    `style` is that of the `label` at its begin, without one that of the whole line.
    """
    line = label + text
    if console.is_terminal:
        line = wrap(line, console.width, indent)
    if not label:
        console.print(Text(line, style=style), soft_wrap=True)
    else:
        console.print(Text.assemble((label, style), line[len(label) :]), soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as a short text: 42s, 3m10s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
