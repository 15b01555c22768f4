"""Of parts that come split every file counts: resume, evaluate, compare and tune see a change."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.events import Event, Note
from kgrec_cli.settings import Settings
from tests.conftest import QUICK, RunCli

PARTS = ("train", "valid", "test")
SPLIT = f"--set=benchmark_filename=[{','.join(PARTS)}]"


def split_files(folder: Path) -> None:
    """Cuts the `.inter` of the small data set: six events of a user, then two, then one."""
    path = folder / "dataset/small/small.inter"
    head, *rows = path.read_text().splitlines()
    for part, steps in zip(PARTS, ("012345", "67", "8"), strict=True):
        chosen = [row for row in rows if row[-1] in steps]
        path.with_name(f"small.{part}.inter").write_text("\n".join([head, *chosen, ""]))
    path.unlink()


def digest(folder: Path, part: str) -> str:
    return hashlib.sha256((folder / f"dataset/small/small.{part}.inter").read_bytes()).hexdigest()


def change_test_part(folder: Path) -> None:
    path = folder / "dataset/small/small.test.inter"
    path.write_text(path.read_text().replace("\ti3\t", "\ti4\t", 1))


def run_dir_of(folder: Path) -> Path:
    (run_dir,) = (folder / "saved").iterdir()
    return run_dir


def record(run_dir: Path, inter_sha256: str) -> None:
    """Makes a run one that recorded another digest."""
    path = run_dir / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "inter_sha256": inter_sha256}))


def make_unfinished(run_dir: Path) -> None:
    """As of a run that was stopped before its first epoch ended."""
    for name in ("metrics.json", "model.safetensors", "history.jsonl"):
        (run_dir / name).unlink()


@pytest.fixture
def folder(run_cli: RunCli, small_folder: Path) -> Path:
    split_files(small_folder)
    result = run_cli("train", "--epochs", "1", SPLIT, *QUICK)
    assert result.exit_code == 0, result.stderr
    return small_folder


def test_the_digest_of_parts_is_that_of_their_digests(folder: Path) -> None:
    digests = [digest(folder, part) for part in PARTS]
    recorded = json.loads((run_dir_of(folder) / "environment.json").read_text())["inter_sha256"]
    assert recorded == hashlib.sha256("".join(digests).encode()).hexdigest()
    settings = Settings(dataset="small", benchmark_filename=list(PARTS))
    dataset = load_dataset(settings, folder, lambda event: None)
    events: list[Event] = []
    assert dataset.matches(recorded, events.append)
    assert not dataset.matches(digests[2], events.append)
    assert events == []
    assert dataset.matches(digests[0], events.append)
    assert [type(event) for event in events] == [Note]


def test_one_file_is_recorded_as_ever(run_cli: RunCli, small_folder: Path) -> None:
    assert run_cli("train", "--epochs", "1", *QUICK).exit_code == 0
    path = small_folder / "dataset/small/small.inter"
    recorded = json.loads((run_dir_of(small_folder) / "environment.json").read_text())
    assert recorded["inter_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_resume_sees_a_changed_test_part(run_cli: RunCli, folder: Path) -> None:
    run_dir = run_dir_of(folder)
    make_unfinished(run_dir)
    change_test_part(folder)
    result = run_cli("train", "--resume", run_dir.name)
    assert result.exit_code == 1
    assert "its data set small has changed since" in result.stderr


def test_evaluate_sees_a_changed_test_part(run_cli: RunCli, folder: Path) -> None:
    change_test_part(folder)
    result = run_cli("evaluate")
    assert result.exit_code == 1
    assert "trained on another small.inter than the one here now" in result.stderr


def test_compare_sees_a_changed_test_part(run_cli: RunCli, folder: Path) -> None:
    run_dir = run_dir_of(folder)
    shutil.copytree(run_dir, run_dir.with_name("other"))
    assert run_cli("compare", run_dir.name, "other", "--no-group").exit_code == 0
    change_test_part(folder)
    result = run_cli("compare", run_dir.name, "other", "--no-group")
    assert result.exit_code == 1
    assert "trained on another small.inter than the one here now" in result.stderr


def test_tune_sees_a_changed_test_part(run_cli: RunCli, folder: Path) -> None:
    (folder / "hyper.test").write_text("num_layers choice [1,2]\n")
    tune = ("tune", "hyper.test", SPLIT, *QUICK, "--set=epochs=1")
    assert run_cli(*tune, "--max-trials", "1").exit_code == 0
    change_test_part(folder)
    result = run_cli(*tune)
    assert result.exit_code == 1
    assert "inter_sha256" in result.stderr


def test_a_run_that_recorded_the_first_part_alone_still_loads(
    run_cli: RunCli, folder: Path
) -> None:
    run_dir = run_dir_of(folder)
    record(run_dir, digest(folder, "train"))
    change_test_part(folder)  # an earlier version did not see that either
    note = "small: only the first file could be checked"
    result = run_cli("evaluate")
    assert result.exit_code == 0, result.stderr
    assert note in " ".join(result.stderr.split())
    make_unfinished(run_dir)
    result = run_cli("train", "--resume", run_dir.name)
    assert result.exit_code == 0, result.stderr
    assert note in " ".join(result.stderr.split())
    record(run_dir, digest(folder, "valid"))
    assert run_cli("evaluate").exit_code == 1
