"""Trials in processes: the same points and scores as one after the other, and how they end."""

import multiprocessing
import os
import signal
from contextlib import closing
from functools import partial
from itertools import islice

import pytest

from kgrec_cli.core.tuning.executors import (
    Pruned,
    RunTrials,
    TrialResult,
    run_in_processes,
    run_serially,
)
from kgrec_cli.core.tuning.search import run_search
from kgrec_cli.core.tuning.space import Choice
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Warn

SPACE = {"a": Choice((1, 2, 3)), "b": Choice((0.5, 0.25))}


def value_of(point, report):
    score = point["a"] + point["b"]
    report(1, score)
    return TrialResult({"ndcg@10": score}, {"ndcg@10": score / 2}, score)


def failing_once(point, report):
    if point == {"a": 2, "b": 0.25}:
        raise KgrecError("a is 2")
    return value_of(point, report)


def killed(point, report):
    os.kill(os.getpid(), signal.SIGKILL)


def in_three_steps(point, report):
    for step in range(1, 4):
        report(step, 0.0)
    return value_of(point, lambda *told: None)


def blocked_signals(point, report):
    blocked = float(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
    return TrialResult({}, {}, blocked)


def make(objective):
    return Making(objective)


class Making:
    """Makes an objective in another process; a lambda could not travel there."""

    def __init__(self, objective):
        self.objective = objective

    def __call__(self):
        return self.objective


def refuse():
    raise KgrecError("no data here")


def alone(objective) -> RunTrials:
    return partial(run_serially, objective)


def processes(make_objective, n_processes) -> RunTrials:
    return partial(run_in_processes, make_objective, n_processes)


def search(run_trials, **options):
    options = {"storage_url": "sqlite:///:memory:", "study_name": "s"} | options
    return run_search(SPACE, run_trials, **options)


def test_several_find_what_one_after_the_other_finds():
    serial = search(alone(value_of))
    together = search(processes(make(value_of), 2))
    assert together.stopped == serial.stopped == "exhausted"
    assert together.best.params == serial.best.params == {"a": 3, "b": 0.5}
    scores = [
        {tuple(trial.params.items()): (trial.score, trial.test) for trial in result.trials}
        for result in (serial, together)
    ]
    assert scores[0] == scores[1]
    assert len(together.trials) == 6


def test_max_trials_counts_those_that_are_running():
    assert len(search(processes(make(value_of), 2), max_trials=3).trials) == 3


def test_a_failed_trial_is_told_and_the_others_go_on():
    told = []
    result = search(processes(make(failing_once), 2), on_event=told.append)
    assert sorted(trial.state for trial in result.trials) == ["complete"] * 5 + ["failed"]
    assert sum("a is 2" in event.text for event in told if isinstance(event, Warn)) == 1


@pytest.mark.parametrize("run_trials", [alone(in_three_steps), processes(make(in_three_steps), 1)])
def test_a_trial_that_is_given_up_ends_there(run_trials):
    asked = []

    def judge(trial, step, score):
        asked.append((trial, step, score))
        return step == 2

    ((number, outcome),) = run_trials(iter([(7, {"a": 1, "b": 0.5})]), judge)
    assert number == 7
    assert isinstance(outcome, Pruned)
    assert asked == [(7, 1, 0.0), (7, 2, 0.0)]


@pytest.mark.parametrize(
    ("maker", "message"), [(refuse, "no data here"), (make(killed), "fewer --jobs")]
)
def test_processes_that_cannot_work_end_the_search_in_one_line(maker, message):
    with pytest.raises(KgrecError, match=message):
        search(processes(maker, 2))
    assert multiprocessing.active_children() == []


def test_no_more_processes_start_than_there_are_trials():
    trials = iter([(7, {"a": 1, "b": 0.5})])
    with closing(run_in_processes(make(value_of), 4, trials, lambda *told: False)) as outcomes:
        assert next(outcomes)[0] == 7
        assert len(multiprocessing.active_children()) == 1


def test_a_process_that_cannot_be_started_is_one_line(monkeypatch):
    def fail(self):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", fail)
    with pytest.raises(KgrecError, match=r"process 1 of .* \(Resource temp.*with fewer --jobs"):
        search(processes(make(value_of), 2))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks on Windows")
def test_processes_do_not_meet_ctrl_c_and_this_one_still_does():
    assert search(processes(make(blocked_signals), 1), max_trials=1).trials[0].score == 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_an_executor_that_runs_trials_in_batches():
    """What the seam asks of one: draw points, ask the judge, yield each outcome."""
    batches = []

    def run_batches(points, judge):
        while batch := list(islice(points, 4)):
            batches.append([point for _, point in batch])
            for number, point in reversed(batch):
                yield number, value_of(point, partial(judge, number))

    result = search(run_batches)
    assert [len(batch) for batch in batches] == [4, 2]
    assert result.stopped == "exhausted"
    assert len({tuple(trial.params.items()) for trial in result.trials}) == 6
    assert result.trials[0].params == batches[0][3]
    assert len(search(run_batches, max_trials=5).trials) == 5


def test_an_early_stop_waits_for_the_trials_that_run():
    """Two without progress end the search, unless one that ran meanwhile is better."""
    scores = iter([5, 1, 1, 9, 0, 0])

    def run_two_at_a_time(points, judge):
        started = list(islice(points, 2))
        while started:
            number, _ = started.pop(0)
            yield number, TrialResult({}, {}, next(scores))
            started += islice(points, 1)

    result = search(run_two_at_a_time, early_stop=2)
    assert [trial.score for trial in result.trials] == [5, 1, 1, 9, 0, 0]
