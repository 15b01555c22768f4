import json
import math
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_cli.core.tuning.executors import TrialResult, run_serially
from kgrec_cli.core.tuning.search import SEARCHES, propose, run_search
from kgrec_cli.core.tuning.space import (
    Choice,
    LogUniform,
    QUniform,
    Uniform,
    count_points,
    decode_point,
    to_distributions,
)
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Note, Progress, Warn

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


# ---- known answers


def test_exhaustive_visits_every_point_once_and_finds_the_best():
    visits = Visits(lambda p: p["a"] + (p["b"] is None))
    result = search(GRID, visits)
    assert Counter(map(point_key, visits.points)) == Counter(
        point_key({"a": a, "b": b}) for a in (1, 2, 3) for b in ([8, 8], None)
    )
    assert result.stopped == "exhausted"
    assert result.n_new == len(result.trials) == 6
    assert result.best.params == {"a": 3, "b": None}
    assert result.best.score == 4
    assert result.best.test == {"ndcg@10": 2}
    assert [trial.number for trial in result.trials] == list(range(1, 7))


def test_the_seed_orders_the_points():
    first, again, other = Visits(), Visits(), Visits()
    for visits, seed in ((first, 1), (again, 1), (other, 2)):
        search(GRID, visits, seed=seed)
    assert first.points == again.points != other.points


def test_a_trial_says_how_long_it_took():
    def slow(point, report):
        time.sleep(0.05)
        return score(0)

    (trial,) = search({"a": Choice((1,))}, slow).trials
    assert trial.elapsed_s >= 0.05


def test_minimize():
    result = search(GRID, Visits(lambda p: p["a"]), direction="minimize")
    assert result.best.score == 1


