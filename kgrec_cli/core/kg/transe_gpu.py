"""Training of TransE on a GPU: the steps of `steps`, captured once and replayed.

The same loss and the same updates as `steps.train_epoch` with SparseAdam, but all shapes are fixed
and nothing waits for the GPU within an epoch. Everything also runs on a CPU, where tests compare.

Letters: n triples, S steps, B triples of a step, m negatives, N rows of weights, D width.
"""

import math
from typing import NamedTuple

import torch
from pykeen.training import NonFiniteLossError
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from kgrec_cli.core.gpu_steps import CapturedStep, look_up
from kgrec_cli.core.kg.methods import KGModel
from kgrec_cli.core.kg.steps import SHARPNESS, distance_cross_entropy

STEPS_AT_ONCE = 256
"""Steps that are laid out together."""


class Layout(NamedTuple):
    """What steps read, step by step; S of the steps that are laid out together.

    Attributes:
        entities: int64 (S, 2B + m): the heads, the tails, the negatives (ascending, some perhaps
            twice).
        entity_order: int64 (S, 2B + m), the places of `entities` by entity.
        relations: int64 (S, B).
        relation_order: int64 (S, B), the places of `relations` by relation.
        is_one: bool (S, B), False for rows that only fill up the batch.
    """

    entities: Tensor
    entity_order: Tensor
    relations: Tensor
    relation_order: Tensor
    is_one: Tensor


def lay_out(triples: Tensor, is_one: Tensor, negatives: Tensor) -> Layout:
    """The layout of steps with the triples (S, B, 3) and the negatives (S, m), ascending."""
    heads, relations, tails = triples.unbind(2)
    entities = torch.cat([heads, tails, negatives], dim=1)
    orders = (ids.argsort(dim=1, stable=True) for ids in (entities, relations))
    entity_order, relation_order = orders
    return Layout(entities, entity_order, relations.contiguous(), relation_order, is_one)


