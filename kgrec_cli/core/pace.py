"""How fast a task is, by the progress that it reports: what `kgrec estimate` measures with."""

import time
from collections import defaultdict

from kgrec_cli.events import Event, Progress


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
