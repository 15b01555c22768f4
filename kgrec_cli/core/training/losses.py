"""The training losses: cross-entropy over all items or over sampled ones, and BPR."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

BPR_GAMMA = 1e-10
CHUNK_SCORES = 2**18
"""Scores held at once on the CPU: 1 MB, so that they stay in its cache."""
MIN_ROWS = 32
"""Targets in a chunk, however many items there are: products of fewer rows are slow."""


class Seen(NamedTuple):
    """The items before each target, whose scores get a learned number.

    Attributes:
        rows: int64 (S,), ascending: the target.
        items: int64 (S,), an item seen before it; an item of a row stands once.
        bias: float, 0-d: what is added to its score.
    """

    rows: Tensor
    items: Tensor
    bias: Tensor


def cross_entropy(
    states: Tensor, item_weight: Tensor, targets: Tensor, seen: Seen | None = None
) -> Tensor:
    """Mean of -log softmax over all N items, the padding row included, as in RecBole.

    On the CPU the scores are made, and their gradient is taken, a chunk of targets at a time.

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,).
        seen: Items whose scores are changed; None for none.
    """
    if states.is_cuda:
        scores = states @ item_weight.T
        if seen is not None:
            added = seen.bias.to(scores.dtype).expand(len(seen.rows))
            scores = scores.index_put((seen.rows, seen.items), added, accumulate=True)
        return functional.cross_entropy(scores, targets)
    rows, items, bias = (None, None, None) if seen is None else seen
    loss: Tensor = _ChunkedCrossEntropy.apply(states, item_weight, targets, rows, items, bias)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The gradients are those of a loss of weight 1 and are scaled by what comes back."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        item_weight: Tensor,
        targets: Tensor,
        seen_rows: Tensor | None,
        seen_items: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        n_targets, rows = len(targets), max(MIN_ROWS, CHUNK_SCORES // len(item_weight))
        grad_states, grad_weight = torch.empty_like(states), torch.zeros_like(item_weight)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        seen = targets.new_empty(0)
        if seen_rows is not None and seen_items is not None:
            seen = seen_rows * len(item_weight) + seen_items
        borders = torch.arange(0, n_targets + rows, rows) * len(item_weight)
        cuts = torch.searchsorted(seen, borders).tolist()
        loss = states.new_zeros(())
        smallest = torch.finfo(states.dtype).tiny
        for number, begin in enumerate(range(0, n_targets, rows)):
            chunk, wanted = states[begin : begin + rows], targets[begin : begin + rows, None]
            scores = chunk @ item_weight.T
            own = seen[cuts[number] : cuts[number + 1]] - begin * len(item_weight)
            if bias is not None:
                scores.view(-1).index_add_(0, own, bias.expand(len(own)))
            shares = torch.softmax(scores, dim=1)
            right = shares.gather(1, wanted)
            loss -= right.clamp(min=smallest).log().sum()
            shares.scatter_(1, wanted, right - 1)
            if grad_bias is not None:
                grad_bias += shares.view(-1)[own].sum()
            torch.mm(shares, item_weight, out=grad_states[begin : begin + rows])
            grad_weight.addmm_(shares.T, chunk)
        grads = [grad for grad in (grad_states, grad_weight, grad_bias) if grad is not None]
        ctx.save_for_backward(*(grad.div_(n_targets) for grad in grads))
        return loss / n_targets

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, *bias = (found * grad for found in ctx.saved_tensors)
        return states, weight, None, None, None, bias[0] if bias else None


def sampled_softmax(
    states: Tensor, item_weight: Tensor, targets: Tensor, negatives: Tensor, log_q: Tensor
) -> Tensor:
    """Mean of -log softmax over the target and negatives that all targets share.

    A row's sum over all items is estimated by its target's term, which is always there, and by the
    terms of the negatives, each divided by how likely it was to be among them (the log-Q
    correction); a negative that is the row's own target is left out. So the estimate of the sum is
    unbiased, and with all items among the negatives the loss is that of `cross_entropy` without the
    padding row. The target's score gets no correction: it is there for certain. Sources: Bengio &
    Senecal 2008 (the estimate); Yi et al. 2019 (log-Q, there for targets too, since they are drawn
    with the batch); Khrylchenko et al. 2025, arXiv 2507.09331 (targets without; the weight that
    they give each target is not used).

    On the CPU the scores are made, and their gradient is taken, a chunk of targets at a time.

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,).
        negatives: int64 (n,), n at least 1, ascending; each stands once.
        log_q: float (n,), the log of how likely each was to be among the negatives.
    """
    vectors = functional.embedding(torch.cat([targets, negatives]), item_weight)
    own, others = vectors[: len(targets)], vectors[len(targets) :]
    places = torch.searchsorted(negatives, targets).clamp(max=len(negatives) - 1)
    hits = torch.where(negatives[places] == targets, places + 1, 0)
    if not states.is_cuda:
        loss: Tensor = _ChunkedSampledSoftmax.apply(states, own, others, log_q, hits)  # type: ignore[no-untyped-call]
        return loss
    scores = functional.pad(states @ others.T - log_q, (1, 0))
    scores = scores.scatter(1, hits[:, None], -torch.inf)
    scores = torch.cat([(states * own).sum(1, keepdim=True), scores[:, 1:]], dim=1)
    return functional.cross_entropy(scores, torch.zeros_like(targets))


class _ChunkedSampledSoftmax(torch.autograd.Function):
    """The first column is the target's; `hits` (T,) is the column to leave out, 0 for none."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, own: Tensor, others: Tensor, log_q: Tensor, hits: Tensor
    ) -> Tensor:
        n_targets, rows = len(states), max(MIN_ROWS, CHUNK_SCORES // (len(others) + 1))
        columns = functional.pad(others, (0, 0, 1, 0))
        shift = functional.pad(-log_q.to(states.dtype), (1, 0))
        grad_states, grad_own = torch.empty_like(states), torch.empty_like(own)
        grad_columns, loss = torch.zeros_like(columns), states.new_zeros(())
        smallest = torch.finfo(states.dtype).tiny
        for begin in range(0, n_targets, rows):
            part = slice(begin, begin + rows)
            chunk = states[part]
            scores = torch.addmm(shift, chunk, columns.T)
            scores.scatter_(1, hits[part, None], -torch.inf)
            scores[:, 0] = (chunk * own[part]).sum(1)
            shares = torch.softmax(scores, dim=1)
            loss -= shares[:, 0].clamp(min=smallest).log().sum()
            shares[:, 0] -= 1
            torch.mul(shares[:, :1], chunk, out=grad_own[part])
            torch.mul(shares[:, :1], own[part], out=grad_states[part])
            grad_states[part].addmm_(shares, columns)
            grad_columns.addmm_(shares.T, chunk)
        grads = grad_states, grad_own, grad_columns[1:]
        ctx.save_for_backward(*(grad.div_(n_targets) for grad in grads))
        return loss / n_targets

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(found * grad for found in ctx.saved_tensors), None, None


def bpr(states: Tensor, item_weight: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Mean of -log(1e-10 + sigmoid(positive - negative)) (Rendle et al. 2009; RecBole's BPRLoss).

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,).
        negatives: int64 (T, n), compared one by one.
    """
    positive = (states * item_weight[targets]).sum(-1, keepdim=True)
    negative = (states.unsqueeze(1) * item_weight[negatives]).sum(-1)
    return -torch.log(BPR_GAMMA + torch.sigmoid(positive - negative)).mean()
