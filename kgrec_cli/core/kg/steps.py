"""Training with shared negatives: both ends of each triple are compared with those of its batch.

For TransE, whose score is a distance, and DistMult and ComplEx, whose score is a product. The model
is PyKEEN's; an epoch, a batch's loss and its gradients are here. `fit.py` calls them.
"""

import math
from functools import partial
from typing import Any

import torch
from pykeen.models import ComplEx, DistMult, TransE
from pykeen.training import NonFiniteLossError
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from kgrec_cli.core.kg.methods import KGModel

OF_PRODUCTS = (ComplEx, DistMult)
WITH_SHARED_NEGATIVES = (TransE, *OF_PRODUCTS)
SHARPNESS = 8.0  # distances are multiplied by it: of unit vectors they are about 2 at most
ENTITY_NORM, RELATION_NORM = 0.3, 0.1  # at first; the smaller, the faster an entity turns
CHUNK_NUMBERS = 2**17  # distances computed at a time: half a megabyte, which a cache holds
NOT_A_CANDIDATE = 1e4  # the distance of an entity that does not compete
PRODUCT_STD = 0.1  # of DistMult's and ComplEx's numbers at first; PyKEEN's ComplEx has 1
N3 = 0.03  # share of the cubed sizes of a triple's numbers in the loss (Lacroix et al. 2018)
TINY = 1e-6
SATURATED = 40.0  # a loss ends at 87.3, -log of the least float32; of untrained vectors it is 22


def set_up_steps(model: KGModel) -> None:
    """Makes a step cost what its batch costs, however many entities there are.

    PyKEEN normalises all entities of TransE after each step; here the rows that are read are.
    DistMult and ComplEx lose PyKEEN's penalties, which would keep what every step read until its
    loop takes them. Gradients are sparse. `model.reset_parameters_()` draws the initial values.
    """
    entities: Any = model.entity_representations[0]
    relations: Any = model.relation_representations[0]
    if isinstance(model, TransE):
        entities.normalizer = partial(torch.nn.functional.normalize, dim=-1)
    for representation, norm in ((entities, ENTITY_NORM), (relations, RELATION_NORM)):
        std = norm / representation.shape[0] ** 0.5
        if isinstance(model, OF_PRODUCTS):
            std = PRODUCT_STD
        representation.initializer = partial(torch.nn.init.normal_, std=std)
        representation.regularizer = None
        for module in representation.modules():
            if isinstance(module, torch.nn.Embedding):
                module.sparse = True


def train_epoch(
    model: KGModel, optimizer: Optimizer, triples: Tensor, batch_size: int, n_negatives: int
) -> float:
    """One step for each batch of triples, in a random order; returns the mean of their losses.

    Args:
        model: One of `WITH_SHARED_NEGATIVES` after `set_up_steps`.
        optimizer: Takes sparse gradients.
        triples: int64 (n, 3).
        batch_size: Triples per step; the last batch may be smaller.
        n_negatives: Entities drawn for each batch; one that is drawn twice counts once.

    Raises:
        NonFiniteLossError: A loss that is no finite number.
    """
    dataset = TensorDataset(triples)
    sampler = BatchSampler(RandomSampler(dataset), batch_size, drop_last=False)
    batches = DataLoader(dataset, sampler=sampler, batch_size=None)
    total = 0.0
    model.train()
    for (batch,) in batches:
        negatives = torch.randint(model.num_entities, (n_negatives,)).unique()  # type: ignore[no-untyped-call]
        loss = batch_loss(model, batch.to(model.device), negatives.to(model.device))
        total += loss.item()
        if not math.isfinite(total):
            raise NonFiniteLossError
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return total / len(batches)


def untrained_loss(model: KGModel, triples: Tensor, batch_size: int, n_negatives: int) -> float:
    """The loss of a first batch before any step; draws nothing from torch's generator."""
    generator = torch.Generator().manual_seed(0)
    entities = torch.randint(model.num_entities, (n_negatives,), generator=generator)
    negatives = entities.unique().to(model.device)  # type: ignore[no-untyped-call]
    batch = triples[torch.randperm(len(triples), generator=generator)[:batch_size]]
    with torch.no_grad():
        loss = batch_loss(model, batch.to(model.device), negatives)
    return loss.item()


def batch_loss(model: KGModel, triples: Tensor, negatives: Tensor) -> Tensor:
    """Mean cross entropy of each triple's tail, and of its head, among the shared negatives.

    A softmax for each end over so many negatives learns more from a triple than a few negatives per
    triple, and all of a batch's scores are one product of matrices.

    Args:
        model: One of `WITH_SHARED_NEGATIVES` after `set_up_steps`.
        triples: int64 (B, 3).
        negatives: int64 (n,) entities, ascending, none twice.
    """
    heads, relations, tails = triples.T
    ids = torch.cat([heads, tails, negatives])
    vectors = model.entity_representations[0](ids)
    relation = model.relation_representations[0](relations)
    sizes = [len(triples), len(triples), len(negatives)]
    if isinstance(model, OF_PRODUCTS):
        head, tail, negative = vectors.split(sizes)
        predicted = torch.cat([head * relation, tail * relation.conj()])
        loss = product_cross_entropy(
            _as_real(predicted),
            _as_real(torch.cat([tail, head])),
            _as_real(negative),
            torch.cat([tails, heads]),
            negatives,
        )
        sizes_cubed = torch.stack([head, relation, tail]).abs() ** 3
        return loss + N3 * sizes_cubed.sum() / len(triples)
    head, tail, negative = (vectors * SHARPNESS).split(sizes)
    step = relation * SHARPNESS
    return distance_cross_entropy(
        torch.cat([head + step, tail - step]),
        torch.cat([tail, head]),
        negative,
        torch.cat([tails, heads]),
        negatives,
    )


