"""One epoch on a GPU: histories lie there, and a step is one CUDA graph that gathers its own rows.

A GPU waits for Python rather than for arithmetic when a step is some hundred small operations. So
all shapes are fixed, no operation waits for its result, and after a few steps the whole step, from
the slices of the plan to Adam's update, is captured once and replayed. The steps are those of
`epoch`, and every operation also runs on a CPU, uncaptured, where tests compare the two.

Letters: those of `plans`; T targets of a step at most, N items including the padding.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kgrec_cli.core.data.negatives import draw_other_items
from kgrec_cli.core.model.gru4reckg import SeenItems
from kgrec_cli.core.training.epoch import EpochRunner
from kgrec_cli.core.training.losses import bpr, cross_entropy, sampled_softmax
from kgrec_cli.core.training.plans import Plan, plan_prefixes, plan_windows

EAGER_STEPS = 3
"""Steps before the capture: they make Adam's moments and let cuBLAS and cuDNN set themselves up."""


class Shape(NamedTuple):
    """The sizes of a step.

    Attributes:
        steps: S.
        rows: R.
        length: L.
        context: C.
        targets: T.
        seen: Most pairs of a target and an event before it; 0 without `seen_bias`.
    """

    steps: int = 0
    rows: int = 0
    length: int = 0
    context: int = 0
    targets: int = 0
    seen: int = 0


