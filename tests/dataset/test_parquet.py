"""Interactions as Parquet: read as the text is, converted both ways, never guessed."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli import api
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats import atomic_parquet
from kgrec_cli.formats.atomic import read_atomic, read_header, write_atomic
from kgrec_cli.settings import Settings
from tests.dataset.conftest import histories, load, write, write_samples

TYPES = {"user_id": "token", "note": "token_seq", "at": "float", "rating": "float"}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_parquet, "PART_ROWS", 2)


def convert(folder: Path, inter_format: str) -> list[str]:
    return [path.name for path in api.convert("toy", inter_format=inter_format, folder=folder)]


def test_a_table_comes_back_in_its_order_and_types(tmp_path: Path) -> None:
    rows = {
        "user_id": ["b", "a", None, "b", "ä"],
        "note": ["x y", None, "z", "", "1"],
        "at": [2**60 + 1, 3, None, -4, 5],
        "rating": [0.1, 3.0, None, 1e-9, 5.0],
    }
    path = tmp_path / "t.inter.parquet"
    write_atomic(path, pl.DataFrame(rows), TYPES)
    assert read_header(path) == TYPES
    rows["note"][3] = None  # as an empty field of the text
    assert read_atomic(path).to_dict(as_series=False) == rows
    assert read_atomic(path, ["rating", "user_id"]).columns == ["rating", "user_id"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"user_id": ["a"]}, "column 'user_id' has no type; expected name:type"),
        ({"u:token": [1.5]}, "column u:token holds Float64, expected text"),
        ({"u:token": ["a"], "at:float": ["1"]}, "column at:float holds String, expected numbers"),
        ({"at:float": [1.0, 2.0, float("nan")]}, "row 3, column at: found 'nan', expected a num"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, columns: dict[str, list], said: str) -> None:
    path = tmp_path / "t.inter.parquet"
    pl.DataFrame(columns).write_parquet(path)
    with pytest.raises(KgrecError) as caught:
        read_atomic(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_ids_that_are_numbers_are_tokens(tmp_path: Path) -> None:
    path = tmp_path / "t.inter.parquet"
    pl.DataFrame({"u:token": [7, None]}).write_parquet(path)
    assert read_atomic(path)["u"].to_list() == ["7", None]


def test_the_data_set_is_that_of_the_text(folder: Path) -> None:
    as_text, _ = load(folder)
    text = (folder / "dataset" / "toy" / "toy.inter").read_bytes()
    assert convert(folder, "parquet") == ["toy.inter.parquet"]
    assert not (folder / "dataset" / "toy" / "toy.inter").exists()
    as_parquet, notes = load(folder)
    assert notes == []
    assert histories(as_parquet) == histories(as_text)
    assert as_parquet.items.tokens == as_text.items.tokens
    assert as_parquet.users.tokens == as_text.users.tokens
    assert as_parquet.histories.times.tolist() == as_text.histories.times.tolist()
    assert as_parquet.inter_sha256 == as_text.inter_sha256  # a run goes on with the other format
    (folder / "dataset" / "toy" / "mapped").mkdir()
    assert convert(folder, "atomic") == ["toy.inter"]
    assert not (folder / "dataset" / "toy" / "mapped").exists()
    assert (folder / "dataset" / "toy" / "toy.inter").read_bytes() == text
    assert load(folder)[0].inter_sha256 == as_text.inter_sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"val_interval": {"rating": "[3,inf)"}},
        {"rm_dup_inter": "last"},
        {"item_inter_num_interval": "[2,inf)"},
        {"TIME_FIELD": None},
    ],
)
def test_filters_are_those_of_the_text(folder: Path, changes: dict[str, object]) -> None:
    expected = histories(load(folder, **changes)[0])
    convert(folder, "parquet")
    assert histories(load(folder, **changes)[0]) == expected


def test_files_of_samples(folder: Path) -> None:
    write_samples(folder)
    changes = {"benchmark_filename": ["train", "valid", "test"]}
    expected = load(folder, **changes)[0]
    names = convert(folder, "parquet")
    assert "toy.train.inter.parquet" in names
    assert len(names) == 4
    dataset = load(folder, **changes)[0]
    assert histories(dataset) == histories(expected)
    assert dataset.inter_sha256 == expected.inter_sha256


def test_numbers_that_are_whole_in_one_part_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgrec_cli.formats.atomic.PART_BYTES", 1)
    rows = [("a", "x", 5, 1), ("a", "y", 2.5, 2)]
    write(folder, "inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float", rows)
    convert(folder, "parquet")
    table = read_atomic(atomic_path(Settings(dataset="toy"), folder, "inter"))
    assert table["rating"].to_list() == [5.0, 2.5]
    assert table["timestamp"].dtype == pl.Int64


def test_both_formats_are_one_line(folder: Path) -> None:
    convert(folder, "parquet")
    shutil.copy(folder / "dataset" / "toy" / "toy.kg", folder / "dataset" / "toy" / "toy.inter")
    with pytest.raises(KgrecError, match=r"holds toy.inter and toy.inter.parquet; which one are"):
        load(folder)
    before = {path: path.read_bytes() for path in (folder / "dataset" / "toy").iterdir()}
    for inter_format in ("atomic", "parquet"):
        with pytest.raises(KgrecError, match=r"toy: holds toy.inter and toy.inter.parquet; which"):
            convert(folder, inter_format)
    assert {path: path.read_bytes() for path in (folder / "dataset" / "toy").iterdir()} == before


def test_nothing_to_convert(folder: Path) -> None:
    with pytest.raises(KgrecError, match=r"toy.inter.parquet to convert; --format parquet conv"):
        convert(folder, "atomic")


def test_a_changed_file_stays_one_that_prepare_did_not_write(folder: Path) -> None:
    report_path = folder / "dataset" / "toy" / "prepare.json"
    report_path.write_text(json.dumps({"files": {"toy.inter": "0" * 64}, "warnings": []}))
    convert(folder, "parquet")
    assert json.loads(report_path.read_text())["files"] == {}


def test_a_damaged_file_is_one_line(folder: Path) -> None:
    convert(folder, "parquet")
    path = folder / "dataset" / "toy" / "toy.inter.parquet"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"PAR1" + b"\xff" * 80 + b"PAR1", b""):
        path.write_bytes(damaged)
        with pytest.raises(KgrecError, match=r"not a whole Parquet file") as caught:
            load(folder)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
