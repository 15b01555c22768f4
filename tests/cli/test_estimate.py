"""`kgrec estimate` as typed: a short training, what a whole one would take, nothing written."""

import importlib
import json
from pathlib import Path

import pytest

from kgrec_cli.core import memory
from kgrec_cli.core.tuning import ray_tasks
from kgrec_cli.stages import estimate, train
from tests.conftest import QUICK, RunCli


@pytest.fixture(autouse=True)
def a_short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "PROBE_S", 0.05)


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("line", [(), ("train",), ("small",), ("train", "small")])
def test_a_training_is_estimated_and_nothing_is_written(
    run_cli: RunCli, small_folder: Path, line: tuple[str, ...]
) -> None:
    before = files_of(small_folder)
    result = run_cli("estimate", *line, "-e", "700", "--seeds", "3", *QUICK, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert (found["epochs"], found["runs"], found["can_stop_early"]) == (700, 3, True)
    assert 0 < found["validation_s"] < found["epoch_s"]
    of_one = 700 * found["epoch_s"] + found["after_s"]
    assert found["total_s"] == pytest.approx(found["before_s"] + 3 * of_one)
    assert 50e6 < found["memory"] < 5e9  # torch alone has more than the one, nothing here the other
    assert files_of(small_folder) == before


def test_a_probe_that_ends_within_an_epoch_of_one_step(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "PROBE_S", 0.0)
    found = json.loads(run_cli("estimate", "--json", *QUICK).stdout)
    assert 0 < found["validation_s"] < found["epoch_s"]


def test_the_table_says_what_is_at_most(run_cli: RunCli, small_folder: Path) -> None:
    result = run_cli("estimate", "-e", "20", *QUICK)
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert list(lines) == ["epoch", "epochs", "total", "memory", "disk"]
    assert lines["epochs"] == "at most 20: early stopping usually ends it before"
    assert lines["total"].startswith("at most ")


def test_what_does_not_fit_is_one_line(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = small_folder / "meminfo"
    meminfo.write_text("MemAvailable:    20000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    result = run_cli("estimate", *QUICK)
    assert result.exit_code == 1
    assert result.error.startswith("error: does not fit: about 0.")
    assert "GB of memory, and 0.0 GB are free" in result.error


def test_a_search_is_its_trials_times_epochs(run_cli: RunCli, small_folder: Path) -> None:
    (small_folder / "hyper.test").write_text("learning_rate choice [0.1, 0.2, 0.3, 0.4, 0.5]\n")
    before = files_of(small_folder)
    line = ("estimate", "tune", "hyper.test", "--set=epochs=50", *QUICK, "--json")
    found = json.loads(run_cli(*line).stdout)
    assert (found["runs"], found["at_once"], found["epochs"]) == (5, 1, 50)
    two = json.loads(run_cli(*line, "-j", "2", "--max-trials", "3").stdout)
    assert (two["runs"], two["at_once"]) == (3, 2)
    rounds = 2 * (50 * two["epoch_s"] + two["after_s"])  # three trials, two at a time
    assert two["total_s"] == pytest.approx(two["before_s"] + rounds)
    assert two["memory"] > 2 * found["memory"]
    many = json.loads(run_cli(*line, "-j", "1000").stdout)
    assert (many["at_once"], many["runs"]) == (5, 5)  # there are no more points
    assert files_of(small_folder) == before


def test_entity_vectors(run_cli: RunCli, small_folder: Path) -> None:
    before = files_of(small_folder)
    line = ("estimate", "pretrain-kg", "-e", "40", "--validate", "--threads=1", "--json")
    found = json.loads(run_cli(*line).stdout)
    assert (found["runs"], found["epochs"], found["can_stop_early"]) == (2, 40, False)
    assert found["total_s"] == pytest.approx(found["before_s"] + 80 * found["epoch_s"])
    assert files_of(small_folder) == before


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_a_lack_of_memory_is_one_line(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(train, "load_dataset", fail)
    result = run_cli("train", *QUICK)
    assert result.exit_code == 1
    assert result.error.startswith("error: not enough memory (")


def test_mistakes_are_those_of_the_command(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_cli("estimate", "train", "--epoch", "3")
    assert result.exit_code == 2
    assert "No such option: --epoch (did you mean --epochs?)" in result.error
    assert run_cli("estimate", "--resume", "latest").exit_code == 2
    (small_folder / "hyper.test").write_text("learning_rate choice [0.1, 0.2]\n")
    monkeypatch.setattr(ray_tasks, "import_module", lambda name: importlib.import_module("no_ray"))
    for line, expected in (
        ("evaluate", "error: estimate is of train, tune, pretrain-kg: found evaluate"),
        ("--json tune hyper.test", "error: the command comes before its options: kgrec estimate t"),
        ("tune hyper.test --pruner asah", "did you mean 'asha'?"),
        ("tune hyper.test --address x:1", "--address is of a Ray cluster"),
        ("tune hyper.test --executor ray", "error: --executor ray needs Ray: found none"),
    ):
        assert expected in run_cli("estimate", *line.split()).error
