"""How fast a task is, by hand: what is left out, what ends it."""

import itertools

import pytest

from kgrec_cli.core import pace
from kgrec_cli.core.pace import Enough, Pace
from kgrec_cli.events import Note, Progress


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times at which the clock is looked at, first to last."""
    times: list[float] = []
    monkeypatch.setattr(pace.time, "perf_counter", lambda: times.pop(0))
    return times


def test_the_pace_leaves_out_what_comes_before_the_first_report(seconds: list[float]) -> None:
    seconds += [0, 4, 5, 7, 9, 10]
    watched = Pace(100, "epoch ")
    for task, done in (("epoch 1", 10), ("epoch 1", 30), ("other", 9), ("epoch 2", 5)):
        watched(Progress(task, done, 100))
    assert watched.unit_s == 1 / 20  # of epoch 1 alone: 20 in a second; of epoch 2 one report
    watched(Progress("epoch 2", 35, 100))
    assert watched.unit_s == (1 + 1) / (20 + 30)


def test_enough_comes_after_the_time_but_not_before_two_reports(seconds: list[float]) -> None:
    seconds += [0, *itertools.repeat(6, 4)]
    watched = Pace(5, "epoch ")
    watched(Note("no progress"))
    watched(Progress("validation", 1, 2))
    watched(Progress("epoch 1", 1, 2))
    assert watched.unit_s is None
    with pytest.raises(Enough):
        watched(Progress("epoch 1", 2, 2))
