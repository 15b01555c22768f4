"""A sample of the kills of `make test-long`, and whether the harness sees what it looks for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import REPO_DIR
from benchmarks.reliability.folder_state import describe, leftovers, without_passing

KILLS = [sys.executable, "-m", "benchmarks.reliability.kills"]
WATCHED = """
import os, sys
from pathlib import Path
from benchmarks.reliability.file_events import watch
os.chdir(sys.argv[1])
die_at = int(sys.argv[2]) or None
watch(Path(sys.argv[1]), die_at, lambda line: os.write(1, f"{line}\\n".encode()))
Path("a").write_text("half")
os.fsync(3)
os.replace("a", "b")
Path("b").read_text()
Path("/dev/null").write_text("elsewhere")
Path("b").unlink()
"""


def watched(folder: Path, die_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WATCHED, str(folder), str(die_at)]
    return subprocess.run(command, cwd=REPO_DIR, capture_output=True, text=True, check=False)


def test_what_changes_a_folder_is_a_file_event(tmp_path: Path) -> None:
    finished = watched(tmp_path, 0)
    assert finished.stdout.splitlines() == ["open a", "fsync ", "rename b", "remove b"]
    assert (finished.returncode, list(tmp_path.iterdir())) == (0, [])


def test_the_process_dies_before_the_event(tmp_path: Path) -> None:
    killed = watched(tmp_path, 3)
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.splitlines() == ["open a", "fsync "]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_is_compared_without_times_and_names_of_new_runs(tmp_path: Path) -> None:
    states = []
    for folder, stamp, seconds, loss in (("x", "101010", 1, 0.5), ("y", "202020", 2, 0.5),
                                         ("z", "202020", 2, 0.25)):  # fmt: skip
        run_dir = tmp_path / folder / "saved" / f"toy-GRU4Rec-20260101-{stamp}"
        run_dir.mkdir(parents=True)
        (run_dir / "history.jsonl").write_text(f'{{"loss": {loss}, "elapsed_s": {seconds}}}\n')
        states.append(describe(tmp_path / folder, frozenset()))
    assert list(states[0]) == ["saved/new0/history.jsonl"]
    assert states[0] == states[1] != states[2]
    assert without_passing([{"run": "saved/toy-20260101-101010", "train_s": 1}]) == [
        {"run": "saved/toy"}
    ]
    (tmp_path / "x" / "saved" / ".half").touch()
    assert leftovers(tmp_path / "x") == ["saved/.half"]


def kill(*options: str) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    finished = subprocess.run(
        [*KILLS, *options], cwd=REPO_DIR, env=env, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.slow
def test_a_sample_of_kills() -> None:
    assert "4 kills     0 faults" in kill("--commands", "prepare", "--every", "43")


@pytest.mark.slow
def test_more_kills() -> None:
    assert kill("--every", "12").count(" 0 faults") == 10
