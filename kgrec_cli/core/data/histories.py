"""Histories and splits: from a table of interactions to who predicts what from what.

All histories of all users are one flat array in time order plus offsets (CSR). A target is an index
into that array; its prefix is the events before it in the same history.

Letters: B rows, L length, n events, U users.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Items = NDArray[np.int32]


PADDING = "[PAD]"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one field in id order; `tokens[0]` is the padding.

    A token of the data may be spelled like the padding; it has an id of its own.
    """

    tokens: Sequence[str]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {token: index for index, token in enumerate(self.tokens) if index > 0}
        if len(ids) != len(self.tokens) - 1 or self.tokens[0] != PADDING:
            raise ValueError("a vocabulary starts with the padding and holds each token once")
        object.__setattr__(self, "_ids", ids)

    def __len__(self) -> int:
        """The number of ids, padding included."""
        return len(self.tokens)

    def get(self, token: str) -> int | None:
        """The id of a token, None when it is not in the vocabulary."""
        return self._ids.get(token)

    def encode(self, tokens: pl.Series) -> np.ndarray:
        """The ids of a column of tokens (String or Categorical).

        Returns:
            int32 array of the column's length; 0 for tokens that are not in the vocabulary.
        """
        if tokens.dtype == pl.Categorical:
            codes, known = tokens.to_physical().to_numpy(), tokens.unique()
            ids_of_codes = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.int32)
            ids_of_codes[known.to_physical()] = self.encode(known.cast(pl.String))
            ids: np.ndarray = ids_of_codes[codes]
            return ids
        keys = pl.Series(self.tokens[1:], dtype=pl.String)
        numbers = pl.Series(range(1, len(self.tokens)), dtype=pl.Int32)
        return tokens.replace_strict(keys, numbers, default=0, return_dtype=pl.Int32).to_numpy()


def build_vocabulary(tokens: pl.Series) -> Vocabulary:
    """The vocabulary of a column, ids in order of first appearance from 1 (as RecBole numbers)."""
    return Vocabulary([PADDING, *tokens.unique(maintain_order=True).cast(pl.String).to_list()])


def vocabulary_of(tokens: Iterable[str]) -> Vocabulary:
    """The vocabulary of tokens that are already in id order, without the padding."""
    return Vocabulary([PADDING, *tokens])


@dataclass(frozen=True)
class Histories:
    """Every user's items in time order.

    Attributes:
        items: int32 (n,), item ids; user u owns `items[offsets[u]:offsets[u + 1]]`.
        offsets: int64 (U + 1,).
        times: (n,) the event times, int64 or float64, ascending within a user.
        user_ids: int32 (U,), the user id of each history.
    """

    items: Items
    offsets: Ints
    times: NDArray[np.int64] | NDArray[np.float64]
    user_ids: NDArray[np.int32]

    def __len__(self) -> int:
        """The number of histories."""
        return len(self.user_ids)

    @property
    def owners(self) -> Ints:
        """int64 (n,), the history (its index) that each event belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


def build_histories(
    user_ids: NDArray[np.int32],
    item_ids: NDArray[np.int32],
    times: NDArray[np.int64] | NDArray[np.float64],
) -> Histories:
    """As `build_histories_in_parts`, of events that belong to no parts."""
    no_parts = np.zeros(len(user_ids), dtype=np.int32)
    return build_histories_in_parts(user_ids, item_ids, times, no_parts)[0]


def build_histories_in_parts(
    user_ids: NDArray[np.int32],
    item_ids: NDArray[np.int32],
    times: NDArray[np.int64] | NDArray[np.float64],
    parts: NDArray[np.int32],
) -> tuple[Histories, NDArray[np.int32]]:
    """Histories from one row an event, in any order; a part comes before the next one.

    The order is stable: by user, then part, then time, then row. Half of ml-100k's rows share user
    and time with another; an unstable sort would change the test set from run to run.

    Args:
        user_ids: int32 (n,), from 1.
        item_ids: int32 (n,), from 1.
        times: (n,) exact numbers.
        parts: int32 (n,): 0 training, 1 validation, 2 test.

    Returns:
        The histories, and the part of each event in their order.
    """
    order = _time_order(user_ids, parts, times)
    counts = np.bincount(user_ids)
    users = np.flatnonzero(counts)
    histories = Histories(
        items=item_ids[order].astype(np.int32, copy=False),
        offsets=np.concatenate([[0], np.cumsum(counts[users])]),
        times=times[order],
        user_ids=users.astype(np.int32),
    )
    return histories, np.asarray(parts)[order]


def _time_order(
    user_ids: NDArray[np.int32],
    parts: NDArray[np.integer],
    times: NDArray[np.int64] | NDArray[np.float64],
) -> Ints:
    """The rows by user, then part, then time, then row, int64 (n,)."""
    if not len(user_ids):
        return np.zeros(0, np.int64)
    key = user_ids.astype(np.int64)
    key *= 3
    key += parts
    first = times.min()
    span = int(times.max()) - int(first) + 1
    if times.dtype != np.int64 or int(key.max()) * span + span >= 2**63:
        return np.lexsort((times, key))
    key *= span  # all three in one number: a fifth of the time of sorting by each
    key += times.astype(np.int64, copy=False)
    key -= first
    return np.argsort(key, kind="stable")


def prefixes(
    histories: Histories, targets: Ints, max_length: int
) -> tuple[NDArray[np.int32], Ints]:
    """The most recent items before each target.

    Args:
        histories: All histories.
        targets: int64 (B,) indices into `histories.items`; one past a history's end is its whole
            history when `owners` are given by `whole_histories`.
        max_length: Most items of a prefix; the latest ones.

    Returns:
        int32 (B, L) items, oldest first, zeros behind; int64 (B,) lengths, at least 1.
    """
    return gather(histories.items, prefix_starts(histories, targets, max_length), targets)


def prefix_starts(histories: Histories, targets: Ints, max_length: int) -> Ints:
    """Where the most recent `max_length` items before each target begin, int64 (B,)."""
    owners = np.searchsorted(histories.offsets, targets - 1, side="right") - 1
    return np.maximum(histories.offsets[owners], targets - max_length)


def seen_events(histories: Histories, targets: Ints) -> tuple[Ints, Ints]:
    """The events before each target, over its whole history.

    Returns:
        Two int64 (P,): the row in `targets`, ascending, and an event, ascending in each row.
    """
    owners = np.searchsorted(histories.offsets, targets - 1, side="right") - 1
    starts = histories.offsets[owners]
    counts = targets - starts
    row_index = np.repeat(np.arange(len(targets)), counts)
    events = np.arange(len(row_index)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return row_index, events


def first_events(histories: Histories, n_items: int) -> NDArray[np.bool_]:
    """Bool (n,), True for the first event of an item in its history."""
    first = np.zeros(len(histories.items), dtype=np.bool_)
    first[np.unique(histories.owners * n_items + histories.items, return_index=True)[1]] = True
    return first


def gather(items: Items, starts: Ints, ends: Ints) -> tuple[NDArray[np.int32], Ints]:
    """Slices `items[starts[i]:ends[i]]` as the rows of one array, zeros behind.

    Returns:
        int32 (B, L) with L the longest slice; int64 (B,) lengths.
    """
    lengths = ends - starts
    width = int(lengths.max(initial=1))
    columns = np.arange(width)
    inside = columns < lengths[:, None]
    rows = items[np.minimum(starts[:, None] + columns, len(items) - 1)]
    return np.where(inside, rows, 0).astype(np.int32), lengths
