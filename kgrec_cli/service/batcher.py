"""Requests that wait are computed together, in the thread of the event loop.

No other thread takes part: on one core two threads would only wait for each other. While a batch is
computed, new requests wait in their sockets and make the next one.
"""

import asyncio
from collections import deque
from typing import NamedTuple

import numpy as np

from kgrec_cli.service.scorer import Floats, Items, Scorer

MAX_ROWS = 16
MAX_WAITING = 512


class Overloaded(Exception):
    """More requests wait than can be answered in time."""


class _Job(NamedTuple):
    scorer: Scorer
    items: Items
    start: Floats | None
    done: asyncio.Future[tuple[Floats, Floats]]


class Batcher:
    """The requests that wait for scores."""

    def __init__(self) -> None:
        self._waiting: deque[_Job] = deque()

    async def read(
        self, scorer: Scorer, items: Items, start: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """The state (K, G, H) after the items, and the scores of all items (N,) to be written to.

        Args:
            scorer: The weights.
            items: Item ids, oldest first, not empty.
            start: The state before them; None for the one of no item.

        Raises:
            Overloaded: Too many wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run, loop)
        job = _Job(scorer, items, start, loop.create_future())
        self._waiting.append(job)
        return await job.done

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answers the first requests, up to MAX_ROWS of one model."""
        scorer = self._waiting[0].scorer
        batch: list[_Job] = []
        while self._waiting and len(batch) < MAX_ROWS and self._waiting[0].scorer is scorer:
            job = self._waiting.popleft()
            if not job.done.cancelled():
                batch.append(job)
        if self._waiting:
            loop.call_soon(self._run, loop)
        if not batch:
            return
        try:
            starts = [scorer.start if job.start is None else job.start for job in batch]
            states = scorer.read([job.items for job in batch], starts)
            scored = scorer.score(states, np.array([job.items[-1] for job in batch]))
            for job, state, scores in zip(batch, states, scored, strict=True):
                job.done.set_result((state, scores))
        except Exception as error:
            for job in batch:
                if not job.done.done():
                    job.done.set_exception(error)
