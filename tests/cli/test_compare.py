"""`kgrec compare` as typed."""

import json
import shutil
from pathlib import Path

import pytest

from kgrec_cli.settings import PRESETS
from kgrec_cli.stages.compare import VIEWS
from tests.conftest import QUICK, RunCli


@pytest.fixture
def folder(trained_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def first(folder: Path) -> str:
    (run_dir,) = (folder / "saved").iterdir()
    return run_dir.name


@pytest.fixture
def second(run_cli: RunCli, first: str) -> str:
    result = run_cli("train", "--epochs=2", *QUICK, "--model=GRU4Rec", "--json")
    assert result.exit_code == 0, result.stderr
    return Path(json.loads(result.stdout)[0]["run"]).name


def files_under(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_runs_side_by_side(run_cli: RunCli, folder: Path, first: str, second: str) -> None:
    before = files_under(folder)
    result = run_cli("compare", first, second, "--threads=1", "--device=cpu")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    own = json.loads((folder / "saved" / first / "metrics.json").read_text())
    metrics = [own[view][name] for view in VIEWS for name in ("ndcg@10", "hit@10")]
    (row,) = (line.split() for line in lines if first in line)
    assert row == ["1", first, *(f"{value:.4f}" for value in metrics)]
    assert any(line.split()[:4] == ["2", "masked", "ndcg@10", "30"] for line in lines)
    assert "Settings that differ" in result.stdout
    for setting in ("model", "epochs"):
        assert any(line.split()[:1] == [setting] for line in lines)
    assert "hidden_size" not in result.stdout
    assert "not compared" not in result.stdout
    assert files_under(folder) == before


def test_json_is_one_object_with_everything(
    run_cli: RunCli, folder: Path, first: str, second: str
) -> None:
    result = run_cli("compare", f"saved/{first}", second, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    values = json.loads(result.stdout)
    assert set(values) == {"runs", "pairs", "settings"}
    assert [run["name"] for run in values["runs"]] == [first, second]
    assert [run["n_users"] for run in values["runs"]] == [30, 30]
    (pair,) = values["pairs"]
    assert (pair["first"], pair["other"]) == (first, second)
    assert (pair["n_users"], pair["n_changed"], pair["n_in_one"]) == (30, 0, 0)
    for view in VIEWS:
        own = [
            json.loads((folder / "saved" / name / "metrics.json").read_text())[view]
            for name in (first, second)
        ]
        for name, found in pair["differences"][view].items():
            assert [found["first"], found["other"]] == pytest.approx([run[name] for run in own])
            assert found["difference"] == pytest.approx(own[1][name] - own[0][name])
            assert found["low"] <= found["high"]
            assert 0 < found["p_value"] <= 1
        assert {"mrr@5", "map@20", "precision@10"} < set(pair["differences"][view])
    # Four differences are shown: the smallest p times 4, the next times 3, ..., none below another.
    shown = [pair["differences"][view][f"{name}@10"] for view in VIEWS for name in ("ndcg", "hit")]
    largest = 0.0
    for factor, found in zip((4, 3, 2, 1), sorted(shown, key=lambda d: d["p_value"]), strict=True):
        largest = max(largest, min(1.0, factor * found["p_value"]))
        assert found["p_holm"] == pytest.approx(largest)
    assert values["settings"]["epochs"] == [6, 2]


def test_seeds_are_grouped_unless_told_otherwise(
    run_cli: RunCli, folder: Path, first: str, second: str
) -> None:
    elsewhere = "--set=checkpoint_dir=elsewhere"
    assert run_cli("train", "--epochs=6", *QUICK, "--seed=7", elsewhere).exit_code == 0
    (third,) = (str(path.relative_to(folder)) for path in (folder / "elsewhere").iterdir())
    result = run_cli("compare", third, second, first)
    assert result.exit_code == 0, result.stderr
    assert f"{Path(third).name} x2 seeds" in result.stdout
    begin_lines = {line.split()[0] for line in result.stdout.splitlines() if line.strip()}
    assert {"1", "2", "epochs"} < begin_lines
    assert not {"3", "seed"} & begin_lines
    result = run_cli("compare", first, second, third, "--no-group")
    assert "seeds" not in result.stdout
    assert Path(third).name in result.stdout
    assert any(line.split() == ["seed", "2020", "2020", "7"] for line in result.stdout.splitlines())


def test_a_preset_is_no_difference_beside_its_values(run_cli: RunCli, first: str) -> None:
    values = [f"{name}={json.dumps(value)}" for name, value in PRESETS["best"].items()]
    runs = []
    for settings in (["preset=best"], ["seed=7", *values]):
        options = [f"--set={setting}" for setting in settings]
        result = run_cli("train", "--epochs=1", *options, *QUICK, "--json")
        runs.append(Path(json.loads(result.stdout)[0]["run"]).name)
    result = run_cli("compare", first, *runs)
    assert result.exit_code == 0, result.stderr
    assert f"{runs[0]} x2 seeds" in result.stdout
    names = {line.split()[0] for line in result.stdout.splitlines() if line.strip()}
    assert "seen_bias" in names
    assert "preset" not in names


def test_users_left_out_are_counted(run_cli: RunCli, folder: Path, first: str) -> None:
    path = folder / "dataset/small/small.inter"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, "u0\ti3\t9\t1", "u1\ti3\t9\t1", *rows, ""]))
    runs = []
    for interval in ("(-inf,9]", "(-inf,8]"):
        result = run_cli(
            "train", "--epochs=1", *QUICK, f"--set=val_interval={{rating: '{interval}'}}", "--json"
        )
        runs.append(json.loads(result.stdout)[0]["run"])
    result = run_cli("compare", *runs)
    assert result.exit_code == 0, result.stderr
    line = (
        "run 2: 2 users not compared, 2 with another target or history than in run 1, 0 in only one"
    )
    assert line in result.stdout
    assert "only 28 users compared" in result.stderr


def test_mistakes_are_one_line(run_cli: RunCli, first: str, second: str) -> None:
    for arguments, code, expected in (
        ((), 2, "Missing argument"),
        ((first,), 2, "two runs or more"),
        ((first, first), 2, "named twice"),
        ((first, first[1:]), 1, f"did you mean '{first}'?"),
        ((first, "--threads=0"), 2, "Invalid value for '--threads'"),
        ((first, second, "--device=cuda:99"), 1, "torch finds"),
    ):
        result = run_cli("compare", *arguments)
        assert result.exit_code == code
        assert expected in result.error


def test_a_data_set_that_changed_is_one_line(
    run_cli: RunCli, folder: Path, first: str, second: str
) -> None:
    path = folder / "dataset/small/small.inter"
    path.write_text(path.read_text() + "u1\ti1\t5\t2000\n")
    result = run_cli("compare", first, second)
    assert result.exit_code == 1
    assert "trained on another small.inter" in result.error
