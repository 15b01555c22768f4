"""TransE's own steps: each triple's ends are told from entities that a batch shares.

PyKEEN's model and its training loop, with another sampler, another loss and sparse gradients.
`core/kg_embedding.py` puts them in.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kgrec_cli.core.kg.quiet import importing_pykeen

with importing_pykeen():
    from pykeen.models import TransE
    from pykeen.sampling import NegativeSampler
    from pykeen.training import SLCWATrainingLoop

SHARPNESS = 8.0  # distances are multiplied by it: of unit vectors they are about 2 at most
ENTITY_NORM, RELATION_NORM = 0.3, 0.1  # at first; the smaller, the faster an entity turns
NUMBERS_AT_ONCE = 2**17  # distances computed at a time: half a megabyte, which a cache holds
NO_PLACE = 1e4  # the distance of an entity that is no candidate
TINY = 1e-6


def touch_few_rows(model: TransE) -> None:
    """Makes a step of TransE cost what its batch costs, however many entities there are.

    PyKEEN brings all entities to norm 1 after each step; here the rows that are read are. Their
    gradients are sparse.
    """
    entities: Any = model.entity_representations[0]
    relations: Any = model.relation_representations[0]
    entities.normalizer = partial(torch.nn.functional.normalize, dim=-1)
    for representation, norm in ((entities, ENTITY_NORM), (relations, RELATION_NORM)):
        table = representation._embeddings
        table.sparse = True
        std = norm / table.embedding_dim**0.5
        representation.initializer = partial(torch.nn.init.normal_, std=std)  # PyKEEN calls it


class SharedNegatives(NegativeSampler):
    """Entities that all triples of a batch are compared with: int64 (n,), ascending."""

    def __init__(self, *, num_negs_per_pos: int, **options: Any) -> None:
        super().__init__(**options)
        self.n_drawn = num_negs_per_pos

    def corrupt_batch(self, positive_batch: Tensor) -> Tensor:
        """The batch's negatives; one that is drawn twice counts once."""
        drawn: Tensor = torch.randint(self.num_entities, (self.n_drawn,)).unique()  # type: ignore[no-untyped-call]
        return drawn


class TranslationLoop(SLCWATrainingLoop):
    """Tells each triple's tail, and its head, from the entities that the batch shares.

    A softmax for each end over so many negatives learns more from a triple than a few negatives of
    its own, and all of a batch's distances are one product of matrices.
    """

    @staticmethod
    def _process_batch_static(
        model: Any, loss: Any, mode: Any, batch: Any, *part: Any, **options: Any
    ) -> Tensor:
        triples = batch["positives"].to(model.device)
        other_ids = batch["negatives"].to(model.device)
        heads, relations, tails = triples.T
        ids = torch.cat([heads, tails, other_ids])
        vectors = model.entity_representations[0](ids) * SHARPNESS
        head, tail, others = vectors.split([len(triples), len(triples), len(other_ids)])
        step = model.relation_representations[0](relations) * SHARPNESS
        return nearest_cross_entropy(
            torch.cat([head + step, tail - step]),
            torch.cat([tail, head]),
            others,
            torch.cat([tails, heads]),
            other_ids,
        )


def nearest_cross_entropy(
    places: Tensor, answers: Tensor, others: Tensor, answer_ids: Tensor, other_ids: Tensor
) -> Tensor:
    """Mean of -log softmax(-distance) of the answers, each among itself and the shared others.

    An other that is a row's own answer does not compete with it. Distances and gradients are taken
    a few rows at a time, by products of matrices, and never exist for all rows at once.

    Args:
        places: float32 (B, D), where each answer should lie.
        answers: float32 (B, D), where it lies.
        others: float32 (n, D).
        answer_ids: int64 (B,).
        other_ids: int64 (n,), ascending, none twice.

    Returns:
        A scalar; differentiable once, by the first three.
    """
    column = torch.searchsorted(other_ids, answer_ids).clamp_max(len(other_ids) - 1)
    rows = (other_ids[column] == answer_ids).nonzero()[:, 0]
    apply: Any = _NearestCrossEntropy.apply
    loss: Tensor = apply(places, answers, others, rows, column[rows])
    return loss


class _NearestCrossEntropy(torch.autograd.Function):
    """Distances by |q - x|^2 = |q|^2 - 2 q.x + |x|^2; the answer stands in the last column."""

    @staticmethod
    def forward(
        ctx: Any, places: Tensor, answers: Tensor, others: Tensor, rows: Tensor, columns: Tensor
    ) -> Tensor:
        n_rows, width = places.shape
        n_others = len(others)
        step = max(1, NUMBERS_AT_ONCE // (n_others + 1))
        ones = places.new_ones(n_rows, 1)
        left = torch.cat([places, ones, (places * places).sum(1, keepdim=True)], dim=1)
        right = places.new_zeros(width + 2, n_others + 1)
        right[:width, :n_others] = -2 * others.T
        right[width, :n_others] = (others * others).sum(1)
        right[width + 1, :n_others] = 1
        padded = places.new_zeros(n_others + 1, width + 1)  # a column of ones sums the weights
        padded[:n_others, :width] = others
        padded[:n_others, width] = 1

        apart = places - answers
        distance = apart.norm(dim=1).clamp_min(TINY**0.5)
        chance = torch.empty_like(distance)
        of_places = places.new_empty(n_rows, width + 1)
        of_others = places.new_zeros(n_others + 1, width + 1)
        starts = range(0, n_rows, step)
        firsts = torch.searchsorted(rows, rows.new_tensor([*starts, n_rows])).tolist()
        for start, first, end in zip(starts, firsts[:-1], firsts[1:], strict=True):
            part = slice(start, start + step)
            distances = torch.mm(left[part], right).clamp_min_(TINY).sqrt_()
            distances[:, n_others] = distance[part]
            distances[rows[first:end] - start, columns[first:end]] = NO_PLACE
            weights = torch.softmax(-distances, dim=1)
            chance[part] = weights[:, n_others]
            weights.div_(distances)
            torch.mm(weights, padded, out=of_places[part])
            of_others.addmm_(weights.T, left[part, : width + 1])

        towards = ((1 - chance) / distance)[:, None] * apart
        away = of_places[:, width:] * places - of_places[:, :width]
        of_others = of_others[:n_others, :width] - of_others[:n_others, width:] * others
        ctx.save_for_backward((towards - away) / n_rows, towards / -n_rows, of_others / n_rows)
        return -chance.clamp_min(torch.finfo(chance.dtype).tiny).log().mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * part for part in ctx.saved_tensors), None, None
