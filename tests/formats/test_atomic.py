"""Atomic files that are read in several parts: the same table, the same errors."""

from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats import atomic


@pytest.fixture(autouse=True)
def two_lines_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of ten bytes, filled up to the end of the line."""
    monkeypatch.setattr(atomic, "PART_BYTES", 10)


def _write(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "log.inter"
    path.write_text("\n".join(["user_id:token\tat:float", *rows]))
    return path


def test_parts_make_one_table_with_one_type_a_column(tmp_path: Path) -> None:
    """Whole numbers of one part and fractions of another become floats; empty fields stay null."""
    path = _write(tmp_path, "user1\t1", "user2\t2", "user3\t", "user4\t2.5")
    parts = list(atomic.read_parts(path))
    assert [part.height for part in parts] == [2, 2]
    expected = pl.DataFrame(
        {"user_id": ["user1", "user2", "user3", "user4"], "at": [1.0, 2.0, None, 2.5]}
    )
    assert atomic.read_atomic(path).equals(expected)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("user5\tsoon", "line 6, column at: found 'soon', expected a number"),
        ("user5", "line 6: 1 columns, expected 2"),
        ("user5\t1\t2", "line 6: 3 columns, expected 2"),
    ],
)
def test_an_error_in_a_later_part_names_the_line_of_the_file(
    tmp_path: Path, row: str, said: str
) -> None:
    """Lines count from the file's first, whatever part they are in."""
    path = _write(tmp_path, "user1\t1", "user2\t2", "user3\t3", "user4\t4", row)
    with pytest.raises(KgrecError, match=f"{path}, {said}"):
        atomic.read_atomic(path)


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    """The columns are there."""
    assert atomic.read_atomic(_write(tmp_path)).schema == {"user_id": pl.String, "at": pl.Int64}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"at:float\n1\nNaN\n", "line 3, column at: found 'NaN', expected a number"),
        (b"at:float\n1\n-inf\n", "line 3, column at: found '-inf', expected a number"),
        (b"at:float\n1e999\n", "line 2, column at: found '1e999', expected a number"),
        (b"at:float\n" + b"x" * 5000, "line 2, column at: found '" + "x" * 37 + "...', expected"),
        (b"user_id:token\tat:float\r1\t2\r", "line 1: a carriage return within the line; save"),
        (b"user_id:token\tat:float", ""),
        (b"x" * 70_000, "line 1: over 65,536 bytes, expected a header"),
        (b"x" * 5000, "line 1: column '" + "x" * 37 + "...' has no type; expected name:type"),
        (b"a:token\xff\n1\n", "line 1: not UTF-8"),
        (b"a:token\n1\n2\xff\n", "line 3: not UTF-8"),
        (b"a:token\tb:token\n1\t2\n3\t\xff\n", "line 3: not UTF-8"),
    ],
)
def test_damage_is_one_short_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, said: str
) -> None:
    monkeypatch.setattr(atomic, "PART_BYTES", 2**20)
    path = tmp_path / "log.inter"
    path.write_bytes(data)
    if not said:
        assert atomic.read_atomic(path).is_empty()
        return
    with pytest.raises(KgrecError) as caught:
        atomic.read_atomic(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, {said}")
    assert len(message) - len(str(path)) < 200


def test_a_header_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(KgrecError, match="/dev/zero, line 1: over 65,536 bytes, expected a header"):
        atomic.read_header(Path("/dev/zero"))
