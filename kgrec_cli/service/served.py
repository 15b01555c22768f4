"""A run as it is served: its weights, its items by id and title, the users of its data set."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import OnEvent
from kgrec_cli.runs.added_items import with_added_items
from kgrec_cli.runs.item_search import ItemSearch
from kgrec_cli.runs.recommended import Recommendations, RecommendedItem
from kgrec_cli.runs.recommender import Recommender, load_recommender
from kgrec_cli.runs.run_files import CONFIG, ITEMS, METRICS, MODEL
from kgrec_cli.service.bodies import Item, ListedItem, Wishes
from kgrec_cli.service.scorer import Floats, Items, Scorer, best_of, build_scorer

MAX_MATCHES = 10


class Refused(Exception):
    """What a client asked cannot be answered; `matches` finds the items that it may have meant."""

    def __init__(
        self, status: int, error: str, matches: Callable[[], list[Item]] | None = None
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.matches = status, error, matches


@dataclass(frozen=True, eq=False)
class Served:
    """One version of a run.

    Attributes:
        run: The run, with items added since its training.
        scorer: Its weights.
        search: Its items.
        n_added: How many of them were added since.
    """

    run: Recommender
    scorer: Scorer
    search: ItemSearch
    n_added: int
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.run_dir.name

    @property
    def knows_users(self) -> bool:
        """Whether the data set has been read."""
        return "history_index" in vars(self.run)

    def history_of(self, user: str) -> Items:
        """A user's items, oldest first. The first call reads the data set, which takes a while.

        Raises:
            Refused: No such user, or the data set cannot be read.
        """
        with self._lock:
            try:
                is_known = self.run.has_history(user)
            except KgrecError as error:
                raise Refused(
                    503, "the data set of this run cannot be read here; post a history instead"
                ) from error
        if not is_known:
            raise Refused(404, f"no user '{shorten(user)}' in the data set")
        return self.run.history_of_user(user)

    def id_of(self, text: str) -> int:
        """The id of the item that is meant.

        Raises:
            Refused: None, or several; with those that may be meant.
        """
        number = self.run.items.get(text)
        if number is not None:
            return number
        found = self.search.find(text)
        if len(found) == 1:
            return self.run.items.get(found[0]) or 0
        if found:
            line = f"'{shorten(text)}': {len(found):,} items, give an id"
            raise Refused(409, line, lambda: self.items_of(found[:MAX_MATCHES]))
        raise Refused(
            409,
            f"'{shorten(text)}': no item with this id or title",
            lambda: self.items_of(self.search.suggest(text, MAX_MATCHES)),
        )

    def ids_of(self, texts: Sequence[str]) -> Items:
        """The ids of items, int32. Raises as `id_of`."""
        return np.array([self.id_of(text) for text in texts], dtype=np.int32)

    def item_of(self, number: int) -> Item:
        """The item of an id."""
        token = self.run.items.tokens[number]
        return {"item": token, "title": self.run.titles.get(token)}

    def items_of(self, tokens: Sequence[str]) -> list[Item]:
        """The items of tokens."""
        return [{"item": token, "title": self.run.titles.get(token)} for token in tokens]

    def choose(self, scores: Floats, history: Items, wishes: Wishes) -> list[ListedItem]:
        """The list that is wished for, best first.

        Args:
            scores: float (N,) of all items after the history; they are written to.
            history: The items of the history.
            wishes: How many, and which not.
        """
        seen = np.unique(history)
        if wishes.hide_seen:
            scores[seen] = -np.inf
        elif self.scorer.seen_bias:
            scores[seen] += self.scorer.seen_bias
        if wishes.exclude:
            scores[self.ids_of(wishes.exclude)] = -np.inf
        if wishes.candidates is not None:
            chosen = self.ids_of(wishes.candidates)
            among = np.full_like(scores, -np.inf)
            among[chosen] = scores[chosen]
            scores = among
        return self.listed(scores, wishes.topk)

    def listed(self, scores: Floats, topk: int) -> list[ListedItem]:
        """The best items by their scores (N,)."""
        return [
            {"rank": rank, **self.item_of(number), "score": float(scores[number])}
            for rank, number in enumerate(best_of(scores, topk), start=1)
        ]

    def explain(self, history: Items, items: Sequence[ListedItem]) -> list[dict[str, Any]]:
        """The items with their reasons. It takes a while; one at a time."""
        named = [self.item_of(number) for number in history.tolist()]
        found = Recommendations(
            user=None,
            history=[(item["item"], item["title"]) for item in named],
            items=[RecommendedItem(**item) for item in items],
        )
        with self._lock:
            reasons = self.run.explain(found)
        names = ("entity", "parts", "drops", "carriers")
        paths = ("item", "label", "relation", "history_relation", "is_borne_out")
        return [
            {
                **item,
                "explanation": {
                    "words": self.run.in_words(reason),
                    **{name: getattr(reason, name) for name in names},
                    "paths": [
                        {name: getattr(path, name) for name in paths} for path in reason.paths
                    ],
                },
            }
            for item, reason in zip(items, reasons, strict=True)
        ]


def load_served(run_dir: Path, folder: Path, on_event: OnEvent) -> Served:
    """A run, ready to be served.

    Raises:
        KgrecError: A file of the run is missing or damaged.
    """
    trained = load_recommender(run_dir, folder, device="cpu", threads=1, on_event=on_event)
    run = with_added_items(trained)
    return Served(
        run=run,
        scorer=build_scorer(run.model, run.settings.MAX_ITEM_LIST_LENGTH),
        search=ItemSearch(run.item_tokens, run.titles),
        n_added=len(run.items) - len(trained.items),
    )


def signature_of(run_dir: Path) -> tuple[object, ...]:
    """What changes when a run is replaced: its folder, and time, size and number of its files."""
    stats = [(run_dir / name).stat() for name in (CONFIG, ITEMS, MODEL, METRICS)]
    return (run_dir, *((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats))
