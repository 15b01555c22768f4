"""The training losses, as they are defined: cross-entropy over all or sampled items, and BPR.

`losses_cpu` computes the softmax losses under the same names, fast on a CPU.

Letters: T targets, D embedding size, N items including the padding.
"""

import torch
from torch import Tensor
from torch.nn import functional

from kgrec_cli.core.model.gru4reckg import SeenItems

BPR_GAMMA = 1e-10


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
        targets: int64 (T,).
        seen: The items before each target, rows ascending, an item of a row once; None for none.
        seen_bias: float, 0-d: what is added to their scores.
    """
    scores = states @ item_weight.T
    if seen is not None and seen_bias is not None:
        added = seen_bias.to(scores.dtype).expand(len(seen.rows))
        scores = scores.index_put((seen.rows, seen.items), added, accumulate=True)
    return functional.cross_entropy(scores, targets)


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

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,).
        negatives: int64 (n,), n at least 1, ascending; each stands once.
        log_q: float (n,), the log of how likely each was to be among the negatives.
    """
    own, others, hits = gather_sampled(item_weight, targets, negatives)
    scores = functional.pad(states @ others.T - log_q, (1, 0))
    scores = scores.scatter(1, hits[:, None], -torch.inf)
    scores = torch.cat([(states * own).sum(1, keepdim=True), scores[:, 1:]], dim=1)
    return functional.cross_entropy(scores, torch.zeros_like(targets))


def gather_sampled(
    item_weight: Tensor, targets: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The vectors that `sampled_softmax` compares.

    Returns:
        float (T, D), the targets'; float (n, D), the negatives'; int64 (T,), 1 + the place of the
        row's own target among the negatives, 0 when it is not among them.
    """
    vectors = functional.embedding(torch.cat([targets, negatives]), item_weight)
    places = torch.searchsorted(negatives, targets).clamp(max=len(negatives) - 1)
    hits = torch.where(negatives[places] == targets, places + 1, 0)
    return vectors[: len(targets)], vectors[len(targets) :], hits


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