def points_in_memory(space, name, n_points, seed, score_of=lambda point: 0.0) -> list:
    """The first points of a search, each with its score known before the next."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    points = []
    for place in range(n_points):
        params = propose(study, space, name, f"{seed}/{place}")
        points.append(decode_point(space, params))
        study.add_trial(
            optuna.create_trial(
                params=params, distributions=to_distributions(space), value=score_of(points[-1])
            )
        )
    return points


axes = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@settings(deadline=None)
@given(axes, st.integers(0, 5), st.sampled_from(sorted(SEARCHES)))
def test_points_are_the_product_each_once_whatever_the_search(sizes, seed, name):
    space = {f"p{place}": Choice(tuple(range(size))) for place, size in enumerate(sizes)}
    n_points = math.prod(sizes)
    points = [point_key(point) for point in points_in_memory(space, name, n_points, seed)]
    assert n_points == count_points(space)
    assert len(set(points)) == n_points


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_order_of_points_is_shuffled_by_the_seed():
    space = {"a": Choice(tuple(range(10))), "b": Choice(tuple(range(10)))}
    first, other, again = (
        points_in_memory(space, "exhaustive", 20, seed=seed) for seed in (1, 2, 1)
    )
    assert first == again
    assert first != other
    a_seen = {point["a"] for point in first}
    assert len(a_seen) > 5  # a search cut short has seen all of the space


def test_tpe_finds_the_top_of_a_hill_better_than_random():
    space = {"x": Uniform(-5.0, 5.0), "y": Uniform(-5.0, 5.0)}

    def height(point):
        return -((point["x"] - 2) ** 2) - (point["y"] + 1) ** 2

    found = {
        name: [
            max(map(height, points_in_memory(space, name, 30, seed, height)))
            for seed in range(1, 6)
        ]
        for name in ("random", "tpe")
    }
    assert min(found["tpe"]) > -0.5
    assert sum(found["tpe"]) > sum(found["random"])


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_no_point_is_run_twice_even_when_few_are_left(name):
    visits = Visits(lambda p: p["a"])
    result = search(GRID, visits, search=name, max_trials=30)
    assert result.stopped == "exhausted"
    assert len(set(map(point_key, visits.points))) == len(visits.points) == 6


def test_max_trials_counts_earlier_calls(tmp_path):
    url = file_url(tmp_path)
    first = search(GRID, Visits(), storage_url=url, max_trials=3)
    assert (first.stopped, first.n_new) == ("max_trials", 3)
    again = search(GRID, Visits(), storage_url=url, max_trials=3)
    assert (again.stopped, again.n_new, len(again.trials)) == ("max_trials", 0, 3)
    more = search(GRID, Visits(), storage_url=url, max_trials=4)
    assert (more.n_new, len(more.trials)) == (1, 4)
    assert more.trials[:3] == first.trials


def test_early_stop_after_trials_without_progress():
    scores = iter([1, 2, 2, 1, 3, 0, 3, 3, 9])
    result = search({"a": Choice(tuple(range(9)))}, Visits(lambda p: next(scores)), early_stop=3)
    assert result.stopped == "early_stop"
    assert [trial.score for trial in result.trials] == [1, 2, 2, 1, 3, 0, 3, 3]


# ---- resume


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


@pytest.mark.parametrize("moment", ["running", "queued again", "asked, without its params"])
def test_no_point_is_lost_or_twice_whatever_the_moment_of_the_kill(tmp_path, moment):
    url = file_url(tmp_path)
    first = Visits(stop_at=3)
    search(GRID, first, storage_url=url)
    study = optuna.load_study(study_name="s", storage=url)
    (running,) = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    if moment == "queued again":
        study.enqueue_trial(running.params, user_attrs=running.user_attrs)
    elif moment == "asked, without its params":
        study.tell(running.number, state=optuna.trial.TrialState.FAIL)
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
    search(GRID, Visits(stop_at=2), storage_url=url)
    study = optuna.load_study(study_name="s", storage=url)
    (running,) = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    study._storage.set_trial_user_attr(running._trial_id, "valid", {"ndcg@10": 1.0})
    failing = Visits(stop_at=1, error=KgrecError("the loss is nan"))
    result = search(GRID, failing, storage_url=url)
    assert (result.trials[1].state, result.trials[1].valid) == ("failed", {})


def test_a_failure_that_was_noted_before_the_kill_is_not_run_again(tmp_path):
    """The process died between the two writes of `_end_trial`."""
    url = file_url(tmp_path)
    search(GRID, Visits(stop_at=2), storage_url=url)
    study = optuna.load_study(study_name="s", storage=url)
    (running,) = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
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


# ---- pruning, failures, events


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

    result = search({"slope": Choice(tuple(range(15)))}, climb, pruner=pruner)
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


def test_a_trial_without_a_number_in_an_older_study_is_not_its_best(tmp_path):
    search({"a": Choice((1, 2))}, Visits(lambda p: p["a"]), storage_url=file_url(tmp_path))
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json = '{\"ndcg@10\": NaN}' "
            "WHERE key = 'valid' AND trial_id = "
            "(SELECT trial_id FROM trial_values ORDER BY value DESC LIMIT 1)"
        )
    result = search({"a": Choice((1, 2))}, Visits(), storage_url=file_url(tmp_path))
    assert result.n_new == 0
    assert sorted(trial.state for trial in result.trials) == ["complete", "failed"]
    assert result.best.score == 1


DAMAGES = {
    "cut short": lambda data: data[:9000],
    "no UTF-8": lambda data: data.replace(b"CREATE TABLE", b"CR\xe9ATE TABL"),
    "another schema": "ALTER TABLE trials RENAME COLUMN state TO x",
    "no JSON": "UPDATE study_user_attributes SET value_json = '{'",
    "another kind": "UPDATE study_user_attributes SET value_json = '[1]'",
    "no section": "UPDATE study_user_attributes SET value_json = '{}'",
    "no point": "DELETE FROM trial_user_attributes WHERE key = 'params'",
    "a point that is none": "UPDATE trial_user_attributes SET value_json = '3'",
    "metrics that are none": 'UPDATE trial_user_attributes SET value_json = \'{"a": "b"}\'',
    "no state": "UPDATE trials SET state = 'x'",
    "a time that is none": "UPDATE trials SET datetime_complete = 'x'",
    "a distribution that is none": "UPDATE trial_params SET distribution_json = '{}'",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_study_is_one_line(tmp_path, damage):
    space = {"a": Choice((1, 2))}
    search(space, Visits(), storage_url=file_url(tmp_path))
    path = tmp_path / "study.db"
    if isinstance(damage, str):
        with sqlite3.connect(path) as database:
            database.execute(damage)
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(KgrecError) as caught:
        search(space, Visits(), storage_url=file_url(tmp_path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) - len(str(path)) < 300


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


# ---- malformed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "exhaustiv"}, "unknown search 'exhaustiv': did you mean 'exhaustive'"),
        ({"pruner": "medain"}, "unknown pruner 'medain': did you mean 'median'"),
        ({"max_trials": 0}, "max_trials: found 0, expected 1 or more"),
        ({"early_stop": -1}, "early_stop: found -1, expected 1 or more"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UsageError, match=message):
        search(GRID, Visits(), **options)


def test_exhaustive_needs_choices():
    with pytest.raises(KgrecError, match="takes choices only, and lr is loguniform"):
        search({"a": Choice((1,)), "lr": LogUniform(-8, -2)}, Visits())


def test_exhaustive_of_too_many_points():
    space = {name: Choice(tuple(range(100))) for name in "abcdefghij"}
    with pytest.raises(KgrecError, match="search by random or tpe"):
        search(space, Visits())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": GRID | {"a": Choice((1, 2))}}, r"a = choice \[1, 2, 3\], found choice \[1, 2\]"),
        ({"space": GRID | {"d": Choice((1, 2))}}, r"d = absent, found choice \[1, 2\]"),
        ({"settings": {"epochs": 30, "topk": (5, 10)}}, "epochs = 20, found 30"),
        ({"settings": {"epochs": 20}}, r"topk = \[5, 10\], found absent"),
        ({"direction": "minimize"}, "direction = maximize, found minimize"),
    ],
)
def test_a_study_made_with_something_else_is_refused(tmp_path, change, message):
    options = {
        "space": GRID,
        "storage_url": file_url(tmp_path),
        "settings": {"epochs": 20, "topk": (5, 10)},
        "max_trials": 2,
    }
    search(objective=Visits(), **options)
    again = search(objective=Visits(), **options)
    assert again.n_new == 0
    with pytest.raises(KgrecError, match=f"study 's' was made with {message}: .*new study"):
        search(objective=Visits(), **(options | change))
    assert len(search(objective=Visits(), **options).trials) == 2


def test_a_study_of_somebody_else_is_refused(tmp_path):
    study = optuna.create_study(study_name="s", storage=file_url(tmp_path))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(KgrecError, match="study 's' was not made by kgrec"):
        search(GRID, Visits(), storage_url=file_url(tmp_path))


def test_a_database_that_is_none(tmp_path):
    (tmp_path / "study.db").write_text("this is no database, and long enough to show it" * 50)
    with pytest.raises(KgrecError, match=r"study\.db: .*not a database") as caught:
        search(GRID, Visits(), storage_url=file_url(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(KgrecError, match="unable to open database file"):
        search(GRID, Visits(), storage_url=file_url(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("nonsense", "storage 'nonsense'"),
        ("postgresql:/me:secret@host", "expected for instance sqlite:///study.db"),
        ("nosuchdb://me:secret@host/x", "nosuchdb"),
    ],
)
def test_an_address_that_is_none(address, expected):
    with pytest.raises(KgrecError, match=expected) as caught:
        search(GRID, Visits(), storage_url=address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_second_search_of_the_same_study_is_told(tmp_path):
    url = file_url(tmp_path)

    def objective(point, report):
        if not started:
            started.append(True)
            search(GRID, Visits(), storage_url=url, max_trials=1)
        return score(1)

    started = []
    with pytest.raises(KgrecError, match="one search of a study at a time"):
        search(GRID, objective, storage_url=url)