def _as_real(vectors: Tensor) -> Tensor:
    """Complex (n, D) as float (n, 2 D): the product of two such is the real part of x . conj(y)."""
    return torch.view_as_real(vectors).flatten(1) if vectors.is_complex() else vectors


def product_cross_entropy(
    predicted: Tensor, targets: Tensor, negatives: Tensor, target_ids: Tensor, negative_ids: Tensor
) -> Tensor:
    """Mean of -log softmax(product with the prediction) of the targets, each among the negatives.

    A negative that is the target of a row does not compete with it.

    Args:
        predicted: float32 (B, D).
        targets: float32 (B, D).
        negatives: float32 (n, D).
        target_ids: int64 (B,).
        negative_ids: int64 (n,), ascending, none twice.

    Returns:
        A scalar.
    """
    column = torch.searchsorted(negative_ids, target_ids).clamp_max(len(negatives) - 1)
    is_target = negative_ids[column] == target_ids
    rows = torch.arange(len(column), device=column.device)[is_target]
    scores = predicted @ negatives.T
    scores = scores.index_put((rows, column[is_target]), scores.new_tensor(-torch.inf))
    true = (predicted * targets).sum(1, keepdim=True)
    return (torch.cat([true, scores], dim=1).logsumexp(1) - true[:, 0]).mean()


def distance_cross_entropy(
    predicted: Tensor, targets: Tensor, negatives: Tensor, target_ids: Tensor,
    negative_ids: Tensor, *, is_one: Tensor | None = None, chunk_numbers: int = CHUNK_NUMBERS,
) -> Tensor:  # fmt: skip
    """Mean of -log softmax(-distance to the prediction) of the targets, each among the negatives.

    A negative that is the target of a row does not compete with it. Distances and gradients are
    computed for a chunk of rows at a time, by products of matrices; never for all rows at once.
    Nothing here waits for a number from the device.

    Args:
        predicted: float32 (B, D), where each target should lie.
        targets: float32 (B, D), where it lies.
        negatives: float32 (n, D).
        target_ids: int64 (B,).
        negative_ids: int64 (n,), ascending; one that stands twice counts once.
        is_one: bool (B,), False for rows that do not count; None when all do.
        chunk_numbers: Distances computed at a time.

    Returns:
        A scalar; differentiable once, by the first three.
    """
    n = len(negatives)
    column = torch.searchsorted(negative_ids, target_ids).clamp_max(n - 1)
    column = torch.where(negative_ids[column] == target_ids, column, n)
    far_off = torch.zeros_like(negatives[:, 0])
    far_off[1:] = (negative_ids[1:] == negative_ids[:-1]) * NOT_A_CANDIDATE**2
    share = torch.ones_like(predicted[:, 0]) if is_one is None else is_one.to(predicted.dtype)
    apply: Any = _DistanceCrossEntropy.apply
    n_rows = max(1, chunk_numbers // (n + 1))
    loss: Tensor = apply(
        predicted, targets, negatives, column, far_off, share / share.sum(), n_rows
    )
    return loss


class _DistanceCrossEntropy(torch.autograd.Function):
    """Distances by |p - x|^2 = |p|^2 - 2 p.x + |x|^2; the target stands in the last column, n.

    `column` (B,) is that of the negative that is the row's target, n for none; `far_off` (n,) is
    added to squared distances; `share` (B,) is that of each row in the mean.
    """

    @staticmethod
    def forward(
        ctx: Any, predicted: Tensor, targets: Tensor, negatives: Tensor, column: Tensor,
        far_off: Tensor, share: Tensor, chunk: int,
    ) -> Tensor:  # fmt: skip
        n_rows, width = predicted.shape
        n = len(negatives)
        ones = predicted.new_ones(n_rows, 1)
        left = torch.cat([predicted, ones, (predicted * predicted).sum(1, keepdim=True)], dim=1)
        right = predicted.new_zeros(width + 2, n + 1)
        right[:width, :n] = -2 * negatives.T
        right[width, :n] = (negatives * negatives).sum(1) + far_off
        right[width + 1, :n] = 1
        padded = predicted.new_zeros(n + 1, width + 1)  # a column of ones sums the weights
        padded[:n, :width] = negatives
        padded[:n, width] = 1

        apart = predicted - targets
        distance = apart.norm(dim=1).clamp_min(TINY**0.5)
        probability = torch.empty_like(distance)
        by_predicted = predicted.new_empty(n_rows, width + 1)
        by_negatives = predicted.new_zeros(n + 1, width + 1)
        shares = share[:, None]
        for start in range(0, n_rows, chunk):
            at = slice(start, start + chunk)
            distances = torch.mm(left[at], right).clamp_min_(TINY).sqrt_()
            distances.scatter_(1, column[at, None], NOT_A_CANDIDATE)
            distances[:, n] = distance[at]
            weights = torch.softmax(-distances, dim=1)
            probability[at] = weights[:, n]
            weights.div_(distances)
            torch.mm(weights, padded, out=by_predicted[at])
            by_negatives.addmm_(weights.T, left[at, : width + 1] * shares[at])

        towards = ((1 - probability) / distance)[:, None] * apart * shares
        away = (by_predicted[:, width:] * predicted - by_predicted[:, :width]) * shares
        by_negatives = by_negatives[:n, :width] - by_negatives[:n, width:] * negatives
        ctx.save_for_backward(towards - away, -towards, by_negatives)
        smallest = torch.finfo(probability.dtype).tiny
        return -(probability.clamp_min(smallest).log() * share).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * saved for saved in ctx.saved_tensors), None, None, None, None
