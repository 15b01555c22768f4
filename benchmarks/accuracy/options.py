"""`kgrec` with an option that it does not have, so that the study can measure what it is worth.

    python -m benchmarks.accuracy.options "vectors scaled" train --dataset ml-100k --preset small

`benchmarks.accuracy.study` trains its rows of such options by this command, from FOLDER.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec_cli.cli import main as run_kgrec
from kgrec_cli.core.data.histories import Histories, Ints
from kgrec_cli.core.evaluation import measure
from kgrec_cli.core.evaluation.ranking import Score, score_by
from kgrec_cli.core.model import gru4reckg
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, SeenItems
from kgrec_cli.core.training import epoch, fit
from kgrec_cli.core.training.batches import Chunk

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


N_GAPS = 40
"""Classes of gaps in time: none, then one for every doubling; 2^38 seconds are 8,700 years."""


def gap_classes(histories: Histories, targets: Ints) -> Tensor:
    """The class of the time between each target and the event before it, int64 (T,)."""
    times = histories.times.astype(np.float64)
    gaps = np.maximum(times[targets] - times[targets - 1], 0)
    return torch.from_numpy(np.ceil(np.log2(gaps + 1)).astype(np.int64).clip(max=N_GAPS - 1))


class QueryTime(GRU4RecKG):
    """Knows how long after the last event it is asked: the gap's own vector is added to the state.

    It reads the time of the target, so its figures stand apart from all others.
    """

    def __init__(self, settings: ModelSettings, n_items: int, tables: Tables = None) -> None:
        super().__init__(settings, n_items, tables)
        self.gap_embedding = nn.Embedding(N_GAPS, settings.embedding_size)
        nn.init.zeros_(self.gap_embedding.weight)
        self.gaps = torch.zeros(0, dtype=torch.int64)  # of the states that come next

    def to_scoring(self, states: Tensor) -> Tensor:
        """As without, the vector of each state's gap added before it is normalised."""
        width, dense = self.item_embedding.embedding_dim, self.dense_layer
        last: Tensor | float = 0.0
        if self.residual:
            states, last = states[..., :-width], states[..., -width:]
        added = self.gap_embedding(self.gaps) + last
        scoring: Tensor = self.layer_norm(dense(self.hidden_dropout(states)) + added)
        if self.score_scale is None:
            return scoring
        return functional.normalize(scoring, dim=-1) * self.score_scale


def loss_with_gaps(runner: epoch.EpochRunner, chunk: Chunk, *arguments: Any) -> Tensor:
    """The loss of a chunk, its model told the gap before each target."""
    places = chunk.places[chunk.targets > 0]
    cast(QueryTime, runner.model).gaps = gap_classes(runner.histories, places + 1)
    return plain_loss(runner, chunk, *arguments)


def score_with_gaps(model: GRU4RecKG, histories: Histories, **settings: Any) -> Score:
    """The scores of a model that is told the gap before each target."""
    score = score_by(model, histories, **settings)

    def told(targets: Ints) -> Tensor:
        cast(QueryTime, model).gaps = gap_classes(histories, targets)
        return score(targets)

    return told


plain_loss = epoch.EpochRunner.loss

MODELS: dict[str, type[GRU4RecKG]] = {
    "vectors scaled": Scaled,
    "unlinked items the mean": UnlinkedMean,
    "unlinked items learned": UnlinkedLearned,
    "seen items by a vector of their own": SeenVector,
    "time of the query": QueryTime,
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
    if option == "time of the query":
        vars(measure)["score_by"] = vars(fit)["score_by"] = score_with_gaps
        epoch.EpochRunner.loss = loss_with_gaps  # type: ignore[assignment, method-assign]
    if option not in [*MODELS, *LOSSES]:
        sys.exit(f"no option {option!r}; expected one of: {', '.join([*MODELS, *LOSSES])}")
    run_kgrec(arguments)


if __name__ == "__main__":
    main()
