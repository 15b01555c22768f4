"""A small space, objectives that note their points, and a search of them in this process."""

import json
from functools import partial
from pathlib import Path

from kgrec_cli.core.tuning.executors import TrialResult, run_serially
from kgrec_cli.core.tuning.search import run_search
from kgrec_cli.core.tuning.space import (
    Choice,
)

MEMORY = "sqlite:///:memory:"
GRID = {"a": Choice((1, 2, 3)), "b": Choice(([8, 8], None))}


def point_key(point) -> str:
    return json.dumps(point, sort_keys=True)


def score(value: float) -> TrialResult:
    return TrialResult({"ndcg@10": value}, {"ndcg@10": value / 2}, value)


class Visits:
    """An objective that notes its points; `stop_at` raises at that call."""

    def __init__(self, score_of=lambda point: 0.0, stop_at=None, error=None):
        self.points = []
        self.score_of = score_of
        self.stop_at = stop_at
        self.error = error or KeyboardInterrupt()

    def __call__(self, point, report):
        if self.stop_at is not None and len(self.points) + 1 == self.stop_at:
            self.stop_at = None
            raise self.error
        self.points.append(dict(point))
        return score(self.score_of(point))


def search(space, objective, **options):
    options = {"storage_url": MEMORY, "study_name": "s"} | options
    return run_search(space, partial(run_serially, objective), **options)


def file_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'study.db'}"
