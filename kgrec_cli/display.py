"""What a command shows while it works: notes, epochs, and bars at the foot of a terminal.

While nothing reports how far it is, the foot says for how long: no terminal is ever silent.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from kgrec_cli import terminal
from kgrec_cli.events import EpochDone, Event, Forecast, Note, OnEvent, Warn
from kgrec_cli.events import Progress as ProgressEvent
from kgrec_cli.stopping import working
from kgrec_cli.terminal import VERBOSE, duration, print_line
from kgrec_cli.visible import MAX_NOTE, as_line, visible, wrap


@contextmanager
def loading(quiet: bool = False) -> Iterator[None]:
    """Shows on a terminal that a command loads what it needs, until something else is shown."""
    display = Display(quiet, "loading")
    try:
        yield
    finally:
        display.close()


@contextmanager
def listening(quiet: bool = False, doing: str = "working") -> Iterator[OnEvent]:
    """Yields the listener for a stage: it draws bars, notes and epochs; `quiet`, only warnings.

    `doing` stands at the foot of a terminal while nothing reports how far it is; "" for no foot.
    """
    display = Display(quiet, doing)
    try:
        with working():
            yield display
    finally:
        display.close()


class Display:
    """Draws events on standard error: bars where there is a terminal, plain lines elsewhere."""

    def __init__(self, quiet: bool, doing: str) -> None:
        self.quiet = quiet or terminal.level < 0
        self.console = terminal.err()
        self.has_foot = bool(doing) and self.console.is_terminal and not self.quiet
        self.doing = doing
        self.began_at = time.monotonic()
        self.foot: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.metric_names: list[str] | None = None
        self.warnings: set[str] = set()
        self.show_foot()

    def __call__(self, event: Event) -> None:
        """Draws an event."""
        match event:
            case Warn(text) if text in self.warnings:
                pass  # `compare` loads the data set of each run
            case Warn(text):
                self.warnings.add(text)
                line = as_line(text, MAX_NOTE)
                print_line(self.console, line, label="warning: ", style="yellow")
            case Note(text):
                self.note(text)
            case Forecast():
                self.note(_describe(event))
            case ProgressEvent() if not self.quiet:
                self.draw_bar(event)
            case EpochDone() if not self.quiet:
                self.draw_epoch(event)
        self.show_foot()

    def note(self, text: str) -> None:
        """Prints a line, with the time since the begin if `--verbose`."""
        if not self.quiet:
            seconds = f"{time.monotonic() - self.began_at:7.2f} s  "
            stamp = seconds if terminal.level == VERBOSE else ""
            print_line(self.console, stamp + as_line(text, MAX_NOTE), indent=len(stamp))

    def show_foot(self) -> None:
        """Starts the foot of a terminal: bars of what is going on."""
        if not self.has_foot or self.foot is not None:
            return
        self.foot = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28 if self.console.width >= 80 else 10),
            TextColumn("{task.fields[amount]}", markup=False),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            _TimeLeft(),
            console=self.console,
            transient=True,
            redirect_stdout=False,
        )
        self.tasks = {}
        self.idle = self.foot.add_task(self.doing, total=None, amount="", detail="")
        self.foot.start()
        terminal.on_clear(self.close)

    def draw_bar(self, event: ProgressEvent) -> None:
        """Moves the bar of a task; its end is a line, but if the task is a passing one."""
        finished = event.total is not None and event.done >= event.total
        task, detail = visible(event.task), visible(event.detail)
        if finished and (not event.passing or terminal.level == VERBOSE):
            self.note(f"{task}: {_amount(event.done, event.unit)}{detail and f' ({detail})'}")
        if self.foot is None:
            return
        now = time.monotonic()
        if task not in self.tasks and not finished:
            self.tasks[task] = self.foot.add_task(
                task, total=event.total, amount="", detail="", begun=(now, event.done), now=now
            )
        if finished and task in self.tasks:
            self.foot.remove_task(self.tasks.pop(task))
        elif not finished:
            self.foot.update(
                self.tasks[task],
                completed=event.done,
                total=event.total,
                amount=_amount(event.done, event.unit, event.total),
                detail=detail,
                now=now,
            )
        self.foot.update(self.idle, visible=not self.tasks)

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
            **{name: "" if value is None else f"{value:.4f}" for name, value in metrics.items()},
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
        """Takes the foot away."""
        if self.foot is not None:
            foot, self.foot = self.foot, None
            foot.stop()


class _TimeLeft(ProgressColumn):
    """The time left by the mean speed so far; the time since the begin where no end is known.

    Rich's own column looks at the last 30 seconds: it is blank where a step takes longer.
    """

    def render(self, task: Task) -> Text:
        """The text beside a bar: `2m05s left`."""
        if task.total is None:
            return Text(duration(task.elapsed or 0), style="cyan")
        (began_at, done_before), now = task.fields["begun"], task.fields["now"]
        done = task.completed - done_before
        if done <= 0:
            return Text("")
        left = (now - began_at) * (task.total - task.completed) / done
        return Text(f"{duration(max(0, left - (time.monotonic() - now)))} left", style="cyan")


def _describe(event: Forecast) -> str:
    total = duration(event.epoch_s * event.epochs * event.runs)
    if event.runs > 1:
        return f"at most {total} for {event.runs:,} trainings of {event.epochs:,} epochs"
    text = f"about {duration(event.epoch_s)} an epoch, at most {total} for {event.epochs:,} epochs"
    return text + (f", {event.memory / 1e9:.1f} GB of memory" if event.memory else "")


def _amount(done: float, unit: str, total: float | None = None) -> str:
    if unit == "bytes":
        of_total = "" if total is None else f"/{total / 1e6:,.1f}"
        return f"{done / 1e6:,.1f}{of_total} MB"
    of_total = "" if total is None else f"/{total:,.0f}"
    return f"{done:,.0f}{of_total} {unit}".strip()


def main_metrics(values: Mapping[str, float]) -> list[str]:
    """Three metrics that fit on a screen: the first one, and NDCG, Hit or MRR at its cutoff."""
    if not values:
        return []
    first = next(iter(values))
    cutoff = first.partition("@")[2]
    names = [first, *(f"{name}@{cutoff}" for name in ("ndcg", "hit", "mrr"))]
    return [name for name in dict.fromkeys(names) if name in values][:3]
