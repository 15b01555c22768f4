"""Negative samples: items drawn uniformly or by popularity, for the losses BPR and SSM."""

import torch
from torch import Tensor


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


def draw_other_items(targets: Tensor, weights_to: Tensor, sample_num: int) -> Tensor:
    """As `sample_negatives`, on any device and without waiting for it.

    A point is drawn on the line on which the items lie side by side, the target's part left out.

    Args:
        targets: int64 (T,).
        weights_to: float64 (N,), the weights of all items up to each, the padding's being 0.
        sample_num: Negatives per target.

    Returns:
        int64 (T, sample_num), by torch's default generator.
    """
    below = weights_to[targets - 1].masked_fill(targets == 0, 0)[:, None]
    of_target = weights_to[targets][:, None] - below
    points = torch.rand(len(targets), sample_num, device=targets.device, dtype=torch.float64)
    points = points * (weights_to[-1] - of_target)
    points = points + torch.where(points >= below, of_target, 0)
    return torch.searchsorted(weights_to, points, right=True).clamp(max=len(weights_to) - 1)


def draw_shares(counts: Tensor, alpha: float) -> Tensor:
    """The sampling distribution of shared negatives.

    Proportional to (count + 1) ** alpha: items without interactions are drawn too, since the full
    softmax lowers their scores as well. `alpha` 0 is uniform.

    Args:
        counts: int64 (N,), the training interactions of each item, padding first.
        alpha: The power.

    Returns:
        float64 (N,), 0 for the padding; their sum is 1.
    """
    shares = (counts.double() + 1) ** alpha
    shares[0] = 0
    return shares / shares.sum()


def inclusion_probabilities(shares: Tensor, sample_num: int) -> Tensor:
    """The probability of each item to be among `sample_num` distinct ones, float64 (N,).

    Proportional to the shares and clipped at 1; the rest is spread over the other items. With
    `sample_num` items or fewer, all have probability 1.
    """
    certain = torch.zeros_like(shares, dtype=torch.bool)
    while True:
        left = torch.where(certain, 0, shares)
        wanted = max(sample_num - int(certain.sum()), 0)
        found = left / left.sum().clamp(min=torch.finfo(left.dtype).tiny) * wanted
        too_likely = found > 1 - 1e-9
        if not too_likely.any():
            return torch.where(certain, 1, found)
        certain |= too_likely


class SharedNegatives:
    """Draws the negatives of `sampled_softmax`, each item once at most.

    Systematic sampling (Madow 1949): the items lie side by side, each as long as it is likely, and
    are hit by points one apart; a draw shifts the points.

    Args:
        shares: float64 (N,), as `draw_shares` gives them.
        sample_num: Negatives of a draw.
    """

    def __init__(self, shares: Tensor, sample_num: int) -> None:
        likely = inclusion_probabilities(shares, sample_num)
        self.certain = torch.nonzero(likely == 1)[:, 0]
        self.n_others = min(sample_num, int((shares > 0).sum())) - len(self.certain)
        borders = torch.where(likely == 1, 0, likely).cumsum(0)
        self.borders = borders / max(borders[-1].item(), 1e-9) * self.n_others
        self.log_q = likely.log().float()

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What was drawn, int64 (n,), ascending, and the log of how likely each was, float (n,)."""
        shift = torch.rand((), generator=generator, dtype=torch.float64) * (1 - 1e-9)
        points = torch.arange(self.n_others, dtype=torch.float64) + shift
        hit = torch.searchsorted(self.borders, points, right=True)
        items = torch.cat([self.certain, hit]).sort().values
        return items, self.log_q[items]
