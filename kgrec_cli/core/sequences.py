"""Histories and splits: from a table of interactions to who predicts what from what.

All histories of all users are one flat array in time order plus offsets (CSR). A target is an index
into that array; its prefix is what stands before it in the same history.

Letters: B rows, L length, n events, U users.
"""

from dataclasses import dataclass, replace

import numpy as np
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


def item_popularity(
    histories: Histories, split: Split, n_items: int, *, targets_only: bool = False
) -> Ints:
    """int64 (N,), the training interactions of each item.

    With `targets_only` a user's first event is left out, as in RecBole, whose training samples are
    what it counts.
    """
    in_training = training_events(histories, split)
    if targets_only:
        in_training[histories.offsets[:-1]] = False
    return np.bincount(histories.items[in_training], minlength=n_items)


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
    """Bool (n,): the events whose item does not stand before them in the same history."""
    first = np.zeros(len(histories.items), dtype=np.bool_)
    first[np.unique(histories.owners * n_items + histories.items, return_index=True)[1]] = True
    return first


def repeat_log_ratio(histories: Histories, split: Split, n_items: int) -> float:
    """How much oftener than by chance a training target is an item seen before, as a logarithm.

    Chance is the share of the training events that the items seen before have. One is added to both
    counts, so that data without any repetition give a finite number.
    """
    first, targets = first_events(histories, n_items), train_targets(histories, split)
    counts = np.bincount(histories.items[training_events(histories, split)], minlength=n_items)
    shares = counts / max(counts.sum(), 1)
    before = np.concatenate([[0.0], np.cumsum(shares[histories.items] * first)])
    by_chance = before[targets] - before[histories.offsets[histories.owners[targets]]]
    n_repeated = np.count_nonzero(~first[targets])
    return float(np.log((n_repeated + 1) / (by_chance.sum() + 1)))


def shuffle_ties(histories: Histories, split: Split, rng: np.random.Generator) -> Histories:
    """The same histories, each user's training events of equal time in a new order."""
    owners = histories.owners
    training = np.arange(len(owners)) < split.train_end[owners]
    new = np.ones(len(owners), dtype=np.bool_)
    new[1:] = (np.diff(histories.times) != 0) | (np.diff(owners) != 0) | ~training[1:]
    order = np.argsort(np.cumsum(new) + rng.random(len(owners)))
    return replace(histories, items=histories.items[order])


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
