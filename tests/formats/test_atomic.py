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
