"""How fast a task is, by the progress that it reports.

`kgrec estimate` measures with it, and a long training says once what it has ahead of it.
"""

import time
from collections import defaultdict

from kgrec_cli.core.memory import peak_memory
from kgrec_cli.events import EpochDone, Event, Forecast, OnEvent, Progress

LONG_S, FORECAST_S = 60.0, 5.0
"""How long a training is that is worth a forecast, and when it is made."""


class Enough(Exception):
    """A task was watched for long enough."""


class Pace:
    """Listens to a task, and ends it by `Enough` after some seconds.

    Args:
        enough_s: The seconds; but it hears of the task twice at least.
        task: How the name of the task begins ("epoch" for all epochs); others only pass.

    Attributes:
        enough: What was raised; as long as it is there, so is the memory that the task held.
    """

    def __init__(self, enough_s: float, task: str) -> None:
        self.ends_at, self.task = time.perf_counter() + enough_s, task
        self.enough: Enough | None = None
        self.marks: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def __call__(self, event: Event) -> None:
        """Hears an event.

        Raises:
            Enough: It has heard enough.
        """
        if not isinstance(event, Progress):
            return
        now = time.perf_counter()
        if event.task.startswith(self.task):
            self.marks[event.task].append((now, event.done))
        if now > self.ends_at and sum(map(len, self.marks.values())) > 1:
            self.enough = Enough()
            raise self.enough

    @property
    def unit_s(self) -> float | None:
        """Seconds for one unit of the task, what comes before its first report left out.

        None if it was heard of once alone.
        """
        ends = [(marks[0], marks[-1]) for marks in self.marks.values()]
        seconds = sum(last[0] - first[0] for first, last in ends)
        done = sum(last[1] - first[1] for first, last in ends)
        return seconds / done if done > 0 else None


class Forecasting:
    """Passes events on, and adds a `Forecast` some seconds after the begin of a long training.

    None where an epoch is done by then: the table of epochs says the same from there on.

    Args:
        on_event: Hears all.
        epochs: Of a training.
        runs: Trainings.
        task: Whose progress is looked at: an epoch, or a whole training in epochs.
    """

    def __init__(self, on_event: OnEvent, epochs: int, runs: int = 1, task: str = "epoch ") -> None:
        self.on_event, self.epochs, self.runs = on_event, epochs, runs
        self.pace: Pace | None = Pace(FORECAST_S, task)

    def __call__(self, event: Event) -> None:
        """Hears an event."""
        self.on_event(event)
        self.listen(event)

    def listen(self, event: Event) -> None:
        """As a call, but the event is not passed on."""
        if isinstance(event, EpochDone):
            self.pace = None
        if self.pace is None:
            return
        try:
            self.pace(event)
        except Enough:
            unit_s, self.pace = self.pace.unit_s, None
            if unit_s and isinstance(event, Progress) and event.total:
                epoch_s = unit_s if event.unit == "epochs" else unit_s * event.total
                if epoch_s * self.epochs * self.runs > LONG_S:
                    self.on_event(Forecast(epoch_s, self.epochs, self.runs, peak_memory()))
