"""Who runs a search's trials: this process, one after the other, or so many processes at a time.

`core/search.py` chooses points and judges scores; a team of either kind only runs objectives.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from kgrec_cli.errors import KgrecError

Params = dict[str, Any]
Report = Callable[[int, float], None]


class Pruned(Exception):
    """Raised by `report` when a trial is not worth its time; the objective lets it pass."""


@dataclass(frozen=True)
class TrialResult:
    """What an objective found: metrics of its best epoch, and the score that is compared."""

    valid: Mapping[str, float]
    test: Mapping[str, float]
    score: float


Objective = Callable[[Params, Report], TrialResult]
Outcome = TrialResult | Pruned | KgrecError
Judge = Callable[[int, int, float], bool]


class Team(Protocol):
    """Runs trials. `judge(trial, step, score)` says whether one is to be given up."""

    size: int

    def start(self, trial: int, point: Params) -> None:
        """Takes a trial on; at most `size` at a time."""

    def next_outcome(self, judge: Judge) -> tuple[int, Outcome]:
        """Waits until a trial ends, telling the judge of all scores meanwhile."""

    def close(self) -> None:
        """Ends it; trials that are running are lost."""


class Alone:
    """The team of this process."""

    size = 1

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.waiting: deque[tuple[int, Params]] = deque()

    def start(self, trial: int, point: Params) -> None:
        """Puts the trial aside until its outcome is asked for."""
        self.waiting.append((trial, point))

    def next_outcome(self, judge: Judge) -> tuple[int, Outcome]:
        """Runs the trial."""
        trial, point = self.waiting.popleft()

        def report(step: int, score: float) -> None:
            if judge(trial, step, score):
                raise Pruned

        return trial, _outcome(self.objective, point, report)

    def close(self) -> None:
        """Nothing to end."""


class Processes:
    """So many processes, each with an objective that it makes for itself.

    Args:
        make_objective: Called once in each process; must be picklable.
        size: How many.
    """

    def __init__(self, make_objective: Callable[[], Objective], size: int) -> None:
        self.size = size
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.trials: dict[Connection, int] = {}
        self.idle: list[Connection] = []
        self.processes = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make_objective), daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self.idle.append(ours)

    def start(self, trial: int, point: Params) -> None:
        """Sends the trial to an idle process."""
        connection = self.idle.pop()
        self.trials[connection] = trial
        connection.send(point)

    def next_outcome(self, judge: Judge) -> tuple[int, Outcome]:
        """Answers the scores of all processes until one has an outcome."""
        while True:
            for connection in wait(list(self.trials)):
                assert isinstance(connection, Connection)
                trial = self.trials[connection]
                try:
                    told = connection.recv()
                except EOFError as error:
                    raise KgrecError(
                        "a process of the search was ended from outside (out of memory?); finished "
                        "trials are kept, and the same command with fewer --jobs goes on"
                    ) from error
                if isinstance(told, tuple):
                    connection.send(judge(trial, *told))
                else:
                    del self.trials[connection]
                    self.idle.append(connection)
                    return trial, told

    def close(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()


def _outcome(objective: Objective, point: Params, report: Report) -> Outcome:
    try:
        return objective(point, report)
    except (Pruned, KgrecError) as error:
        return error


def _serve(connection: Connection, make_objective: Callable[[], Objective]) -> None:
    """A process of the team: points come in; scores (each answered) and outcomes go out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair

    def report(step: int, score: float) -> None:
        connection.send((step, score))
        if connection.recv():
            raise Pruned

    objective: Objective | None = None
    with suppress(EOFError, ConnectionError):  # the parent is gone
        while True:
            point = connection.recv()
            try:
                objective = objective or make_objective()
            except KgrecError as error:
                connection.send(error)
            else:
                connection.send(_outcome(objective, point, report))
