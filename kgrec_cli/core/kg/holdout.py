"""What entity vectors know of triples they have not seen: a held-out share, and its filtered ranks.

`pretrain-kg --validate` splits by `hold_out`, trains on the rest, and ranks by `rank_held_out`.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec_cli.core.kg.methods import Ints

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
    base = int(known.max()) + 1
    sides = ((score_tails, [0, 1], 2), (score_heads, [1, 2], 0))
    for side, (score, query, answer) in enumerate(sides):
        known_codes, held_codes = (rows[:, query] @ [base, 1] for rows in (known, held))
        order = np.argsort(known_codes, kind="stable")
        true_answers = known[order, answer]
        firsts = np.searchsorted(known_codes[order], held_codes, side="left")
        ends = np.searchsorted(known_codes[order], held_codes, side="right")
        for start in range(0, len(held), batch_size):
            at = slice(start, start + batch_size)
            spans = list(zip(firsts[at], ends[at], strict=True))
            rows = np.repeat(np.arange(len(spans)), ends[at] - firsts[at])
            others = np.concatenate([true_answers[first:end] for first, end in spans])
            with torch.inference_mode():
                scores = score(torch.as_tensor(held[at, query], device=device)).clone()
                target = torch.as_tensor(held[at, answer, None], device=device)
                true_score = scores.gather(1, target)
                scores[torch.as_tensor(rows), torch.as_tensor(others)] = -torch.inf
                n_better = (scores > true_score).sum(dim=1)
                n_equal = (scores == true_score).sum(dim=1)
            ranks[side, at] = (1 + n_better + n_equal / 2).cpu().numpy()
            on_batch((side * len(held) + start + len(spans)) // 2)
    return ranks


def summarise_ranks(ranks: NDArray[np.float64]) -> dict[str, float]:
    """Mean reciprocal rank and Hits@1, 3, 10 over all ranks, both sides alike."""
    metrics = {"mrr": float(np.mean(1 / ranks))}
    return metrics | {f"hits@{k}": float(np.mean(ranks <= k)) for k in HITS_AT}


def is_like_guessing(mrr: float, n_ranks: int, n_entities: int) -> bool:
    """Whether a mean reciprocal rank is near that of ranks drawn at random.

    Of a random rank among N the reciprocal is on average H(N) / N. Near is up to three standard
    errors above it, or up to twice as much (0.01 above it at most).
    """
    reciprocal = 1 / np.arange(1, n_entities + 1)
    guess, error = reciprocal.mean(), reciprocal.std() / max(n_ranks, 1) ** 0.5
    return bool(mrr < guess + max(3 * error, min(guess, 0.01)))
