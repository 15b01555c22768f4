"""The best items after a history: users and items in tiles, so that memory stays bounded.

Letters: B histories, N items including the padding, K places.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec_cli.core.data.histories import gather
from kgrec_cli.core.evaluation.ranking import top_places
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, SeenItems, add_once
from kgrec_cli.errors import KgrecError

# Scores held at once: 8 MB.
TILE_ROWS, TILE_ITEMS, TILE_BLOCK = 512, 4096, 64


def read_histories(
    model: GRU4RecKG, lists: Sequence[NDArray[np.int32]], max_length: int
) -> tuple[Tensor, SeenItems]:
    """What the model makes of each history, and the items that it holds.

    Args:
        model: A trained model.
        lists: B histories of item ids, oldest first, none empty; B at least 1.
        max_length: Most recent items that the model reads.

    Returns:
        float (B, D) states, to score items by; the items of each row's whole history.
    """
    device = model.item_embedding.weight.device
    flat = np.concatenate(lists)
    lengths = np.array([len(items) for items in lists])
    ends = np.cumsum(lengths)
    items, n_read = gather(flat, ends - np.minimum(lengths, max_length), ends)
    states = model.encode(torch.from_numpy(items).to(device), torch.from_numpy(n_read).to(device))
    row_index = torch.from_numpy(np.repeat(np.arange(len(lists)), lengths)).to(device)
    return states, SeenItems(row_index, torch.from_numpy(flat.astype(np.int64)).to(device))


@torch.inference_mode()
def recommend_items(
    model: GRU4RecKG,
    lists: Sequence[NDArray[np.int32]],
    *,
    topk: int,
    max_length: int,
    hide_seen: bool = True,
    hidden: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The K items to recommend after each history.

    Args:
        model: A trained model.
        lists: B histories of item ids, oldest first, none empty.
        topk: K.
        max_length: Most recent items that the model reads.
        hide_seen: Leave out the items of the whole history.
        hidden: bool (N,), True for items that no list may hold; None for none.

    Returns:
        int32 (B, K) items, best first, 0 where none is left; float32 (B, K) scores.

    Raises:
        KgrecError: Scores that are not finite numbers.
    """
    states, (row_index, seen_items) = read_histories(model, lists, max_length)
    weight = model.item_vectors()
    check_scorable(states, weight)
    added = -torch.inf if hide_seen else model.seen_bias
    if added is None:
        row_index, seen_items, added = row_index[:0], seen_items[:0], 0.0
    topk = min(topk, len(weight) - 1)
    never = torch.zeros(len(weight), dtype=torch.bool)
    never[0] = True  # the padding
    if hidden is not None:
        never |= torch.from_numpy(hidden)
    never = never.to(weight.device)
    chunks = []
    for begin in range(0, len(lists), TILE_ROWS):
        rows = states[begin : begin + TILE_ROWS]
        inside = (row_index >= begin) & (row_index < begin + TILE_ROWS)
        seen = SeenItems(row_index[inside] - begin, seen_items[inside])
        chunks.append(_best_of_tiles(rows, weight, seen, added, never, topk))
    best = torch.cat([items for items, _ in chunks]).cpu().numpy().astype(np.int32)
    return best, torch.cat([scores for _, scores in chunks]).cpu().numpy()


def check_scorable(states: Tensor, weight: Tensor) -> None:
    """Checks that the scores of all items for all states are finite, without computing them.

    No score is larger than the product of the two vectors' lengths (Cauchy and Schwarz).

    Args:
        states: float (B, D).
        weight: float (N, D).

    Raises:
        KgrecError: One may not be.
    """
    lengths = [vectors.double().norm(dim=1).max() for vectors in (states, weight)]
    largest = float(lengths[0] * lengths[1])
    if not largest < torch.finfo(torch.float32).max:
        raise KgrecError(
            "scores are not finite numbers: the training has diverged; train anew with a lower "
            "learning_rate"
        )


def _best_of_tiles(
    states: Tensor, weight: Tensor, seen: SeenItems, added: Tensor | float, never: Tensor, topk: int
) -> tuple[Tensor, Tensor]:
    """The K best items of each row, and their scores; scores exist for one tile of items at a time.

    Only rows with a score above their K-th so far take part in a tile's top-k, and of those only
    the blocks with the highest maxima, so that nearly all scores are read once and in the cache.

    Args:
        states: float (B, D).
        weight: float (N, D).
        seen: The items of each row's history.
        added: What is added to their scores; -inf masks them.
        never: bool (N,), True for items that are no candidates.
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
    masks = [mask.nonzero()[:, 0] for mask in torch.split(never, TILE_ITEMS)]
    for number, begin in enumerate(range(0, len(weight), TILE_ITEMS)):
        scores = (states @ weight[begin : begin + TILE_ITEMS].T).float()
        if len(masks[number]):
            scores[:, masks[number]] = -torch.inf
        of_tile = order[borders[number] : borders[number + 1]]
        add_once(scores, SeenItems(seen_rows[of_tile], seen_items[of_tile] - begin), added)
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

    They are in the K blocks whose best scores are highest.
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
