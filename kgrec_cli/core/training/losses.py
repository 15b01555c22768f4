"""The training losses: cross-entropy over all items, and BPR; `sampled_softmax` has the third.

The softmax is written as defined, and again in chunks, which is fast on a CPU.

Letters: T targets, D embedding size, N items including the padding.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kgrec_cli.core.model.gru4reckg import SeenItems

BPR_GAMMA = 1e-10
CHUNK_SCORES = 2**19
"""Scores held at once: 2 MB, so that they stay in the cache."""
MIN_ROWS = 32
"""Fewest targets in a chunk, however many items there are: products of fewer rows are slow."""


def cross_entropy(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    seen: SeenItems | None = None,
    seen_bias: Tensor | None = None,
) -> Tensor:
    """Mean of -log softmax over all N items, the padding row included, as in RecBole.

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,); a 0 is none.
        seen: The items before each target, which may repeat; a pair of row T is none. None for no
            pairs at all.
        seen_bias: float, 0-d: what is added to their scores.
    """
    scores = at_least_single(states @ item_weight.T)
    if seen is not None and seen_bias is not None:
        scores = add_to_seen(scores, seen, seen_bias)
    return functional.cross_entropy(scores, targets, ignore_index=0)


def cross_entropy_at_once(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    seen: SeenItems | None = None,
    seen_bias: Tensor | None = None,
) -> Tensor:
    """As `cross_entropy`, fast on a GPU: no gradient of the scores is ever written.

    A loss ends at 87.3, -log of the least float32; its gradient stays right.
    """
    is_seen = None
    if seen is not None and seen_bias is not None:
        is_seen = torch.zeros(len(states) + 1, len(item_weight), device=states.device)
        is_seen = is_seen.index_put_((seen.rows, seen.items), is_seen.new_ones(()))[:-1]
    loss: Tensor = _CrossEntropy.apply(states, item_weight, targets, is_seen, seen_bias)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    """`is_seen` is 1 at the pairs whose scores get the bias, else 0: float32 (T, N)."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        item_weight: Tensor,
        targets: Tensor,
        is_seen: Tensor | None,
        bias: Tensor | None,
    ) -> Tensor:
        scores = at_least_single(states @ item_weight.T)
        if is_seen is not None and bias is not None:
            scores.addcmul_(is_seen.to(scores.dtype), bias)
        shares, wanted = torch.softmax(scores, dim=1), targets[:, None]
        right = shares.gather(1, wanted)
        shares.scatter_(1, wanted, right - 1)
        is_target = (wanted > 0).to(shares.dtype)
        weight = is_target / is_target.sum()
        ctx.save_for_backward(states, item_weight, shares, weight, is_seen)
        return -(right.clamp(min=torch.finfo(right.dtype).tiny).log() * weight).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, item_weight, shares, weight, is_seen = ctx.saved_tensors
        weight, kind = weight * grad, states.dtype
        grad_bias = (
            None if is_seen is None else ((shares * is_seen).sum(1, keepdim=True) * weight).sum()
        )
        shares = shares.to(kind)
        grad_states = (shares @ item_weight) * weight.to(kind)
        grad_weight = shares.T @ (states * weight.to(kind))
        return grad_states, grad_weight, None, None, grad_bias


def cross_entropy_of_trials(
    states: Tensor, item_weight: Tensor, targets: Tensor, n_targets: Tensor
) -> Tensor:
    """As `cross_entropy_at_once`, of T trials at a time: float (T,).

    Args:
        states: float (T, P, D).
        item_weight: float (T, N, D).
        targets: int64 (T, P); a 0 is none.
        n_targets: int64 (T,), how many there are.
    """
    losses: Tensor = _TrialsCrossEntropy.apply(states, item_weight, targets, n_targets)  # type: ignore[no-untyped-call]
    return losses


