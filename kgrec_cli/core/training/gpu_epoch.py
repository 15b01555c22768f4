"""One epoch on a GPU: histories lie there, and a step is one CUDA graph that gathers its own rows.

All shapes are fixed and no operation waits for its result, so that the whole step, from the rows to
Adam's update, is captured once and replayed. The steps are those of `epoch`, and every operation
also runs on a CPU, uncaptured, where tests compare the two.

Letters: those of `plans`; P positions and Q of contexts, T targets of a step at most.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec_cli.core.data.histories import Ints
from kgrec_cli.core.data.negatives import draw_other_items
from kgrec_cli.core.gpu_steps import CapturedStep
from kgrec_cli.core.model import gru_dense
from kgrec_cli.core.model.gru4reckg import SeenItems
from kgrec_cli.core.model.gru_dense import Block, DenseRows
from kgrec_cli.core.training.epoch import EpochRunner
from kgrec_cli.core.training.losses import bpr, cross_entropy_at_once
from kgrec_cli.core.training.plans import Plan, plan_prefixes, plan_windows
from kgrec_cli.core.training.sampled_softmax import sampled_softmax

STEPS_AT_ONCE = 256
"""Steps whose rows are laid out together: some 100 MB."""


class Shape(NamedTuple):
    """The sizes of a step; S of the steps that are laid out together.

    Attributes:
        steps: S.
        blocks: Those of the R rows.
        targets: T.
        seen: Most pairs of a target and an event before it; 0 without `seen_bias`.
    """

    steps: int = 0
    blocks: tuple[Block, ...] = ()
    targets: int = 0
    seen: int = 0

    @property
    def rows(self) -> int:
        """R."""
        return sum(block.rows for block in self.blocks)

    def has_room_for(self, other: "Shape") -> bool:
        """Whether steps of the other shape, of no more rows, fit into this one."""
        own, its = (
            np.concatenate([np.tile(block[1:], (block.rows, 1)) for block in shape.blocks])
            for shape in (self, other)
        )
        sizes = zip((self.steps, *self[2:]), (other.steps, *other[2:]), strict=True)
        return bool((own[: len(its)] >= its).all()) and all(room >= size for room, size in sizes)


def cut_blocks(lengths: Ints, contexts: Ints, n_rows: int) -> list[Block]:
    """Blocks of rows that are as many, and long enough: waves, and those of one size are one.

    Args:
        lengths: int64 (R,), the longest first.
        contexts: int64 (R,).
        n_rows: At least R.
    """
    blocks: list[Block] = []
    for begin in range(0, n_rows, gru_dense.WAVE_ROWS):
        end = min(begin + gru_dense.WAVE_ROWS, n_rows)
        length = int(lengths[begin:end].max(initial=1))
        context = int(contexts[begin:end].max(initial=0))
        if blocks and blocks[-1][1:] == (length, context):
            end, begin = end, end - blocks.pop().rows - (end - begin)
        blocks.append(Block(end - begin, length, context))
    return blocks


def place_rows(rows: Sequence[int], lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The row of each position and its place in the row, int64 (P,): block by block, step by step.

    Args:
        rows: How many rows each block has.
        lengths: Their length.
    """
    numbers = torch.split(torch.arange(sum(rows)), list(rows))
    of_rows = [chosen.repeat(length) for chosen, length in zip(numbers, lengths, strict=True)]
    pairs = zip(rows, lengths, strict=True)
    places = [torch.arange(length).repeat_interleave(n) for n, length in pairs]
    return torch.cat(of_rows), torch.cat(places)


class Layout(NamedTuple):
    """What steps read, step by step.

    Attributes:
        items: int32 (S, P), block by block, 0 at padding.
        context: int32 (S, Q), the padding first.
        order: int64 (S, P), the places of `items` by item.
        positions: int64 (S, T), the place in `items` that predicts each target.
        targets: int64 (S, T), the items; 0 where there is none.
        events: int64 (S, T), where in the histories each target stands.
        starts: int64 (S, T), where its history begins; its event where there is no target.
    """

    items: Tensor
    context: Tensor
    order: Tensor
    positions: Tensor
    targets: Tensor
    events: Tensor
    starts: Tensor


