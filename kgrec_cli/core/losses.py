"""The training losses: full cross-entropy over all items, and BPR against sampled negatives."""

import torch
from torch import Tensor
from torch.nn import functional

BPR_GAMMA = 1e-10


def cross_entropy(states: Tensor, item_weight: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log softmax over all N items, the padding row included, as in RecBole.

    Args:
        states: float (T, D).
        item_weight: float (N, D).
        targets: int64 (T,).
    """
    return functional.cross_entropy(states @ item_weight.T, targets)


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