class GPUTransE:
    """Trains a TransE by epochs.

    Args:
        model: On its device, after `set_up_steps`.
        optimizer: SparseAdam of the model; its moments are used and kept.
        triples: int64 (n, 3).
        batch_size: B.
        n_negatives: m, drawn for each step; one that is drawn twice counts once.
    """

    def __init__(
        self,
        model: KGModel,
        optimizer: Optimizer,
        triples: Tensor,
        batch_size: int,
        n_negatives: int,
    ) -> None:
        (self.group,) = optimizer.param_groups
        self.device = model.device
        self.weights: list[Tensor] = self.group["params"]  # of the entities, of the relations
        self.states = [optimizer.state[weight] for weight in self.weights]
        for weight, state in zip(self.weights, self.states, strict=True):
            if not state:
                state["step"] = 0
                state["exp_avg"] = torch.zeros_like(weight)
                state["exp_avg_sq"] = torch.zeros_like(weight)
        self.triples = triples.to(self.device)
        self.batch_size, self.n_negatives = batch_size, n_negatives
        self.n_steps = -(-len(triples) // batch_size)
        n_laid_out = min(self.n_steps, STEPS_AT_ONCE)
        nothing = torch.zeros(n_laid_out, batch_size, dtype=torch.int64, device=self.device)
        negatives = nothing[:, :1].expand(-1, n_negatives)
        self.layout = lay_out(nothing[:, :, None].expand(-1, -1, 3), nothing.bool(), negatives)
        self.rate = torch.zeros((), dtype=torch.float64, device=self.device)
        self.number = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.adam_step = torch.zeros((), dtype=torch.float64, device=self.device)
        self.learning_rate = torch.full_like(self.adam_step, self.group["lr"])
        self.total = torch.zeros_like(self.adam_step)
        self.captured = CapturedStep(self._step, self.device)

    def run_epoch(self) -> float:
        """One step for each batch of triples, in a random order; returns the mean loss of a step.

        Raises:
            NonFiniteLossError: A loss that is no finite number.
        """
        n, size = len(self.triples), self.batch_size
        numbers = torch.arange(self.n_steps * size, device=self.device)
        order = torch.randperm(n, device=self.device)[numbers % n].view(-1, size)
        is_one = (numbers < n).view(-1, size)
        self.total.zero_()
        self.rate.fill_(self.group["lr"])
        self.adam_step.fill_(self.states[0]["step"])
        self.learning_rate.fill_(self.group["lr"])
        for begin in range(0, self.n_steps, STEPS_AT_ONCE):
            at = slice(begin, begin + STEPS_AT_ONCE)
            self._lay_out(self.triples[order[at]], is_one[at])
            for _ in range(len(order[at])):
                self.captured()
        for state in self.states:
            state["step"] += self.n_steps
        mean = float(self.total) / self.n_steps
        if not math.isfinite(mean):
            raise NonFiniteLossError
        return mean

    def _lay_out(self, triples: Tensor, is_one: Tensor) -> None:
        """Draws the negatives of some steps and puts what the steps read where they look for it."""
        shape = (len(triples), self.n_negatives)
        negatives = torch.randint(len(self.weights[0]), shape, device=self.device).sort(1).values
        found = lay_out(triples, is_one, negatives)
        for room, values in zip(self.layout, found, strict=True):
            room[: len(values)].copy_(values)
        self.number.zero_()

    def _step(self) -> None:
        self.total += self.step(
            Layout(*(each.index_select(0, self.number) for each in self.layout))
        )
        self.number += 1

    def step(self, one: Layout) -> Tensor:
        """Updates the weights by one step; returns the loss, a scalar without gradients."""
        one = Layout(*(table[0] for table in one))
        with torch.enable_grad():
            loss = self._loss(one)
            gradients = torch.autograd.grad(loss, self.weights)
        self.adam_step += 1
        decay, decay_sq = self.group["betas"]
        correction = (1 - decay_sq**self.adam_step).sqrt() / (1 - decay**self.adam_step)
        rate = (self.learning_rate * correction).float()
        is_filler = functional.pad((~one.is_one).repeat(2), (0, self.n_negatives))
        for kind, (ids, is_nothing) in enumerate(
            [(one.entities, is_filler), (one.relations, ~one.is_one)]
        ):
            ids = ids.masked_fill(is_nothing, len(self.weights[kind]))
            self._update(kind, gradients[kind], ids, rate)
        return loss.detach()

    def _loss(self, one: Layout) -> Tensor:
        """Mean cross entropy of both ends of the triples, as `steps.batch_loss` gives it."""
        n = len(one.is_one)
        vectors = functional.normalize(
            look_up(one.entities, self.weights[0], one.entity_order), dim=-1
        )
        head, tail, negative = (vectors * SHARPNESS).tensor_split([n, 2 * n])
        step = look_up(one.relations, self.weights[1], one.relation_order) * SHARPNESS
        predicted, target = torch.cat([head + step, tail - step]), torch.cat([tail, head])
        heads, tails, negatives = one.entities.tensor_split([n, 2 * n])
        return distance_cross_entropy(
            predicted, target, negative, torch.cat([tails, heads]), negatives,
            is_one=one.is_one.repeat(2), chunk_numbers=2 * n * (len(negatives) + 1),
        )  # fmt: skip

    def _update(self, kind: int, gradient: Tensor, ids: Tensor, rate: Tensor) -> None:
        """A step of SparseAdam: rows that no triple and no negative reads stay as they are.

        Args:
            kind: 0 for the entities' weights (N, D), 1 for the relations'.
            gradient: float (N, D), 0 in rows that are not read.
            ids: int64, the rows that are read; N for none.
            rate: The learning rate with Adam's correction, 0-d.
        """
        weight, state, group = self.weights[kind], self.states[kind], self.group
        (decay, decay_sq), eps = group["betas"], group["eps"]
        is_read = torch.zeros(len(weight) + 1, 1, device=self.device).index_fill_(0, ids, 1)[:-1]
        mean, mean_sq = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, is_read * (1 - decay))
        mean_sq.lerp_(gradient * gradient, is_read * (1 - decay_sq))
        weight.data.addcmul_(mean / mean_sq.sqrt().add_(eps), is_read * rate, value=-1)
