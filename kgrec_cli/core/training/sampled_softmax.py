"""The sampled softmax: the target against drawn items that all targets of a step share.

Written as defined, and again in chunks, which is fast on a CPU.

Letters: T targets, D embedding size, N items including the padding, n negatives.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kgrec_cli.core.model.gru4reckg import SeenItems
from kgrec_cli.core.training.losses import (
    CHUNK_SCORES,
    MIN_ROWS,
    add_to_seen,
    at_least_single,
    places_in_chunks,
    room_for_scores,
    softmax_in_place,
)


def sampled_softmax(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_q: Tensor,
    seen: SeenItems | None = None,
    seen_bias: Tensor | None = None,
) -> Tensor:
    """Mean of -log softmax over the target and negatives that all targets share.

    A row's sum over all items is estimated by its target's term, which is always there, and by the
    terms of the negatives, each divided by how likely it was to be among them (the log-Q
    correction); a negative that equals the row's target is excluded. So the estimate of the sum is
    unbiased, and with all items among the negatives the loss is that of `cross_entropy` without the
    padding row. The target's score gets no correction: it is there for certain. Sources: Bengio &
    Senecal 2008 (the estimate); Yi et al. 2019 (log-Q, there for targets too, since they are drawn
    with the batch); Khrylchenko et al. 2025, arXiv 2507.09331 (targets without; the weight that
    they give each target is not used).

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,); a 0 is none.
        negatives: int64 (n,), n at least 1, ascending, distinct, save for those behind whose
            log_q is infinite: they are none.
        log_q: float (n,), the log of how likely each was to be among the negatives.
        seen: As for `cross_entropy`.
        seen_bias: float, 0-d: what is added to the scores of seen items.
    """
    wanted, others, hits = gather_sampled(item_weight, targets, negatives)
    scores = functional.pad(at_least_single(states @ others.T) - log_q, (1, 0))
    scores = scores.scatter(1, hits[:, None], -torch.inf)
    own = at_least_single((states * wanted).sum(1, keepdim=True))
    scores = torch.cat([own, scores[:, 1:]], dim=1)
    if seen is not None and seen_bias is not None:
        scores = add_to_seen(scores, seen_columns(seen, targets, negatives), seen_bias)
    return functional.cross_entropy(scores, torch.where(targets > 0, 0, -1), ignore_index=-1)


def seen_columns(seen: SeenItems, targets: Tensor, negatives: Tensor) -> SeenItems:
    """Where `sampled_softmax` scores seen items: column 0 is the target's, 1 + n the negative n's.

    Two pairs for each of `seen`; one of row T is none.
    """
    rows, items = seen
    nobody, target_of = len(targets), functional.pad(targets, (0, 1))
    places = torch.searchsorted(negatives, items).clamp(max=len(negatives) - 1)
    among = torch.where(negatives[places] == items, rows, nobody)
    own = torch.where(target_of[rows] == items, rows, nobody)
    return SeenItems(torch.cat([among, own]), torch.cat([places + 1, torch.zeros_like(places)]))


def gather_sampled(
    item_weight: Tensor,
    targets: Tensor,
    negatives: Tensor,
    *,
    finish: Callable[[Tensor], Tensor] = lambda vectors: vectors,
    sparse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The vectors that `sampled_softmax` compares; `finish` makes them of the rows.

    Returns:
        float (T, D), the targets'; float (n, D), the negatives'; int64 (T,), 1 + the place of the
        row's target among the negatives, 0 when it is not among them.
    """
    rows = functional.embedding(torch.cat([targets, negatives]), item_weight, sparse=sparse)
    vectors = finish(rows)
    places = torch.searchsorted(negatives, targets).clamp(max=len(negatives) - 1)
    hits = torch.where(negatives[places] == targets, places + 1, 0)
    return vectors[: len(targets)], vectors[len(targets) :], hits


def sampled_softmax_in_chunks(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    negatives: Tensor,
    log_q: Tensor,
    seen: SeenItems | None = None,
    seen_bias: Tensor | None = None,
    *,
    finish: Callable[[Tensor], Tensor] = lambda vectors: vectors,
    sparse: bool = False,
    chunk_rows: int | None = None,
) -> Tensor:
    """As `sampled_softmax`, fast on a CPU as `cross_entropy_in_chunks` is.

    `finish` makes vectors of the rows of `item_weight` that are taken.
    """
    wanted, others, hits = gather_sampled(
        item_weight, targets, negatives, finish=finish, sparse=sparse
    )
    rows = chunk_rows or max(MIN_ROWS, CHUNK_SCORES // (len(others) + 1))
    if seen is not None:
        pairs = seen_columns(seen, targets, negatives)
        seen = SeenItems(*(each[pairs.rows < len(targets)] for each in pairs))
    loss: Tensor = _ChunkedSampledSoftmax.apply(  # type: ignore[no-untyped-call]
        states, wanted, others, log_q, hits, *(seen or (None, None)), seen_bias, rows
    )
    return loss


class _ChunkedSampledSoftmax(torch.autograd.Function):
    """The first column is the target's; `hits` (T,) is the column to leave out, 0 for none."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        wanted: Tensor,
        others: Tensor,
        log_q: Tensor,
        hits: Tensor,
        seen_rows: Tensor | None,
        columns_seen: Tensor | None,
        bias: Tensor | None,
        rows: int,
    ) -> Tensor:
        n_targets = len(states)
        columns = functional.pad(others, (0, 0, 1, 0))
        shift = functional.pad(-log_q.to(states.dtype), (1, 0))
        grad_states, grad_wanted = torch.empty_like(states), torch.empty_like(wanted)
        grad_columns, loss = torch.zeros_like(columns), states.new_zeros(())
        grad_bias = None if bias is None else torch.zeros_like(bias)
        smallest = torch.finfo(states.dtype).tiny
        room, all_scores = room_for_scores(states, min(rows, n_targets), len(columns))
        seen_in = places_in_chunks(seen_rows, columns_seen, n_targets, rows, room.shape[1])
        for number, begin in enumerate(range(0, n_targets, rows)):
            span = slice(begin, begin + rows)
            chunk = states[span]
            of_chunk, scores = room[: len(chunk)], all_scores[: len(chunk)]
            torch.addmm(shift, chunk, columns.T, out=scores)
            scores.scatter_(1, hits[span, None], -torch.inf)
            scores[:, 0] = (chunk * wanted[span]).sum(1)
            if bias is not None:
                room.view(-1).index_add_(0, seen_in[number], bias.expand(len(seen_in[number])))
            shares = softmax_in_place(of_chunk, scores)
            loss -= shares[:, 0].clamp(min=smallest).log().sum()
            shares[:, 0] -= 1
            if grad_bias is not None:
                grad_bias += room.view(-1)[seen_in[number]].sum()
            torch.mul(shares[:, :1], chunk, out=grad_wanted[span])
            torch.mul(shares[:, :1], wanted[span], out=grad_states[span])
            grad_states[span].addmm_(shares, columns)
            grad_columns.addmm_(shares.T, chunk)
        grads = [grad_states, grad_wanted, grad_columns[1:]]
        grads += [] if grad_bias is None else [grad_bias]
        ctx.save_for_backward(*(grad.div_(n_targets) for grad in grads))
        return loss / n_targets

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, wanted, others, *bias = (value * grad for value in ctx.saved_tensors)
        return states, wanted, others, None, None, None, None, bias[0] if bias else None, None
