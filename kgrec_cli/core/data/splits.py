"""Splits: which events of each history train, validate and test.

A target is an index into `Histories.items`; the events before it are its history.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.data.histories import Histories, Ints, first_events
from kgrec_cli.errors import KgrecError

BLOCK = 2**15
"""Histories that are looked at together, where all at once would take too much memory."""


@dataclass(frozen=True)
class Split:
    """Where training, validation and test part, user by user.

    User u's events before `train_end[u]` train, those before `valid_end[u]` validate, the rest
    test. A user's first event is never a target: it has no history.

    Attributes:
        train_end: int64 (U,), indices into `Histories.items`.
        valid_end: int64 (U,).
        of_samples: True when each history is one ready-made sample: its last event alone is a
            target and an event of the data, what comes before it only context.
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
    """Shares of each user's targets, in time order (RecBole's `RS`, grouped by user).

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

    With `targets_only` a user's first event does not count, as in RecBole, which counts training
    samples.
    """
    counts = np.zeros(n_items, dtype=np.int64)
    for of_block, split_of_block in _blocks(histories, split):
        in_training = training_events(of_block, split_of_block)
        if targets_only:
            in_training[of_block.offsets[:-1]] = False
        counts += np.bincount(of_block.items[in_training], minlength=n_items)
    return counts


def _blocks(histories: Histories, split: Split) -> Iterator[tuple[Histories, Split]]:
    """Some histories after others, each block with its split: an event takes 8 bytes and more."""
    for begin in range(0, len(histories), BLOCK):
        offsets = histories.offsets[begin : begin + BLOCK + 1]
        first, users = offsets[0], slice(begin, begin + BLOCK)
        events = slice(first, offsets[-1])
        yield (
            Histories(
                histories.items[events],
                offsets - first,
                histories.times[events],
                histories.user_ids[users],
            ),
            replace(
                split,
                train_end=split.train_end[users] - first,
                valid_end=split.valid_end[users] - first,
            ),
        )


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


def n_train_targets(histories: Histories, split: Split) -> int:
    """The number of training targets, which are not made for that: they take 8 bytes each."""
    return _count_between(histories, split, histories.offsets[:-1], split.train_end)


def _count_between(histories: Histories, split: Split, first: Ints, last: Ints) -> int:
    """The number of `targets_between`."""
    return int(np.maximum(last - np.maximum(first, earliest_targets(histories, split)), 0).sum())


def check_targets(histories: Histories, split: Split, *, validate: bool) -> None:
    """Checks that there is something to train on and, with `validate`, something to stop by.

    Raises:
        KgrecError: The training or the validation part is empty.
    """
    if not n_train_targets(histories, split):
        raise KgrecError("the training part is empty: no user has two interactions in it")
    if validate and not _count_between(histories, split, split.train_end, split.valid_end):
        raise KgrecError(
            "the validation part is empty, so nothing can stop the training: a user needs four "
            "interactions to give one under LS: valid_and_test; more data or another eval_args"
        )


def repeat_log_ratio(
    histories: Histories, split: Split, n_items: int, total: Callable[[Any], Any] = lambda own: own
) -> float:
    """The log ratio of repeated training targets to those expected by chance.

    Chance is the share of the training events that the items seen before have. One is added to both
    counts, so that data without any repetition give a finite number. `total` sums an array over the
    shards, if the histories are one.
    """
    first, targets = first_events(histories, n_items), train_targets(histories, split)
    counts = total(item_popularity(histories, split, n_items))
    shares = counts / max(counts.sum(), 1)
    before = np.concatenate([[0.0], np.cumsum(shares[histories.items] * first)])
    by_chance = before[targets] - before[histories.offsets[histories.owners[targets]]]
    n_repeated, expected = total(np.array([np.count_nonzero(~first[targets]), by_chance.sum()]))
    return float(np.log((n_repeated + 1) / (expected + 1)))


def shuffle_ties(
    histories: Histories,
    split: Split,
    rng: np.random.Generator,
    first_event: int = 0,
    n_events: int | None = None,
) -> Histories:
    """The same histories, each user's training events of equal time in a new order.

    A shard that begins with event `first_event` of `n_events` takes its numbers of those drawn for
    the whole.
    """
    rng.bit_generator.advance(first_event)  # type: ignore[attr-defined]  # a number an event
    drawn = rng.random(len(histories.items))
    if n_events is not None:
        rng.bit_generator.advance(n_events - first_event - len(drawn))  # type: ignore[attr-defined]
    owners = histories.owners
    training = np.arange(len(owners)) < split.train_end[owners]
    new = np.ones(len(owners), dtype=np.bool_)
    new[1:] = (np.diff(histories.times) != 0) | (np.diff(owners) != 0) | ~training[1:]
    order = np.argsort(np.cumsum(new) + drawn)
    return replace(histories, items=histories.items[order])
