"""`kgrec recommend`: a run folder and histories in, the best items out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.core.evaluation.ranking import MAX_CHUNK_ROWS
from kgrec_cli.core.evaluation.recommend import recommend_items
from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, Progress
from kgrec_cli.formats.exports import check_export_path, write_table
from kgrec_cli.runs.trained import Trained, load_trained


@dataclass(frozen=True)
class RecommendedItem:
    """One place of a list."""

    rank: int
    item: str
    title: str | None
    score: float


@dataclass(frozen=True)
class Recommendations:
    """The list for one history.

    Attributes:
        user: The user's token; None for a history typed by hand.
        history: Its items, oldest first, as (token, title).
        items: What to recommend, best first.
    """

    user: str | None
    history: list[tuple[str, str | None]]
    items: list[RecommendedItem]


def recommend_to_users(
    run_dir: Path,
    folder: Path,
    user_tokens: Iterable[str],
    *,
    topk: int,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> list[Recommendations]:
    """Recommends to known users, from their whole histories, held-out items included.

    Items of the history are left out of the list.

    Raises:
        KgrecError: An unknown user; a missing or damaged file.
    """
    trained = load_trained(run_dir, device=device, threads=threads)
    dataset = load_dataset(trained.settings, folder, on_event, items=trained.items)
    positions = {int(user): index for index, user in enumerate(dataset.histories.user_ids)}
    lists = []
    tokens = list(user_tokens)
    for token in tokens:
        user_id = dataset.users.get(token)
        if user_id is None or user_id not in positions:
            examples = ", ".join(dataset.users.tokens[1:4])
            raise KgrecError(f"{dataset.name}: no user '{token}'; its users are {examples}, ...")
        lists.append(_history(dataset, positions[user_id]))
    return _recommend(trained, tokens, lists, topk)


def recommend_after(
    run_dir: Path,
    item_tokens: list[str],
    *,
    topk: int,
    device: str | None = None,
    threads: int | None = None,
) -> Recommendations:
    """Recommends after a history that the data set does not hold. Needs the run folder alone.

    Raises:
        KgrecError: An item that the run does not know.
    """
    trained = load_trained(run_dir, device=device, threads=threads)
    ids = [_item_id(trained, token) for token in item_tokens]
    return _recommend(trained, [None], [np.array(ids, dtype=np.int32)], topk)[0]


def _item_id(trained: Trained, token: str) -> int:
    item_id = trained.items.get(token)
    if item_id is None:
        raise KgrecError(
            f"{trained.run_dir.name} knows no item '{token}'; "
            f"its items are listed in {trained.run_dir / 'items.tsv'}"
        )
    return item_id


def recommend_to_all(
    run_dir: Path,
    folder: Path,
    out_path: Path,
    *,
    topk: int,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> int:
    """Writes the lists of all users to a file; returns how many users it holds.

    Columns: user, rank, item, title, score.

    Raises:
        KgrecError: A missing or damaged file, or one that cannot be written.
    """
    check_export_path(out_path)
    trained = load_trained(run_dir, device=device, threads=threads)
    dataset = load_dataset(trained.settings, folder, on_event, items=trained.items)
    tables = list(_recommend_in_chunks(trained, dataset, topk, on_event))
    write_table(out_path, pl.concat(tables))
    return len(dataset.histories)


def _recommend_in_chunks(
    trained: Trained, dataset: Dataset, topk: int, on_event: OnEvent
) -> Iterator[pl.DataFrame]:
    histories = dataset.histories
    n_users = len(histories)
    rows = min(MAX_CHUNK_ROWS, trained.settings.eval_batch_size)
    user_tokens = pl.Series(dataset.users.tokens)
    item_tokens = pl.Series(trained.items.tokens)
    titles = pl.Series(
        [trained.titles.get(token) for token in trained.items.tokens], dtype=pl.String
    )
    for begin in range(0, n_users, rows):
        chunk = range(begin, min(begin + rows, n_users))
        found, scores = _rank(trained, [_history(dataset, index) for index in chunk], topk)
        users = np.repeat(histories.user_ids[chunk.start : chunk.stop], found.shape[1])
        table = pl.DataFrame(
            {
                "user": user_tokens.gather(users),
                "rank": np.tile(np.arange(1, found.shape[1] + 1, dtype=np.int32), len(chunk)),
                "item": item_tokens.gather(found.ravel()),
                "title": titles.gather(found.ravel()),
                "score": scores.ravel(),
            }
        )
        yield table.filter(pl.Series(found.ravel() > 0))
        on_event(Progress("recommend", chunk.stop, n_users, "users"))


def _history(dataset: Dataset, index: int) -> NDArray[np.int32]:
    offsets = dataset.histories.offsets
    return dataset.histories.items[offsets[index] : offsets[index + 1]]


def _rank(
    trained: Trained, lists: list[NDArray[np.int32]], topk: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    return recommend_items(
        trained.model,
        lists,
        topk=topk,
        max_length=trained.settings.MAX_ITEM_LIST_LENGTH,
        device=trained.device,
    )


def _recommend(
    trained: Trained, users: list[str] | list[None], lists: list[NDArray[np.int32]], topk: int
) -> list[Recommendations]:
    found, scores = _rank(trained, lists, topk)

    def named(item_id: int) -> tuple[str, str | None]:
        token = trained.items.tokens[item_id]
        return token, trained.titles.get(token)

    return [
        Recommendations(
            user=user,
            history=[named(int(item_id)) for item_id in history],
            items=[
                RecommendedItem(rank, *named(int(item_id)), score=float(score))
                for rank, (item_id, score) in enumerate(zip(row, row_scores, strict=True), start=1)
                if item_id > 0
            ],
        )
        for user, history, row, row_scores in zip(users, lists, found, scores, strict=True)
    ]
