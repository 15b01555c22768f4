"""Full ranking: the place of each target among all items, and the items at the top.

Both views of every list come from one pass: all items as candidates, and the items already in the
history taken out ("masked"). Scores exist for one chunk of targets at a time.

Letters: B rows of a chunk, N items including the padding, K places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec_cli.core.losses import sample_negatives
from kgrec_cli.core.model import GRU4RecKG, Pairs, add_once
from kgrec_cli.core.sequences import Histories, Ints, gather, prefixes, seen_events

# Scores of a chunk of targets: int64 (B,) indices into Histories.items -> float (B, N).
Score = Callable[[Ints], Tensor]

MAX_CHUNK_SCORES = 2**23
MAX_CHUNK_ROWS = 1024

# Scores that `recommend_items` holds at once: 8 MB.
TILE_ROWS, TILE_ITEMS, TILE_BLOCK = 512, 4096, 64


@dataclass(frozen=True)
class Ranking:
    """Where each target stands.

    Attributes:
        ranks: int64 (n,), from 1, among all items.
        ranks_masked: int64 (n,), among the items that are not in the target's prefix.
        top_items: int32 (n, K), best first, among all items.
        top_items_masked: int32 (n, K), the same with seen items taken out; 0 where none is left.
    """

    ranks: Ints
    ranks_masked: Ints
    top_items: NDArray[np.int32]
    top_items_masked: NDArray[np.int32]


def score_by(
    model: GRU4RecKG, histories: Histories, *, max_length: int, device: torch.device
) -> Score:
    """The scores that a model gives after reading each target's prefix."""

    def score(targets: Ints) -> Tensor:
        items, lengths = prefixes(histories, targets, max_length)
        states = model.encode(
            torch.from_numpy(items).to(device), torch.from_numpy(lengths).to(device)
        )
        has_bias = model.seen_bias is not None
        return model.score(states, seen_pairs(histories, targets, device) if has_bias else None)

    return score


def seen_pairs(histories: Histories, targets: Ints, device: torch.device) -> Pairs:
    """Two int64 (P,): the row in `targets`, and an item seen before that target."""
    row_index, events = seen_events(histories, targets)
    items = torch.from_numpy(histories.items[events].astype(np.int64))
    return torch.from_numpy(row_index).to(device), items.to(device)


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
) -> Ranking:
    """Ranks every target among all items, or among some.

    An item of the same score as the target stands before it: ties count against the target, on
    every device alike. The padding is no candidate. A target that is itself in its prefix stays a
    candidate when seen items are taken out.

    Args:
        score: Gives the scores of a chunk.
        histories: All histories.
        targets: int64 (n,) indices into `histories.items`.
        n_items: N.
        topk: K, items of the top lists; 0 for no lists.
        eval_batch_size: Targets a chunk at most.
        candidates: int64 (n, M), the items beside the target to rank it among; an item that stands
            twice counts once. None for all items.
    """
    rows = chunk_size(n_items, eval_batch_size)
    chunks: list[Ranking] = []
    for begin in range(0, len(targets), rows):
        chunk = targets[begin : begin + rows]
        scores = score(chunk).float()
        scores[:, 0] = -torch.inf
        wanted = torch.from_numpy(histories.items[chunk].astype(np.int64)).to(scores.device)
        target_scores = scores.gather(1, wanted[:, None])
        if candidates is not None:
            chosen = candidates[begin : begin + rows].to(scores.device)
            among = torch.full_like(scores, -torch.inf)
            among.scatter_(1, chosen, scores.gather(1, chosen))
            scores = among.scatter_(1, wanted[:, None], target_scores)
        ranks, top = (scores >= target_scores).sum(1), _top_items(scores, topk)
        scores[seen_pairs(histories, chunk, scores.device)] = -torch.inf
        scores.scatter_(1, wanted[:, None], target_scores)
        ranks_masked, top_masked = (scores >= target_scores).sum(1), _top_items(scores, topk)
        chunks.append(
            Ranking(
                ranks.cpu().numpy(),
                ranks_masked.cpu().numpy(),
                top.cpu().numpy().astype(np.int32),
                top_masked.cpu().numpy().astype(np.int32),
            )
        )
    if not chunks:
        empty, no_lists = np.zeros(0, np.int64), np.zeros((0, topk), np.int32)
        return Ranking(empty, empty, no_lists, no_lists)
    return Ranking(
        np.concatenate([part.ranks for part in chunks]),
        np.concatenate([part.ranks_masked for part in chunks]),
        np.concatenate([part.top_items for part in chunks]),
        np.concatenate([part.top_items_masked for part in chunks]),
    )


