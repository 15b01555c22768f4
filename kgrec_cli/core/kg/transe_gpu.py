"""Training of TransE on a GPU: the steps of `transe`, captured once and replayed.

The same loss and the same updates as `transe.train_epoch` with SparseAdam, but all shapes are fixed
and nothing waits for the GPU within an epoch. Everything also runs on a CPU, where tests compare.

Letters: n triples, B of a step, m negatives, E entities, D width.
"""

import math

import torch
from pykeen.training import NonFiniteLossError
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from kgrec_cli.core.gpu_steps import CapturedStep, look_up
from kgrec_cli.core.kg.methods import KGModel
from kgrec_cli.core.kg.transe import SHARPNESS, distance_cross_entropy


class GPUTransE:
    """Trains a TransE by epochs.

    Args:
        model: On its device, after `set_up_transe`.
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
        self.n_negatives = n_negatives
        self.n_steps = -(-len(triples) // batch_size)
        order = torch.zeros(self.n_steps * batch_size, dtype=torch.int64, device=self.device)
        self.order = order.view(self.n_steps, batch_size)
        is_one = torch.arange(self.order.numel(), device=self.device) < len(triples)
        self.is_one = is_one.view_as(self.order)
        self.number = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.adam_step = torch.zeros((), dtype=torch.float64, device=self.device)
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.captured = CapturedStep(self._step, self.device)

    def run_epoch(self) -> float:
        """One step for each batch of triples, in a random order; returns the mean loss of a step.

        Raises:
            NonFiniteLossError: A loss that is no finite number.
        """
        n = len(self.triples)
        self.order.view(-1)[:n].copy_(torch.randperm(n, device=self.device))
        self.number.zero_()
        self.total.zero_()
        self.adam_step.fill_(self.states[0]["step"])
        for _ in range(self.n_steps):
            self.captured()
        for state in self.states:
            state["step"] += self.n_steps
        mean = float(self.total) / self.n_steps
        if not math.isfinite(mean):
            raise NonFiniteLossError
        return mean

    def _step(self) -> None:
        rows, is_one = (
            table.index_select(0, self.number)[0] for table in (self.order, self.is_one)
        )
        shape = (self.n_negatives,)
        negatives = torch.randint(len(self.weights[0]), shape, device=self.device).sort().values
        self.total += self.step(self.triples[rows], is_one, negatives)
        self.number += 1

    def step(self, triples: Tensor, is_one: Tensor, negatives: Tensor) -> Tensor:
        """Updates the weights; returns the loss, a scalar without gradients.

        Args:
            triples: int64 (B, 3).
            is_one: bool (B,), False for rows that only fill up the batch.
            negatives: int64 (m,) entities, ascending, some perhaps twice.
        """
        heads, relations, tails = triples.T
        entities = torch.cat([heads, tails, negatives])
        with torch.enable_grad():
            loss = self._loss(entities, relations, is_one, negatives)
            gradients = torch.autograd.grad(loss, self.weights)
        self.adam_step += 1
        counts = is_one.float()
        of_negatives = torch.ones_like(negatives, dtype=torch.float32)
        self._update(0, gradients[0], entities, torch.cat([counts, counts, of_negatives]))
        self._update(1, gradients[1], relations, counts)
        return loss.detach()

    def _loss(
        self, entities: Tensor, relations: Tensor, is_one: Tensor, negatives: Tensor
    ) -> Tensor:
        """Mean cross entropy of both ends of the triples, as `transe.batch_loss` gives it."""
        n = len(is_one)
        vectors = functional.normalize(
            look_up(entities, self.weights[0], entities.argsort(stable=True)), dim=-1
        )
        head, tail, negative = (vectors * SHARPNESS).tensor_split([n, 2 * n])
        step = look_up(relations, self.weights[1], relations.argsort(stable=True)) * SHARPNESS
        predicted, target = torch.cat([head + step, tail - step]), torch.cat([tail, head])
        target_ids = torch.cat([entities[n : 2 * n], entities[:n]])
        return distance_cross_entropy(
            predicted, target, negative, target_ids, negatives,
            is_one=torch.cat([is_one, is_one]), chunk_numbers=2 * n * (len(negatives) + 1),
        )  # fmt: skip

    def _update(self, kind: int, gradient: Tensor, ids: Tensor, counts: Tensor) -> None:
        """A step of SparseAdam: rows that no triple and no negative reads stay as they are."""
        weight, state, group = self.weights[kind], self.states[kind], self.group
        (decay, decay_sq), eps = group["betas"], group["eps"]
        touched = torch.zeros(len(weight), device=self.device).index_add_(0, ids, counts) > 0
        is_touched = touched[:, None]
        mean, mean_sq = state["exp_avg"], state["exp_avg_sq"]
        mean.copy_(torch.where(is_touched, torch.lerp(gradient, mean, decay), mean))
        squared = torch.lerp(gradient.square(), mean_sq, decay_sq)
        mean_sq.copy_(torch.where(is_touched, squared, mean_sq))
        correction = (1 - decay_sq**self.adam_step).sqrt() / (1 - decay**self.adam_step)
        change = mean / (mean_sq.sqrt() + eps) * (group["lr"] * correction).float()
        weight.data.sub_(torch.where(is_touched, change, 0))
