"""A finished run in memory: it recommends, scores, and returns its item vectors.

Users and items are tokens here; item ids stay inside. The `recommend` command, the Python API and
`evaluate` all start from `load_recommender`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from kgrec_cli.config import narrow
from kgrec_cli.core.data.histories import Vocabulary, vocabulary_of
from kgrec_cli.core.evaluation.ranking import MAX_CHUNK_ROWS
from kgrec_cli.core.evaluation.recommend import check_scorable, read_histories, recommend_items
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.core.stored_tensors import find_misfit
from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, Progress, ignore_event
from kgrec_cli.runs.model_fit import branch_tables, expected_weights, widths_of
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.runs.run_files import (
    ITEMS,
    MODEL,
    naming_the_cure,
    read_environment,
    read_run_items,
    read_run_settings,
    read_weights,
)
from kgrec_cli.settings import Settings

ItemIds = NDArray[np.int32]


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


@dataclass(frozen=True, eq=False, repr=False)
class Recommender:
    """A finished run in memory, from `load_run`.

    Attributes:
        run_dir: Its folder.
        settings: Those of its training, with the device and threads of now.
        items: Its item vocabulary.
        titles: Title by item token.
        entities: Entity token by item token.
        inter_sha256: SHA-256 of the `.inter` that it was trained on.
        on_all_data: True when nothing was held out.
        model: The best weights, in evaluation mode.
        folder: The working folder, where its data set is.
        on_event: Gets notes and warnings while the data set is read.
    """

    run_dir: Path
    settings: Settings
    items: Vocabulary
    titles: dict[str, str]
    entities: dict[str, str]
    inter_sha256: str
    on_all_data: bool
    model: GRU4RecKG
    folder: Path
    on_event: OnEvent

    def __repr__(self) -> str:
        return f"<Recommender {self.run_dir}: {self.settings.model}, {len(self.items) - 1:,} items>"

    @property
    def item_tokens(self) -> list[str]:
        """The items, in the order of the columns of `scores` and the rows of `item_vectors`."""
        return list(self.items.tokens[1:])

    @cached_property
    def dataset(self) -> Dataset:
        """The run's data set as it is now, in the run's item ids; read when it is first needed."""
        return load_dataset(self.settings, self.folder, self.on_event, items=self.items)

    def recommend(
        self,
        users: Sequence[str] | None = None,
        histories: Sequence[Sequence[str]] | None = None,
        *,
        topk: int = 10,
        hide_seen: bool = True,
    ) -> list[Recommendations]:
        """The best items for each user of the data set, or after each history.

        Args:
            users: User tokens. Their whole histories are read, held-out items included.
            histories: Lists of item tokens, oldest first. They need no data set.
            topk: Items of a list.
            hide_seen: Mask the items of the whole history.

        Raises:
            KgrecError: Neither or both of `users` and `histories`, an unknown user or item, an
                empty history.
        """
        if (users is None) == (histories is None) or isinstance(users, str):
            raise KgrecError(
                "recommend takes users=['196', ...] or histories=[['50', '181'], ...], not both"
            )
        if topk < 1:
            raise KgrecError(f"recommend: topk is {topk}, expected 1 or more")
        if users is None:
            rows = self._encode(histories or ())
            owners: Sequence[str | None] = [None] * len(rows)
        else:
            rows, owners = [self._history_of_user(user) for user in users], users
        if not rows:
            return []
        best, scores = self._rank(rows, topk, hide_seen)
        return [
            Recommendations(
                user=user,
                history=[self._named(item_id) for item_id in row],
                items=[
                    RecommendedItem(rank, *self._named(item_id), score=float(score))
                    for rank, (item_id, score) in enumerate(zip(ids, values, strict=True), start=1)
                    if item_id > 0
                ],
            )
            for user, row, ids, values in zip(owners, rows, best, scores, strict=True)
        ]

    def recommend_all(
        self, *, topk: int = 10, hide_seen: bool = True, on_event: OnEvent = ignore_event
    ) -> Iterator[pl.DataFrame]:
        """The best items for every user of the data set, a chunk of users at a time.

        Yields:
            A row for each item of a list: columns user, rank (from 1), item, title, score.
        """
        user_ids, n_users = self.dataset.histories.user_ids, len(self.dataset.histories)
        user_tokens, item_tokens = (
            pl.Series(vocabulary.tokens) for vocabulary in (self.dataset.users, self.items)
        )
        titles = pl.Series([self.titles.get(token) for token in item_tokens], dtype=pl.String)
        n_rows = min(MAX_CHUNK_ROWS, self.settings.eval_batch_size)
        for begin in range(0, n_users, n_rows):
            chunk = range(begin, min(begin + n_rows, n_users))
            rows = [self._history(index) for index in chunk]
            best, scores = self._rank(rows, topk, hide_seen)
            n_chunk, n_ranks = best.shape
            table = pl.DataFrame(
                {
                    "user": user_tokens.gather(np.repeat(user_ids[begin : chunk.stop], n_ranks)),
                    "rank": np.tile(np.arange(1, n_ranks + 1, dtype=np.int32), n_chunk),
                    "item": item_tokens.gather(best.ravel()),
                    "title": titles.gather(best.ravel()),
                    "score": scores.ravel(),
                }
            )
            yield table.filter(pl.Series(best.ravel() > 0))
            on_event(Progress("recommend", chunk.stop, n_users, "users"))

    @torch.inference_mode()
    def scores(self, histories: Sequence[Sequence[str]]) -> NDArray[np.float32]:
        """The model's score of every item after each history, seen items included.

        Args:
            histories: B lists of item tokens, oldest first.

        Returns:
            float32 (B, n_items), a column for each of `item_tokens`.

        Raises:
            KgrecError: An unknown item, an empty history.
        """
        rows = self._encode(histories)
        if not rows:
            return np.zeros((0, len(self.items) - 1), dtype=np.float32)
        states, seen = read_histories(self.model, rows, self.settings.MAX_ITEM_LIST_LENGTH)
        check_scorable(states, self.model.item_vectors())
        return self.model.score(states, seen)[:, 1:].float().cpu().numpy()

    @torch.inference_mode()
    def item_vectors(self) -> NDArray[np.float32]:
        """The vector that each item is scored by: float32 (n_items, D), a row a `item_tokens`.

        D is `embedding_size`.
        """
        return self.model.item_vectors()[1:].float().cpu().numpy()

    def _rank(
        self, rows: list[ItemIds], topk: int, hide_seen: bool
    ) -> tuple[ItemIds, NDArray[np.float32]]:
        max_length = self.settings.MAX_ITEM_LIST_LENGTH
        return recommend_items(
            self.model, rows, topk=topk, max_length=max_length, hide_seen=hide_seen
        )

    def _encode(self, histories: Sequence[Sequence[str]]) -> list[ItemIds]:
        """The item ids of each history."""
        rows = []
        for history in histories:
            if isinstance(history, str) or not len(history):
                raise KgrecError(
                    f"a history is {history!r}, expected a list of item tokens, oldest first"
                )
            ids = [self.items.get(token) for token in history]
            if None in ids:
                raise KgrecError(
                    f"{self.run_dir.name} knows no item {history[ids.index(None)]!r}; "
                    f"its items are listed in {self.run_dir / ITEMS}"
                )
            rows.append(np.array(ids, dtype=np.int32))
        return rows

    def _history_of_user(self, user: str) -> ItemIds:
        index = self._history_index.get(self.dataset.users.get(user) or 0)
        if index is None:
            examples = ", ".join(self.dataset.users.tokens[1:4])
            raise KgrecError(
                f"{self.dataset.name}: no user {user!r}; its users are {examples}, ..."
            )
        return self._history(index)

    def _history(self, index: int) -> ItemIds:
        histories = self.dataset.histories
        return histories.items[histories.offsets[index] : histories.offsets[index + 1]]

    @cached_property
    def _history_index(self) -> dict[int, int]:
        """By user id, the index of the user's history."""
        return {int(user): index for index, user in enumerate(self.dataset.histories.user_ids)}

    def _named(self, item_id: np.int32) -> tuple[str, str | None]:
        token = self.items.tokens[int(item_id)]
        return token, self.titles.get(token)


