"""A finished run in memory: it recommends, scores, and returns its item vectors.

Users and items are tokens here; item ids stay inside. The `recommend` command, the Python API and
`evaluate` all start from `load_recommender`.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from kgrec_cli.config import narrow
from kgrec_cli.core.data.histories import Vocabulary, vocabulary_of
from kgrec_cli.core.evaluation.explain import attribute
from kgrec_cli.core.evaluation.ranking import MAX_CHUNK_ROWS
from kgrec_cli.core.evaluation.recommend import check_scorable, read_histories, recommend_items
from kgrec_cli.core.linking.names import with_names
from kgrec_cli.core.linking.paths import PathFinder, build_path_finder
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.dataset.files import atomic_path, read_kg, read_labels
from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Progress, ignore_event
from kgrec_cli.runs.model_fit import read_fitting_weights
from kgrec_cli.runs.reasons import carriers_in_words, paths_in_words
from kgrec_cli.runs.recommended import Explanation, Recommendations, RecommendedItem, hidden_items
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.runs.run_files import ITEMS, read_environment, read_run_items, read_run_settings
from kgrec_cli.settings import Settings

ItemIds = NDArray[np.int32]
N_CARRIERS = 3
"""History items that count as those that carry a score: a path from one of them is borne out."""


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
        exclude: Collection[str] = (),
        candidates: Collection[str] | None = None,
    ) -> list[Recommendations]:
        """The best items for each user of the data set, or after each history.

        Args:
            users: User tokens. Their whole histories are read, held-out items included.
            histories: Lists of item tokens, oldest first. They need no data set.
            topk: Items of a list.
            hide_seen: Mask the items of the whole history.
            exclude: Items that no list is to hold.
            candidates: The only items that lists may hold; None for all.

        Raises:
            KgrecError: Neither or both of `users` and `histories`, an unknown user or item, an
                empty history, no candidate that the run knows.
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
            rows, owners = [self.history_of_user(user) for user in users], users
        if not rows:
            return []
        hidden = hidden_items(self.items, exclude, candidates, self.on_event)
        best, scores = self._rank(rows, topk, hide_seen, hidden)
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

    def explain(self, found: Recommendations, *, n_paths: int | None = 3) -> list[Explanation]:
        """Why each item of a list is in it: what the model says, and paths through the graph.

        The score is taken apart exactly, and computed anew without each history item. Paths are
        what the graph says; those whose history item is not among the carriers come last, with
        `is_borne_out` False.

        Args:
            found: A list of `recommend`.
            n_paths: Paths for an item at most; None for all.

        Raises:
            KgrecError: A malformed `.kg`. Without a `.kg` there are no paths.
        """
        if not found.items:
            return []
        history = [token for token, _ in found.history]
        items = [each.item for each in found.items]
        (read, of_list) = self._encode([history, items])
        why = attribute(self.model, read, of_list, self.settings.MAX_ITEM_LIST_LENGTH)
        names = [self.items.tokens[item_id] for item_id in why.history]
        drops = [
            {names[place]: float(row[place]) for place in np.argsort(-row, kind="stable")}
            for row in why.drops
        ]
        carriers = [[token for token in row if row[token] > 0][:N_CARRIERS] for row in drops]
        finder = self.path_finder
        paths = finder.find(history, items, carriers, n_paths) if finder else [[] for _ in items]
        return [
            Explanation(
                item=item,
                entity=self.entities.get(item) if finder and item in finder.entities else None,
                score=float(why.scores[row]),
                parts={name: float(part[row]) for name, part in why.parts.items()},
                drops=drops[row],
                carriers=carriers[row],
                paths=paths[row],
            )
            for row, item in enumerate(items)
        ]

    def in_words(self, reason: Explanation) -> list[str]:
        """A reason in two lines: the history items that the score rests on; what the graph says."""
        carriers = carriers_in_words(reason, self.titles)
        has_graph = self.path_finder is not None
        return [carriers, paths_in_words(reason, self.titles, has_graph=has_graph)]

    @cached_property
    def path_finder(self) -> PathFinder | None:
        """The graph of the data set around the run's items; None when there is no `.kg`."""
        path = atomic_path(self.settings, self.folder, "kg")
        if not path.is_file():
            self.on_event(Note(f"{path}: no such file, so no path through a graph is shown"))
            return None
        labels = read_labels(self.settings, self.folder)
        triples = with_names(read_kg(self.settings, self.folder), labels)
        names = labels.filter(pl.col("kind") == "relation").select("token", "label")
        return build_path_finder(self.entities, triples, self.titles, dict(names.iter_rows()))

    def recommend_all(
        self,
        users: Sequence[str] | None = None,
        histories: Iterable[tuple[str, Sequence[str]]] | None = None,
        *,
        topk: int = 10,
        hide_seen: bool = True,
        exclude: Collection[str] = (),
        candidates: Collection[str] | None = None,
        on_event: OnEvent = ignore_event,
    ) -> Iterator[pl.DataFrame]:
        """The same for any number of users or histories, some hundreds at a time.

        Args:
            users: User tokens; without them and `histories`, all users of the data set.
            histories: A name and the items of each, read as they are needed.
            topk: Items of a list.
            hide_seen: As for `recommend`, `exclude` and `candidates` too.
            exclude: See there.
            candidates: See there.
            on_event: Hears the progress.

        Yields:
            A row for each item of a list: columns user, rank (from 1), item, title, score.
        """
        hidden = hidden_items(self.items, exclude, candidates, self.on_event)
        rows: Iterable[tuple[str, ItemIds]]
        n_rows, n_done = 0, 0
        if histories is not None:
            rows = ((name, self._encode([items])[0]) for name, items in histories)
        elif users is not None:
            rows, n_rows = ((user, self.history_of_user(user)) for user in users), len(users)
        else:
            of_users, names = self.dataset.histories, self.dataset.users.tokens
            rows = ((names[user], self.history(n)) for n, user in enumerate(of_users.user_ids))
            n_rows = len(of_users)
        item_tokens = pl.Series(self.items.tokens)
        titles = pl.Series([self.titles.get(token) for token in item_tokens], dtype=pl.String)
        rows = iter(rows)
        while chunk := list(islice(rows, min(MAX_CHUNK_ROWS, self.settings.eval_batch_size))):
            best, scores = self._rank([row for _, row in chunk], topk, hide_seen, hidden)
            n_ranks = best.shape[1]
            table = pl.DataFrame(
                {
                    "user": [name for name, _ in chunk for _ in range(n_ranks)],
                    "rank": np.tile(np.arange(1, n_ranks + 1, dtype=np.int32), len(chunk)),
                    "item": item_tokens.gather(best.ravel()),
                    "title": titles.gather(best.ravel()),
                    "score": scores.ravel(),
                }
            )
            yield table.filter(pl.Series(best.ravel() > 0))
            n_done += len(chunk)
            on_event(Progress("recommend", n_done, n_rows or None, "lists"))

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
        self, rows: list[ItemIds], topk: int, hide_seen: bool, hidden: NDArray[np.bool_]
    ) -> tuple[ItemIds, NDArray[np.float32]]:
        return recommend_items(
            self.model,
            rows,
            topk=topk,
            max_length=self.settings.MAX_ITEM_LIST_LENGTH,
            hide_seen=hide_seen,
            hidden=hidden,
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

    def has_history(self, user: str) -> bool:
        """Whether a user has events of items that the run knows."""
        return (self.dataset.users.get(user) or 0) in self.history_index

    def history_of_user(self, user: str) -> ItemIds:
        """The item ids of a user's history, oldest first.

        Raises:
            KgrecError: No such user.
        """
        index = self.history_index.get(self.dataset.users.get(user) or 0)
        if index is None:
            examples = ", ".join(self.dataset.users.tokens[1:4])
            raise KgrecError(
                f"{self.dataset.name}: no user {user!r}; its users are {examples}, ..."
            )
        return self.history(index)

    def history(self, index: int) -> ItemIds:
        """The item ids of the history of this index, oldest first."""
        histories = self.dataset.histories
        return histories.items[histories.offsets[index] : histories.offsets[index + 1]]

    @cached_property
    def history_index(self) -> dict[int, int]:
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
    sizes = narrow(settings, ModelSettings), len(items)
    tensors, tables, meta = read_fitting_weights(run_dir, *sizes)
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