def roomy(number: int, multiple: int) -> int:
    """A multiple that leaves a twentieth of room, for the steps of later epochs."""
    return -(-(number + number // 20) // multiple) * multiple


class GPUEpochRunner(EpochRunner):
    """As `EpochRunner`, on a GPU."""

    shape = Shape()

    def plan(self, rng: np.random.Generator) -> Plan:
        """The epoch's steps."""
        length, size = self.settings.MAX_ITEM_LIST_LENGTH, self.settings.train_batch_size
        is_prefix = self.settings.train_batching == "prefix"
        make = plan_prefixes if is_prefix else partial(plan_windows, context=length)
        return make(self.histories, self.split, max_length=length, batch_size=size, rng=rng)

    def steps(
        self, rng: np.random.Generator, generator: torch.Generator, total: Tensor
    ) -> Iterator[int]:
        """As `EpochRunner.steps`; `total` is right when the last step is done."""
        plan = self.plan(rng)
        self._make_room(plan)
        self.items.copy_(torch.from_numpy(self.histories.items))
        self.total.zero_()
        for begin in range(0, len(plan.rows), STEPS_AT_ONCE):
            span = slice(begin, begin + STEPS_AT_ONCE)
            self._lay_out(plan.rows[span], plan.predict_from)
            if self.settings.loss_type == "SSM":
                self._draw_shared_negatives(generator, len(plan.rows[span]))
            for n_targets in plan.n_targets[span].tolist():
                self.step()
                self.after_step()
                yield n_targets
        total += self.total

    def _make_room(self, plan: Plan) -> None:
        """Tables that hold the plan; when they have to grow, the captured step is given up."""
        n_steps, n_rows = plan.rows.shape[:2]
        n_targets = int(plan.n_targets.max())
        n_seen = 0 if self.model.seen_bias is None else int(plan.n_seen.max())
        is_prefix = plan.predict_from > 0
        if n_rows > self.shape.rows:
            n_rows = n_rows if is_prefix else roomy(n_rows, 8)
            self.shape = Shape()
        n_rows = max(n_rows, self.shape.rows)
        blocks = cut_blocks(plan.lengths, plan.contexts, n_rows)
        needed = Shape(min(n_steps, STEPS_AT_ONCE), tuple(blocks), n_targets, n_seen)
        if self.shape.blocks and self.shape.has_room_for(needed):
            return
        if not is_prefix:  # the next epoch cuts its windows elsewhere
            mean_targets = int(plan.n_targets.mean())  # of a step; none has a window more than that
            length, context = plan.length, plan.context
            needed = needed._replace(
                blocks=tuple(
                    Block(n, min(roomy(its_length, 4), length), context if its_context else 0)
                    for n, its_length, its_context in blocks
                ),
                targets=max(n_targets, -(-(mean_targets + plan.length) // 32) * 32),
                seen=roomy(n_seen, 4096),
            )
        self.shape = needed
        self.step = CapturedStep(self._step, self.device)
        self._make_tables()

    def _make_tables(self) -> None:
        """Empty tables of the shape."""
        n_steps, blocks, n_targets, _ = self.shape
        rows, lengths, contexts = zip(*blocks, strict=True)
        n_rows = torch.tensor(rows)
        on_device = [
            *place_rows(rows, lengths),
            *place_rows(rows, contexts),
            n_rows.repeat_interleave(n_rows),
            torch.tensor(contexts).repeat_interleave(n_rows),
        ]
        self.row_of, self.place_of, self.context_row, self.context_place, *per_row = (
            each.to(self.device) for each in on_device
        )
        self.stride, self.row_context = per_row
        self.first_position = (self.place_of == 0).nonzero()[:, 0]
        ints = partial(torch.zeros, dtype=torch.int64, device=self.device)
        small_ints = partial(torch.zeros, dtype=torch.int32, device=self.device)
        self.layout = Layout(
            small_ints(n_steps, len(self.row_of)),
            small_ints(n_steps, len(self.context_row)),
            ints(n_steps, len(self.row_of)),
            *(ints(n_steps, n_targets) for _ in range(4)),
        )
        self.items = small_ints(len(self.histories.items))
        self.number = ints(1)
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)
        if self.settings.loss_type == "SSM":
            self.negatives = ints(n_steps, self.settings.negatives.sample_num)
            self.log_q = torch.zeros_like(self.negatives, dtype=torch.float32)
        elif self.settings.loss_type == "BPR":
            weights = self.item_weights.double().to(self.device)
            weights[0] = 0
            self.weights_to = weights.cumsum(0)

    def _lay_out(self, rows: NDArray[np.int32], predict_from: int) -> None:
        """Gathers what the steps of some rows (S, R, 5) read, all steps at once."""
        n_steps, n_rows = rows.shape[:2]
        table = torch.zeros(n_steps, self.shape.rows, 5, dtype=torch.int32, device=self.device)
        table[:, :n_rows] = torch.from_numpy(rows).to(self.device)
        first, begin, end, n_context, history = table.long().unbind(2)
        items = self._slices(first, begin, end, self.row_of, self.place_of)
        n = self.row_context
        span = (first - n, n - n_context, n.expand_as(end))
        context = self._slices(*span, self.context_row, self.context_place)
        begin = begin.clamp(min=predict_from)
        row, column, is_target = number_members(end - begin, self.shape.targets)
        column = column + begin.gather(1, row)
        events = torch.where(is_target, first.gather(1, row) + column + 1, 0)
        positions = self.first_position[row] + column * self.stride[row]
        found = Layout(
            items,
            context,
            items.argsort(dim=1, stable=True),
            torch.where(is_target, positions, 0),
            torch.where(is_target, self.items[events].long(), 0),
            events,
            torch.where(is_target, history.gather(1, row), 0),
        )
        for room, values in zip(self.layout, found, strict=True):
            room[:n_steps].copy_(values)
        self.number.zero_()

    def _slices(
        self, first: Tensor, begin: Tensor, end: Tensor, row_of: Tensor, place_of: Tensor
    ) -> Tensor:
        """The items of rows, int32 (S, P); 0 outside places `begin` to `end`.

        Args:
            first: int64 (S, R), where in the histories place 0 of each row is.
            begin: int64 (S, R).
            end: int64 (S, R).
            row_of: int64 (P,).
            place_of: int64 (P,).
        """
        first, begin, end = (each[:, row_of] for each in (first, begin, end))
        inside = (place_of >= begin) & (place_of < end)
        return torch.where(inside, self.items[torch.where(inside, first + place_of, 0)], 0)

    def _draw_shared_negatives(self, generator: torch.Generator, n_steps: int) -> None:
        """Those of the next steps; a place that is not needed has an infinite log q."""
        for step in range(n_steps):
            negatives, log_q = self.shared_negatives.draw(generator)
            self.negatives[step].fill_(self.n_items - 1)[: len(negatives)] = negatives
            self.log_q[step].fill_(torch.inf)[: len(log_q)] = log_q

    def _step(self) -> None:
        """What is captured: nothing in it depends on a number that the CPU would have to know."""
        now = Layout(*(table.index_select(0, self.number)[0] for table in self.layout))
        context = now.context if len(self.context_row) else None
        rows = DenseRows(self.shape.blocks, now.items, context, now.order)
        states = self.model.read_rows(rows, now.positions)
        loss = self._loss(self.model.to_scoring(states), now.targets, self._seen(now))
        loss.backward()  # type: ignore[no-untyped-call]
        self.update_weights()
        self.optimizer.zero_grad(set_to_none=True)
        self.total += loss.detach() * now.targets.count_nonzero()
        self.number += 1

    def _seen(self, now: Layout) -> SeenItems | None:
        """The items before each target; a pair too many has row T."""
        if self.model.seen_bias is None:
            return None
        counts = (now.events - now.starts)[None]
        row, place, is_pair = (each[0] for each in number_members(counts, self.shape.seen))
        items = self.items[torch.where(is_pair, now.starts[row] + place, 0)].long()
        return SeenItems(torch.where(is_pair, row, len(now.events)), items)

    def _loss(self, states: Tensor, targets: Tensor, seen: SeenItems | None) -> Tensor:
        """The mean loss over the targets that are not 0."""
        weight, bias = self.model.item_vectors(), self.model.seen_bias
        if self.settings.enable_amp:
            states, weight = states.bfloat16(), weight.bfloat16()
        if self.settings.loss_type == "CE":
            return cross_entropy_at_once(states, weight, targets, seen, bias)
        if self.settings.loss_type == "SSM":
            negatives = self.negatives.index_select(0, self.number)[0]
            log_q = self.log_q.index_select(0, self.number)[0]
            return sampled_softmax(states, weight, targets, negatives, log_q, seen, bias)
        drawn = draw_other_items(targets, self.weights_to, self.settings.negatives.sample_num)
        return bpr(states, weight, targets, drawn)


def number_members(counts: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers the members of groups, in one list of a fixed length for each step.

    Args:
        counts: int64 (S, R), how many members each group has; below 0 is none.
        n: The length of a list, at least the sum of a step's counts.

    Returns:
        Three (S, n): int64, the group of each; int64, its place in the group, from 0; bool, False
        where nobody is left.
    """
    counts = counts.clamp(min=0)
    ends = counts.cumsum(1)
    numbers = torch.arange(n, device=counts.device).expand(len(counts), n).contiguous()
    group = torch.searchsorted(ends, numbers, right=True)
    is_one = group < counts.shape[1]
    group = group.clamp(max=counts.shape[1] - 1)
    return group, numbers - (ends - counts).gather(1, group), is_one
