"""Batches: what the model reads in one optimiser step, with no place for padding.

`sequence_batches` predict at every position of a window; `prefix_batches` are RecBole's, one row a
target. Nothing is ever expanded to interactions x length: rows are gathered when a batch needs
them.

Letters: B rows, P positions of all rows, W windows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_cli.core.data.histories import Histories, Ints, Items, prefix_starts
from kgrec_cli.core.data.shards import Borders
from kgrec_cli.core.data.splits import Split, earliest_targets, train_targets
from kgrec_cli.core.model.gru import PackedRows, last_positions


def pack_slices(items: Items, starts: Ints, ends: Ints) -> tuple[PackedRows, Ints]:
    """The slices `items[starts[i]:ends[i]]`, which come the longest first, none empty.

    Returns:
        The slices as rows, int32 items; int64 (P,), where in `items` each of them stands.
    """
    lengths = ends - starts
    steps = np.arange(int(lengths.max(initial=0)))
    inside = steps[:, None] < lengths
    places = (starts + steps[:, None])[inside]
    sizes = tuple(inside.sum(axis=1).tolist())
    return PackedRows(torch.from_numpy(items[places]), sizes), places


@dataclass(frozen=True)
class Chunk:
    """Rows that one pass of the model reads.

    Attributes:
        rows: What is read with gradients.
        places: int64 (P,), where in `Histories.items` each position stands.
        targets: int32 (P,), the item that follows each position; 0 where no loss is taken (in
            prefix batches all but the last of a row).
        context: What some rows read before that without gradients; None when no row does.
        context_of: int64, the row of `rows` that each row of `context` belongs to.
    """

    rows: PackedRows
    places: Ints
    targets: NDArray[np.int32]
    context: PackedRows | None
    context_of: Ints


@dataclass(frozen=True)
class Batch:
    """One optimiser step: its chunks, and how many targets it has over all processes."""

    chunks: list[Chunk]
    n_targets: int


CHUNK_POSITIONS = 2**12
"""Positions read at once in prefix batches; more leave the processor's cache."""


def prefix_batches(
    histories: Histories,
    split: Split,
    *,
    max_length: int,
    batch_size: int,
    rng: np.random.Generator,
    borders: Borders | None = None,
) -> Iterator[Batch]:
    """RecBole's way: one row per target, its prefix of at most `max_length` items.

    Each training target appears once, in random order. With `borders` the histories are a shard,
    and steps those of all users with the rows of the shard alone.
    """
    borders = borders or Borders(histories, split, 0)
    targets = rng.permutation(train_targets(borders.histories, borders.split))
    for begin in range(0, len(targets), batch_size):
        chosen = targets[begin : begin + batch_size]
        n_targets = len(chosen)
        _, chosen = borders.own(chosen, len(histories.items))
        starts = prefix_starts(histories, chosen, max_length)
        order = np.argsort(starts - chosen, kind="stable")
        n_chunks = -(-int((chosen - starts).sum()) // CHUNK_POSITIONS)
        chunks = []
        for members in np.array_split(order, n_chunks) if n_chunks else ():
            rows, places = pack_slices(histories.items, starts[members], chosen[members])
            wanted = np.zeros(len(places), dtype=np.int32)
            wanted[last_positions(rows.sizes).numpy()] = histories.items[chosen[members]]
            chunks.append(Chunk(rows, places, wanted, None, members[:0]))
        yield Batch(chunks, n_targets)


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
    has_targets = ends > first_targets
    return Windows(starts[has_targets], first_targets[has_targets], ends[has_targets])


def sequence_batches(
    histories: Histories,
    split: Split,
    *,
    max_length: int,
    batch_size: int,
    context: int,
    rng: np.random.Generator,
    borders: Borders | None = None,
) -> Iterator[Batch]:
    """Whole-sequence batches: a prediction at every position of a window.

    Windows come in random order and are packed into steps of about `batch_size` targets, so that an
    epoch makes as many optimiser steps as prefix batching does. What a window reads before its
    first target only sets the states it begins with. With `borders` the histories are a shard, and
    steps those of all users with the windows of the shard alone.
    """
    borders = borders or Borders(histories, split, 0)
    windows = cut_windows(
        borders.histories, borders.split, max_length=max_length, context=context, rng=rng
    )
    order, ends_of_steps = order_windows(windows, batch_size, rng)
    n_targets = windows.ends - windows.first_targets
    for begin, end in pairwise(ends_of_steps):
        of_step = order[begin:end]
        places, first_targets = borders.own(windows.first_targets[of_step], len(histories.items))
        chosen = of_step[places]
        shift = borders.first_event
        own = Windows(windows.starts[chosen] - shift, first_targets, windows.ends[chosen] - shift)
        chunks = [_window_chunk(histories.items, own)] if len(chosen) else []
        yield Batch(chunks, int(n_targets[of_step].sum()))


def order_windows(windows: Windows, batch_size: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """A random order of the windows, and the borders of the steps in it.

    Returns:
        int64 (W,); int64 (S + 1,), ascending: step s takes the windows from border s to s + 1.
    """
    order = rng.permutation(len(windows.starts))
    done = np.cumsum((windows.ends - windows.first_targets)[order])
    n_targets = int(done.max(initial=0))
    n_steps = -(-n_targets // batch_size)
    inner = np.searchsorted(done, np.arange(1, n_steps) * n_targets / max(n_steps, 1))
    return order, np.unique(np.concatenate([[0], inner, [len(order)]]))


def _window_chunk(items: Items, windows: Windows) -> Chunk:
    """Windows as rows; a window's inputs begin one item before its first target."""
    order = np.argsort(windows.first_targets - windows.ends, kind="stable")
    begin, starts = windows.first_targets[order] - 1, windows.starts[order]
    rows, places = pack_slices(items, begin, windows.ends[order] - 1)
    context_lengths = begin - starts
    context_of = np.argsort(-context_lengths, kind="stable")
    context_of = context_of[context_lengths[context_of] > 0]
    context = None
    if len(context_of):
        context, _ = pack_slices(items, starts[context_of], begin[context_of])
    return Chunk(rows, places, items[places + 1], context, context_of)
