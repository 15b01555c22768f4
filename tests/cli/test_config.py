"""`kgrec config` as typed."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a `kgrec.yaml` and another settings file."""
    (tmp_path / "kgrec.yaml").write_text("preset: best\nepochs: 7\npretrain_kg: {epochs: 3}\n")
    (tmp_path / "more.yaml").write_text("epochs: 8\nema_decay: 0.5\n")
    return tmp_path


def test_each_setting_is_shown_with_where_it_comes_from(run_cli: RunCli, folder: Path) -> None:
    typed = ("config", "show", "--config", "more.yaml", "--set", "seed=5")
    rows = {row["setting"]: row for row in json.loads(run_cli(*typed, "--json").stdout)}
    found = {name: (row["value"], row["from"]) for name, row in rows.items()}
    assert found["preset"] == ("best", "kgrec.yaml")
    assert found["layer_norm"] == (True, "preset best")
    assert found["epochs"] == (8, "more.yaml")
    assert found["ema_decay"] == (0.5, "more.yaml")
    assert found["pretrain_kg.epochs"] == (3, "kgrec.yaml")
    assert found["pretrain_kg.method"] == ("TransE", "default")
    assert found["seed"] == (5, "--set")
    changed = run_cli(*typed, "--changed").stdout
    assert "pretrain_kg.epochs" in changed
    assert "num_layers" not in changed


def test_files_are_checked_alone(run_cli: RunCli, folder: Path) -> None:
    shown = run_cli("config", "validate", "kgrec.yaml", "more.yaml").stdout
    assert shown == "kgrec.yaml: 3 settings, all valid\nmore.yaml: 2 settings, all valid\n"
    (folder / "more.yaml").write_text("epochs: many\n")
    result = run_cli("config", "validate", "more.yaml")
    assert result.exit_code == 1
    assert result.error == "error: more.yaml: epochs: found 'many', expected a whole number"


def test_what_differs_between_a_run_and_a_file(run_cli: RunCli, trained_folder: Path) -> None:
    (run_dir,) = (trained_folder / "saved").glob("[!.]*")
    same = run_cli("config", "diff", "latest", str(run_dir / "config.yaml"), cwd=trained_folder)
    assert same.stdout == "no setting differs\n"
    (trained_folder / "other.yaml").write_text(
        (run_dir / "config.yaml").read_text().replace("epochs: 6", "epochs: 9")
    )
    typed = ("config", "diff", "latest", "other.yaml", "--json")
    assert json.loads(run_cli(*typed, cwd=trained_folder).stdout) == {"epochs": [6, 9]}
    (trained_folder / "other.yaml").unlink()
