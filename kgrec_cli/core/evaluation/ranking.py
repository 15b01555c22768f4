"""Full ranking: the place of each target among all items, and the items at the top.

Both views of every list come from one pass: all items as candidates, and the items already in the
history masked. Scores exist for one chunk of targets at a time.

Letters: B rows of a chunk, N items including the padding, K places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec_cli.core.data.histories import Histories, Ints, prefixes, seen_events
from kgrec_cli.core.memory import check_memory
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, SeenItems
from kgrec_cli.core.workers import ALONE, Workers
from kgrec_cli.errors import KgrecError

# Scores of a chunk of targets: int64 (B,) indices into Histories.items -> float (B, N).
Score = Callable[[Ints], Tensor]

MAX_CHUNK_SCORES = 2**23
MAX_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Ranking:
    """Where each target stands.

    Attributes:
        ranks: int64 (n,), from 1, among all items.
        ranks_masked: int64 (n,), among the items that are not in the target's prefix.
        top_items: int32 (n, K), best first, among all items; K is N at most.
        top_items_masked: int32 (n, K), with seen items masked; 0 where none is left.
    """

    ranks: Ints
    ranks_masked: Ints
    top_items: NDArray[np.int32]
    top_items_masked: NDArray[np.int32]


def score_by(
    model: GRU4RecKG, histories: Histories, *, max_length: int, device: torch.device
) -> Score:
    """The scores that a model gives after reading each target's prefix; its weights now."""
    with torch.inference_mode():
        vectors = model.item_vectors()

    def score(targets: Ints) -> Tensor:
        items, lengths = prefixes(histories, targets, max_length)
        states = model.encode(
            torch.from_numpy(items).to(device), torch.from_numpy(lengths).to(device), vectors
        )
        seen = None if model.seen_bias is None else seen_items(histories, targets, device)
        return model.score(states, seen, vectors)

    return score


def seen_items(histories: Histories, targets: Ints, device: torch.device) -> SeenItems:
    """The items seen before each target; the rows are places in `targets`."""
    row_index, events = seen_events(histories, targets)
    items = torch.from_numpy(histories.items[events].astype(np.int64))
    return SeenItems(torch.from_numpy(row_index).to(device), items.to(device))


