"""Who runs a search's trials: this process, one after the other, or several.

An executor is one function, `RunTrials`: it draws as many points as it can run at a time and yields
outcomes in the order of ending. `search.py` chooses the points and prunes.
"""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from kgrec_cli.core.tuning.space import Params
from kgrec_cli.errors import KgrecError, reason
from kgrec_cli.events import OnEvent, Warn, ignore_event


class Pruned(Exception):
    """Raised by `report` when a trial is not worth its time; the objective lets it pass."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial: metrics of its best epoch, and the score that is compared."""

    valid: Mapping[str, float]
    test: Mapping[str, float]
    score: float


Report = Callable[[int, float], None]  # step, score; raises Pruned
Objective = Callable[[Params, Report], TrialResult]
Outcome = TrialResult | Pruned | KgrecError
Points = Iterator[tuple[int, Params]]  # a trial's number, its point
ShouldPrune = Callable[[int, int, float], bool]  # number, step, score
Outcomes = Generator[tuple[int, Outcome], None, None]  # closed, it ends the trials that run
RunTrials = Callable[[Points, ShouldPrune], Outcomes]
MAX_RETRIES = 2
"""How often a trial is run again whose process was killed."""


def run_serially(objective: Objective, points: Points, should_prune: ShouldPrune) -> Outcomes:
    """Yields the outcome of each trial, run in this process, one after the other."""
    for number, point in points:
        yield number, attempt(objective, point, reporting(number, should_prune))


def reporting(number: int, should_prune: ShouldPrune) -> Report:
    """What a trial reports its scores to."""

    def report(step: int, score: float) -> None:
        if should_prune(number, step, score):
            raise Pruned

    return report


def run_in_processes(
    make_objective: Callable[[], Objective],
    n_processes: int,
    points: Points,
    should_prune: ShouldPrune,
    *,
    on_event: OnEvent = ignore_event,
) -> Outcomes:
    """Yields the outcome of each trial; each process runs one at a time, and begins with its first.

    The processes end with the iteration; trials that were running then are lost. A trial whose
    process is killed is run again by another one.

    Args:
        make_objective: Called once in each process; must be picklable.
        n_processes: Trials at a time.
        points: Drawn when a process is idle.
        should_prune: Called with each score; the process waits for the answer.
        on_event: Hears of processes that were killed.

    Raises:
        KgrecError: Processes of one trial were killed again and again, or one cannot be started.
    """
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    processes: list[BaseProcess] = []
    idle: list[Connection] = []
    running: dict[Connection, tuple[int, Params]] = {}
    n_killed: Counter[int] = Counter()

    def add_process() -> None:
        try:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make_objective), daemon=True)
            with _interrupts_held():
                process.start()
        except OSError as error:
            raise KgrecError(
                f"process {len(processes) + 1} of the search cannot be started ({reason(error)}); "
                "finished trials are kept, and the same command with fewer --jobs goes on"
            ) from error
        theirs.close()
        processes.append(process)
        idle.append(ours)

    def begin(trial: tuple[int, Params]) -> None:
        running[idle[-1]] = trial
        with suppress(ConnectionError):  # killed while idle: `wait` finds it
            idle.pop().send(trial[1])

    def begin_again(trial: tuple[int, Params]) -> None:
        n_killed[trial[0]] += 1
        what = "a process of the search was ended from outside (out of memory?)"
        if n_killed[trial[0]] > MAX_RETRIES:
            raise KgrecError(
                f"{what} {MAX_RETRIES + 1} times in one trial; finished trials are kept, and the "
                "same command with fewer --jobs goes on"
            )
        on_event(Warn(f"{what}; its trial is run again"))
        add_process()
        begin(trial)

    try:
        while True:
            while len(running) < n_processes and (trial := next(points, None)):
                if not idle:
                    add_process()
                begin(trial)
            if not running:
                return
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                try:
                    message = connection.recv()
                    if isinstance(message, tuple):
                        connection.send(should_prune(running[connection][0], *message))
                        continue
                except (EOFError, ConnectionError):
                    connection.close()
                    begin_again(running.pop(connection))
                    continue
                idle.append(connection)
                yield running.pop(connection)[0], message
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that are started within never meet Ctrl-C, not even while they import."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def attempt(objective: Objective, point: Params, report: Report) -> Outcome:
    """The outcome of one trial."""
    try:
        return objective(point, report)
    except (Pruned, KgrecError) as error:
        return error


def _serve(connection: Connection, make_objective: Callable[[], Objective]) -> None:
    """One of the processes: points come in; scores (each answered) and outcomes go out."""
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
                connection.send(attempt(objective, point, report))
