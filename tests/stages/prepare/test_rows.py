"""A log in files, read and filtered a part at a time, gives the data set of one in memory."""

import random
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli import api
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw import rows, tables


def write_log(folder: Path, seed: int, **kinds: type[pl.DataType]) -> Path:
    """A log of 60 rows in three files of unequal length, one of them without a row."""
    draw = random.Random(seed)
    table = pl.DataFrame(
        {
            "user": [draw.randrange(9) for _ in range(60)],
            "item": [f"i{draw.randrange(8)}" for _ in range(60)],
            "rating": [draw.choice([1.0, 2.5, 4.0]) for _ in range(60)],
            "time": [draw.randrange(1_600_000_000, 1_600_000_030) for _ in range(60)],
        }
    ).cast(kinds)  # type: ignore[arg-type]
    log_dir = folder / "log"
    log_dir.mkdir()
    for name, part in (("a", table[:7]), ("b", table[7:7]), ("c", table[7:])):
        part.write_parquet(log_dir / f"{name}.parquet")
    return log_dir


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def prepare(log: Path, folder: Path, **options: object) -> dict[str, bytes]:
    folder.mkdir()
    api.prepare("toy", raw=log, kg="none", folder=folder, **options)  # type: ignore[arg-type]
    dataset_dir = folder / "dataset"
    assert names(dataset_dir) == ["toy"]  # the rows' files are gone
    return {path.name: path.read_bytes() for path in sorted((dataset_dir / "toy").iterdir())}


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 5)
    monkeypatch.setattr(rows, "SHARE_ROWS", 16)
    return monkeypatch


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"duplicates": "first", "min_rating": 2.0},
        {"duplicates": "last", "min_user_inter": 3, "min_item_inter": 4},
        {"min_user_inter": 5, "rating_col": "none"},
        {"min_item_inter": 6, "time_col": "none"},
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_is_that_of_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], seed: int
) -> None:
    log = write_log(tmp_path, seed)
    expected = prepare(log, tmp_path / "whole", **options)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 5)
    monkeypatch.setattr(rows, "SHARE_ROWS", 16)
    assert prepare(log, tmp_path / "parts", **options) == expected


@pytest.mark.parametrize(
    "kinds",
    [
        {"time": pl.Datetime("ms")},
        {"time": pl.Float64, "rating": pl.Int8},
        {"item": pl.Categorical, "user": pl.UInt32},
    ],
)
def test_types_of_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: dict[str, type[pl.DataType]]
) -> None:
    log = write_log(tmp_path, 3, **kinds)
    expected = prepare(log, tmp_path / "whole")
    monkeypatch.setattr(tables, "CHUNK_ROWS", 5)
    assert prepare(log, tmp_path / "parts") == expected


def test_a_bad_row_is_named_where_it_stands(tmp_path: Path, in_files: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path, 1)
    table = pl.read_parquet(log / "c.parquet")
    table[40, "item"] = None
    table.write_parquet(log / "c.parquet")
    with pytest.raises(KgrecError, match=r"c\.parquet, row 41, column item: found nothing"):
        prepare(log, tmp_path / "parts")
    assert not any((tmp_path / "parts").glob("dataset/*"))
    files = prepare(log, tmp_path / "skipped", on_bad_row="skip")
    assert files["toy.bad_rows.tsv"].count(b"\n") == 2
    assert b"\t41\titem\t" in files["toy.bad_rows.tsv"]


