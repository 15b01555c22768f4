"""Who runs a search's trials: this process, one after the other; several processes; or threads.

An executor is one function, `RunTrials`: it draws as many points as it can run at a time and yields
outcomes in the order of ending. `search.py` chooses the points and prunes.
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from queue import Empty, Queue
from typing import Any

import torch

from kgrec_cli.core.gpu_steps import TURNS
from kgrec_cli.core.tuning.space import Params
from kgrec_cli.errors import KgrecError


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


def run_serially(objective: Objective, points: Points, should_prune: ShouldPrune) -> Outcomes:
    """Yields the outcome of each trial, run in this process, one after the other."""
    for number, point in points:

        def report(step: int, score: float, number: int = number) -> None:
            if should_prune(number, step, score):
                raise Pruned

        yield number, _attempt(objective, point, report)


def run_in_processes(
    make_objective: Callable[[], Objective],
    n_processes: int,
    points: Points,
    should_prune: ShouldPrune,
) -> Outcomes:
    """Yields the outcome of each trial; each process runs one at a time.

    The processes end with the iteration; trials that were running then are lost.

    Args:
        make_objective: Called once in each process; must be picklable.
        n_processes: Trials at a time.
        points: Drawn when a process is idle.
        should_prune: Called with each score; the process waits for the answer.

    Raises:
        KgrecError: A process was ended from outside.
    """
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    processes = []
    idle: list[Connection] = []
    running: dict[Connection, int] = {}
    try:
        for _ in range(n_processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make_objective), daemon=True)
            with _interrupts_held():
                process.start()
            theirs.close()
            processes.append(process)
            idle.append(ours)
        while True:
            while idle and (trial := next(points, None)):
                running[idle[-1]] = trial[0]
                idle.pop().send(trial[1])
            if not running:
                return
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                message = connection.recv()
                if isinstance(message, tuple):
                    connection.send(should_prune(running[connection], *message))
                else:
                    idle.append(connection)
                    yield running.pop(connection), message
    except (EOFError, ConnectionError) as error:
        raise KgrecError(
            "a process of the search was ended from outside (out of memory?); finished trials are "
            "kept, and the same command with fewer --jobs goes on"
        ) from error
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


def run_in_threads(
    objective: Objective,
    n_threads: int,
    device: torch.device,
    points: Points,
    should_prune: ShouldPrune,
) -> Outcomes:
    """Yields the outcome of each trial; each thread launches one at a time on one GPU.

    A small model leaves most of a GPU idle, so several trials run side by side, each on a stream.
    One thread at a time launches work, so that each trial's numbers are those of a trial alone.

    Args:
        objective: Trains on `device`.
        n_threads: Trials at a time.
        device: A GPU.
        points: Drawn when a thread is idle.
        should_prune: Called with each score, by the calling thread; the trial waits for the answer.
    """
    messages: Queue[tuple[int, Any, Queue[bool] | None]] = Queue()
    is_over = threading.Event()

    def run(number: int, point: Params, stream: torch.cuda.Stream | None) -> None:
        def report(step: int, score: float) -> None:
            answer: Queue[bool] = Queue()
            with TURNS.given_up():
                messages.put((number, (step, score), answer))
                if is_over.is_set() or answer.get():
                    raise Pruned

        try:
            with TURNS.taken(), torch.cuda.stream(stream):
                outcome: Outcome | BaseException = _attempt(objective, point, report)
        except BaseException as error:  # raised again where the outcomes are read
            outcome = error
        messages.put((number, outcome, None))

    make_stream = torch.cuda.Stream if device.type == "cuda" else lambda device: None
    idle = [make_stream(device) for _ in range(n_threads)]
    running: dict[int, Any] = {}
    threads = []
    try:
        while True:
            while idle and (trial := next(points, None)):
                running[trial[0]] = idle.pop()
                given = (*trial, running[trial[0]])
                threads.append(threading.Thread(target=run, args=given, daemon=True))
                threads[-1].start()
            if not running:
                return
            number, message, answer = messages.get()
            if answer is not None:
                answer.put(should_prune(number, *message))
            elif isinstance(message, BaseException) and not isinstance(message, Outcome):
                raise message
            else:
                idle.append(running.pop(number))
                yield number, message
    finally:
        is_over.set()
        while any(thread.is_alive() for thread in threads):
            with suppress(Empty):
                *_, answer = messages.get(timeout=0.1)
                if answer is not None:
                    answer.put(True)


def _attempt(objective: Objective, point: Params, report: Report) -> Outcome:
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
                connection.send(_attempt(objective, point, report))
