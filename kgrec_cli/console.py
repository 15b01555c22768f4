"""The only printer. Results go to standard output; progress, notes and errors to standard error.

Files may hold control codes, which terminals obey: texts are printed by `visible` alone.
"""

import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from kgrec_cli.events import EpochDone, Event, Note, OnEvent, Warn
from kgrec_cli.events import Progress as ProgressEvent
from kgrec_cli.stopping import working

MAX_ERROR, MAX_NOTE = 300, 1000
"""Characters of a line at most; of a longer one the middle, where files are quoted, is cut."""

# C0 and C1 codes, marks of direction, invisible characters, line separators, half characters. The
# two joiners of Persian and of emoji (U+200C, U+200D) stay.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with its control and invisible characters as Python's escapes."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def as_line(text: str, width: int = MAX_ERROR) -> str:
    """The text as one visible line of at most `width` characters: begin and end are kept."""
    line = visible(text)
    if len(line) <= width:
        return line
    n_last = width // 3
    return f"{line[: width - n_last - 5]} ... {line[-n_last:]}"


def stream(file: TextIO) -> TextIO:
    """Standard output or error, so that characters which its encoding lacks become escapes."""
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="backslashreplace")
    return file


def out() -> Console:
    """Standard output as it is now (tests replace it)."""
    return Console(file=stream(sys.stdout), highlight=False, soft_wrap=False)


def err() -> Console:
    """Standard error, as it is now."""
    return Console(file=stream(sys.stderr), highlight=False)


def say(text: str) -> None:
    """Prints a line on standard output; not wrapped, so that it can be piped and copied."""
    out().print(visible(text), markup=False, soft_wrap=True)


def indented(text: str, indent: int) -> None:
    """Prints a text on standard output, wrapped between words; `indent` blanks before each line."""
    console = out()
    for line in Text(visible(text)).wrap(console, console.width - indent):
        console.print(Text(" " * indent) + line, soft_wrap=True)


def heading(text: str) -> None:
    """Prints a line in bold."""
    out().print(Text(visible(text), style="bold"), soft_wrap=True)


def show_error(text: str) -> None:
    """Prints the one line of an error on standard error."""
    err().print(Text.assemble(("error: ", "bold red"), as_line(text)), soft_wrap=True)


def note(text: str) -> None:
    """Prints a note on standard error."""
    err().print(as_line(text, MAX_NOTE), markup=False, soft_wrap=True)


def finding(level: str, about: str, text: str, cure: str) -> None:
    """Prints one finding of `doctor`, its cure below it."""
    style = {"ok": "green", "note": "", "warn": "yellow", "bad": "bold red"}[level]
    line = f"{about:13}{text}"
    out().print(Text.assemble((f"{level:5}", style), as_line(line, MAX_NOTE)), soft_wrap=True)
    if cure:
        out().print(Text(f"{'':18}-> {visible(cure)}"), soft_wrap=True)


def emit_json(value: Any) -> None:
    """Prints `value` as JSON, the only thing on standard output. Control characters are escaped."""
    file = stream(sys.stdout)
    is_unicode = (file.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode, allow_nan=False)
    # Only the texts in it can hold such characters, and JSON reads the escapes as what they were.
    file.writelines(
        _UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], line) + "\n"
        for line in text.split("\n")
    )


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table; numbers are right-aligned. Cells that are no text are shown by `str`."""
    title = None if title is None else escape(visible(title))
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[index]) for row in rows)
        drawn.add_column(
            escape("\n".join(map(visible, name.split("\n")))),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=numeric or index == 0,
        )
    for row in rows:
        drawn.add_row(*(escape(visible(format_cell(cell))) for cell in row))
    out().print(drawn)


def format_cell(cell: Any) -> str:
    """A cell's text: thousands separated, four decimals, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return str(cell)


def _is_number(cell: Any) -> bool:
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


@contextmanager
def listening(quiet: bool = False) -> Iterator[OnEvent]:
    """Yields the listener for a stage: it draws bars, notes and epochs; `quiet`, only warnings."""
    display = _Display(quiet)
    try:
        with working():
            yield display
    finally:
        display.close()


