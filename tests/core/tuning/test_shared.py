"""Several processes on one study: each point once, the points of those that ended run again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kgrec_cli.core.tuning import search as search_module
from kgrec_cli.core.tuning import study as study_module
from kgrec_cli.core.tuning.executors import Pruned
from kgrec_cli.core.tuning.search import run_search
from kgrec_cli.core.tuning.space import Choice
from kgrec_cli.core.tuning.study import open_study
from kgrec_cli.events import Note, Warn
from tests.core.tuning.searches import file_url, score, search

SPACE = {"a": Choice((1, 2, 3))}
MADE_WITH = {"space": {}, "settings": {}}


def unknown(worker: str) -> None:
    """Of a worker on another machine: only its silence tells."""


def open_as(folder: Path, worker: str, has_ended=unknown):
    return open_study(file_url(folder), "s", MADE_WITH, worker, has_ended)


def test_a_point_is_taken_once(tmp_path: Path) -> None:
    with open_as(tmp_path, "one") as one, open_as(tmp_path, "other") as other:
        trial = one.begin({"a": 1}, SPACE, None)
        assert trial is not None
        assert other.begin({"a": 1}, SPACE, None) is None  # has not read, so it does not know
        assert [found.params for found in other.live] == [{"a": 1}]
        assert other.n_elsewhere == 1
        assert other.begin({"a": 2}, SPACE, 2) is not None
        assert one.begin({"a": 3}, SPACE, 2) is None
        one.end(trial, score(5), 0)
        other.read()
        assert [(found.params, found.score) for found in other.finished] == [({"a": 1}, 5)]
        assert other.interrupted == [{"a": 3}]  # given up for the limit: nobody has it
        assert other.n_elsewhere == 0


def test_one_and_true_are_two_points(tmp_path: Path) -> None:
    space = {"a": Choice((1, True, 1.5))}
    with open_as(tmp_path, "one") as one:
        assert one.begin({"a": 1}, space, None) is not None
        assert one.begin({"a": 1.5}, space, None) is not None
        assert one.begin({"a": 1.5}, space, None) is None


@pytest.mark.parametrize("has_ended", [True, False])
def test_the_point_of_a_process_that_ended_is_free_at_once(tmp_path: Path, has_ended: bool) -> None:
    with open_as(tmp_path, "one") as one, open_as(tmp_path, "other", lambda _: has_ended) as other:
        one.begin({"a": 1}, SPACE, None)
        other.read()
        assert other.interrupted == [{"a": 1}] * has_ended


def test_a_process_that_falls_silent_loses_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is silent for 30 s by the clock of the other has ended; who is not has not."""
    now = [100.0]
    monkeypatch.setattr(study_module.time, "monotonic", lambda: now[0])
    with open_as(tmp_path, "one") as one, open_as(tmp_path, "other") as other:
        trial = one.begin({"a": 1}, SPACE, None)
        assert trial is not None
        other.read()
        for number in range(3):  # it is heard of
            now[0] += 20
            one.study.set_user_attr("beat one", f"new {number}")
            other.read()
        assert other.interrupted == []
        now[0] += 29
        other.read()
        assert other.interrupted == []
        now[0] += 2
        other.read()
        assert other.interrupted == [{"a": 1}]
        again = other.begin({"a": 1}, SPACE, None)
        assert again is not None
        assert one.end(trial, score(1), 0) is None  # it was only slow
        ended = other.end(again, score(2), 0)
        assert ended is not None
        one.read()
        assert [found.score for found in one.finished] == [2]


def test_a_process_says_that_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "BEAT_S", 0.01)
    with open_as(tmp_path, "one") as one:
        heard = set()
        while len(heard) < 3:
            heard.add(one.study.user_attrs.get("beat one"))


