"""Histories, splits and batches: from a table of interactions to what a model reads.

All histories of all users are one flat array in time order plus offsets (CSR). A target is an index
into that array; its prefix is what stands before it in the same history. Nothing is ever expanded
to interactions x length: windows are gathered when a batch needs them.

Letters: B rows of a batch, L length, n events, U users.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Items = NDArray[np.int32]


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
    """Histories from one row an event, in any order.

    The order is stable: by user, then time, then row. Half of ml-100k's rows share user and time
    with another; an unstable sort would change the test set from run to run.

    Args:
        user_ids: int32 (n,), from 1.
        item_ids: int32 (n,), from 1.
        times: (n,) exact numbers.
    """
    no_parts = np.zeros(len(user_ids), dtype=np.int32)
    return build_histories_in_parts(user_ids, item_ids, times, no_parts)[0]


def build_histories_in_parts(
    user_ids: NDArray[np.int32],
    item_ids: NDArray[np.int32],
    times: NDArray[np.int64] | NDArray[np.float64],
    parts: NDArray[np.int32],
) -> tuple[Histories, NDArray[np.int32]]:
    """As `build_histories`, of events that belong to parts: a part comes before the next one.

    Args:
        user_ids: int32 (n,), from 1.
        item_ids: int32 (n,), from 1.
        times: (n,) exact numbers.
        parts: int32 (n,): 0 training, 1 validation, 2 test.

    Returns:
        The histories, and the part of each event in their order.
    """
    rows = (
        pl.DataFrame({"user": user_ids, "part": parts, "time": times})
        .with_row_index("row")
        .sort("user", "part", "time", "row")
    )
    order = rows["row"].to_numpy()
    users, counts = np.unique(user_ids, return_counts=True)
    histories = Histories(
        items=np.ascontiguousarray(item_ids[order], dtype=np.int32),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        times=np.ascontiguousarray(times[order]),
        user_ids=users.astype(np.int32),
    )
    return histories, np.asarray(parts)[order]


@dataclass(frozen=True)
class Split:
    """Where training, validation and test part, user by user.

    User u's events before `train_end[u]` train, those before `valid_end[u]` validate, the rest
    test. A user's first event is never a target: nothing stands before it.

    Attributes:
        train_end: int64 (U,), indices into `Histories.items`.
        valid_end: int64 (U,).
        of_samples: True when each history is one ready-made sample: its last event alone is a
            target and an event of the data, what stands before it only context.
    """

    train_end: Ints
    valid_end: Ints
    of_samples: bool = False


def split_leave_one_out(histories: Histories, parts: str = "valid_and_test") -> Split:
    """Each user's last event is test, the one before validation (RecBole's `LS`).

    As in RecBole a user with three events gives test and training but no validation target, one
    with two events a training target only.

    Args:
        histories: All histories.
        parts: valid_and_test; valid_only or test_only hold out the last event alone.
    """
    starts, ends = histories.offsets[:-1], histories.offsets[1:]
    n_targets = ends - starts - 1
    one, two = (n_targets >= 2).astype(np.int64), (n_targets >= 3).astype(np.int64)
    none = np.zeros_like(one)
    test, valid = {
        "valid_and_test": (one, two),
        "test_only": (one, none),
        "valid_only": (none, one),
    }[parts]
    return Split(train_end=ends - test - valid, valid_end=ends - test)


def split_ratio(histories: Histories, shares: tuple[float, float, float]) -> Split:
    """The given shares of each user's targets, in time order (RecBole's `RS`, grouped by user).

    Counts are rounded as in RecBole (`data/dataset/dataset.py`, `_calcu_split_ids`): down, then one
    target is moved from training to each later part that would get less than one.
    """
    starts, ends = histories.offsets[:-1], histories.offsets[1:]
    n_targets = np.maximum(ends - starts - 1, 0)
    valid = (shares[1] * n_targets).astype(np.int64)
    test = (shares[2] * n_targets).astype(np.int64)
    train = n_targets - valid - test
    for share, part in ((shares[2], test), (shares[1], valid)):
        wanted = (train > 1) & (share * n_targets > 0) & (share * n_targets < 1)
        part += wanted
        train -= wanted
    return Split(train_end=ends - test - valid, valid_end=ends - test)


def split_temporal(histories: Histories, shares: tuple[float, float, float]) -> Split:
    """One moment for all: what happens after it is unknown in training.

    The two moments are those times before which the given shares of all events lie; events at
    exactly a moment belong to the later part, so no part knows the future of another.
    """
    ordered = np.sort(histories.times)
    n = len(ordered)
    if n == 0:
        return Split(histories.offsets[1:], histories.offsets[1:])
    first, second = round(shares[0] * n), round((shares[0] + shares[1]) * n)

    def ends_before(index: int) -> Ints:
        if index >= n:
            return histories.offsets[1:].copy()
        early = (histories.times < ordered[index]).astype(np.int64)
        return histories.offsets[:-1] + np.add.reduceat(early, histories.offsets[:-1])

    return Split(train_end=ends_before(first), valid_end=ends_before(second))


def split_by_parts(histories: Histories, parts: NDArray[np.int32]) -> Split:
    """The split of events that came in parts.

    Args:
        histories: All histories, each in the order of its parts.
        parts: int32 (n,), the part of each event: 0 training, 1 validation, 2 test.
    """
    starts = histories.offsets[:-1]
    n_train = np.add.reduceat((parts == 0).astype(np.int64), starts)
    n_valid = np.add.reduceat((parts == 1).astype(np.int64), starts)
    return Split(train_end=starts + n_train, valid_end=starts + n_train + n_valid)


def split_samples(histories: Histories, parts: NDArray[np.int32]) -> Split:
    """The split of ready-made samples.

    Args:
        histories: One a sample, the target last.
        parts: int32 (n,), the part of each event: 0 training, 1 validation, 2 test.
    """
    ends = histories.offsets[1:]
    part = parts[ends - 1]
    return Split(ends - (part > 0), ends - (part > 1), of_samples=True)


def split_all(histories: Histories) -> Split:
    """Everything trains: the final fit before a model is put to use."""
    return Split(train_end=histories.offsets[1:].copy(), valid_end=histories.offsets[1:].copy())


def earliest_targets(histories: Histories, split: Split) -> Ints:
    """The earliest event of each history that may be a target, int64 (U,)."""
    return histories.offsets[1:] - 1 if split.of_samples else histories.offsets[:-1] + 1


def training_events(histories: Histories, split: Split) -> NDArray[np.bool_]:
    """Bool (n,): the events that training may count; the context of a sample is none of them."""
    events = np.arange(len(histories.items))
    lengths = np.diff(histories.offsets)
    training: NDArray[np.bool_] = events < np.repeat(split.train_end, lengths)
    if split.of_samples:
        training &= events >= np.repeat(earliest_targets(histories, split), lengths)
    return training


def targets_between(histories: Histories, split: Split, first: Ints, last: Ints) -> Ints:
    """The targets in `[first[u], last[u])` of every user.

    Returns:
        int64 (n_targets,), ascending indices into `histories.items`.
    """
    first = np.maximum(first, earliest_targets(histories, split))
    counts = np.maximum(last - first, 0)
    starts = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return starts + np.arange(counts.sum())


def train_targets(histories: Histories, split: Split) -> Ints:
    """The training targets, int64 ascending."""
    return targets_between(histories, split, histories.offsets[:-1], split.train_end)


def valid_targets(histories: Histories, split: Split) -> Ints:
    """The validation targets, int64 ascending."""
    return targets_between(histories, split, split.train_end, split.valid_end)


def test_targets(histories: Histories, split: Split) -> Ints:
    """The test targets, int64 ascending. Their prefixes hold the validation items."""
    return targets_between(histories, split, split.valid_end, histories.offsets[1:])


test_targets.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest thinks


def prefixes(
    histories: Histories, targets: Ints, max_length: int
) -> tuple[NDArray[np.int32], Ints]:
    """The most recent items before each target.

    Args:
        histories: All histories.
        targets: int64 (B,) indices into `histories.items`; one past a history's end is its whole
            history when `owners` are given by `whole_histories`.
        max_length: Items kept at most.

    Returns:
        int32 (B, L) items, oldest first, zeros behind; int64 (B,) lengths, at least 1.
    """
    return gather(histories.items, prefix_starts(histories, targets, max_length), targets)


def prefix_starts(histories: Histories, targets: Ints, max_length: int) -> Ints:
    """Where the most recent `max_length` items before each target begin, int64 (B,)."""
    owners = np.searchsorted(histories.offsets, targets - 1, side="right") - 1
    return np.maximum(histories.offsets[owners], targets - max_length)


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


@dataclass(frozen=True)
class Rows:
    """Slices of histories side by side, the longest first, step by step (`recurrence.Packed`).

    Attributes:
        items: int32 (P,): the first item of every row, then the second of those that have one, ...
        sizes: How many rows have a first, a second, ... item.
        places: int64 (P,), where in `Histories.items` each item stands.
    """

    items: NDArray[np.int32]
    sizes: tuple[int, ...]
    places: Ints

    @property
    def last(self) -> Ints:
        """int64 (B,), the position of each row's last item."""
        sizes, rows = np.array(self.sizes), np.arange(self.sizes[0])
        n_steps = (sizes[:, None] > rows).sum(axis=0)
        last: Ints = (np.cumsum(sizes) - sizes)[n_steps - 1] + rows
        return last


