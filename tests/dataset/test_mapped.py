"""Histories in mapped files are those that are built in memory, and are made once."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from kgrec_cli import api
from kgrec_cli.core.data.histories import vocabulary_of
from kgrec_cli.dataset import mapped
from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Warn
from kgrec_cli.formats import atomic_parquet
from kgrec_cli.settings import Settings


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_parquet, "PART_ROWS", 7)
    monkeypatch.setattr(mapped, "BLOCK_EVENTS", 9)
    monkeypatch.setattr(mapped, "WAIT_S", 0.01)


def prepare(folder: Path, seed: int, inter_format: str = "parquet", times: float = 1) -> Path:
    """A data set of 60 events, many of one time, users and items in no order."""
    draw = random.Random(seed)
    rows = [
        f"u{draw.randrange(9)},i{draw.randrange(12)},{draw.randrange(6) * times}" for _ in range(60)
    ]
    path = folder / f"{seed}.csv"
    path.write_text("\n".join(["user,item,time", *rows, ""]))
    api.prepare("toy", raw=path, kg="none", inter_format=inter_format, folder=folder)  # type: ignore[arg-type]
    return folder


def load(folder: Path, events: list[Event] | None = None, **changes: object) -> Dataset:
    settings = Settings(dataset="toy", **changes)  # type: ignore[arg-type]
    return load_dataset(settings, folder, (events if events is not None else []).append)


def check_same(one: Dataset, other: Dataset) -> None:
    assert one.users.tokens == other.users.tokens
    assert one.items.tokens == other.items.tokens
    for name in ("items", "offsets", "times", "user_ids"):
        a, b = (getattr(dataset.histories, name) for dataset in (one, other))
        assert a.dtype == b.dtype
        assert np.array_equal(a, b), name


def mapped_folders(folder: Path) -> list[Path]:
    return list((folder / "dataset" / "toy").glob("mapped/*"))


@pytest.mark.parametrize("times", [1, -(2**50), 0.5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_they_are_those_in_memory(tmp_path: Path, seed: int, times: float) -> None:
    (tmp_path / "text").mkdir()
    in_memory = load(prepare(tmp_path / "text", seed, "atomic", times))
    events: list[Event] = []
    dataset = load(prepare(tmp_path, seed, times=times), events)
    assert len(mapped_folders(tmp_path)) == 1
    check_same(dataset, in_memory)
    assert len(in_memory.histories.items) == 60


def test_they_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, 1)
    first = load(tmp_path)
    monkeypatch.setattr(mapped, "_build", None)
    again = load(tmp_path)
    check_same(again, first)
    check_same(load_with(tmp_path, first.items.tokens[1:]), first)
    assert isinstance(again.histories.items.base, np.memmap)


def load_with(folder: Path, items: list[str]) -> Dataset:
    known = vocabulary_of(items)
    return load_dataset(Settings(dataset="toy"), folder, lambda event: None, known)


def test_other_interactions_get_other_files(tmp_path: Path) -> None:
    prepare(tmp_path, 1)
    load(tmp_path)
    old = mapped_folders(tmp_path)
    prepare(tmp_path, 2)
    load(tmp_path)
    assert len(mapped_folders(tmp_path)) == 1
    assert mapped_folders(tmp_path) != old


@pytest.mark.parametrize(
    "changes",
    [
        {"user_inter_num_interval": "[7,inf)"},
        {"item_inter_num_interval": "[6,inf)"},
        {"val_interval": {"timestamp": "[2,inf)"}},
        {"rm_dup_inter": "first"},
        {"TIME_FIELD": None},
    ],
)
def test_filters_work_in_memory(tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "text").mkdir()
    expected = load(prepare(tmp_path / "text", 1, "atomic"), **changes)
    check_same(load(prepare(tmp_path, 1), **changes), expected)
    assert mapped_folders(tmp_path) == []


def test_the_items_of_a_run_that_are_others(tmp_path: Path) -> None:
    prepare(tmp_path, 1)
    items = load(tmp_path).items.tokens[1:]
    dataset = load_with(tmp_path, [*items[:0:-1], "new"])
    assert dataset.items.tokens[1] == items[-1]
    assert len(dataset.histories.items) < 60  # the first item is unknown to the run


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, 1)

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    events: list[Event] = []
    dataset = load(tmp_path, events)
    assert len(dataset.histories.items) == 60
    (warning,) = (event.text for event in events if isinstance(event, Warn))
    assert "cannot write (No space left on device)" in warning
    assert warning.endswith("so the interactions are read into memory")
    assert mapped_folders(tmp_path) == []


def test_too_little_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, 1)
    monkeypatch.setattr("kgrec_cli.core.memory.memory_limit", lambda: 60 * 64 - 1)
    assert len(load(tmp_path).histories.items) == 60  # mapped
    with pytest.raises(
        KgrecError, match=r"60 interactions, read whole \(docs/scaling.md"
    ) as caught:
        load(tmp_path, rm_dup_inter="first")
    assert "\n" not in str(caught.value)


def test_another_process_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, 1)
    first = load(tmp_path)
    (mapped_dir,) = mapped_folders(tmp_path)
    aside = mapped_dir.rename(tmp_path / "aside")

    def wait(seconds: float) -> None:
        aside.rename(mapped_dir)

    monkeypatch.setattr(mapped.time, "sleep", wait)
    with mapped.only_writer(mapped_dir):
        check_same(load(tmp_path), first)
