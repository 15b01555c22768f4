"""`kgrec export --format vectors`: item, user and entity vectors for other systems.

The dot product of a user's and an item's vector is the score that `recommend` ranks unseen items
by. Row r of a table of vectors in the safetensors file is row r of the Parquet file of that name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from kgrec_cli.core.evaluation.ranking import MAX_CHUNK_ROWS
from kgrec_cli.core.evaluation.recommend import check_scorable, read_histories
from kgrec_cli.core.memory import check_memory
from kgrec_cli.dataset.features import read_vectors
from kgrec_cli.dataset.files import ENTITY, atomic_path, find_features
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Progress, Warn
from kgrec_cli.formats.files import WriteFile, write_chunks, write_table, write_together
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.runs.recommender import Recommender, load_recommender
from kgrec_cli.runs.run_files import write_tensors

Vectors = NDArray[np.float32]
TABLES = ("items", "users", "entities")
TENSORS = "vectors.safetensors"
KINDS: dict[str, Any] = {"title": pl.String, "entity": pl.String, "history": pl.List(pl.String)}


@dataclass(frozen=True)
class ExportedVectors:
    """The folder, and by table (`items`, `users`, `entities`) how many vectors of which width."""

    path: Path
    shapes: dict[str, tuple[int, int]]


def run_export_vectors(
    run_dir: Path, folder: Path, out_dir: Path, *, on_event: OnEvent
) -> ExportedVectors:
    """Writes `items`, `users` and `entities` as Parquet, and all vectors as safetensors.

    Parquet columns: item, title, entity, vector; user, history (items, oldest first), vector;
    entity, title (of its item, if any), vector. Vectors are float32. Users are those of the data
    set as it is now; without one there is no table of them, nor one of entities without a graph.

    Raises:
        KgrecError: A damaged file, scores that are not finite, a folder that cannot be written to.
    """
    trained = load_recommender(run_dir, folder, device="cpu", on_event=on_event)
    items = trained.item_vectors()
    tensors = {"items": items}
    of_items: dict[str, Sequence[Any]] = {
        "item": trained.item_tokens,
        "title": [trained.titles.get(token) for token in trained.item_tokens],
        "entity": [trained.entities.get(token) for token in trained.item_tokens],
    }
    files: dict[str, WriteFile] = {}
    files["items.parquet"] = partial(write_table, table=_with_vectors(of_items, items))
    parts = trained.settings.benchmark_filename
    suffix = f"{parts[0]}.inter" if parts else "inter"
    if atomic_path(trained.settings, trained.folder, suffix).is_file():
        tensors["users"] = user_vectors(trained, on_event)
        schema = {"user": pl.String(), "history": pl.List(pl.String())}
        files["users.parquet"] = partial(
            write_chunks,
            chunks=_user_chunks(trained, tensors["users"]),
            schema={**schema, "vector": pl.Array(pl.Float32, items.shape[1])},
        )
    else:
        on_event(Note(f"no data set {trained.settings.dataset} here: no user vectors"))
    if ENTITY in trained.model.branches:
        tokens, tensors["entities"] = entity_vectors(trained, on_event)
        titles = {entity: trained.titles.get(item) for item, entity in trained.entities.items()}
        of_tokens = [titles.get(token) for token in tokens]
        table = _with_vectors({"entity": tokens, "title": of_tokens}, tensors["entities"])
        files["entities.parquet"] = partial(write_table, table=table)
    bias = None if trained.model.seen_bias is None else trained.model.seen_bias.item()
    if bias is not None:
        text = f"seen_bias adds {bias:.2f} to the score of an item in the history"
        on_event(Note(f"{text}: the dot product leaves it out, so it ranks unseen items alone"))
    meta = {
        "run": run_dir.name,
        "similarity": "dot product",
        "MAX_ITEM_LIST_LENGTH": trained.settings.MAX_ITEM_LIST_LENGTH,
        "seen_bias": bias,
    }
    as_tensors = {name: torch.from_numpy(of_name) for name, of_name in tensors.items()}
    files[TENSORS] = partial(write_tensors, tensors=as_tensors, meta=meta)
    absent = [f"{name}.parquet" for name in TABLES if name not in tensors]
    with only_writer(out_dir):
        write_together(out_dir, files, absent, by="export")
    shapes = {name: (len(of_name), of_name.shape[1]) for name, of_name in tensors.items()}
    return ExportedVectors(out_dir, shapes)


@torch.inference_mode()
def user_vectors(trained: Recommender, on_event: OnEvent) -> Vectors:
    """What items are scored by for each user of the data set, after the whole history: (U, D).

    Raises:
        KgrecError: Scores may not be finite numbers, or there is too little memory.
    """
    model, n_users = trained.model, len(trained.dataset.histories)
    width = trained.settings.embedding_size
    check_memory(8 * n_users * width, f"the vectors of {n_users:,} users")
    vectors = np.empty((n_users, width), dtype=np.float32)
    for chunk in _chunks(n_users):
        rows = [trained.history(index) for index in chunk]
        states, _ = read_histories(model, rows, trained.settings.MAX_ITEM_LIST_LENGTH)
        vectors[chunk.start : chunk.stop] = states.numpy()
        on_event(Progress("export", chunk.stop, n_users, "users"))
    check_scorable(torch.from_numpy(vectors), model.item_vectors())
    return vectors


def entity_vectors(trained: Recommender, on_event: OnEvent) -> tuple[list[str], Vectors]:
    """The entities and the vectors that the model reads for them, float32 (E, width).

    Those of the data set's file, if the run was trained on them and kept them as they were; else of
    the items' entities alone. Of several items of one entity the first counts.
    """
    read = trained.model.table_of(ENTITY).weight.detach().numpy()
    item_of: dict[str, int] = {}
    for item_id, token in enumerate(trained.items.tokens):
        if item_id and token in trained.entities and read[item_id].any():
            item_of.setdefault(trained.entities[token], item_id)
    own = list(item_of), read[list(item_of.values())]
    if not trained.settings.freeze_kg:
        on_event(Note("freeze_kg is off: entities without an item have no vector in the run"))
        return own
    try:
        found = find_features(trained.settings, trained.folder)
        feature = next(feature for feature in found if feature.name == ENTITY)
        tokens, vectors = read_vectors(trained.settings, feature)
    except KgrecError as error:
        on_event(Note(f"{error}; only the entities of items are written"))
        return own
    rows = {token: row for row, token in enumerate(tokens)}
    known = [token for token in item_of if token in rows]
    if vectors.shape[1] != read.shape[1] or not np.array_equal(
        vectors[[rows[token] for token in known]], read[[item_of[token] for token in known]]
    ):
        text = f"{feature.path}: made anew since the run was trained"
        on_event(Warn(f"{text}; only the entities of items are written, as the run has them"))
        return own
    return tokens, vectors.copy()  # Polars' memory is read-only


def _user_chunks(trained: Recommender, vectors: Vectors) -> Iterator[pl.DataFrame]:
    """The table of users, some hundreds at a time."""
    user_ids, tokens = trained.dataset.histories.user_ids, trained.dataset.users.tokens
    for chunk in _chunks(len(user_ids)):
        histories = [[trained.items.tokens[i] for i in trained.history(row)] for row in chunk]
        users = {"user": [tokens[user_ids[row]] for row in chunk], "history": histories}
        yield _with_vectors(users, vectors[chunk.start : chunk.stop])


def _chunks(n: int) -> Iterator[range]:
    for begin in range(0, n, MAX_CHUNK_ROWS):
        yield range(begin, min(begin + MAX_CHUNK_ROWS, n))


def _with_vectors(columns: Mapping[str, Sequence[Any]], vectors: Vectors) -> pl.DataFrame:
    texts = {name: pl.Series(values, dtype=KINDS.get(name)) for name, values in columns.items()}
    kind = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame({**texts, "vector": pl.Series(vectors, dtype=kind)})
