"""`kgrec runs` as typed, and the names that mean a run."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import QUICK, RunCli


@pytest.fixture
def folder(trained_folder: Path, tmp_path: Path) -> Path:
    """A working folder with a good run, `first`, and a poor newer one, `second`."""
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    (run_dir,) = (tmp_path / "saved").glob("[!.]*")
    run_dir.rename(tmp_path / "saved" / "first")
    shutil.copytree(tmp_path / "saved" / "first", tmp_path / "saved" / "second")
    path = tmp_path / "saved" / "second" / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics["valid_masked"]["ndcg@10"] = 0.25
    path.write_text(json.dumps(metrics))
    (path.parent / "environment.json").touch()
    return tmp_path


def test_the_list_shows_data_set_model_date_and_masked_metrics(
    run_cli: RunCli, folder: Path
) -> None:
    first, second = json.loads(run_cli("runs", "--json").stdout)
    assert (first["run"], first["dataset"], first["model"]) == ("first", "small", "GRU4RecKG")
    assert second["valid_masked"] == 0.25
    metrics = json.loads((folder / "saved/first/metrics.json").read_text())
    assert first["test_masked"] == metrics["test_masked"]["ndcg@10"]
    assert second["date"][:2] == "20"
    assert "0.2500" in run_cli("runs").stdout


def test_latest_and_best_are_taken_wherever_a_run_is(run_cli: RunCli, folder: Path) -> None:
    assert json.loads(run_cli("runs", "best", "--json").stdout)["run"] == "first"
    for name, expected in (("latest", "second"), ("best", "first"), ("best:small", "first")):
        shown = json.loads(run_cli("evaluate", name, "--no-baselines", "--json").stdout)
        assert shown["run"] == expected
    assert json.loads(run_cli("runs", "show", "latest", "--json").stdout)["run"] == "second"
    error = run_cli("runs", "best", "other").error
    assert error == "error: no finished run of other under saved/ with a masked ndcg@10"


def test_a_renamed_run_is_still_the_newest_of_its_data_set(run_cli: RunCli, folder: Path) -> None:
    assert run_cli("runs", "rename", "second", "mine").stdout == "saved/second -> saved/mine\n"
    assert json.loads(run_cli("runs", "show", "small", "--json").stdout)["run"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("rename", "first", "second"), "saved/second: is there already; choose another name"),
        (("rename", "first", "best"), "run name 'best': expected letters, digits, '-', '_'"),
        (("rename", "first", "../x"), "run name '../x': expected letters, digits, '-', '_'"),
        (("remove", "fir"), "'fir' is first: give the whole name to remove it"),
        (("remove", "latest"), "'latest' is second: give the whole name to remove it"),
    ],
)
def test_what_would_lose_a_run_is_refused(
    run_cli: RunCli, folder: Path, arguments: tuple[str, ...], expected: str
) -> None:
    result = run_cli("runs", *arguments)
    assert result.exit_code == 2
    assert result.error.startswith(f"error: {expected}")
    assert {path.name for path in (folder / "saved").glob("[!.]*")} == {"first", "second"}


def test_a_run_is_removed_by_its_whole_name(run_cli: RunCli, folder: Path) -> None:
    dry = run_cli("runs", "remove", "first", "--dry-run").stdout
    assert dry == "saved/first: would be removed\n"
    assert (folder / "saved/first").is_dir()
    assert run_cli("runs", "remove", "first").stdout == "saved/first: removed\n"
    assert [path.name for path in (folder / "saved").glob("[!.]*")] == ["second"]


def test_a_run_is_trained_under_a_name(run_cli: RunCli, small_folder: Path) -> None:
    result = run_cli("train", "--epochs", "1", *QUICK, "--name", "mine", "--json", "-q")
    assert json.loads(result.stdout)[0]["run"] == "saved/mine"
    assert result.stderr == ""
    again = run_cli("train", "--epochs", "1", "--name", "mine")
    assert again.error == "error: saved/mine: is there already; choose another name"
