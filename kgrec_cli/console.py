"""The only printer. Results go to standard output; progress, notes and errors to standard error.

Files may hold control codes, which terminals obey: texts are printed by `visible` alone. On a
terminal lines are wrapped between words (`print_line`), and a table that does not fit is stacked
(`table`): nothing is cut. In a pipe lines and tables are as wide as they are.
"""

import io
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from kgrec_cli.events import EpochDone, Event, Note, OnEvent, Warn
from kgrec_cli.events import Progress as ProgressEvent
from kgrec_cli.stopping import working
from kgrec_cli.visible import MAX_NOTE, UNSEEN, as_line, visible, wrap

_is_quiet = False
ENDLESS = 100_000
MIN_TEXT = 24
"""Columns of text in a table are not wrapped to fewer characters than this."""


def stream(file: TextIO) -> TextIO:
    """Standard output or error, so that characters which its encoding lacks become escapes."""
    if isinstance(file, io.TextIOWrapper):
        file.reconfigure(errors="backslashreplace")
    return file


def out() -> Console:
    """Standard output as it is now (tests replace it); in a pipe it has no end of a line."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else ENDLESS
    return Console(file=stream(sys.stdout), highlight=False, soft_wrap=False, width=width)


def err() -> Console:
    """Standard error, as it is now."""
    return Console(file=stream(sys.stderr), highlight=False)


def set_quiet(quiet: bool) -> None:
    """Whether notes, bars and epochs are left out (`--quiet`); warnings and results are not."""
    global _is_quiet
    _is_quiet = quiet


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


def say(text: str) -> None:
    """Prints a line on standard output."""
    print_line(out(), visible(text))


def indented(text: str, indent: int) -> None:
    """Prints a text on standard output, wrapped between words; `indent` blanks before each line."""
    console = out()
    for line in Text(visible(text)).wrap(console, console.width - indent):
        console.print(Text(" " * indent) + line, soft_wrap=True)


def heading(text: str) -> None:
    """Prints a line in bold."""
    print_line(out(), visible(text), style="bold")


def show_error(text: str) -> None:
    """Prints the one line of an error on standard error."""
    print_line(err(), as_line(text), label="error: ", style="bold red")


def note(text: str) -> None:
    """Prints a note on standard error, unless `--quiet`."""
    if not _is_quiet:
        print_line(err(), as_line(text, MAX_NOTE))


def finding(level: str, about: str, text: str, cure: str) -> None:
    """Prints one finding of `doctor`, its cure below it."""
    style = {"ok": "green", "note": "", "warn": "yellow", "bad": "bold red"}[level]
    line = as_line(f"{about:13}{text}", MAX_NOTE)
    print_line(out(), line, label=f"{level:5}", style=style, indent=18)
    if cure:
        print_line(out(), f"{'':18}-> {visible(cure)}", indent=21)


def emit_json(value: Any) -> None:
    """Prints `value` as JSON, the only thing on standard output. Control characters are escaped."""
    file = stream(sys.stdout)
    is_unicode = (file.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode, allow_nan=False)
    # Only the texts in it can hold such characters, and JSON reads the escapes as what they were.
    file.writelines(
        UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], line) + "\n"
        for line in text.split("\n")
    )


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table, numbers right-aligned; where it does not fit, `name: value` line by line.

    Cells that are no text are shown by `format_cell`. Cells of text may be wrapped between words
    down to `MIN_TEXT` columns, names of columns after an underscore.
    """
    console = out()
    if title is not None:
        print_line(console, visible(title), style="italic")
    names = ["\n".join(map(visible, name.split("\n"))) for name in columns]
    cells = [[visible(format_cell(cell)) for cell in row] for row in rows]
    numeric = [bool(rows) and all(_is_number(row[n]) for row in rows) for n in range(len(names))]
    broken = [name.replace("_", "_\n") for name in names]
    for heads, gap in ((names, 2), (broken, 2), (broken, 1)):
        widths = _fit(heads, cells, numeric, console.width - 2 - gap * (len(names) - 1))
        if widths is not None:
            break
    else:
        _stack([name.replace("\n", " ") for name in names], cells)
        return
    padding = (0, gap - 1)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=padding)
    for head, is_number, width in zip(heads, numeric, widths, strict=True):
        justify: Literal["left", "right"] = "right" if is_number else "left"
        drawn.add_column(escape(head), justify=justify, overflow="fold", width=width)
    for row in cells:
        drawn.add_row(*map(escape, row))
    console.print(drawn)


def _fit(
    heads: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool], width: int
) -> list[int] | None:
    """The width of each column of a table, or None where together they are wider than `width`.

    Numbers and the first column stay whole, other text is wrapped between words where need be.
    """
    least, whole = [], []
    for n, head in enumerate(heads):
        column = [row[n] for row in cells]
        name = max(map(cell_len, head.split("\n")))
        whole.append(max([name, *map(cell_len, column)]))
        words = max([name, *(cell_len(word) for cell in column for word in cell.split(" "))])
        least.append(whole[n] if n == 0 or numeric[n] else max(words, min(MIN_TEXT, whole[n])))
    room = width - sum(least)
    if room < 0:
        return None
    for n, most in enumerate(whole):
        more = min(room, most - least[n])
        least[n] += more
        room -= more
    return least