def read_rows(items: Items, starts: Ints, ends: Ints) -> Rows:
    """The slices `items[starts[i]:ends[i]]`, given the longest first, none empty."""
    lengths = ends - starts
    steps = np.arange(int(lengths.max(initial=0)))
    inside = steps[:, None] < lengths
    places = (starts + steps[:, None])[inside]
    return Rows(items[places], tuple(inside.sum(axis=1).tolist()), places)


@dataclass(frozen=True)
class Part:
    """Rows that one pass of the model reads.

    Attributes:
        rows: What is read with gradients.
        targets: int32 (P,), the item that follows each position; 0 where no loss is taken (in
            prefix batches all but the last of a row).
        before: What some rows read before that without gradients; None when no row does.
        before_of: int64, the row of `rows` that each row of `before` belongs to.
    """

    rows: Rows
    targets: NDArray[np.int32]
    before: Rows | None
    before_of: Ints


@dataclass(frozen=True)
class Batch:
    """One optimiser step: its parts, and how many targets they have between them."""

    parts: list[Part]
    n_targets: int


PART_POSITIONS = 2**12
"""Positions read at once in prefix batches; more leave the processor's cache."""


def prefix_batches(
    histories: Histories,
    split: Split,
    *,
    max_length: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """RecBole's way: one row per target, its prefix of at most `max_length` items.

    Every training target is met once, in random order.
    """
    targets = rng.permutation(train_targets(histories, split))
    for begin in range(0, len(targets), batch_size):
        chosen = targets[begin : begin + batch_size]
        starts = prefix_starts(histories, chosen, max_length)
        order = np.argsort(starts - chosen, kind="stable")
        n_parts = -(-int((chosen - starts).sum()) // PART_POSITIONS)
        parts = []
        for own in np.array_split(order, n_parts):
            rows = read_rows(histories.items, starts[own], chosen[own])
            wanted = np.zeros_like(rows.items)
            wanted[rows.last] = histories.items[chosen[own]]
            parts.append(Part(rows, wanted, None, own[:0]))
        yield Batch(parts, len(chosen))


@dataclass(frozen=True)
class Windows:
    """Slices of histories that cover every training target once.

    Attributes:
        starts: int64 (W,), first input of each window.
        first_targets: int64 (W,), first target; targets before it are context without loss.
        ends: int64 (W,), one past the last target.
    """

    starts: Ints
    first_targets: Ints
    ends: Ints


def cut_windows(
    histories: Histories,
    split: Split,
    *,
    max_length: int,
    context: int,
    rng: np.random.Generator,
) -> Windows:
    """Cuts every training history into windows of at most `max_length` targets.

    A history of at most `max_length` targets is one window: its loss is the same sum of the same
    terms as prefix batching's. A longer one is cut at a random phase, and each window reads up to
    `context` further items before its first target, which carry no loss.
    """
    first = earliest_targets(histories, split)
    n_targets = np.maximum(split.train_end - first, 0)
    long = n_targets > max_length
    phase = np.where(long, rng.integers(0, max_length, size=len(first)), 0)
    n_windows = -(-(n_targets + phase) // max_length)
    owner = np.repeat(np.arange(len(first)), n_windows)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    begin = first[owner] - phase[owner] + number * max_length
    first_targets = np.maximum(begin, first[owner])
    ends = np.minimum(begin + max_length, split.train_end[owner])
    starts = np.maximum(first_targets - 1 - context, histories.offsets[:-1][owner])
    kept = ends > first_targets
    return Windows(starts[kept], first_targets[kept], ends[kept])


def sequence_batches(
    histories: Histories,
    split: Split,
    *,
    max_length: int,
    batch_size: int,
    context: int,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Whole-sequence batches: a prediction at every position of a window.

    Windows come in random order and are packed into steps of about `batch_size` targets, so that an
    epoch makes as many optimiser steps as prefix batching does. What a window reads before its
    first target only sets the states it begins with.
    """
    windows = cut_windows(histories, split, max_length=max_length, context=context, rng=rng)
    order = rng.permutation(len(windows.starts))
    done = np.cumsum((windows.ends - windows.first_targets)[order])
    n_steps = max(1, -(-int(done[-1]) // batch_size)) if len(done) else 0
    borders = np.searchsorted(done, np.arange(1, n_steps) * done[-1] / n_steps) if n_steps else []
    for chosen in np.split(order, borders):
        if len(chosen):
            part = _window_part(histories.items, windows, chosen)
            yield Batch([part], len(part.targets))


def _window_part(items: Items, windows: Windows, chosen: Ints) -> Part:
    """Some windows as rows; a window's inputs begin one item before its first target."""
    lengths = windows.ends[chosen] - windows.first_targets[chosen]
    chosen = chosen[np.argsort(-lengths, kind="stable")]
    begin = windows.first_targets[chosen] - 1
    rows = read_rows(items, begin, windows.ends[chosen] - 1)
    before_lengths = begin - windows.starts[chosen]
    before_of = np.argsort(-before_lengths, kind="stable")
    before_of = before_of[before_lengths[before_of] > 0]
    before = None
    if len(before_of):
        before = read_rows(items, windows.starts[chosen][before_of], begin[before_of])
    return Part(rows, items[rows.places + 1], before, before_of)
