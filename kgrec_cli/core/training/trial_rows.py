"""What trials that train together read: the rows of an epoch, in sizes that fit every step.

The steps are those of `plans`. Trials of one seed read the same rows.

Letters: S steps, R rows, P positions of a step, C of what its rows read before without gradients.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories, Ints, prefixes
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.plans import Plan, plan_windows

LAYOUT_BYTES = 2**29
"""Layouts that are kept."""
READ_NUMBERS = 2**29
"""Numbers that evaluation holds at once, about 2 GB."""

Sizes = tuple[int, ...]


class Layout(NamedTuple):
    """What the steps of an epoch read, for one seed.

    Attributes:
        items: int32 (S, P), position by position, the longest row first; 0 at padding.
        order: int64 (S, P), the places of `items` by item.
        targets: int64 (S, P), 0 where there is none.
        context: int32 (S, C), its padding first.
        context_of: int64 (S, RC), the row of each row of context; R where there is none.
        n_targets: int64 (S,).
    """

    items: Tensor
    order: Tensor
    targets: Tensor
    context: Tensor
    context_of: Tensor
    n_targets: Tensor


@dataclass(frozen=True)
class Shape:
    """The sizes of a step: how many rows each position has, descending, and each of the context."""

    rows: Sizes = ()
    context: Sizes = ()


class EpochRows:
    """The rows of every epoch.

    Args:
        histories: All histories.
        split: Which of their events train.
        settings: How they are cut into batches.
        device: Where they are to be.
    """

    def __init__(
        self, histories: Histories, split: Split, settings: TrainingSettings, device: torch.device
    ) -> None:
        self.histories, self.split, self.settings = histories, split, settings
        self.device = device
        self.shape = Shape()
        self.known: dict[int, int] = {}
        self.layouts: dict[tuple[int, int], Layout] = {}

    def expect(self, seed: int, epochs: int) -> None:
        """Makes the sizes fit all epochs of a seed, so that one CUDA graph serves them all."""
        rows, context = self.shape.rows, self.shape.context
        for epoch in range(self.known.get(seed, 0) + 1, epochs + 1):
            plan, _ = self._plan(seed, epoch)
            rows = _most(rows, n_rows_by_step(plan.rows[..., 2]))
            context = _most(context, n_rows_by_step(plan.rows[..., 3]))
        self.known[seed] = max(epochs, self.known.get(seed, 0))
        if Shape(rows, context) != self.shape:
            self.shape = Shape(rows, context)
            self.layouts.clear()

    def _plan(self, seed: int, epoch: int) -> tuple[Plan, Histories]:
        """The steps of an epoch, as `EpochRunner` makes them, and the histories they slice."""
        order_seed, _ = epoch_seeds(seed, epoch)
        rng = np.random.default_rng(order_seed)
        histories, length = self.histories, self.settings.MAX_ITEM_LIST_LENGTH
        if self.settings.shuffle_ties:
            histories = splits.shuffle_ties(histories, self.split, rng)
        size = self.settings.train_batch_size
        plan = plan_windows(
            histories, self.split, max_length=length, batch_size=size, context=length, rng=rng
        )
        return plan, histories

    def of(self, seed: int, epoch: int) -> Layout:
        """What the steps of an epoch read."""
        key = (seed, epoch)
        if key not in self.layouts:
            found = lay_out(*self._plan(seed, epoch), self.shape)
            n_bytes = sum(table.nbytes for table in found)
            if n_bytes * (len(self.layouts) + 1) > LAYOUT_BYTES:
                self.layouts.clear()
            self.layouts[key] = Layout(*(table.to(self.device) for table in found))
        return self.layouts[key]


class ValidRows:
    """Targets to rank, as rows that all trials of a batch read, the padding first.

    Args:
        histories: All histories.
        targets: int64 (V,), indices into `Histories.items`.
        max_length: Items of a row at most.
        n_gates: n * 3H, the numbers that a position takes.
        device: Where they are to be.
    """

    def __init__(
        self, histories: Histories, targets: Ints, max_length: int, n_gates: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        items, lengths = prefixes(histories, targets, max_length)
        self.order = np.argsort(-lengths, kind="stable")
        self.chunks = []
        rows = max(1, READ_NUMBERS // (n_gates * max_length))
        for begin in range(0, len(targets), rows):
            chosen = self.order[begin : begin + rows]
            sizes = n_rows_by_step(lengths[None, chosen])[::-1]
            row, k = places_of(sizes, lengths[None, chosen], ends_last=True)
            found = np.where(k[0] >= 0, items[chosen][row, k[0].clip(0)], 0)
            wanted = histories.items[targets[chosen]].astype(np.int64)
            self.chunks.append(
                (torch.from_numpy(found).to(device), sizes, torch.from_numpy(wanted).to(device))
            )


def epoch_seeds(seed: int, epoch: int) -> tuple[int, int]:
    """The seeds of an epoch's order and of its other random numbers, as in `EpochRunner.run`."""
    order, other = np.random.SeedSequence([seed, epoch]).generate_state(2)
    return int(order), int(other)