def _stack(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Prints each row as lines of `name: value`, an empty line between rows."""
    console = out()
    for row in cells:
        console.print()
        for name, cell in zip(names, row, strict=True):
            if cell:
                print_line(console, cell, label=f"{name}: " if name else "", indent=2)
    console.print()


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
        self.quiet = quiet or _is_quiet
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
                line = as_line(text, MAX_NOTE)
                print_line(self.console, line, label="warning: ", style="yellow")
            case Note(text) if not self.quiet:
                print_line(self.console, as_line(text, MAX_NOTE))
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
                BarColumn(bar_width=28 if self.console.width >= 80 else 10),
                TextColumn("{task.fields[amount]}", markup=False),
                TextColumn("{task.fields[detail]}", style="dim", markup=False),
                _TimeLeft(),
                console=self.console,
                transient=event.passing,
            )
            self.bars.start()
        amount = _amount(event.done, event.unit, event.total)
        now = time.monotonic()
        if task not in self.tasks:
            self.tasks[task] = self.bars.add_task(
                task, amount=amount, detail="", begun=(now, event.done), now=now
            )
        self.bars.update(
            self.tasks[task],
            completed=event.done,
            total=event.total,
            amount=amount,
            detail=detail,
            now=now,
        )
        if finished:
            number = self.tasks.pop(task)
            if not self.tasks:
                self.close()
            elif event.passing:
                self.bars.remove_task(number)

    def draw_epoch(self, event: EpochDone) -> None:
        """Adds the epoch's row to the table of epochs; a narrow terminal shows its names, too."""
        is_first = False
        if self.metric_names is None:
            self.metric_names = main_metrics(event.valid)
            is_first = True
        metrics = {name: event.valid.get(name) for name in self.metric_names}
        row = {
            "epoch": f"{event.epoch}/{event.epochs}",
            "loss": f"{event.loss:.4f}",
            **{name: format_cell(value) for name, value in metrics.items()},
            "targets/s": f"{event.targets_per_s:,.0f}",
            "seconds": f"{event.elapsed_s:.1f}",
            "at most": duration(event.remaining_s),
        }
        least = {"epoch": 7, "loss": 9, "targets/s": 10, "seconds": 8, "at most": 8}
        widths = {name: max(least.get(name, 10), len(name) + 1) for name in row}
        style = "green" if event.best else ""
        if sum(widths.values()) + len(" best") > self.console.width:
            pairs = [
                f"{name}: {value}".replace(" ", "\xa0") for name, value in row.items() if value
            ]
            line = wrap("  ".join(pairs + ["best"] * event.best), self.console.width, 2)
            self.console.print(Text(line.replace("\xa0", " "), style=style), soft_wrap=True)
            return
        if is_first:
            head = "".join(name.rjust(widths[name]) for name in row)
            self.console.print(Text(head, style="bold"), soft_wrap=True)
        line = "".join(value.rjust(widths[name]) for name, value in row.items())
        line += " best" if event.best else ""
        self.console.print(Text(line, style=style), soft_wrap=True)

    def close(self) -> None:
        """Stops the bars, leaving what they showed last."""
        if self.bars is not None:
            self.bars.stop()
            self.bars = None
            self.tasks = {}


class _TimeLeft(ProgressColumn):
    """The time left by the mean speed so far; nothing before the first step is done.

    Rich's own column looks at the last 30 seconds: it is blank where a step takes longer.
    """

    def render(self, task: Task) -> Text:
        """The text beside a bar: `2m05s left`."""
        (began_at, done_before), now = task.fields["begun"], task.fields["now"]
        done = task.completed - done_before
        if task.total is None or task.finished or done <= 0:
            return Text("")
        left = (now - began_at) * (task.total - task.completed) / done
        return Text(f"{duration(max(0, left - (time.monotonic() - now)))} left", style="cyan")


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


SAME = {"hit": "recall", "map": "mrr"}
"""Metrics that are one number where each list has one target."""


def metric_table(
    title: str, results: Mapping[str, Mapping[str, float]], cutoffs: Sequence[int]
) -> None:
    """Prints the metrics at some cutoffs: a row for each metric, a column for each part.

    A metric that is another's duplicate (`SAME`) in all parts stands in that one's row.
    """
    names = dict.fromkeys(name for values in results.values() for name in values)
    rows: list[list[Any]] = []
    for cutoff in cutoffs:
        for name in (name for name in names if name.endswith(f"@{cutoff}")):
            values = [results[part].get(name) for part in results]
            twin = f"{SAME.get(name.partition('@')[0])}@{cutoff}"
            if [twin, *values] in rows:
                rows[rows.index([twin, *values])][0] = f"{twin.partition('@')[0]} = {name}"
            else:
                rows.append([name, *values])
    heads = [part.replace("_masked", "\nmasked") for part in results]
    table(title, ["metric", *heads], rows)