def test_a_search_drops_a_result_that_another_took_over(tmp_path: Path) -> None:
    told: list[object] = []

    def objective(point, report):
        if not said:
            said.append(point)
            with open_as_ended() as other:
                trial = other.begin(other.interrupted[0], SPACE, None)
                other.end(trial, score(9), 0)
            report(1, 0.0)  # asks the pruner
        return score(1)

    def open_as_ended():
        made_with = {"space": {"a": str(SPACE["a"])}, "settings": {"direction": "maximize"}}
        return open_study(file_url(tmp_path), "s", made_with, "other", lambda _: True)

    said: list[dict] = []
    result = search(
        SPACE, objective, storage_url=file_url(tmp_path), on_event=told.append, pruner="median"
    )
    assert sorted(trial.score for trial in result.trials) == [1, 1, 9]
    assert (result.best.params, result.n_new) == (said[0], 2)
    assert sum("took a trial over" in event.text for event in told if isinstance(event, Warn)) == 1


def test_a_search_waits_for_the_trials_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result has them, and it takes the last point when its process gives up."""
    made_with = {"space": {"a": str(SPACE["a"])}, "settings": {"direction": "maximize"}}
    naps: list[float] = []
    told: list[object] = []
    with open_study(file_url(tmp_path), "s", made_with, "other", unknown) as other:
        trials = [other.begin({"a": number}, SPACE, None) for number in (1, 2)]

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 2:
                other.end(trials[0], score(7), 0)
            if len(naps) == 4:
                other.give_up(trials[1]._trial_id)

        def run_trials(points, judge):
            starts.append(len(naps))
            for number, point in points:
                yield number, score(point["a"])

        starts: list[int] = []
        monkeypatch.setattr(search_module.time, "sleep", nap)
        result = run_search(
            SPACE, run_trials, storage_url=file_url(tmp_path), study_name="s",
            worker="one", has_ended=unknown, on_event=told.append,
        )  # fmt: skip
    assert starts == [0, 4]  # an executor may be dear to start: none while there is no point
    assert sorted(trial.score for trial in result.trials) == [2, 3, 7]
    assert (len(naps), result.n_new, result.stopped) == (4, 2, "exhausted")
    assert sum("waiting for" in event.text for event in told if isinstance(event, Note)) == 1


def test_a_pruned_trial_ends_in_the_study(tmp_path: Path) -> None:
    with open_as(tmp_path, "one") as one:
        ended = one.end(one.begin({"a": 1}, SPACE, None), Pruned(), 3)
        assert (ended.state, ended.n_reports) == ("pruned", 3)


WORKER = """
import json, sys, time
from functools import partial
from pathlib import Path
from kgrec_cli.core.tuning.executors import TrialResult, run_serially
from kgrec_cli.core.tuning.search import run_search
from kgrec_cli.core.tuning.space import Choice

url, folder, worker = sys.argv[1:]
space = {"a": Choice((1, 2, 3, 4)), "b": Choice((1, 2, 3))}

def objective(point, report):
    with Path(folder, "log").open("a") as file:
        file.write(f"{point['a']} {point['b']}\\n")
    time.sleep(0.05)
    return TrialResult({}, {}, point["a"] + point["b"] / 10)

Path(folder, worker).touch()
while len(list(Path(folder).glob("worker*"))) < 3:
    time.sleep(0.01)
result = run_search(space, partial(run_serially, objective), storage_url=url, study_name="s",
                    search=sys.stdin.read().strip(), worker=worker, has_ended=lambda _: None)
print(json.dumps([[t.number, t.params, t.score, t.elapsed_s] for t in result.trials]))
"""


def run_three(url: str, folder: Path, name: str) -> None:
    """Three processes that open a database that is not there yet at the same moment."""
    folder.mkdir()
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, url, str(folder), f"worker{number}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    found = [process.communicate(name, timeout=300) for process in begun]
    assert [process.returncode for process in begun] == [0, 0, 0], found
    reports = [json.loads(out) for out, _ in found]
    assert reports[0] == reports[1] == reports[2]
    points = (folder / "log").read_text().split("\n")[:-1]
    assert sorted(points) == [f"{a} {b}" for a in (1, 2, 3, 4) for b in (1, 2, 3)]
    assert [number for number, *_ in reports[0]] == list(range(1, 13))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exhaustive", "tpe"])
def test_three_processes_begin_at_once(tmp_path: Path, name: str) -> None:
    run_three(file_url(tmp_path), tmp_path / "notes", name)
