"""A search that was interrupted or killed goes on to the points of one that was not."""

import signal
import subprocess
import sys
from collections import Counter

import optuna
import pytest
from optuna.trial import TrialState

from kgrec_cli.core.tuning.search import SEARCHES
from kgrec_cli.core.tuning.space import (
    Choice,
    LogUniform,
    QUniform,
    Uniform,
)
from kgrec_cli.errors import KgrecError
from tests.core.tuning.searches import GRID, Visits, file_url, point_key, search


@pytest.mark.parametrize("name", SEARCHES)
def test_an_interrupted_search_goes_on_to_the_same_points(tmp_path, name):
    def value(point):
        return point["a"] - 2 * (point["b"] is None)

    whole = Visits(value)
    search(GRID, whole, search=name, max_trials=6)
    first = Visits(value, stop_at=4)
    options = {"storage_url": file_url(tmp_path), "search": name, "max_trials": 6}
    stopped = search(GRID, first, **options)
    assert (stopped.stopped, stopped.n_new) == ("interrupted", 3)
    second = Visits(value)
    result = search(GRID, second, **options)
    assert first.points + second.points == whole.points
    assert result.n_new == 3
    study = optuna.load_study(study_name="s", storage=options["storage_url"])
    assert Counter(trial.state.name for trial in study.trials) == {"COMPLETE": 6, "FAIL": 1}


def test_the_interrupted_point_comes_first_even_under_another_seed(tmp_path):
    url = file_url(tmp_path)
    met = []

    def die(point, report):
        met.append(point)
        raise KeyboardInterrupt

    assert search(GRID, die, storage_url=url, search="random", seed=1).stopped == "interrupted"
    after = Visits()
    search(GRID, after, storage_url=url, search="random", seed=2, max_trials=2)
    assert after.points[0] == met[0]


KILLED = """
import os, signal, sys
from functools import partial
from kgrec_cli.core.tuning.executors import TrialResult, run_serially
from kgrec_cli.core.tuning.search import run_search
from kgrec_cli.core.tuning.space import Choice

url, log = sys.argv[1:]
space = {"a": Choice((1, 2, 3)), "b": Choice(([8, 8], None))}

def objective(point, report):
    report(1, 0.5)
    if os.path.getsize(log) > 0 and open(log).read().count("\\n") == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(log, "a") as file:
        file.write(repr(point) + "\\n")
    return TrialResult({}, {}, float(point["a"]))

run_search(space, partial(run_serially, objective), storage_url=url, study_name="s")
"""


def test_exhaustive_visits_every_point_once_across_a_kill(tmp_path):
    log = tmp_path / "log"
    log.touch()
    url = file_url(tmp_path)
    killed = subprocess.run([sys.executable, "-c", KILLED, url, str(log)], check=False)
    assert killed.returncode == -signal.SIGKILL
    finished = log.read_text().splitlines()
    assert len(finished) == 2
    visits = Visits(lambda p: float(p["a"]))
    space = {"a": Choice((1, 2, 3)), "b": Choice(([8, 8], None))}
    result = search(space, visits, storage_url=url)
    every = finished + [repr(point) for point in visits.points]
    assert len(every) == len(set(every)) == 6
    assert result.stopped == "exhausted"
    assert result.best.score == 3


def test_a_study_goes_on_when_the_lines_of_its_space_change_places(tmp_path):
    first, second = Visits(), Visits()
    search(GRID, first, storage_url=file_url(tmp_path), max_trials=2)
    turned = {name: GRID[name] for name in reversed(GRID)}
    result = search(turned, second, storage_url=file_url(tmp_path))
    keys = [point_key(point) for point in first.points + second.points]
    assert len(set(keys)) == len(keys) == len(result.trials) == 6


def search_killed(objective, url):
    """A search whose process was killed in its last trial: that trial still runs in the study."""
    search(GRID, objective, storage_url=url)
    study = optuna.load_study(study_name="s", storage=url)
    (trial,) = study.get_trials(states=(TrialState.FAIL,))
    study._storage.create_new_trial(
        study._study_id,
        optuna.create_trial(
            state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions,
            user_attrs=trial.user_attrs,
        ),
    )  # fmt: skip
    (running,) = study.get_trials(states=(TrialState.RUNNING,))
    return study, running


@pytest.mark.parametrize("moment", ["running", "queued again", "asked, without its params"])
def test_no_point_is_lost_or_twice_whatever_the_moment_of_the_kill(tmp_path, moment):
    url = file_url(tmp_path)
    first = Visits(stop_at=3)
    study, running = search_killed(first, url)
    if moment == "queued again":
        study.enqueue_trial(running.params, user_attrs=running.user_attrs)
    elif moment == "asked, without its params":
        study.tell(running.number, state=TrialState.FAIL)
        study.enqueue_trial(running.params, user_attrs=running.user_attrs)
        assert study.ask().params == {}
    second = Visits()
    result = search(GRID, second, storage_url=url)
    keys = [point_key(point) for point in first.points + second.points]
    assert len(set(keys)) == len(keys) == len(result.trials) == 6
    assert second.points[0] == running.user_attrs["params"]


def test_a_retry_takes_over_no_metrics(tmp_path):
    """The process died after the metrics were noted, before the trial was told to be complete."""
    url = file_url(tmp_path)
    study, running = search_killed(Visits(stop_at=2), url)
    study._storage.set_trial_user_attr(running._trial_id, "valid", {"ndcg@10": 1.0})
    failing = Visits(stop_at=1, error=KgrecError("the loss is nan"))
    result = search(GRID, failing, storage_url=url)
    assert (result.trials[1].state, result.trials[1].valid) == ("failed", {})


def test_a_failure_that_was_noted_before_the_kill_is_not_run_again(tmp_path):
    """The process died between the two writes of `SharedStudy.end`."""
    url = file_url(tmp_path)
    study, running = search_killed(Visits(stop_at=2), url)
    study._storage.set_trial_user_attr(running._trial_id, "error", "the loss is nan")
    after = Visits()
    result = search(GRID, after, storage_url=url)
    assert [trial.state for trial in result.trials] == ["complete", "failed", *["complete"] * 4]
    assert result.trials[1].error == "the loss is nan"
    assert running.user_attrs["params"] not in after.points


def test_what_a_study_notes_of_its_making(tmp_path):
    """Studies of former versions hold this text: with another they would not go on."""
    space = {
        "a": Choice((True, None, "x")),
        "b": Choice(([8, 8], 0.5)),
        "q": QUniform(32, 128, 32),
        "u": Uniform(0.0, 0.5),
        "l": LogUniform(-8.0, -2.0),
    }
    options = {"storage_url": file_url(tmp_path), "settings": {"epochs": 20}}
    search(space, Visits(), search="random", max_trials=1, **options)
    study = optuna.load_study(study_name="s", storage=file_url(tmp_path))
    assert study.user_attrs["made_with"] == {
        "space": {
            "a": 'choice [true, null, "x"]',
            "b": "choice [[8, 8], 0.5]",
            "q": "quniform 32,128,32",
            "u": "uniform 0.0,0.5",
            "l": "loguniform -8.0,-2.0",
        },
        "settings": {"epochs": 20, "direction": "maximize"},
    }
