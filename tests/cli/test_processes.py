"""What torchrun sets, where it makes no sense; the commands that it is not for."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RunCli


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of the first of two processes."""
    for name, value in {"RUN_ID": "x", "RESTART_COUNT": "0"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize("line", ["evaluate", "tune hyper.test", "recommend"])
def test_torchrun_is_for_train_alone(
    run_cli: RunCli, torchrun: pytest.MonkeyPatch, line: str
) -> None:
    command, *more = line.split()
    found = run_cli(command, *more)
    assert found.exit_code == 2
    assert found.error.startswith(f"error: kgrec {command}: takes one process")
    torchrun.setenv("LOCAL_RANK", "1")
    found = run_cli(command, *more)
    assert (found.exit_code, found.stderr) == (2, "")  # the first one has said it


@pytest.mark.parametrize(
    ("rank", "size"), [("2", "2"), ("0", "two"), ("", "2"), ("0", "-1"), ("0", "0")]
)
def test_a_wrong_world_size(
    run_cli: RunCli, torchrun: pytest.MonkeyPatch, rank: str, size: str
) -> None:
    torchrun.setenv("RANK", rank)
    torchrun.setenv("WORLD_SIZE", size)
    found = run_cli("train", "shop")
    assert found.exit_code == 1
    assert found.error.startswith(f"error: RANK={rank} WORLD_SIZE={size}: expected numbers")


@pytest.mark.parametrize("rank", ["", "two"])
def test_a_rank_of_another_program_is_no_matter(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("RANK", rank)
    code = "from kgrec_cli.cli import main; main(['--version'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith("kgrec ")


def test_processes_that_do_not_come(
    run_cli: RunCli, torchrun: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torchrun.setattr("kgrec_cli.core.workers.MEET_S", 1)
    torchrun.setenv("MASTER_ADDR", "127.0.0.1")
    torchrun.setenv("MASTER_PORT", "0")
    found = run_cli("train", "shop")
    assert found.exit_code == 1
    assert "not all of 2 processes (WORLD_SIZE) came within 1 s" in found.error
    assert not (tmp_path / "saved").exists()
