"""A data set's files appear together, or not at all; JSON and its mistakes."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import (
    UNFINISHED,
    check_whole,
    read_json,
    write_chunks,
    write_json,
    write_table,
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


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\xff", b'{"a": NaN}', b"[-Infinity]", b"[1e999]", b'["\\ud800"]',
        b"[" * 100_000, b"9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_json_is_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "a.json"
    with pytest.raises(KgrecError, match=r"a\.json: no such file"):
        read_json(path)
    path.write_bytes(content)
    with pytest.raises(KgrecError, match=r"a\.json: not a JSON file") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_cannot_be_opened_is_one_line(tmp_path: Path):
    with pytest.raises(KgrecError, match=r"a folder, expected a file"):
        read_json(tmp_path)


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_permissions_of_the_umask(tmp_path: Path, umask: int, expected: int):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a", "1")
        write_together(tmp_path / "set", {"b": lambda path: write_text(path, "2")}, by="prepare")
    finally:
        os.umask(before)
    for path in (tmp_path / "a", tmp_path / "set" / "b"):
        assert path.stat().st_mode & 0o777 == expected
    assert (tmp_path / "set").stat().st_mode & 0o777 == 0o777 & ~umask


FORMULAS = {
    "=1+1": "'=1+1", "+1+1": "'+1+1", "-1+1": "'-1+1", "@SUM(1,1)": "'@SUM(1,1)",
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0", "\t=1": "'\t=1", "\r=1": "'\r=1", "'=1": "''=1",
    "-5": "-5", "+3.25": "+3.25", "'Til There Was You": "'Til There Was You", "Brazil": "Brazil",
}  # fmt: skip
IDS = {
    "=1+1": "'=1+1", "-2+3+cmd|' /C calc'!A0": "'-2+3+cmd|' /C calc'!A0", "@SUM(1)": "'@SUM(1)",
    "--6MefnULPED_I942VcFNA": "--6MefnULPED_I942VcFNA", "@mary": "@mary", "+1-555": "+1-555",
    "-1": "-1", "196": "196",
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_no_cell_is_a_formula(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    titles, ids = [*FORMULAS, *FORMULAS], [*IDS] * 3
    table = pl.DataFrame({"item": ids, "title": titles, "score": [-1.5] * 24})
    write_table(path, table)
    match suffix:
        case ".jsonl":
            found = pl.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
        case ".parquet":
            found = pl.read_parquet(path)
        case _:
            separator = "," if suffix == ".csv" else "\t"
            found = pl.read_csv(path, separator=separator, infer_schema=False)
    is_text = suffix in (".csv", ".tsv")
    assert found["title"].to_list() == [FORMULAS[text] if is_text else text for text in titles]
    assert found["item"].to_list() == [IDS[text] if is_text else text for text in ids]
    assert {float(score) for score in found["score"]} == {-1.5}
    again = found.with_columns(pl.col("item", "title").str.replace(r"^'('*[=+\-@\t\r])", "$1"))
    assert (again["item"].to_list(), again["title"].to_list()) == (ids, titles) or not is_text


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_chunks_are_written_as_one_table_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    table = pl.DataFrame({"user": ["a", "b", "=c"], "rank": [1, 2, 3]})
    write_table(tmp_path / f"whole{suffix}", table)
    path = tmp_path / f"chunks{suffix}"
    write_chunks(path, (table[row : row + 1] for row in range(3)), table.schema)
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    assert suffix == ".parquet" or path.read_bytes() == whole
    if suffix == ".parquet":
        assert pl.read_parquet(path).equals(table)

    def broken() -> Iterator[pl.DataFrame]:
        yield table
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_chunks(path, broken(), table.schema)
    assert suffix == ".parquet" or path.read_bytes() == whole
    assert sorted(found.name for found in tmp_path.iterdir()) == [path.name, f"whole{suffix}"]