def roomy(number: int, multiple: int) -> int:
    """A multiple that leaves a twentieth of room, for the steps of later epochs."""
    return -(-(number + number // 20) // multiple) * multiple


class GPUEpochRunner(EpochRunner):
    """As `EpochRunner`, on a GPU."""

    shape = Shape()
    graph: torch.cuda.CUDAGraph | None = None
    n_eager = 0

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
        self._load(plan, generator)
        for n_targets in plan.n_targets.tolist():
            self._run_step()
            self.after_step()
            yield n_targets
        total += self.total

    def _make_room(self, plan: Plan) -> None:
        """Buffers that hold the plan; when they have to grow, the captured step is given up."""
        n_steps, n_rows = plan.rows.shape[:2]
        n_targets = int(plan.n_targets.max())
        n_seen = 0 if self.model.seen_bias is None else int(plan.n_seen.max())
        needed = Shape(n_steps, n_rows, plan.length, plan.context, n_targets, n_seen)
        if all(size <= room for size, room in zip(needed, self.shape, strict=True)):
            return
        if plan.predict_from == 0:  # the next epoch cuts its windows elsewhere
            needed = needed._replace(
                rows=roomy(n_rows, 8), targets=roomy(n_targets, 64), seen=roomy(n_seen, 4096)
            )
        self.shape = Shape(*map(max, needed, self.shape))
        self.graph, self.n_eager = None, 0
        new = partial(torch.zeros, device=self.device)
        self.rows = new(self.shape.steps, self.shape.rows, 5, dtype=torch.int32)
        self.items = new(len(self.histories.items), dtype=torch.int32)
        self.number = new(1, dtype=torch.int64)
        self.total = new((), dtype=torch.float64)
        self.predict_from = plan.predict_from
        if self.settings.loss_type == "SSM":
            n_negatives = self.settings.negatives.sample_num
            self.negatives = new(self.shape.steps, n_negatives, dtype=torch.int64)
            self.log_q = new(self.shape.steps, n_negatives)
        elif self.settings.loss_type == "BPR":
            weights = self.item_weights.double().to(self.device)
            weights[0] = 0
            self.weights_to = weights.cumsum(0)

    def _load(self, plan: Plan, generator: torch.Generator) -> None:
        """Puts the epoch's plan, items and shared negatives where the steps read them."""
        n_steps, n_rows = plan.rows.shape[:2]
        self.rows.zero_()
        self.rows[:n_steps, :n_rows] = torch.from_numpy(plan.rows).to(self.device)
        self.items.copy_(torch.from_numpy(self.histories.items))
        self.number.zero_()
        self.total.zero_()
        if self.settings.loss_type == "SSM":
            for step in range(n_steps):
                negatives, log_q = self.shared_negatives.draw(generator)
                self.negatives[step].fill_(self.n_items - 1)[: len(negatives)] = negatives
                self.log_q[step].fill_(torch.inf)[: len(log_q)] = log_q

    def _run_step(self) -> None:
        """One step: as it is written, or the captured one again."""
        if self.graph is None and self.device.type == "cuda" and self.n_eager >= EAGER_STEPS:
            self.optimizer.zero_grad(set_to_none=True)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._step()
        if self.graph is not None:
            self.graph.replay()
            return
        self.n_eager += 1
        self.optimizer.zero_grad(set_to_none=True)
        self._step()

    def _step(self) -> None:
        """What is captured: nothing in it depends on a number that the CPU would have to know."""
        rows = self.rows.index_select(0, self.number)[0].long()
        first, begin, end, n_context, history = rows.unbind(1)
        items = self._slices(first, begin, end, self.shape.length)
        context, n = None, self.shape.context
        if n:
            context = self._slices(first - n, n - n_context, torch.full_like(end, n), n)
        begin = begin.clamp(min=self.predict_from)
        row, column, is_target = number_targets(end - begin, self.shape.targets)
        column = column + begin[row]
        events = torch.where(is_target, first[row] + column + 1, 0)
        targets = torch.where(is_target, self.items[events].long(), 0)
        positions = torch.where(is_target, row * self.shape.length + column, 0)
        states = self.model.read_rows(items, context).flatten(0, 1)
        states = self.model.to_scoring(states.index_select(0, positions))
        seen = self._seen(events, torch.where(is_target, history[row], 0))
        loss = self._loss(states, targets, seen)
        loss.backward()  # type: ignore[no-untyped-call]
        self.update_weights()
        self.total += loss.detach() * is_target.sum()
        self.number += 1

    def _slices(self, first: Tensor, begin: Tensor, end: Tensor, length: int) -> Tensor:
        """The items from `first` on, int64 (R, length); 0 outside places `begin` to `end`."""
        places = torch.arange(length, device=self.device)
        inside = (places >= begin[:, None]) & (places < end[:, None])
        events = torch.where(inside, first[:, None] + places, 0)
        return torch.where(inside, self.items[events].long(), 0)

    def _seen(self, events: Tensor, starts: Tensor) -> SeenItems | None:
        """The items from `starts` to `events` of each target; a pair too many has row T."""
        if self.model.seen_bias is None:
            return None
        row, place, is_pair = number_targets(events - starts, self.shape.seen)
        items = self.items[torch.where(is_pair, starts[row] + place, 0)].long()
        return SeenItems(torch.where(is_pair, row, len(events)), items)

    def _loss(self, states: Tensor, targets: Tensor, seen: SeenItems | None) -> Tensor:
        """The mean loss over the targets that are not 0."""
        weight = self.model.item_vectors()
        if self.settings.enable_amp:
            states, weight = states.bfloat16(), weight.bfloat16()
        if self.settings.loss_type == "CE":
            return cross_entropy(states, weight, targets, seen, self.model.seen_bias)
        if self.settings.loss_type == "SSM":
            negatives = self.negatives.index_select(0, self.number)[0]
            log_q = self.log_q.index_select(0, self.number)[0]
            return sampled_softmax(states, weight, targets, negatives, log_q)
        drawn = draw_other_items(targets, self.weights_to, self.settings.negatives.sample_num)
        return bpr(states, weight, targets, drawn)


def number_targets(counts: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers the things of which each row has some, in one list of a fixed length.

    Args:
        counts: int64 (R,), how many each row has; below 0 is none.
        n: The length of the list, at least the sum of the counts.

    Returns:
        Three (n,): int64, the row of each; int64, its place in the row, from 0; bool, False where
        nothing is left.
    """
    counts = counts.clamp(min=0)
    ends = counts.cumsum(0)
    numbers = torch.arange(n, device=counts.device)
    row = torch.searchsorted(ends, numbers, right=True)
    is_one = row < len(counts)
    row = row.clamp(max=len(counts) - 1)
    return row, numbers - (ends - counts)[row], is_one
