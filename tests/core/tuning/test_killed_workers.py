"""A worker that is killed within a trial: the trial is run again, no point is lost or twice."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from kgrec_cli.core.tuning.executors import Objective, Report, TrialResult, run_in_processes
from kgrec_cli.core.tuning.ray_tasks import run_on_ray
from kgrec_cli.core.tuning.space import Params
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Warn
from tests.core.tuning.searches import file_url
from tests.core.tuning.test_executors import search, value_of


class KilledOnce:
    """Makes an objective that kills its process once, in the second report of one point."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> Objective:
        return self.run

    def run(self, point: Params, report: Report) -> TrialResult:
        with (self.folder / f"{point['a']} {point['b']}").open("a") as file:
            file.write("begun\n")
        report(1, 0.0)
        if point == {"a": 2, "b": 0.25} and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        report(2, 0.0)
        return value_of(point, lambda step, score: None)

    def check(self, run_trials, **options) -> None:
        result = search(run_trials, **{"storage_url": file_url(self.folder)} | options)
        points = [(trial.params["a"], trial.params["b"]) for trial in result.trials]
        assert sorted(points) == [(a, b) for a in (1, 2, 3) for b in (0.25, 0.5)]
        assert [trial.n_reports for trial in result.trials] == [2] * 6
        assert {trial.state for trial in result.trials} == {"complete"}
        begun = {path.name: path.read_text().count("begun") for path in self.folder.glob("? 0.*")}
        assert sorted(begun.values()) == [1, 1, 1, 1, 1, 2]
        assert begun["2 0.25"] == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on Windows")
@pytest.mark.parametrize("pruner", ["none", "median"])
def test_of_processes(tmp_path: Path, pruner: str) -> None:
    told: list[object] = []
    killed = KilledOnce(tmp_path)
    run = partial(run_in_processes, killed, 2, on_event=told.append)
    killed.check(run, pruner=pruner)
    (warning,) = (event.text for event in told if isinstance(event, Warn))
    assert "its trial is run again" in warning


@pytest.mark.extras
def test_of_ray(tmp_path: Path) -> None:
    killed = KilledOnce(tmp_path)
    killed.check(partial(run_on_ray, killed, 2, None))


@pytest.mark.extras
def test_no_ray_at_an_address_is_one_line() -> None:
    with pytest.raises(KgrecError, match="--address localhost:9: no Ray cluster there") as caught:
        search(partial(run_on_ray, KilledOnce(Path()), 2, "localhost:9"))
    assert "\n" not in str(caught.value)
