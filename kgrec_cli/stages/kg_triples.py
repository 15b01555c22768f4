"""The triples of a `.kg` as ids, and of files beside it: what `pretrain-kg` trains on and ranks."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from kgrec_cli.core.data.histories import Vocabulary, build_vocabulary
from kgrec_cli.core.kg.methods import Ints, check_method
from kgrec_cli.core.memory import check_memory
from kgrec_cli.dataset.files import atomic_path, check_kg, read_kg, read_links
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.knowledge_graph import read_raw_triples
from kgrec_cli.runs.run_dir import set_up_cpu
from kgrec_cli.setting_blocks import PretrainKGSettings
from kgrec_cli.settings import Settings


class Graph(NamedTuple):
    """Entities, relations, and triples of their ids from 0, int64 (n, 3), no row twice."""

    entities: Vocabulary
    relations: Vocabulary
    triples: Ints


def read_graph(settings: Settings, folder: Path) -> tuple[PretrainKGSettings, int, Graph]:
    """What is trained with, the width of the vectors, and the graph.

    Raises:
        KgrecError: A missing or malformed `.kg`, a method that cannot be used, too little memory.
    """
    width = settings.pretrain_kg.embedding_size or settings.embedding_size
    method = check_method(settings.pretrain_kg.method, width)
    update = {"method": method, "embedding_size": width}
    set_up_cpu(settings)
    table = read_kg(settings, folder)
    check_kg(settings, folder, table)
    if table.is_empty():
        cure = "give a graph to `kgrec prepare NAME --kg FILE --links FILE`"
        raise KgrecError(f"{atomic_path(settings, folder, 'kg')}: no triples; {cure}")
    graph = encode_triples(table)
    n_entities = len(graph.entities) - 1
    # The vectors, their gradients and Adam's two moments.
    check_memory(4 * 4 * n_entities * width, f"{n_entities:,} entity vectors of width {width:,}")
    return settings.pretrain_kg.model_copy(update=update), width, graph


def encode_triples(table: pl.DataFrame) -> Graph:
    """The graph of a table.

    Args:
        table: String columns head_id, relation_id, tail_id.
    """
    table = table.unique(maintain_order=True)
    entities = build_vocabulary(pl.concat([table["head_id"], table["tail_id"].alias("head_id")]))
    relations = build_vocabulary(table["relation_id"])
    return Graph(entities, relations, _encode(table, entities, relations))


def _encode(table: pl.DataFrame, entities: Vocabulary, relations: Vocabulary) -> Ints:
    """Triples as ids from 0, int64 (n, 3); -1 for what is unknown."""
    columns = [
        vocabulary.encode(table[name]).astype(np.int64) - 1
        for name, vocabulary in zip(table.columns, (entities, relations, entities), strict=True)
    ]
    return np.stack(columns, axis=1)


def note_links(settings: Settings, folder: Path, entities: Vocabulary, on_event: OnEvent) -> None:
    """Notes how many links lead to an entity with a vector; warns if none does.

    Links of items without an interaction count here, for the `.inter` is not read.
    """
    path = atomic_path(settings, folder, "link")
    links = dict(read_links(settings, folder).iter_rows())
    n_with = sum(entities.get(entity) is not None for entity in links.values())
    if links and n_with == 0:
        text = f"none of its {len(links):,} entities is in the .kg, so no item will get a vector"
        on_event(Warn(f"{path}: {text}; are the links of another graph?"))
    elif links:
        on_event(Note(f"{n_with:,} of {len(links):,} links lead to an entity of the graph"))


def read_given(path: Path, entities: Vocabulary, relations: Vocabulary, on_event: OnEvent) -> Ints:
    """Triples to rank, as ids; those of entities or relations that the `.kg` lacks are dropped.

    Raises:
        KgrecError: No such file, or none of its triples is known.
    """
    table = read_raw_triples(path, on_event=on_event).unique(maintain_order=True)
    found = _encode(table, entities, relations)
    is_known = (found >= 0).all(axis=1)
    if not is_known.any():
        raise KgrecError(f"{path}: none of its triples has entities and a relation of the .kg")
    if not is_known.all():
        n_unknown = int((~is_known).sum())
        text = f"{n_unknown:,} of {len(found):,} triples have an entity or a relation that the .kg"
        on_event(Warn(f"{path}: {text} does not have; they are not ranked"))
    return found[is_known]
