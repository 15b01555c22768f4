"""Trials as tasks of Ray, on this machine or on a cluster: one task a trial, few in flight.

Ray Tune's own driver slows down with the number of trials; here it holds only those that run.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Generator
from importlib import import_module
from typing import Any

from kgrec_cli.core.tuning.executors import (
    MAX_RETRIES,
    Objective,
    Outcome,
    Points,
    Pruned,
    ShouldPrune,
    attempt,
)
from kgrec_cli.core.tuning.space import Params
from kgrec_cli.errors import KgrecError


class Mailbox:
    """An actor that scores go through, each answered by the driver."""

    def __init__(self) -> None:
        self.scores: list[tuple[int, int, float]] = []
        self.answers: dict[int, asyncio.Future[bool]] = {}
        self.is_full = asyncio.Event()

    async def report(self, number: int, step: int, score: float) -> bool:
        """Whether to give the trial up; waits for the driver."""
        self.answers[number] = asyncio.get_running_loop().create_future()
        self.scores.append((number, step, score))
        self.is_full.set()
        return await self.answers[number]

    async def take(self) -> list[tuple[int, int, float]]:
        """The scores that came since the last call, at least one."""
        await self.is_full.wait()
        self.is_full.clear()
        scores, self.scores = self.scores, []
        return scores

    async def answer(self, answers: dict[int, bool]) -> None:
        """What the driver says of the scores that it took."""
        for number, answer in answers.items():
            if not self.answers[number].done():
                self.answers[number].set_result(answer)


_objectives: dict[str, Objective] = {}  # of a worker process


def _run(make_objective: Callable[[], Objective], number: int, point: Params, mail: Any) -> Outcome:
    """One trial, in a worker process that keeps the data for the next one."""
    import ray

    def report(step: int, score: float) -> None:
        if ray.get(mail.report.remote(number, step, score)):
            raise Pruned

    key = str(make_objective)
    try:
        if key not in _objectives:
            _objectives[key] = make_objective()
    except KgrecError as error:
        return error
    return attempt(_objectives[key], point, report)


def load_ray() -> Any:
    """The module of Ray.

    Raises:
        KgrecError: It is not installed.
    """
    try:
        return import_module("ray")
    except ImportError as error:
        raise KgrecError(
            "--executor ray needs Ray: found none, install it with pip install 'kgrec[ray]'"
        ) from error


def run_on_ray(
    make_objective: Callable[[], Objective],
    n_at_once: int | None,
    address: str | None,
    points: Points,
    should_prune: ShouldPrune,
    *,
    n_threads: int = 1,
    n_gpus: float = 0,
) -> Generator[tuple[int, Outcome], None, None]:
    """Yields the outcome of each trial; Ray runs a trial again whose worker was killed.

    Args:
        make_objective: Called once in each worker process; must be picklable, and find its files
            there.
        n_at_once: Trials in flight at most. None: as many as the cluster has room for.
        address: Of a cluster; None starts Ray on this machine and ends it afterwards.
        points: Drawn when a place is free.
        should_prune: Called with each score; the trial waits for the answer.
        n_threads: CPUs of a trial.
        n_gpus: GPUs of a trial.

    Raises:
        KgrecError: No Ray, no cluster at the address, or a worker that was killed again and again.
    """
    ray = load_ray()
    is_mine = not ray.is_initialized()
    try:
        host, _, port = (address or "").rpartition(":")
        if host and port.isdecimal() and "//" not in host:  # Ray itself waits for minutes
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(
            address=address or "local", include_dashboard=None if address else False,
            log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True,
        )  # fmt: skip
    except Exception as error:  # what Ray raises when its processes do not start in time
        reason = str(error).strip().partition("\n")[0]
        if address is None:
            raise KgrecError(f"Ray did not start on this machine ({reason})") from error
        raise KgrecError(
            f"--address {address}: no Ray cluster there ({reason}); start one with ray start --head"
        ) from error
    try:
        here = ray.cluster_resources()
        if here.get("CPU", 0) < n_threads or here.get("GPU", 0) < n_gpus:
            raise KgrecError(
                f"Ray: found {here.get('CPU', 0):g} CPUs and {here.get('GPU', 0):g} GPUs, a trial "
                f"needs {n_threads} and {n_gpus:g}; set --threads or --device"
            )
        n_fitting = int(here.get("CPU", 1) // n_threads)
        if n_gpus:
            n_fitting = min(n_fitting, int(here["GPU"] / n_gpus))
        mail = ray.remote(num_cpus=0, max_concurrency=10_000)(Mailbox).remote()
        task = ray.remote(num_cpus=n_threads, num_gpus=n_gpus, max_retries=MAX_RETRIES)(_run)
        maker = ray.put(make_objective)
        running: dict[Any, int] = {}
        scores = mail.take.remote()
        while True:
            while len(running) < (n_at_once or n_fitting) and (trial := next(points, None)):
                running[task.remote(maker, *trial, mail)] = trial[0]
            if not running:
                return
            (ready,), _ = ray.wait([*running, scores], num_returns=1)
            if ready != scores:
                yield running.pop(ready), ray.get(ready)
                continue
            found = ray.get(scores)
            mail.answer.remote({number: should_prune(number, *told) for number, *told in found})
            scores = mail.take.remote()
    except ray.exceptions.RayError as error:
        raise KgrecError(
            f"Ray: {type(error).__name__}, {str(error).strip().partition(chr(10))[0]}; finished "
            "trials are saved, the same command resumes (out of memory? fewer --jobs)"
        ) from error
    finally:
        if is_mine:
            ray.shutdown()
