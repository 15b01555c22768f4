"""What a `Recommender` gives back, a list for one history and its reasons; what a list may hold."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.data.histories import Vocabulary
from kgrec_cli.core.linking.paths import Path as GraphPath
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent, Warn


@dataclass(frozen=True)
class RecommendedItem:
    """An item of a list, by its token. `rank` is from 1, `score` is the model's."""

    rank: int
    item: str
    title: str | None
    score: float


@dataclass(frozen=True)
class Recommendations:
    """The list for one history.

    Attributes:
        user: The user's token; None for a history that was typed.
        history: Its items, oldest first, as (token, title).
        items: Best first; fewer than asked for when there are no more candidates.
    """

    user: str | None
    history: list[tuple[str, str | None]]
    items: list[RecommendedItem]


@dataclass(frozen=True)
class Explanation:
    """Why one item has its score after one history.

    Attributes:
        item: The item's token.
        entity: Its entity; None when it has none in the graph, so that no path can lead to it.
        score: The model's score.
        parts: The score's parts by name, which sum to it (see `core.evaluation.explain`).
        drops: By token of each history item that the model reads, how far the score falls when that
            item is left out; the largest first.
        carriers: The first three of them, of those that make the score fall.
        paths: The strongest paths through the graph from the history to the item.
    """

    item: str
    entity: str | None
    score: float
    parts: dict[str, float]
    drops: dict[str, float]
    carriers: list[str]
    paths: list[GraphPath]


def hidden_items(
    items: Vocabulary,
    exclude: Collection[str],
    candidates: Collection[str] | None,
    on_event: OnEvent,
) -> NDArray[np.bool_]:
    """By item id, whether no list may hold the item: bool (N,).

    Args:
        items: Those of the run, N with the padding.
        exclude: Tokens of items that no list may hold.
        candidates: Tokens of the only items that lists may hold; None for all.
        on_event: Hears how many of them the run does not know.

    Raises:
        KgrecError: A text instead of a list, or no candidate is left.
    """
    if isinstance(exclude, str) or isinstance(candidates, str):
        raise KgrecError("exclude and candidates take lists of item tokens")
    hidden = np.full(len(items), candidates is not None)
    for name, tokens, is_hidden in (
        ("candidates", candidates or (), False),
        ("exclude", exclude, True),
    ):
        ids = {token: items.get(token) for token in tokens}
        hidden[[item_id for item_id in ids.values() if item_id is not None]] = is_hidden
        unknown = [token for token, item_id in ids.items() if item_id is None]
        if unknown:
            text = f"{name}: the run does not know {len(unknown):,} of {len(ids):,} items"
            kind = Warn if name == "candidates" else Note
            on_event(kind(f"{text}, such as {shorten(unknown[0])}"))
    if candidates is not None and hidden[1:].all():
        raise KgrecError(f"no candidate is left: the run knows {len(items) - 1:,} items")
    return hidden
