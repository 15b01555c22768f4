"""Plans: the steps of an epoch as one table of slices, for a GPU that gathers its rows itself.

The same steps as those of `batches`, from the same random numbers.

Letters: S steps, R rows of a step, L positions of a row, C of its context.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.data.histories import Histories, Ints, prefix_starts
from kgrec_cli.core.data.splits import Split, train_targets
from kgrec_cli.core.training.batches import cut_windows, order_windows


@dataclass(frozen=True)
class Plan:
    """The steps of an epoch. Every row is a slice of L events, of which some are padding.

    Attributes:
        rows: int32 (S, R, 5), each step's longest first: the event at a row's first position (below
            0 where padding comes first), the positions where its items begin and end, how many
            items its context has, the first event of its history. Rows that a step does not need
            have no items.
        n_targets: int64 (S,).
        length: L.
        context: C, the most items of a context.
        predict_from: The first position that predicts the event after it; 0, or L - 1 when each
            row has one target.
    """

    rows: NDArray[np.int32]
    n_targets: Ints
    length: int
    context: int
    predict_from: int

    @property
    def lengths(self) -> Ints:
        """int64 (R,), the most positions that rows at this place of a step have."""
        longest: Ints = self.rows[:, :, 2].max(axis=0).astype(np.int64)
        return longest

    @property
    def contexts(self) -> Ints:
        """int64 (R,), the most items of the context that rows at this place of a step have."""
        longest: Ints = self.rows[:, :, 3].max(axis=0).astype(np.int64)
        return longest

    @property
    def n_seen(self) -> Ints:
        """int64 (S,), the events before each target, over its whole history, summed."""
        first, begin, end, _, start = np.moveaxis(self.rows.astype(np.int64), 2, 0)
        begin = np.maximum(begin, self.predict_from)
        n_targets = np.maximum(end - begin, 0)
        before_first = first + begin + 1 - start
        per_row = n_targets * before_first + n_targets * (n_targets - 1) // 2
        total: Ints = per_row.sum(axis=1)
        return total


def plan_windows(
    histories: Histories,
    split: Split,
    *,
    max_length: int,
    batch_size: int,
    context: int,
    rng: np.random.Generator,
) -> Plan:
    """The steps of `batches.sequence_batches`: padding stands behind a row's items."""
    windows = cut_windows(histories, split, max_length=max_length, context=context, rng=rng)
    order, borders = order_windows(windows, batch_size, rng)
    first = windows.first_targets[order] - 1
    lengths, contexts = windows.ends[order] - 1 - first, first - windows.starts[order]
    zeros = np.zeros_like(first)
    return Plan(
        _by_step([first, zeros, lengths, contexts, _history_starts(histories, first)], borders),
        np.add.reduceat(lengths, borders[:-1]),
        length=min(max_length, int(lengths.max(initial=1))),
        context=int(contexts.max(initial=0)),
        predict_from=0,
    )


def plan_prefixes(
    histories: Histories,
    split: Split,
    *,
    max_length: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Plan:
    """The steps of `batches.prefix_batches`: padding stands before a row's items."""
    targets = rng.permutation(train_targets(histories, split))
    lengths = targets - prefix_starts(histories, targets, max_length)
    length = int(lengths.max(initial=1))
    zeros = np.zeros_like(targets)
    starts = _history_starts(histories, targets)
    borders = np.append(np.arange(0, len(targets), batch_size), len(targets))
    return Plan(
        _by_step([targets - length, length - lengths, zeros + length, zeros, starts], borders),
        np.diff(borders),
        length=length,
        context=0,
        predict_from=length - 1,
    )


def _history_starts(histories: Histories, events: Ints) -> Ints:
    """The first event of each event's history."""
    return histories.offsets[np.searchsorted(histories.offsets, events, side="right") - 1]


def _by_step(columns: list[Ints], borders: Ints) -> NDArray[np.int32]:
    """The rows of steps that end at the borders, the longest first: int32 (S, R, columns)."""
    sizes = np.diff(borders)
    step = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(step)) - borders[step]
    rows = np.zeros((len(sizes), int(sizes.max(initial=1)), len(columns)), dtype=np.int32)
    rows[step, place] = np.stack(columns, axis=1)
    order = np.argsort(-rows[:, :, 2], axis=1, kind="stable")
    return np.take_along_axis(rows, order[:, :, None], axis=1)