def n_rows_by_step(lengths: NDArray[np.integer]) -> Sizes:
    """How many rows (S, R) have a first, a second, ... item, in the step that has most."""
    steps = np.arange(int(lengths.max(initial=0)))
    return tuple(int((lengths > step).sum(axis=1).max()) for step in steps)


def _most(one: Sizes, other: Sizes) -> Sizes:
    """The larger of the sizes of each position."""
    length = max(len(one), len(other))
    both = [np.pad(sizes, (0, length - len(sizes))) for sizes in map(np.array, (one, other))]
    return tuple(np.maximum(*both).astype(int).tolist())


def places_of(sizes: Sizes, lengths: NDArray[np.integer], *, ends_last: bool) -> tuple[Ints, Ints]:
    """Which row and which of its items stands at each position.

    Args:
        sizes: Rows at each step, P in all.
        lengths: (S, R), those of a step descending.
        ends_last: Rows end at the last step, not begin at the first.

    Returns:
        int64 (P,), the row; int64 (S, P), the number of its item; -1 for none.
    """
    step = np.repeat(np.arange(len(sizes)), sizes)
    row = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, np.int64)])
    of_row = lengths[:, row]
    k = step + (of_row - len(sizes) if ends_last else 0)
    return row, np.where((k >= 0) & (k < of_row), k, -1)


def packed_places(items: Tensor, sizes: Sizes) -> Tensor:
    """The positions of rows that end last, in the order in which packed rows have them."""
    step = np.repeat(np.arange(len(sizes)), sizes)
    row = np.concatenate([np.arange(size) for size in sizes] or [np.zeros(0, np.int64)])
    inside = np.flatnonzero(items.numpy(force=True))
    lengths = np.bincount(row[inside], minlength=1)
    k = step[inside] - (len(sizes) - lengths[row[inside]])
    return torch.from_numpy(inside[np.lexsort((row[inside], k))])


def lay_out(plan: Plan, histories: Histories, shape: Shape) -> Layout:
    """What the steps of a plan read, in rows of some sizes."""
    n_rows = shape.rows[0]
    rows = plan.rows[
        np.arange(len(plan.rows))[:, None], np.argsort(-plan.rows[..., 2], kind="stable")
    ]
    room = max(0, n_rows - rows.shape[1])
    rows = np.pad(rows, ((0, 0), (0, room), (0, 0))).astype(np.int64)
    first, _, lengths, n_before, _ = np.moveaxis(rows, 2, 0)
    row, k = places_of(shape.rows, lengths, ends_last=False)
    events = np.where(k >= 0, first[:, row] + k, 0)
    items = np.where(k >= 0, histories.items[events], 0)
    targets = np.where(k >= 0, histories.items[np.minimum(events + 1, len(histories.items) - 1)], 0)
    by_context = np.argsort(-n_before, kind="stable")[:, : max(shape.context, default=0)]
    lengths_before = np.take_along_axis(n_before, by_context, axis=1)
    context_of = np.where(lengths_before > 0, by_context, n_rows)
    row, k = places_of(shape.context[::-1], lengths_before, ends_last=True)
    begin = np.take_along_axis(first - n_before, by_context, axis=1)[:, row]
    context = np.where(k >= 0, histories.items[np.where(k >= 0, begin + k, 0)], 0)
    return Layout(
        torch.from_numpy(items.astype(np.int32)),
        torch.from_numpy(np.argsort(items, axis=1, kind="stable")),
        torch.from_numpy(targets.astype(np.int64)),
        torch.from_numpy(context.astype(np.int32)),
        torch.from_numpy(context_of),
        torch.from_numpy(plan.n_targets),
    )
