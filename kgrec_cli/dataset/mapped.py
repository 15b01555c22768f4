"""Histories of a Parquet data set as files that are mapped into memory: read as far as is touched.

They are made once, in passes over parts of the interactions, and kept in `dataset/NAME/mapped/`
under a name that follows from the digest of the file they were made of.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from kgrec_cli.core.data.histories import Histories, Vocabulary, build_histories, vocabulary_of
from kgrec_cli.formats.atomic import read_parts
from kgrec_cli.formats.files import staging, write_table
from kgrec_cli.formats.locks import InUse, only_writer, remove_leftovers

FOLDER = "mapped"
VERSION = 1  # of what the files hold: those of another version are not read
BLOCK_EVENTS = 2**22
WAIT_S = 0.5
TOKENS = {"user_id": "users.parquet", "item_id": "items.parquet"}


class Mapped(NamedTuple):
    """The vocabularies and the histories of a data set; the arrays lie in files."""

    users: Vocabulary
    items: Vocabulary
    histories: Histories


def map_histories(path: Path, digest: str, fields: Mapping[str, str]) -> Mapped | None:
    """The histories of a Parquet file of interactions, as the core builds them in memory.

    Args:
        path: The file.
        digest: Its SHA-256.
        fields: The file's columns -> user_id, item_id, timestamp.

    Returns:
        None when a row lacks one of the three: such rows are for who can name them.

    Raises:
        KgrecError: The folder cannot be written to, or the disk is full; the file is damaged.
    """
    key = hashlib.sha256("\n".join([str(VERSION), digest, *fields]).encode()).hexdigest()[:16]
    mapped_dir = path.parent / FOLDER / key
    remove_leftovers(mapped_dir.parent)
    while not mapped_dir.is_dir():
        try:
            with only_writer(mapped_dir), staging(mapped_dir) as staging_dir:
                if not _build(path, fields, staging_dir):
                    return None
                for older in mapped_dir.parent.glob("[!.]*"):
                    shutil.rmtree(older)
                staging_dir.rename(mapped_dir)
        except InUse:
            time.sleep(WAIT_S)  # another process makes them
    item_ids, offsets, times = (
        np.asarray(np.load(mapped_dir / f"{name}.npy", mmap_mode="c"))
        for name in ("items", "offsets", "times")
    )
    users, tokens = (
        vocabulary_of(pl.read_parquet(mapped_dir / name, glob=False).to_series().to_list())
        for name in TOKENS.values()
    )
    user_ids = np.arange(1, len(users), dtype=np.int32)
    return Mapped(users, tokens, Histories(item_ids, offsets, times, user_ids))


def remove_mapped(dataset_dir: Path) -> None:
    """Removes what `map_histories` kept of a data set, for one whose interactions are text now."""
    shutil.rmtree(dataset_dir / FOLDER, ignore_errors=True)


class _Numbering:
    """Ids in order of first appearance, from 1, for columns that come in parts."""

    def __init__(self) -> None:
        self.ids = np.zeros(0, dtype=np.int32)  # by the number of a category
        self.tokens: list[pl.Series] = []  # Categorical: the numbers stay as long as these do
        self.counts = np.zeros(1, dtype=np.int64)

    def encode(self, column: pl.Series) -> NDArray[np.int32]:
        """The ids of a Categorical column; new tokens get the next ones."""
        codes = column.to_physical().to_numpy()
        self.ids = _grown(self.ids, int(codes.max(initial=0)) + 1)
        is_new = self.ids[codes] == 0
        if is_new.any():
            new = column.filter(is_new).unique(maintain_order=True)
            n_known = sum(map(len, self.tokens))
            self.ids[new.to_physical()] = np.arange(n_known + 1, n_known + 1 + len(new))
            self.tokens.append(new)
        found: NDArray[np.int32] = self.ids[codes]
        return found

    def count(self, ids: NDArray[np.int32]) -> None:
        """Adds to `counts`, the rows of each id."""
        counts = np.bincount(ids)
        self.counts = _grown(self.counts, len(counts))
        self.counts[: len(counts)] += counts


def _grown(values: NDArray[Any], length: int) -> NDArray[Any]:
    """The values, zeros behind."""
    if length <= len(values):
        return values
    return np.concatenate(
        [values, np.zeros(max(length, 2 * len(values)) - len(values), values.dtype)]
    )


def _build(path: Path, fields: Mapping[str, str], folder: Path) -> bool:
    """Writes the files into a folder; False when a row lacks a field."""
    names = {name: field for field, name in fields.items()}
    ids = {name: _Numbering() for name in TOKENS}
    kinds: set[Any] = set()
    for part in read_parts(path, list(fields)):
        if any(column.null_count() for column in part):
            return False
        kinds.add(part[names["timestamp"]].dtype)
        for name, numbering in ids.items():
            numbering.count(numbering.encode(part[names[name]].cast(pl.Categorical)))
    for name, file_name in TOKENS.items():
        texts = pl.concat([part.cast(pl.String) for part in ids[name].tokens])
        write_table(folder / file_name, pl.DataFrame({name: texts}))
    n_users = sum(map(len, ids["user_id"].tokens))
    offsets = np.concatenate([[0], np.cumsum(ids["user_id"].counts[1 : n_users + 1])])
    np.save(folder / "offsets.npy", offsets)
    n = int(offsets[-1])
    items = _new_array(folder / "items.npy", np.int32, n)
    times = _new_array(folder / "times.npy", np.float64 if pl.Float64 in kinds else np.int64, n)
    filled = offsets[:-1].copy()
    for part in read_parts(path, list(fields)):
        users, tokens = (
            ids[name].encode(part[names[name]].cast(pl.Categorical)) for name in TOKENS
        )
        order = np.argsort(users, kind="stable")
        index = users[order] - 1
        first = np.flatnonzero(np.diff(index, prepend=-1))
        counts = np.diff(first, append=len(index))
        places = filled[index] + np.arange(len(index)) - np.repeat(first, counts)
        filled[index[first]] += counts
        items[places] = tokens[order]
        times[places] = part[names["timestamp"]].to_numpy()[order]
    for begin, end in _blocks(offsets):
        block = slice(offsets[begin], offsets[end])
        owners = np.repeat(
            np.arange(end - begin, dtype=np.int32), np.diff(offsets[begin : end + 1])
        )
        ordered = build_histories(owners, items[block], times[block])
        items[block], times[block] = ordered.items, ordered.times
    items.flush()
    times.flush()
    return True


def _blocks(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Users from .. to, of about `BLOCK_EVENTS` events together."""
    marks = np.arange(BLOCK_EVENTS, offsets[-1], BLOCK_EVENTS)
    borders = np.unique([0, *np.searchsorted(offsets, marks), len(offsets) - 1])
    return list(zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True))


def _new_array(path: Path, dtype: Any, n: int) -> Any:
    """An array in a file that has its place on the disk: a write to a full one cannot be caught."""
    array = open_memmap(path, mode="w+", dtype=dtype, shape=(n,))
    with suppress(AttributeError), path.open("rb+") as file:  # not on every system
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
