"""`kgrec` with an option that it does not have, so that the study can measure what it is worth.

    python -m benchmarks.accuracy.options "vectors scaled" train --dataset ml-100k --preset best

`benchmarks.accuracy.study` trains its rows of such options by this command, from FOLDER.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec_cli.cli import main as run_kgrec
from kgrec_cli.core.model import gru4reckg
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, SeenItems
from kgrec_cli.core.training import epoch

Tables = Mapping[str, Tensor] | None


class Scaled(GRU4RecKG):
    """Brings the given vectors to the mean length of the items' own at first."""

    def __init__(self, settings: ModelSettings, n_items: int, tables: Tables = None) -> None:
        length = (2 / (n_items + settings.embedding_size) * settings.embedding_size) ** 0.5
        scaled = {}
        for name, table in (tables or {}).items():
            norms = table.norm(dim=1)
            scaled[name] = table * (length / norms[norms > 0].mean())
        super().__init__(settings, n_items, scaled)


class UnlinkedMean(GRU4RecKG):
    """Gives items without a vector the mean of the others'."""

    def __init__(self, settings: ModelSettings, n_items: int, tables: Tables = None) -> None:
        filled = {}
        for name, table in (tables or {}).items():
            has_none = ~table.any(dim=1)
            has_none[0] = False
            filled[name] = table.clone()
            filled[name][has_none] = table[table.any(dim=1)].mean(0)
        super().__init__(settings, n_items, filled)


class UnlinkedLearned(GRU4RecKG):
    """Trains the vectors of items that have none given, and no others."""

    def __init__(self, settings: ModelSettings, n_items: int, tables: Tables = None) -> None:
        super().__init__(settings, n_items, tables)
        for name, table in (tables or {}).items():
            is_free = (~table.any(dim=1)).float()[:, None]
            is_free[0] = 0
            weight = self.table_of(name).weight
            weight.requires_grad_(True)
            weight.register_hook(partial(torch.mul, is_free))  # type: ignore[no-untyped-call]


def all_scores(
    states: Tensor, item_weight: Tensor, seen: SeenItems | None, bias: Tensor | None
) -> Tensor:
    """Scores of all items at once, (T, N)."""
    scores = states @ item_weight.T
    if seen is None or bias is None:
        return scores
    return scores.index_put(tuple(seen), bias.expand(len(seen.rows)), accumulate=True)


def smoothed(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    seen: SeenItems | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with a tenth of the mass on all items alike (Szegedy et al. 2016)."""
    scores = all_scores(states, item_weight, seen, bias)
    return functional.cross_entropy(scores, targets, label_smoothing=0.1)


def bpr_max(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    seen: SeenItems | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """BPR-max over all other items, score regularisation 1 (Hidasi & Karatzoglou 2018)."""
    scores = all_scores(states, item_weight, seen, bias)
    right = scores.gather(1, targets[:, None])
    others = scores.scatter(1, targets[:, None], -torch.inf)
    weights = torch.softmax(others, dim=1)
    won = (weights * torch.sigmoid(right - scores)).sum(1)
    return (-torch.log(won + 1e-10) + (weights * scores.square()).sum(1)).mean()


def split_scores(
    states: Tensor, item_weight: Tensor, seen: SeenItems | None, bias: Tensor | None
) -> Tensor:
    """Scores of all items (T, N) by two vectors side by side, (T, 2 D): other items', and seen."""
    others, of_seen = states.chunk(2, dim=-1)
    scores = others @ item_weight.T
    if seen is None:
        return scores
    own = (of_seen[seen.rows] * item_weight[seen.items]).sum(-1)
    return scores.index_put(tuple(seen), own if bias is None else own + bias)


def split_cross_entropy(
    states: Tensor,
    item_weight: Tensor,
    targets: Tensor,
    seen: SeenItems | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """The softmax over the scores of `split_scores`."""
    return functional.cross_entropy(split_scores(states, item_weight, seen, bias), targets)


class SeenVector(GRU4RecKG):
    """Scores the history's items by a vector of their own, at first the other items'.

    It is the context partition of softmax-CPR (Chang et al., WSDM 2024); `seen_bias` adds to it.
    """

    def __init__(self, settings: ModelSettings, n_items: int, tables: Tables = None) -> None:
        super().__init__(settings, n_items, tables)
        width = settings.embedding_size
        self.seen_layer = nn.Linear(width, width)
        nn.init.eye_(self.seen_layer.weight)
        nn.init.zeros_(self.seen_layer.bias)

    def to_scoring(self, states: Tensor) -> Tensor:
        """Both vectors side by side, float (..., 2 D)."""
        scoring = super().to_scoring(states)
        return torch.cat([scoring, self.seen_layer(scoring)], dim=-1)

    def score(
        self, states: Tensor, seen: SeenItems | None = None, vectors: Tensor | None = None
    ) -> Tensor:
        """Scores of all items, float (B, N)."""
        vectors = self.item_vectors() if vectors is None else vectors
        return split_scores(states, vectors, seen, self.seen_bias)


MODELS: dict[str, type[GRU4RecKG]] = {
    "vectors scaled": Scaled,
    "unlinked items the mean": UnlinkedMean,
    "unlinked items learned": UnlinkedLearned,
    "seen items by a vector of their own": SeenVector,
}
LOSSES: dict[str, Callable[..., Tensor]] = {
    "label smoothing 0.1": smoothed,
    "BPR-max": bpr_max,
    "seen items by a vector of their own": split_cross_entropy,
}


def main() -> None:
    """Puts the option in, runs the command."""
    option, *arguments = sys.argv[1:] or [""]
    if option in MODELS:
        vars(gru4reckg)["GRU4RecKG"] = MODELS[option]
    if option in LOSSES:
        vars(epoch)["cross_entropy_in_chunks"] = LOSSES[option]
    if option not in [*MODELS, *LOSSES]:
        sys.exit(f"no option {option!r}; expected one of: {', '.join([*MODELS, *LOSSES])}")
    run_kgrec(arguments)


if __name__ == "__main__":
    main()