def draw_candidates(
    mode: str, histories: Histories, targets: Ints, n_items: int, seed: int
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

    Returns:
        int64 (n, N), or None for full.
    """
    if mode == "full":
        return None
    popularity = None
    if mode.startswith("pop"):
        popularity = torch.from_numpy(np.bincount(histories.items, minlength=n_items)).float()
    wanted = torch.from_numpy(histories.items[targets].astype(np.int64))
    generator = torch.Generator().manual_seed(seed)
    return sample_negatives(wanted, popularity, n_items, int(mode[3:]), generator)


def _top_items(scores: Tensor, topk: int) -> Tensor:
    """int64 (B, K) item ids, best first; of equal scores the lower id; 0 for -inf scores."""
    best_scores, best = top_places(scores, min(topk, scores.shape[1]))
    best = torch.where(best_scores == -torch.inf, 0, best)
    return torch.nn.functional.pad(best, (0, topk - best.shape[1]))


def top_places(scores: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """The K best scores of each row and their columns, best first; ties go to the lower column.

    `torch.topk` leaves ties unspecified, so what it finds is ordered here; which of several items
    that tie for the last place is listed stays unspecified.
    """
    values, columns = scores.topk(topk, dim=1)
    by_column = columns.argsort(dim=1)
    values, columns = values.gather(1, by_column), columns.gather(1, by_column)
    by_value = values.argsort(dim=1, descending=True, stable=True)
    return values.gather(1, by_value), columns.gather(1, by_value)


@torch.inference_mode()
def recommend_items(
    model: GRU4RecKG,
    lists: list[NDArray[np.int32]],
    *,
    topk: int,
    max_length: int,
    device: torch.device,
    hide_seen: bool = True,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The K items to recommend after each history.

    Args:
        model: A trained model.
        lists: B histories of item ids, oldest first, none empty.
        topk: K.
        max_length: Most recent items that the model reads.
        device: Where the model is.
        hide_seen: Leave out the items of the whole history.

    Returns:
        int32 (B, K) items, best first, 0 where none is left; float32 (B, K) scores.
    """
    flat = np.concatenate(lists)
    ends = np.cumsum([len(items) for items in lists])
    starts = ends - np.array([len(items) for items in lists])
    items, lengths = gather(flat, np.maximum(starts, ends - max_length), ends)
    states = model.encode(torch.from_numpy(items).to(device), torch.from_numpy(lengths).to(device))
    row_index = torch.from_numpy(np.repeat(np.arange(len(lists)), ends - starts)).to(device)
    seen_items = torch.from_numpy(flat.astype(np.int64)).to(device)
    added = -torch.inf if hide_seen else model.seen_bias
    if added is None:
        row_index, seen_items, added = row_index[:0], seen_items[:0], 0.0
    weight = model.item_vectors()
    topk = min(topk, len(weight) - 1)
    found = []
    for begin in range(0, len(lists), TILE_ROWS):
        rows = states[begin : begin + TILE_ROWS]
        own = (row_index >= begin) & (row_index < begin + TILE_ROWS)
        seen = row_index[own] - begin, seen_items[own]
        found.append(_best_of_tiles(rows, weight, seen, added, topk))
    best = torch.cat([items for items, _ in found]).cpu().numpy().astype(np.int32)
    return best, torch.cat([scores for _, scores in found]).cpu().numpy()


def _best_of_tiles(
    states: Tensor, weight: Tensor, seen: Pairs, added: Tensor | float, topk: int
) -> tuple[Tensor, Tensor]:
    """The K best items of each row, and their scores; scores exist for one tile of items at a time.

    Only rows with a score above their K-th so far take part in a tile's top-k, and of those only
    the blocks with the highest maxima, so that nearly all scores are read once and in the cache.

    Args:
        states: float (B, D).
        weight: float (N, D).
        seen: The items of each row's history.
        added: What goes to their scores; -inf makes them no candidates.
        topk: K, less than N.

    Returns:
        int64 (B, K), best first, of equal scores the lower id, 0 for -inf; float (B, K).
    """
    best = torch.full((len(states), topk), -torch.inf, device=states.device)
    items = torch.zeros_like(best, dtype=torch.int64)
    seen_rows, seen_items = seen
    order = seen_items.argsort()
    edges = torch.arange(0, len(weight) + TILE_ITEMS, TILE_ITEMS, device=states.device)
    borders = torch.searchsorted(seen_items[order], edges).tolist()
    for number, begin in enumerate(range(0, len(weight), TILE_ITEMS)):
        scores = (states @ weight[begin : begin + TILE_ITEMS].T).float()
        if begin == 0:
            scores[:, 0] = -torch.inf
        own = order[borders[number] : borders[number + 1]]
        add_once(scores, (seen_rows[own], seen_items[own] - begin), added)
        better = (scores.amax(1) > best[:, -1]).nonzero()[:, 0]
        if len(better) == 0:
            continue
        values, columns = _top_of_tile(scores[better], topk)
        values = torch.cat([best[better], values], dim=1)
        columns = torch.cat([items[better], columns + begin], dim=1)
        best[better], places = values.topk(topk, dim=1)
        items[better] = columns.gather(1, places)
    by_item = items.argsort(dim=1)
    best, places = top_places(best.gather(1, by_item), topk)
    items = items.gather(1, by_item).gather(1, places)
    return torch.where(best == -torch.inf, 0, items), best


def _top_of_tile(scores: Tensor, topk: int) -> tuple[Tensor, Tensor]:
    """The K best scores of each row (fewer when there are not so many), and their columns.

    They stand in the K blocks whose best scores are highest.
    """
    n_rows, n = scores.shape
    if n % TILE_BLOCK or 4 * topk * TILE_BLOCK > n:
        values, columns = scores.topk(min(topk, n), dim=1)
        return values, columns
    in_blocks = scores.view(n_rows, -1, TILE_BLOCK)
    blocks = in_blocks.amax(2).topk(topk, dim=1).indices[:, :, None]
    inside = torch.arange(TILE_BLOCK, device=scores.device)
    scores = in_blocks.gather(1, blocks.expand(-1, -1, TILE_BLOCK)).flatten(1)
    values, places = scores.topk(topk, dim=1)
    return values, (blocks * TILE_BLOCK + inside).flatten(1).gather(1, places)