class _TrialsCrossEntropy(torch.autograd.Function):
    """The mean loss of each trial over its targets that are not 0; gradients are taken at once."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, items: Tensor, targets: Tensor, n_targets: Tensor
    ) -> Tensor:
        shares = torch.softmax(states @ items.mT, dim=2)
        wanted, is_target = targets[..., None], (targets > 0).to(shares.dtype)
        right = shares.gather(2, wanted)
        weight = is_target / n_targets.clamp(min=1)[:, None]
        smallest = torch.finfo(shares.dtype).tiny
        losses = -(right[..., 0].clamp(min=smallest).log() * weight).sum(1)
        shares.scatter_(2, wanted, right - 1).mul_(weight[..., None])
        ctx.save_for_backward(shares @ items, shares.mT @ states)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, items = ctx.saved_tensors
        return states * grad[:, None, None], items * grad[:, None, None], None, None


def at_least_single(scores: Tensor) -> Tensor:
    """Scores in float32 when they are bfloat16 (`enable_amp`), else as they are."""
    return scores.float() if scores.dtype == torch.bfloat16 else scores


def cross_entropy_in_chunks(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    seen: SeenItems | None = None,
    seen_bias: Tensor | None = None,
    *,
    chunk_rows: int | None = None,
) -> Tensor:
    """As `cross_entropy`, fast on a CPU: scores exist for `chunk_rows` targets at a time.

    None takes as many as suit the processor's cache. The gradient of a chunk is taken while its
    scores lie there; it is that of a loss of weight 1, and is scaled by what comes back.
    """
    rows = chunk_rows or max(MIN_ROWS, CHUNK_SCORES // len(item_weight))
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        states, item_weight, targets, *(seen or (None, None)), seen_bias, rows
    )
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        item_weight: Tensor,
        targets: Tensor,
        seen_rows: Tensor | None,
        seen_items: Tensor | None,
        bias: Tensor | None,
        rows: int,
    ) -> Tensor:
        n_targets = len(targets)
        grad_states, grad_weight = torch.empty_like(states), torch.zeros_like(item_weight)
        grad_bias = None if bias is None else torch.zeros_like(bias)
        room, all_scores = room_for_scores(states, min(rows, n_targets), len(item_weight))
        seen_in = places_in_chunks(seen_rows, seen_items, n_targets, rows, room.shape[1])
        loss = states.new_zeros(())
        smallest = torch.finfo(states.dtype).tiny
        for number, begin in enumerate(range(0, n_targets, rows)):
            chunk, wanted = states[begin : begin + rows], targets[begin : begin + rows, None]
            of_chunk, scores = room[: len(chunk)], all_scores[: len(chunk)]
            torch.mm(chunk, item_weight.T, out=scores)
            if bias is not None:
                room.view(-1).index_add_(0, seen_in[number], bias.expand(len(seen_in[number])))
            shares = softmax_in_place(of_chunk, scores)
            right = shares.gather(1, wanted)
            loss -= right.clamp(min=smallest).log().sum()
            shares.scatter_(1, wanted, right - 1)
            if grad_bias is not None:
                grad_bias += room.view(-1)[seen_in[number]].sum()
            torch.mm(shares, item_weight, out=grad_states[begin : begin + rows])
            grad_weight.addmm_(shares.T, chunk)
        grads = [grad for grad in (grad_states, grad_weight, grad_bias) if grad is not None]
        ctx.save_for_backward(*(grad.div_(n_targets) for grad in grads))
        return loss / n_targets

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, *bias = (value * grad for value in ctx.saved_tensors)
        return states, weight, None, None, None, bias[0] if bias else None, None


def places_in_chunks(
    rows: Tensor | None, columns: Tensor | None, n_rows: int, chunk_rows: int, width: int
) -> list[Tensor]:
    """The places of pairs in each chunk's flat scores, `width` a row; no pairs for None."""
    if rows is None or columns is None:
        return []
    places = (rows * width + columns).sort().values
    borders = torch.arange(0, n_rows + chunk_rows, chunk_rows) * width
    cuts = torch.searchsorted(places, borders).tolist()
    return [
        places[begin:end] - number * chunk_rows * width
        for number, (begin, end) in enumerate(pairwise(cuts))
    ]


def room_for_scores(like: Tensor, n_rows: int, n_columns: int) -> tuple[Tensor, Tensor]:
    """Room for scores whose rows begin where a cache line does: products then take 5 % less time.

    Returns:
        (n_rows, n_columns rounded up to 16); its first n_columns.
    """
    room = like.new_empty(n_rows, -(-n_columns // 16) * 16)
    return room, room[:, :n_columns]


def softmax_in_place(room: Tensor, scores: Tensor) -> Tensor:
    """The softmax of scores (B, N), the first columns of `room`, written over them."""
    room[:, scores.shape[1] :] = -torch.inf
    torch.softmax(room, dim=1, out=room)
    return scores


def add_to_seen(scores: Tensor, seen: SeenItems, seen_bias: Tensor) -> Tensor:
    """The scores (T, N) with the bias added at the pairs, once each; a pair of row T is none."""
    is_seen = scores.new_zeros(len(scores) + 1, scores.shape[1])
    is_seen.index_put_((seen.rows, seen.items), scores.new_ones(()))
    return torch.addcmul(scores, is_seen[:-1], seen_bias)


def bpr(states: Tensor, item_weight: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Mean of -log(1e-10 + sigmoid(positive - negative)) (Rendle et al. 2009; RecBole's BPRLoss).

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,); a 0 is none.
        negatives: int64 (T, n), compared one by one.
    """
    positive = (states * item_weight[targets]).sum(-1, keepdim=True)
    negative = (states.unsqueeze(1) * item_weight[negatives]).sum(-1)
    losses = -torch.log(BPR_GAMMA + torch.sigmoid(at_least_single(positive - negative))).mean(1)
    is_target = targets > 0
    return (losses * is_target).sum() / is_target.sum()