def test_a_damaged_part_is_one_line(tmp_path: Path, in_files: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path, 1)
    whole = (log / "c.parquet").read_bytes()
    (log / "c.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(KgrecError, match=r"c\.parquet: cannot be read \(not a whole Parquet file"):
        prepare(log, tmp_path / "parts")


def test_parts_of_other_columns_are_one_line(tmp_path: Path, in_files: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path, 1)
    pl.read_parquet(log / "c.parquet").rename({"item": "thing"}).write_parquet(log / "c.parquet")
    with pytest.raises(KgrecError, match=r"are different tables; give one") as caught:
        prepare(log, tmp_path / "parts")
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_one_line(tmp_path: Path, in_files: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path, 1)
    in_files.setattr("kgrec_cli.core.memory.memory_limit", lambda: 5999)
    prepare(log, tmp_path / "parts")
    in_files.setattr(tables, "CHUNK_ROWS", 60)
    with pytest.raises(KgrecError, match=r"a\.parquet: 60 rows, read whole \(docs/scaling.md"):
        prepare(log, tmp_path / "whole")


def test_a_full_disk_leaves_the_data_set_as_it_was(
    tmp_path: Path, in_files: pytest.MonkeyPatch
) -> None:
    log = write_log(tmp_path, 1)
    before = prepare(log, tmp_path / "parts")
    write = pl.DataFrame.write_parquet

    def fail(self: pl.DataFrame, path: Path, **options: object) -> None:
        if path.name == "3.parquet":
            raise pl.exceptions.ComputeError("No space left on device (os error 28)")
        write(self, path, **options)  # type: ignore[arg-type]

    in_files.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(KgrecError, match=r"cannot write \(No space left on device") as caught:
        api.prepare("toy", raw=log, kg="none", folder=tmp_path / "parts")
    assert "\n" not in str(caught.value)
    dataset_dir = tmp_path / "parts" / "dataset"
    assert names(dataset_dir) == ["toy"]
    assert {p.name: p.read_bytes() for p in sorted((dataset_dir / "toy").iterdir())} == before


def write_parts(folder: Path, **parts: dict[str, list[object]]) -> Path:
    kinds = {"user": pl.String, "item": pl.String, "rating": pl.Float64, "time": pl.Int64}
    log_dir = folder / "log"
    log_dir.mkdir()
    for name, columns in parts.items():
        pl.DataFrame(columns, schema=kinds).write_parquet(log_dir / f"{name}.parquet")
    return log_dir


def outcome(log: Path, folder: Path, **options: object) -> dict[str, bytes] | str:
    try:
        return prepare(log, folder, **options)
    except KgrecError as error:
        return str(error)


GOOD = {"user": ["u", "v", "u"], "item": ["a", "b", "c"], "rating": [1, 2, 3], "time": [1, 2, 3]}
BLANK = {name: [None, None] for name in GOOD}
NO_USER = GOOD | {"user": [None, None, None]}


@pytest.mark.parametrize(
    ("parts", "options"),
    [
        ([GOOD, BLANK], {}),
        ([BLANK] * 3, {}),
        ([GOOD, NO_USER], {"on_bad_row": "skip"}),
        ([NO_USER, NO_USER], {"on_bad_row": "skip"}),
        ([GOOD, GOOD | {"user": ["NA", "NA", "NULL"]}, GOOD | {"item": ["b", "nan", "a"]}], {}),
        ([GOOD, GOOD | {"user": ["NA"] * 3}, GOOD], {"missing_ids": "skip"}),
        ([GOOD, GOOD | {"user": ["NA"] * 3}, GOOD | {"user": ["NA"] * 3}], {"missing_ids": "keep"}),
        ([GOOD | {"user": ["NA"] * 3}] * 2, {"missing_ids": "skip"}),
        ([GOOD | {"user": ["7.0", "8.0", "7.0"]}] * 2, {}),
    ],
)
def test_a_chunk_with_no_good_row_is_part_of_the_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parts: list[dict[str, list[object]]],
    options: dict[str, object],
) -> None:
    log = write_parts(tmp_path, **{f"part{n}": part for n, part in enumerate(parts)})
    expected = outcome(log, tmp_path / "whole", **options)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 2)
    assert outcome(log, tmp_path / "parts", **options) == expected


def test_how_many_bad_rows_there_are_is_said_of_what_was_read(
    tmp_path: Path, in_files: pytest.MonkeyPatch
) -> None:
    log = write_parts(tmp_path, a=GOOD, b=NO_USER)
    with pytest.raises(KgrecError, match=r"b.parquet, row 1, column user: found nothing, .*\(3 ba"):
        prepare(log, tmp_path / "parts")


def test_a_share_without_users_is_passed_over(tmp_path: Path, in_files: pytest.MonkeyPatch) -> None:
    ids = {name: ["a"] * 40 for name in ("user_id", "item_id")}
    table = pl.DataFrame(ids, dict.fromkeys(ids, pl.Categorical))
    path = rows.write_rows(tmp_path / "0.parquet", table)
    of_one_user = rows.Rows((path,), table.height, table.clear())
    assert of_one_user.n_shares == 3
    assert [share.height for share in of_one_user.shares()] == [40]
