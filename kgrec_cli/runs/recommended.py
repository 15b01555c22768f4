"""What a `Recommender` gives back: a list for one history, and the reasons for its items."""

from dataclasses import dataclass

from kgrec_cli.core.linking.paths import Path as GraphPath


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
