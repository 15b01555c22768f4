"""A data set's files appear together, or not at all; JSON and its mistakes."""

from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import read_json, write_json, write_together


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


def test_json_is_plain_and_nan_is_refused(tmp_path: Path):
    path = tmp_path / "a.json"
    write_json(path, {"é": [1, None]})
    assert path.read_bytes().decode() == '{\n  "é": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert read_json(path) == {"é": [1, None]}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_what_is_no_json_is_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "a.json"
    with pytest.raises(KgrecError, match=r"a\.json: no such file"):
        read_json(path)
    path.write_bytes(content)
    with pytest.raises(KgrecError, match=r"a\.json: not a JSON file") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)
