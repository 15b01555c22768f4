"""`kgrec doctor` as typed."""

import json
from pathlib import Path

from tests.conftest import write_small_dataset


def test_findings_and_exit_code(run_cli, tmp_path: Path) -> None:
    write_small_dataset(tmp_path)
    result = run_cli("doctor", "small", "--set", "embedding_size=8")
    assert result.exit_code == 0, result.stderr
    assert "ok   .inter       270 interactions" in result.stdout
    assert result.stdout.rstrip().endswith("small: ready to use")
    result = run_cli("doctor", "--set", "recbole_compat=true")
    assert result.exit_code == 1
    assert "-> `kgrec pretrain-kg --embedding-size 64`" in result.stdout


def test_a_folder_anywhere_and_json(run_cli, tmp_path: Path) -> None:
    write_small_dataset(tmp_path / "elsewhere")
    folder = tmp_path / "elsewhere" / "dataset" / "small"
    result = run_cli("doctor", folder, "--json", "--set", "embedding_size=8")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["dataset"] == "small"
    assert told["links"]["verdict"] == "unknown"
    assert {finding["level"] for finding in told["findings"]} <= {"ok", "note"}


def test_an_unknown_data_set_is_one_line(run_cli) -> None:
    result = run_cli("doctor", "nothing")
    assert result.exit_code == 1
    assert "no data set 'nothing' under dataset/" in result.error
