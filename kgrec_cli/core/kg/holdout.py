"""What entity vectors know of triples they have not seen: a held-out share, and its filtered ranks.

`pretrain-kg --validate` splits by `hold_out`, trains on the rest, and ranks by `rank_held_out`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
HITS_AT = (1, 3, 10)


def hold_out(
    triples: Ints, n_entities: int, *, share: float, n_max: int, seed: int
) -> NDArray[np.bool_]:
    """Which triples to leave out of training, so that none of them can be read off the rest.

    Whole pairs of entities are held out, with every triple between the two, in both directions and
    under any relation. So a held-out (film, directed_by, person) has no (person, director.film,
    film) in training: inverse, symmetric, duplicate and overlapping relations give nothing away,
    and no threshold says what counts as an inverse. FB15k-237 keeps its held-out pairs apart from
    training by the same rule (Toutanova and Chen 2015). Every entity and every relation keeps at
    least one triple in training; a triple of an entity with itself is never held out.

    Args:
        triples: int64 (n, 3): head, relation, tail; no row twice.
        n_entities: Entity ids are below this.
        share: Share of the triples to hold out.
        n_max: Most triples to hold out (passed by at most the last pair's twins).
        seed: Which pairs.

    Returns:
        bool (n,): True for a held-out triple. All False when nothing can be spared.
    """
    wanted = min(n_max, int(len(triples) * share) or 1)
    low = np.minimum(triples[:, 0], triples[:, 2])
    high = np.maximum(triples[:, 0], triples[:, 2])
    pairs, pair_of_row = np.unique(low * n_entities + high, return_inverse=True)
    rows_by_pair = np.argsort(pair_of_row, kind="stable")
    first_row = np.searchsorted(pair_of_row[rows_by_pair], np.arange(len(pairs) + 1))
    ends = np.stack([pairs // n_entities, pairs % n_entities], axis=1)
    n_pairs_left = np.bincount(ends.ravel(), minlength=n_entities)
    n_triples_left = np.bincount(triples[:, 1])
    held = np.zeros(len(triples), dtype=bool)
    n_held = 0
    for pair in np.random.default_rng(seed).permutation(len(pairs)):
        if n_held >= wanted:
            break
        one, other = ends[pair]
        if one == other or n_pairs_left[one] < 2 or n_pairs_left[other] < 2:
            continue
        rows = rows_by_pair[first_row[pair] : first_row[pair + 1]]
        of_relation = np.bincount(triples[rows, 1], minlength=len(n_triples_left))
        if np.any((of_relation > 0) & (n_triples_left <= of_relation)):
            continue
        n_pairs_left[[one, other]] -= 1
        n_triples_left -= of_relation
        held[rows] = True
        n_held += len(rows)
    return held


@dataclass(frozen=True)
class _Known:
    """The true answers of questions (two known columns of a triple), found by binary search.

    Attributes:
        questions: int64 (n,) sorted codes of the two known columns.
        answers: int64 (n,) the third column.
        base: A code is `first * base + second`.
    """

    questions: Ints
    answers: Ints
    base: int

    def answers_of(self, asked: Ints) -> tuple[Ints, Ints]:
        """Row of `asked` and answer, for every true answer of every row; asked is (B, 2)."""
        codes = asked[:, 0] * self.base + asked[:, 1]
        starts = np.searchsorted(self.questions, codes, side="left")
        ends = np.searchsorted(self.questions, codes, side="right")
        rows = np.repeat(np.arange(len(asked)), ends - starts)
        within = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        return rows, self.answers[within]


def _known(triples: Ints, columns: list[int], answer: int) -> _Known:
    base = int(triples.max()) + 1
    codes = triples[:, columns[0]] * base + triples[:, columns[1]]
    order = np.argsort(codes, kind="stable")
    return _Known(codes[order], triples[order, answer], base)


def rank_held_out(
    held: Ints,
    known: Ints,
    *,
    score_tails: Callable[[Tensor], Tensor],
    score_heads: Callable[[Tensor], Tensor],
    batch_size: int,
    device: torch.device,
    on_batch: Callable[[int], None],
) -> NDArray[np.float64]:
    """The filtered rank of each held-out triple's tail and head among all entities.

    Filtered: entities that make another true triple are no candidates. Among equal scores the rank
    is the mean of the best and the worst place ("realistic", as PyKEEN calls it).

    Args:
        held: int64 (n, 3) triples to rank.
        known: int64 (m, 3) all true triples, `held` among them.
        score_tails: (B, 2) heads and relations -> float (B, N) scores of all entities as tails.
        score_heads: (B, 2) relations and tails -> float (B, N) scores of all entities as heads.
        batch_size: B.
        device: Where the scores are computed.
        on_batch: Told the number of triples done, counting each side as half.

    Returns:
        float64 (2, n): ranks of the tails, ranks of the heads; 1 is best.
    """
    ranks = np.empty((2, len(held)))
    sides = ((score_tails, [0, 1], 2), (score_heads, [1, 2], 0))
    for side, (score, asked, answer) in enumerate(sides):
        truth = _known(known, asked, answer)
        for start in range(0, len(held), batch_size):
            batch = held[start : start + batch_size]
            with torch.inference_mode():
                scores = score(torch.as_tensor(batch[:, asked], device=device)).clone()
                target = torch.as_tensor(batch[:, [answer]], device=device)
                true_score = scores.gather(1, target)
                rows, others = truth.answers_of(batch[:, asked])
                scores[torch.as_tensor(rows), torch.as_tensor(others)] = -torch.inf
                n_better = (scores > true_score).sum(dim=1)
                n_equal = (scores == true_score).sum(dim=1)
            ranks[side, start : start + len(batch)] = (1 + n_better + n_equal / 2).cpu().numpy()
            on_batch((side * len(held) + start + len(batch)) // 2)
    return ranks


def summarise_ranks(ranks: NDArray[np.float64]) -> dict[str, float]:
    """Mean reciprocal rank and Hits@1, 3, 10 over all ranks, both sides alike."""
    metrics = {"mrr": float(np.mean(1 / ranks))}
    return metrics | {f"hits@{k}": float(np.mean(ranks <= k)) for k in HITS_AT}
