"""`kgrec doctor` as typed."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from kgrec_cli.core import cores, memory
from kgrec_cli.stages import machine
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


def test_the_machine_is_looked_at_without_a_data_set(
    run_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo, quota = tmp_path / "meminfo", tmp_path / "cpu.max"
    meminfo.write_text("MemTotal: 9999999999 kB\nMemAvailable:    1500000 kB\n")
    quota.write_text("50000 100000\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(cores, "CPU_QUOTA", quota)
    monkeypatch.setattr(machine, "NVIDIA", tmp_path / "quota")
    found = json.loads(run_cli("doctor", "--system", "--threads", "1", "--json").stdout)
    by_name = {finding["about"]: finding for finding in found}
    assert f"torch {version('torch')}" in by_name["packages"]["text"]
    assert by_name["processor"]["text"].startswith("1 threads on 0.5 cores")
    assert by_name["processor"]["level"] == "warn"
    assert by_name["memory"]["text"].startswith("1.5 of ")
    assert by_name["memory"]["level"] == "warn"
    assert by_name["device"]["text"].startswith("kgrec would use c")
