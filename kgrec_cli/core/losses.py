"""The training losses: full cross-entropy over all items, and BPR against sampled negatives."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

BPR_GAMMA = 1e-10
CHUNK_SCORES = 2**18
"""Scores held at once on the CPU: 1 MB, so that they stay in its cache."""


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
        n_targets, rows = len(targets), max(1, CHUNK_SCORES // len(item_weight))
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


def sample_negatives(
    targets: Tensor,
    popularity: Tensor | None,
    n_items: int,
    sample_num: int,
    generator: torch.Generator,
) -> Tensor:
    """Items other than the target, for BPR.

    Args:
        targets: int64 (T,) on the CPU.
        popularity: float (N,) weights with 0 for the padding, or None for uniform.
        n_items: N, padding included.
        sample_num: Negatives per target.
        generator: Source of randomness.

    Returns:
        int64 (T, sample_num), never 0 and never the row's target.

    Differs from RecBole: only the target itself is excluded, not the user's other items (a sequence
    may repeat them).
    """
    shape = (len(targets), sample_num)
    if popularity is None:
        # n_items - 2 candidates; those from the target on are shifted by one to skip it.
        drawn = torch.randint(1, max(n_items - 1, 2), shape, generator=generator)
        return drawn + (drawn >= targets[:, None]).long() if n_items > 2 else drawn
    drawn = torch.multinomial(popularity, targets.numel() * sample_num, True, generator=generator)
    drawn = drawn.view(shape)
    for _ in range(20):
        clashes = drawn == targets[:, None]
        n_clashes = int(clashes.sum())
        if n_clashes == 0:
            break
        drawn[clashes] = torch.multinomial(popularity, n_clashes, True, generator=generator)
    return drawn
