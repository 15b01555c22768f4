"""Trials that are given up or fail, and what is told of them."""

import math
import statistics
import warnings

import pytest

from kgrec_cli.core.tuning.executors import TrialResult
from kgrec_cli.core.tuning.search import SEARCHES
from kgrec_cli.core.tuning.space import (
    Choice,
)
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, Progress, Warn
from tests.core.tuning.searches import GRID, Visits, file_url, score, search


def test_a_hopeless_trial_is_pruned():
    def climb(point, report):
        for step in range(1, 4):
            report(step, step * point["slope"])
        return score(3 * point["slope"])

    space = {"slope": Choice(tuple(range(1, 16)))}
    result = search(space, climb, pruner="median")
    complete: list[int] = []
    for trial in result.trials:
        slope = trial.params["slope"]
        if len(complete) >= 5 and slope < statistics.median(complete):
            assert (trial.state, trial.n_reports, trial.score) == ("pruned", 1, slope)
        else:
            complete.append(slope)
            assert (trial.state, trial.n_reports, trial.score) == ("complete", 3, 3 * slope)
    assert len(complete) < 15
    assert result.best.params == {"slope": 15}
    assert search(space, climb, pruner="none", max_trials=7).trials[6].state == "complete"


@pytest.mark.parametrize(("pruner", "rungs"), [("asha", {1, 4}), ("hyperband", {1, 3, 9})])
def test_halving_prunes_at_its_steps_and_keeps_the_best(pruner, rungs):
    def climb(point, report):
        for step in range(1, 10):
            report(step, step * point["slope"])
        return score(9 * point["slope"])

    result = search({"slope": Choice(tuple(range(15)))}, climb, pruner=pruner, seed=2024)
    assert {trial.n_reports for trial in result.trials if trial.state == "pruned"} == rungs
    assert result.best.params["slope"] == 14


def test_asha_asks_at_epochs_1_4_and_16():
    """Four trials, each better than the last, then one that falls behind at each of the three."""
    heights = [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (8, 8, 0), (9, 0, 9), (0, 9, 9)]
    trials = iter(heights)

    def climb(point, report):
        from_1, from_4, from_16 = next(trials)
        for step in range(1, 21):
            report(step, from_1 if step < 4 else from_4 if step < 16 else from_16)
        return score(from_16)

    result = search({"slope": Choice(tuple(range(7)))}, climb, pruner="asha")
    assert [trial.n_reports for trial in result.trials] == [20, 20, 20, 20, 16, 4, 1]
    assert [trial.state for trial in result.trials] == ["complete"] * 4 + ["pruned"] * 3


def test_an_objective_that_catches_errors_is_pruned_all_the_same():
    def climb(point, report):
        try:
            for step in range(1, 4):
                report(step, step * point["slope"])
        except KgrecError:
            pytest.fail("Pruned is no error of the objective")
        return score(3 * point["slope"])

    result = search({"slope": Choice(tuple(range(1, 16)))}, climb, pruner="median")
    assert any(trial.state == "pruned" for trial in result.trials)


def test_a_failed_trial_is_told_and_not_run_again(tmp_path):
    events = []
    visits = Visits(lambda p: p["a"], stop_at=3, error=KgrecError("the loss is nan"))
    result = search(GRID, visits, storage_url=file_url(tmp_path), on_event=events.append)
    assert result.stopped == "exhausted"
    assert len(visits.points) == 5
    failed = [trial for trial in result.trials if trial.state == "failed"]
    assert [(trial.number, trial.error) for trial in failed] == [(3, "the loss is nan")]
    assert [event.text for event in events if isinstance(event, Warn)] == [
        f"trial 3 failed: the loss is nan (a {failed[0].params['a']}, b {failed[0].params['b']})"
    ]
    assert search(GRID, Visits(), storage_url=file_url(tmp_path)).n_new == 0


def test_a_score_that_is_no_number_fails_its_trial():
    scores = iter([1.0, math.nan, 2.0])
    result = search({"a": Choice((1, 2, 3))}, Visits(lambda p: next(scores)))
    assert [trial.state for trial in result.trials] == ["complete", "failed", "complete"]
    assert "the score is nan" in result.trials[1].error
    assert result.best.score == 2


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_metric_that_is_no_number_fails_its_trial(part, number):
    results = iter(
        [
            score(0.1),
            TrialResult(**{"valid": {}, "test": {}, part: {"ndcg@10": number}}, score=1.0),
            score(0.2),
        ]
    )
    result = search({"a": Choice((1, 2, 3))}, lambda point, report: next(results))
    assert [trial.state for trial in result.trials] == ["complete", "failed", "complete"]
    assert result.trials[1].error == f"ndcg@10 is {number}, expected a finite number"
    assert result.best.score == 0.2


def test_an_error_before_any_success_ends_the_search():
    with pytest.raises(KgrecError, match=r"trial 1 failed: no such metric \(a"):
        search(GRID, Visits(stop_at=1, error=KgrecError("no such metric")))


def test_events_tell_each_trial_and_how_far_it_is():
    events = []
    search(GRID, Visits(lambda p: p["a"]), max_trials=2, on_event=events.append)
    progress = [(event.done, event.total) for event in events if isinstance(event, Progress)]
    assert progress == [(0, 2), (1, 2), (2, 2)]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert [note[:8] for note in notes] == ["trial 1:", "trial 2:"]


def test_nothing_is_printed_and_no_warning_shown(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in SEARCHES:
            for pruner in ("none", "hyperband"):
                study = f"{name}-{pruner}"
                search(
                    GRID,
                    Visits(),
                    storage_url=file_url(tmp_path),
                    study_name=study,
                    search=name,
                    pruner=pruner,
                    max_trials=1,
                )
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
