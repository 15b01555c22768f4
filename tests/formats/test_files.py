"""A data set's files appear together, or not at all; JSON and its mistakes."""

from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import (
    UNFINISHED,
    check_whole,
    read_json,
    write_json,
    write_text,
    write_together,
)
from kgrec_cli.formats.locks import TEMPORARY, in_use, staging_path


def text(content: str):
    return lambda path: path.write_text(content)


def full_disk(path: Path):
    raise OSError(28, "No space left on device")


def test_all_files_appear_and_old_ones_go(tmp_path: Path):
    folder = tmp_path / "deep" / "set"
    write_together(folder, {"a": text("1"), "b": text("2")}, by="prepare")
    write_together(folder, {"a": text("3")}, remove=["b", "never there"], by="prepare")
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("a", "3")]
    assert [path.name for path in folder.parent.iterdir()] == ["set"]


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path):
    folder = tmp_path / "set"
    write_together(folder, {"a": text("old"), "b": text("old")}, by="prepare")
    with pytest.raises(KgrecError, match="No space left"):
        write_together(folder, {"a": text("new"), "b": full_disk}, remove=["b"], by="prepare")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "old", "b": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_new_folder_is_not_left_behind(tmp_path: Path):
    with pytest.raises(KgrecError):
        write_together(tmp_path / "set", {"a": full_disk}, by="prepare")
    assert list(tmp_path.iterdir()) == []


def test_errors_name_the_place_that_the_user_knows(tmp_path: Path):
    def fail(path: Path):
        raise KgrecError(f"{path}: cannot write")

    with pytest.raises(KgrecError) as caught:
        write_together(tmp_path / "set", {"a": fail}, by="prepare")
    assert str(caught.value) == f"{tmp_path / 'set' / 'a'}: cannot write"


def test_ctrl_c_between_two_renames_waits_for_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, replace, interrupts = tmp_path / "set", Path.replace, [KeyboardInterrupt]

    def interrupted(path: Path, target: Path):
        replace(path, target)
        if interrupts:
            raise interrupts.pop()

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_together(folder, {"a": text("1"), "b": text("2")}, by="prepare")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a": "1", "b": "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_command_killed_between_two_renames_is_known_until_it_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "set"
    write_together(folder, {"a": text("old"), "b": text("old")}, by="prepare")
    staged = {"b": text("new")}
    with monkeypatch.context() as patches:  # what a kill leaves: no handler has run
        patches.setattr(Path, "unlink", lambda *_, **__: None)
        write_together(folder, staged, by="prepare")
    message = (
        f"{folder}: `kgrec prepare` was stopped while it replaced these files, so they do not "
        "belong together; run it again"
    )
    with pytest.raises(KgrecError) as caught:
        check_whole(folder)
    assert str(caught.value) == message
    with pytest.raises(KgrecError):
        check_whole(folder, but="pretrain-kg")
    check_whole(folder, but="prepare")
    write_together(folder, {"a": text("new"), **staged}, by="prepare")
    check_whole(folder)
    assert not list(folder.glob(f"{UNFINISHED}*"))


def test_what_a_killed_command_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / f".a.x1{TEMPORARY}").write_text("half")
    (folder / ".a.x1").write_text("of another program")
    staging_path(folder).mkdir()
    (staging_path(folder) / "a").write_text("a whole copy")
    (folder / f".b.x2{TEMPORARY}").write_text("being written")
    with in_use(folder / f".b.x2{TEMPORARY}"):
        check_whole(folder)
        assert sorted(path.name for path in folder.iterdir()) == [".a.x1", f".b.x2{TEMPORARY}"]
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    write_text(folder / "c", "")
    assert sorted(path.name for path in folder.iterdir()) == [".a.x1", "c"]


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "dataset").write_text("")
    with pytest.raises(KgrecError, match="dataset: a file, expected a folder"):
        write_together(tmp_path / "dataset" / "set", {"a": text("1")}, by="prepare")


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
