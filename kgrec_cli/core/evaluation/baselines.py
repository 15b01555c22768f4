"""What a trained model has to beat on the same split, from popularity to EASE and sequential rules.

A baseline's weights are those of the training part. The last two weigh a prefix by recency, and
choose one parameter each on the validation part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from kgrec_cli.core.data.histories import Histories, Ints, seen_events
from kgrec_cli.core.data.splits import Split, training_events
from kgrec_cli.core.evaluation.measure import (
    Measured,
    MeasureSettings,
    gains,
    measure,
    part_targets,
)
from kgrec_cli.core.evaluation.ranking import Score, rank_targets
from kgrec_cli.core.memory import check_memory

QUICK, THOROUGH = ("Pop", "ItemKNN"), ("SequentialRules", "EASE")
BASELINES = (*QUICK, *THOROUGH)
CHOICES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "SequentialRules": ("popularity_exponent", (0.25, 0.0, 0.5)),
    "EASE": ("l2", (300.0, 100.0, 1000.0)),
}
"""By baseline: its parameter and the values tried; the first one without validation targets."""
RULES_WINDOW = 20  # how far a rule reaches; beyond it a weight is below 1/20
MAX_CHOSEN_ON = 1000  # validation targets that a parameter is chosen on


@dataclass(frozen=True)
class Baseline:
    """A baseline on the test part, and the parameter that the validation part chose."""

    measured: Measured
    parameters: dict[str, float]


def measure_baseline(
    name: str,
    histories: Histories,
    split: Split,
    settings: MeasureSettings,
    popularity: NDArray[np.int64],
    on_targets: Callable[[int, int], None],
) -> Baseline:
    """One of `BASELINES` on the test part, masked and not.

    Args:
        name: Which one.
        histories: All histories.
        split: How they are split.
        settings: Metrics, cutoffs, candidates.
        popularity: int64 (N,), training interactions of each item.
        on_targets: Told how many targets are ranked, and of how many, those of the choice included.

    Raises:
        KgrecError: Not enough memory.
    """
    n_items, done = len(popularity), 0
    valid, n_test = (
        part_targets(histories, split, "valid"),
        len(part_targets(histories, split, "test")),
    )
    if len(valid) > MAX_CHOSEN_ON:
        chosen = np.random.default_rng(settings.seed).choice(len(valid), MAX_CHOSEN_ON, False)
        valid = valid[np.sort(chosen)]
    parameter, values = CHOICES.get(name, ("", ()))
    if not len(valid):
        values = values[:1]
    n_tried = len(values) if len(values) > 1 else 0
    total = n_tried * len(valid) + n_test

    def counted(score: Score) -> Score:
        def count(targets: Ints) -> Tensor:
            nonlocal done
            scores = score(targets)
            done += len(targets)
            on_targets(done, total)
            return scores

        return count

    if name == "Pop":
        score = popularity_score(popularity)
    elif name == "ItemKNN":
        score = item_knn_score(histories, split, n_items)
    else:
        build = {"SequentialRules": sequential_rules_score, "EASE": ease_score}[name](
            histories, split, n_items
        )
        ndcg = [
            float(
                gains(
                    "NDCG", _masked_ranks(counted(build(value)), histories, valid, n_items), 10
                ).mean()
            )
            for value in values[:n_tried]
        ]
        best = values[int(np.argmax(ndcg))] if ndcg else values[0]
        score = build(best)
    measured = measure(counted(score), histories, split, "test", settings, popularity)
    return Baseline(measured, {parameter: best} if parameter else {})


def _masked_ranks(score: Score, histories: Histories, targets: Ints, n_items: int) -> Ints:
    return rank_targets(score, histories, targets, n_items=n_items).ranks_masked


def popularity_score(popularity: NDArray[np.int64]) -> Score:
    """Every target gets the same scores: the training interactions of each item.

    Args:
        popularity: int64 (N,), padding first.
    """
    scores = torch.from_numpy(popularity.astype(np.float32))

    def score(targets: Ints) -> Tensor:
        return scores.repeat(len(targets), 1)

    return score


def item_knn_score(
    histories: Histories, split: Split, n_items: int, *, n_neighbours: int = 100
) -> Score:
    """ItemKNN (Sarwar et al. 2001): cosine of the users who had both items, summed over a prefix.

    Similarities are those of the training part (binary, one count a user and item); each item keeps
    its `n_neighbours` most similar ones.

    Args:
        histories: All histories.
        split: What is training.
        n_items: N, padding included.
        n_neighbours: Similar items kept for each item.
    """
    matrix = _users_by_items(histories, split, n_items)
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    shared = (matrix.T @ matrix).tocsr()
    shared.setdiag(0)
    shared.eliminate_zeros()
    norms = np.sqrt(np.maximum(counts, 1))
    similarity = sparse.diags(1 / norms) @ shared @ sparse.diags(1 / norms)
    nearest = _keep_largest(similarity.tocsr(), n_neighbours).T.tocsr()
    return _prefix_score(histories, nearest, by_recency=False)


def sequential_rules_score(
    histories: Histories, split: Split, n_items: int
) -> Callable[[float], Score]:
    """Sequential rules (Ludewig and Jannach 2018): ordered co-occurrence, weighed by recency.

    An item that came d events after another in the training part, d up to `RULES_WINDOW`, adds 1/d
    to the rule from that one to it. A rule is divided by the popularity of both items to the power
    of an exponent. A prefix sums the rules of its items, the last one at weight 1, the a-th from
    the end at 1/a.

    Differs from the paper: rules start from all items of a prefix, not from the last one alone.

    Args:
        histories: All histories.
        split: What is training.
        n_items: N, padding included.

    Returns:
        The scores by exponent.
    """
    owners, later = histories.owners, np.flatnonzero(training_events(histories, split))
    check_memory(
        24 * min(RULES_WINDOW * len(later), n_items**2), f"sequential rules of {n_items:,} items"
    )
    rules = sparse.csr_matrix((n_items, n_items), dtype=np.float32)
    for distance in range(1, RULES_WINDOW + 1):
        later = later[later >= distance]
        later = later[owners[later - distance] == owners[later]]
        pairs = histories.items[later - distance], histories.items[later]
        weights = np.full(len(later), 1 / distance, dtype=np.float32)
        rules = rules + sparse.csr_matrix((weights, pairs), shape=rules.shape)
    rules.setdiag(0)
    counts = np.bincount(
        histories.items[training_events(histories, split)], minlength=n_items
    ).clip(1)

    def build(exponent: float) -> Score:
        share = sparse.diags((counts**-exponent).astype(np.float32))
        return _prefix_score(histories, (share @ rules @ share).tocsr(), by_recency=True)

    return build


def ease_score(histories: Histories, split: Split, n_items: int) -> Callable[[float], Score]:
    """EASE (Steck 2019): the linear item-to-item model of least squares with a zero diagonal.

    G = X'X of the binary training matrix X (users by items), P = (G + l2 I)^-1, and the weight of
    item i for item j is -P_ij / P_jj. A prefix sums the weights of its items, the last one at
    weight 1, the a-th from the end at 1/a.

    Differs from the paper: there all items of a user weigh the same.

    Args:
        histories: All histories.
        split: What is training.
        n_items: N, padding included.

    Returns:
        The scores by l2.
    """
    check_memory(4 * 4 * n_items**2, f"EASE of {n_items:,} items")
    matrix = _users_by_items(histories, split, n_items)
    gram = torch.from_numpy((matrix.T @ matrix).toarray())

    def build(l2: float) -> Score:
        inverse = gram.clone()
        inverse.diagonal().add_(l2)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(inverse))
        weights = inverse.div_(-inverse.diagonal().clone())
        weights.fill_diagonal_(0)
        return _prefix_score(histories, weights, by_recency=True)

    return build


def _users_by_items(histories: Histories, split: Split, n_items: int) -> sparse.csr_matrix:
    """float32 (user ids, N): 1 where a user had an item in the training part."""
    training = training_events(histories, split)
    users, items = histories.user_ids[histories.owners[training]], histories.items[training]
    shape = int(histories.user_ids.max(initial=0)) + 1, n_items
    matrix = sparse.csr_matrix((np.ones(len(items), dtype=np.float32), (users, items)), shape=shape)
    matrix.data[:] = 1.0
    return matrix


def _prefix_score(
    histories: Histories, weights: sparse.csr_matrix | Tensor, *, by_recency: bool
) -> Score:
    """The sum of the rows of `weights`, float32 (N, N), of the items of each target's prefix."""
    n_items = weights.shape[0]

    def score(targets: Ints) -> Tensor:
        row_index, events = seen_events(histories, targets)
        shares = np.ones(len(row_index), dtype=np.float32)
        if by_recency:
            shares /= (targets[row_index] - events).astype(np.float32)
        prefix = sparse.csr_matrix(
            (shares, (row_index, histories.items[events])), shape=(len(targets), n_items)
        )
        if isinstance(weights, Tensor):
            return torch.from_numpy(prefix.toarray()) @ weights
        return torch.from_numpy((prefix @ weights).toarray().astype(np.float32))

    return score


def _keep_largest(matrix: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """The matrix with the `n` largest values of each row; of equal values the lower column."""
    rows, columns = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices
    order = np.lexsort((columns, -matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    largest = order[place < n]
    entries = matrix.data[largest], (rows[largest], columns[largest])
    return sparse.csr_matrix(entries, shape=matrix.shape)