class _Display:
    """Draws events on standard error: bars where there is a terminal, plain lines elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.console = err()
        self.bars: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.metric_names: list[str] | None = None
        self.warnings: set[str] = set()

    def __call__(self, event: Event) -> None:
        match event:
            case Warn(text) if text in self.warnings:
                pass  # `compare` loads the data set of each run
            case Warn(text):
                self.warnings.add(text)
                line = Text.assemble(("warning: ", "yellow"), as_line(text, MAX_NOTE))
                self.console.print(line, soft_wrap=True)
            case Note(text) if not self.quiet:
                self.console.print(Text(as_line(text, MAX_NOTE)), soft_wrap=True)
            case ProgressEvent() if not self.quiet:
                self.draw_bar(event)
            case EpochDone() if not self.quiet:
                self.draw_epoch(event)

    def draw_bar(self, event: ProgressEvent) -> None:
        """Moves the bar of a task; in a log only its end is a line."""
        finished = event.total is not None and event.done >= event.total
        task, detail = visible(event.task), visible(event.detail)
        if not self.console.is_terminal:
            if finished and not event.passing:
                detail = f" ({detail})" if detail else ""
                amount = _amount(event.done, event.unit)
                self.console.print(Text(f"{task}: {amount}{detail}"), soft_wrap=True)
            return
        if self.bars is None:
            self.bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28),
                TextColumn("{task.fields[amount]}", markup=False),
                TextColumn("{task.fields[detail]}", style="dim", markup=False),
                TimeRemainingColumn(compact=True),
                console=self.console,
                transient=event.passing,
            )
            self.bars.start()
        amount = _amount(event.done, event.unit, event.total)
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(task, amount=amount, detail="")
        self.bars.update(
            self.tasks[task],
            completed=event.done,
            total=event.total,
            amount=amount,
            detail=detail,
        )
        if finished:
            del self.tasks[task]
            if not self.tasks:
                self.close()

    def draw_epoch(self, event: EpochDone) -> None:
        """Adds the epoch's row to the table of epochs."""
        if self.metric_names is None:
            self.metric_names = main_metrics(event.valid)
            names = "".join(f"{name:>10}" for name in self.metric_names)
            head = f"{'epoch':>7}{'loss':>9}{names}{'targets/s':>10}{'seconds':>8}{'at most':>8}"
            self.console.print(Text(head, style="bold"), soft_wrap=True)
        values = "".join(
            f"{event.valid[name]:>10.4f}" if name in event.valid else f"{'':>10}"
            for name in self.metric_names
        )
        row = (
            f"{f'{event.epoch}/{event.epochs}':>7}{event.loss:>9.4f}{values}"
            f"{event.targets_per_s:>10,.0f}{event.elapsed_s:>8.1f}{duration(event.remaining_s):>8}"
        )
        line = Text(row + " best", style="green") if event.best else Text(row)
        self.console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Stops the bars, leaving what they showed last."""
        if self.bars is not None:
            self.bars.stop()
            self.bars = None
            self.tasks = {}


def _amount(done: float, unit: str, total: float | None = None) -> str:
    if unit == "bytes":
        of_total = "" if total is None else f"/{total / 1e6:,.1f}"
        return f"{done / 1e6:,.1f}{of_total} MB"
    of_total = "" if total is None else f"/{total:,.0f}"
    return f"{done:,.0f}{of_total} {unit}".strip()


def duration(seconds: float) -> str:
    """Seconds as a short text: 42s, 3m10s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def main_metrics(values: Mapping[str, float]) -> list[str]:
    """Three metrics that fit on a screen: the first one, and NDCG, Hit or MRR at its cutoff."""
    if not values:
        return []
    first = next(iter(values))
    cutoff = first.partition("@")[2]
    names = [first, *(f"{name}@{cutoff}" for name in ("ndcg", "hit", "mrr"))]
    return [name for name in dict.fromkeys(names) if name in values][:3]


def metric_table(title: str, results: Mapping[str, Mapping[str, float]], cutoff: int) -> None:
    """Prints the metrics at one cutoff: a row for each metric, a column for each part."""
    parts = list(results)
    names = dict.fromkeys(name for part in parts for name in results[part])
    rows = [
        [name, *(results[part].get(name) for part in parts)]
        for name in names
        if name.endswith(f"@{cutoff}")
    ]
    table(title, ["metric", *parts], rows)