def chunk_size(n_items: int, eval_batch_size: int) -> int:
    """Targets scored at once: as set, within a bound on memory (about 32 MB of scores)."""
    return max(1, min(eval_batch_size, MAX_CHUNK_ROWS, MAX_CHUNK_SCORES // n_items))


@torch.inference_mode()
def rank_targets(
    score: Score,
    histories: Histories,
    targets: Ints,
    *,
    n_items: int,
    topk: int = 0,
    eval_batch_size: int = 4096,
    candidates: Tensor | None = None,
    masked: bool = True,
    on_chunk: Callable[[int], None] = lambda n_done: None,
    workers: Workers = ALONE,
) -> Ranking:
    """Ranks every target among all items, or among some.

    An item with the same score as the target ranks before it: ties count against the target, on
    every device alike. The padding is no candidate. A target that is itself in its prefix stays a
    candidate when seen items are masked.

    Args:
        score: Gives the scores of a chunk.
        histories: All histories, or this process's shard of them.
        targets: int64 (n,) indices into `histories.items`.
        n_items: N.
        topk: K, items of the top lists; 0 for no lists.
        eval_batch_size: Targets a chunk at most.
        candidates: int64 (n, M), the items beside the target to rank it among; an item that stands
            twice counts once. None for all items.
        masked: Whether to rank with the seen items masked as well; else both views are one.
        on_chunk: Called after each chunk with the number of targets that are ranked.
        workers: The processes with a shard each; all get the ranking of all targets.

    Raises:
        KgrecError: A score that is no finite number, or lists that do not fit into the memory.
    """
    topk = min(topk, n_items)
    check_memory(
        2 * 4 * len(targets) * topk, f"lists of {topk:,} items for {len(targets):,} targets"
    )
    rows = chunk_size(n_items, eval_batch_size)
    # Filled in place: small arrays kept between chunks would split the heap, which then grows.
    ranks, ranks_masked = (np.zeros(len(targets), np.int64) for _ in range(2))
    top_items, top_items_masked = (np.zeros((len(targets), topk), np.int32) for _ in range(2))
    for begin in range(0, len(targets), rows):
        chosen, here = targets[begin : begin + rows], slice(begin, begin + rows)
        scores = score(chosen).float()
        check_finite(scores)
        scores[:, 0] = -torch.inf
        wanted = torch.from_numpy(histories.items[chosen].astype(np.int64)).to(scores.device)
        target_scores = scores.gather(1, wanted[:, None])
        if candidates is not None:
            others = candidates[begin : begin + rows].to(scores.device)
            among = torch.full_like(scores, -torch.inf)
            among.scatter_(1, others, scores.gather(1, others))
            scores = among.scatter_(1, wanted[:, None], target_scores)
        places, top = (scores >= target_scores).sum(1), _top_items(scores, topk)
        places_masked, top_masked = places, top
        if masked:
            scores[seen_items(histories, chosen, scores.device)] = -torch.inf
            scores.scatter_(1, wanted[:, None], target_scores)
            places_masked, top_masked = (scores >= target_scores).sum(1), _top_items(scores, topk)
        ranks[here], ranks_masked[here] = places.cpu().numpy(), places_masked.cpu().numpy()
        top_items[here], top_items_masked[here] = top.cpu().numpy(), top_masked.cpu().numpy()
        on_chunk(begin + len(chosen))
    own = ranks, ranks_masked, top_items, top_items_masked
    return Ranking(*(np.concatenate(workers.parts(values)) for values in own))


def check_finite(scores: Tensor) -> None:
    """Checks that all scores are finite numbers: NaN compares with nothing, so it would rank first.

    Raises:
        KgrecError: One is not.
    """
    # The sum of finite numbers is hardly ever not finite, and costs one pass.
    if not torch.isfinite(scores.sum()) and not torch.isfinite(scores).all():
        n_bad = int((~torch.isfinite(scores)).sum())
        raise KgrecError(
            f"{n_bad:,} of {scores.numel():,} scores are not finite numbers: the training has "
            "diverged; train anew with a lower learning_rate"
        )


def draw_candidates(
    mode: str,
    histories: Histories,
    targets: Ints,
    n_items: int,
    seed: int,
    workers: Workers = ALONE,
) -> Tensor | None:
    """The items that an `eval_args` mode ranks each target among, the same for the same seed.

    Args:
        mode: full; uniN: N items drawn uniformly; popN: N drawn by their number of interactions.
            The target is never drawn; an item may be drawn twice (as in RecBole, where the items
            of a sequential model's user are not excluded either).
        histories: All histories.
        targets: int64 (n,) indices into `histories.items`.
        n_items: N, padding included.
        seed: Seed of the draw.
        workers: The processes with a shard each: every one draws for all, and keeps its own.

    Returns:
        int64 (n, N), or None for full.

    Raises:
        KgrecError: They do not fit into the memory.
    """
    if mode == "full":
        return None
    parts = workers.parts(histories.items[targets].astype(np.int64))
    begin, n_targets = sum(map(len, parts[: workers.number])), sum(map(len, parts))
    check_memory(8 * n_targets * int(mode[3:]), f"eval_args: mode {mode}")
    from kgrec_cli.core.data.negatives import sample_negatives

    popularity = None
    if mode.startswith("pop"):
        counts = workers.total(np.bincount(histories.items, minlength=n_items))
        popularity = torch.from_numpy(counts).float()
    wanted = torch.from_numpy(np.concatenate(parts))
    generator = torch.Generator().manual_seed(seed)
    drawn = sample_negatives(wanted, popularity, n_items, int(mode[3:]), generator)
    return drawn[begin : begin + len(targets)]


def _top_items(scores: Tensor, topk: int) -> Tensor:
    """int64 (B, K) item ids, best first; of equal scores the lower id; 0 for -inf scores."""
    best_scores, best = top_places(scores, min(topk, scores.shape[1]))
    best = torch.where(best_scores == -torch.inf, 0, best)
    return torch.nn.functional.pad(best, (0, topk - best.shape[1]))


def top_places(scores: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """The K best scores of each row and their columns, best first; ties go to the lower column.

    `torch.topk` leaves ties unspecified, so its result is ordered here; which of several items
    that tie for the last place is listed stays unspecified.
    """
    values, columns = scores.topk(topk, dim=1)
    by_column = columns.argsort(dim=1)
    values, columns = values.gather(1, by_column), columns.gather(1, by_column)
    by_value = values.argsort(dim=1, descending=True, stable=True)
    return values.gather(1, by_value), columns.gather(1, by_value)
