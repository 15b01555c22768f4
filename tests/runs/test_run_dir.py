"""Which run a user means."""

import json
import os
import shutil
from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.locks import only_writer, staging_path
from kgrec_cli.runs.run_dir import find_run, list_half_begun, list_runs
from tests.conftest import RunCli


@pytest.fixture
def saved_dir(tmp_path: Path) -> Path:
    """Three runs, oldest first; `ml-GRU4Rec-2` is not finished."""
    saved_dir = tmp_path / "saved"
    for started, name in enumerate(("ml-GRU4Rec-1", "ml-GRU4Rec-2", "ml-GRU4Rec-11")):
        (saved_dir / name).mkdir(parents=True)
        for file in ("config.yaml", "environment.json", "metrics.json", "model.safetensors"):
            (saved_dir / name / file).touch()
        os.utime(saved_dir / name / "environment.json", (started, started))
    (saved_dir / "ml-GRU4Rec-2/metrics.json").unlink()
    return saved_dir


def test_a_whole_name_is_taken_though_others_begin_so(saved_dir: Path) -> None:
    assert find_run(saved_dir.parent, "ml-GRU4Rec-1") == saved_dir / "ml-GRU4Rec-1"
    assert find_run(saved_dir.parent, "ml-GRU4Rec-11") == saved_dir / "ml-GRU4Rec-11"


def test_without_a_name_the_newest_is_taken(saved_dir: Path) -> None:
    assert find_run(saved_dir.parent, None) == saved_dir / "ml-GRU4Rec-11"
    (saved_dir / "ml-GRU4Rec-11/metrics.json").unlink()
    assert find_run(saved_dir.parent, None) == saved_dir / "ml-GRU4Rec-1"
    assert find_run(saved_dir.parent, None, finished=False) == saved_dir / "ml-GRU4Rec-11"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ml-GRU4Rec-112", "unknown run 'ml-GRU4Rec-112': did you mean 'ml-GRU4Rec-11'?"),
        ("ml-G", "run 'ml-G': 3 names begin so: ml-GRU4Rec-1, ml-GRU4Rec-2, ml-GRU4Rec-11"),
        ("ml-GRU4Rec-2", "not finished; `kgrec train --resume ml-GRU4Rec-2` resumes it"),
        ("x.pth", "x.pth: a RecBole checkpoint; `kgrec import x.pth` makes a run of it"),
    ],
)
def test_a_mistake_is_one_line(saved_dir: Path, name: str, expected: str) -> None:
    with pytest.raises(KgrecError) as raised:
        find_run(saved_dir.parent, name)
    assert str(raised.value).endswith(expected)


def test_the_beginning_of_one_name_is_enough(saved_dir: Path) -> None:
    (saved_dir / "ml-GRU4Rec-2").rename(saved_dir / "book-GRU4RecKG-2")
    assert find_run(saved_dir.parent, "b", finished=False) == saved_dir / "book-GRU4RecKG-2"
    with pytest.raises(KgrecError, match="not finished"):
        find_run(saved_dir.parent, "book")


def test_a_folder_is_taken_before_the_beginning_of_a_name(
    saved_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (saved_dir / "ml-GRU4Rec-1").rename(saved_dir.parent / "ml")
    (saved_dir / "ml-GRU4Rec-2").rename(saved_dir.parent / "other")
    monkeypatch.chdir(saved_dir.parent)
    assert find_run(Path(), "ml") == Path("ml")


@pytest.fixture
def half_begun(saved_dir: Path) -> Path:
    """Beside the three runs a folder of a training that was killed before it began."""
    folder = saved_dir / "ml-GRU4Rec-3"
    folder.mkdir()
    (folder / "config.yaml").touch()
    (folder / ".items.tsv.x7").touch()
    return folder


def test_a_half_begun_folder_breaks_no_other_run(saved_dir: Path, half_begun: Path) -> None:
    assert find_run(saved_dir.parent, None) == saved_dir / "ml-GRU4Rec-11"
    assert find_run(saved_dir.parent, "ml-GRU4Rec-11") == saved_dir / "ml-GRU4Rec-11"
    assert find_run(saved_dir.parent, None, finished=False) == saved_dir / "ml-GRU4Rec-11"
    for name in ("ml-GRU4Rec-3", half_begun):
        with pytest.raises(KgrecError, match=r"half-begun.*`kgrec runs --remove-half-begun`"):
            find_run(saved_dir.parent, name)
    assert list_half_begun(saved_dir) == [half_begun]


def test_the_half_begun_are_listed_and_removed(
    run_cli: RunCli, saved_dir: Path, half_begun: Path
) -> None:
    (saved_dir / "empty").mkdir()
    (saved_dir / "notes").mkdir()
    (saved_dir / "notes" / "mine.txt").touch()
    states = {
        "ml-GRU4Rec-1": "finished", "ml-GRU4Rec-2": "stopped", "ml-GRU4Rec-11": "finished",
        "empty": "half-begun", "ml-GRU4Rec-3": "half-begun",
    }  # fmt: skip
    listed = json.loads(run_cli("runs", "--json", cwd=saved_dir.parent).stdout)
    assert {row["run"]: row["state"] for row in listed} == states
    shown = run_cli("runs", cwd=saved_dir.parent).stdout
    assert "ml-GRU4Rec-3 " in shown
    assert "`kgrec runs --remove-half-begun` removes what is half-begun" in shown
    assert run_cli("runs", "--remove-half-begun", cwd=saved_dir.parent).exit_code == 0
    left = {path.name for path in saved_dir.iterdir()}
    assert left == {"ml-GRU4Rec-1", "ml-GRU4Rec-2", "ml-GRU4Rec-11", "notes"}


def test_without_runs_the_list_says_what_makes_one(run_cli: RunCli, tmp_path: Path) -> None:
    result = run_cli("runs")
    assert (result.exit_code, result.stdout) == (
        0,
        "no run under saved/: `kgrec train` makes one\n",
    )


def test_a_run_that_is_being_made_is_none_and_goes_when_its_maker_is_gone(
    trained_folder: Path, tmp_path: Path
) -> None:
    """What a kill leaves just before the rename: a whole run under a hidden name."""
    (run_dir,) = (trained_folder / "saved").glob("[!.]*")
    saved_dir = tmp_path / "saved"
    staging_dir = staging_path(saved_dir / run_dir.name)
    shutil.copytree(run_dir, staging_dir)
    with only_writer(saved_dir / run_dir.name):
        assert list_runs(saved_dir) == []
        assert staging_dir.is_dir()
    assert list_runs(saved_dir) == []
    assert not staging_dir.exists()