def load_recommender(
    run_dir: Path,
    folder: Path,
    *,
    settings: Settings | None = None,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent = ignore_event,
) -> Recommender:
    """A finished run, its model in memory.

    `settings` are the run's with other things to measure; None for the run's. `on_event` gets notes
    and warnings while the data set is read.

    Raises:
        KgrecError: A file of the run is missing or damaged.
    """
    settings = settings or read_run_settings(run_dir)
    settings = settings.model_copy(
        update={"device": device or settings.device, "threads": threads or settings.threads}
    )
    set_up_cpu(settings)
    table = read_run_items(run_dir)
    items = vocabulary_of(table["item_id"].to_list())
    titles, entities = (
        dict(table.select("item_id", name).drop_nulls().iter_rows())
        for name in ("title", "entity_id")
    )
    environment = read_environment(run_dir)
    tensors, meta = read_weights(run_dir)
    sizes = narrow(settings, ModelSettings), len(items)
    tables = branch_tables(meta.tables, tensors, len(items))
    with naming_the_cure(run_dir / MODEL):
        misfit = find_misfit(tensors, expected_weights(*sizes, widths_of(tables)))
        if misfit:
            raise KgrecError(f"{run_dir / MODEL}: not the weights of this config.yaml: {misfit}")
    model = build_model(*sizes, tables, choose_device(settings.device))
    model.load_state_dict(tensors)
    return Recommender(
        run_dir=run_dir,
        settings=settings,
        items=items,
        titles=titles,
        entities=entities,
        inter_sha256=environment.inter_sha256,
        on_all_data=meta.on_all_data,
        model=model.eval(),
        folder=folder,
        on_event=on_event,
    )
