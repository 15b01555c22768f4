"""How fast a task is, by hand: what is left out, what ends it."""

import itertools

import pytest

from kgrec_cli.core import pace
from kgrec_cli.core.pace import Enough, Forecasting, Pace
from kgrec_cli.events import EpochDone, Event, Forecast, Note, Progress


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


@pytest.mark.parametrize(
    ("epochs", "first", "is_told"),
    [
        (30, Note("loaded"), True),
        (5, Note("loaded"), False),  # 50 seconds: not worth a line
        (30, EpochDone(1, 30, 1.0, 1.0, 1.0, 29.0), False),  # the table of epochs says it
    ],
)
def test_a_long_training_says_once_what_is_ahead(
    seconds: list[float], epochs: int, first: Event, is_told: bool
) -> None:
    seconds += [0, 1, 6, 7]
    heard: list[Event] = []
    listen = Forecasting(heard.append, epochs)
    told: list[Event] = [first, *(Progress("epoch 1", done, 100) for done in (10, 60, 70))]
    for event in told:
        listen(event)
    forecasts = [event for event in heard if isinstance(event, Forecast)]
    assert [event for event in heard if event not in forecasts] == told
    assert [(f.epoch_s, f.epochs, f.runs) for f in forecasts] == [(10.0, epochs, 1)] * is_told


def test_a_search_counts_epochs_of_all_its_trials(seconds: list[float]) -> None:
    seconds += [0, 1, 6]
    heard: list[Event] = []
    listen = Forecasting(heard.append, 30, 90, "trials")
    for done in (1, 11):
        listen.listen(Progress("trials", done, 2700, "epochs"))
    assert [(f.epoch_s, f.epochs, f.runs) for f in heard if isinstance(f, Forecast)] == [
        (0.5, 30, 90)
    ]
    assert len(heard) == 1  # nothing else is passed on
