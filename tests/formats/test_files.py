"""A data set's files appear together, or not at all."""

from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import write_together


def text(content: str):
    return lambda path: path.write_text(content)


def full_disk(path: Path):
    raise OSError(28, "No space left on device")


def test_all_files_appear_and_old_ones_go(tmp_path: Path):
    folder = tmp_path / "deep" / "set"
    write_together(folder, {"a": text("1"), "b": text("2")})
    write_together(folder, {"a": text("3")}, remove=["b", "never there"])
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("a", "3")]
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path):
    folder = tmp_path / "set"
    write_together(folder, {"a": text("old"), "b": text("old")})
    with pytest.raises(KgrecError, match="No space left"):
        write_together(folder, {"a": text("new"), "b": full_disk}, remove=["b"])
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "old", "b": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_new_folder_is_not_left_behind(tmp_path: Path):
    with pytest.raises(KgrecError):
        write_together(tmp_path / "set", {"a": full_disk})
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_place_that_the_user_knows(tmp_path: Path):
    def fail(path: Path):
        raise KgrecError(f"{path}: cannot write")

    with pytest.raises(KgrecError) as caught:
        write_together(tmp_path / "set", {"a": fail})
    assert str(caught.value) == f"{tmp_path / 'set' / 'a'}: cannot write"


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "dataset").write_text("")
    with pytest.raises(KgrecError, match="dataset: a file, expected a folder"):
        write_together(tmp_path / "dataset" / "set", {"a": text("1")})
