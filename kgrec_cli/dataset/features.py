"""The feature files of a data set: one input branch of the model for each.

`.ent_feature` holds entity vectors; `additional_feat_suffix` names further files, whose rows are
entities or items. Every item gets one row of each table, zeros where it has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.dataset.files import ENTITY, Feature, atomic_path, find_features
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.entity_features import read_entity_features
from kgrec_cli.formats.files import read_json, sha256_of
from kgrec_cli.settings import Settings

FeatureTables = dict[str, NDArray[np.float32]]


def load_feature_tables(
    settings: Settings, dataset: Dataset, folder: Path, on_event: OnEvent
) -> FeatureTables:
    """The vectors of every item, float32 (N, width), by branch; none for GRU4Rec.

    Vectors may have any width; with `recbole_compat` the entities' only `embedding_size`.

    Raises:
        KgrecError: A missing file, one that no setting ties to entities or items, vectors of the
            wrong width, or vectors that were made from another `.kg`.
    """
    if settings.model == "GRU4Rec":
        return {}
    tables = {}
    for feature in find_features(settings, folder):
        if feature.name == ENTITY:
            _check_sidecar(feature.path, atomic_path(settings, folder, "kg"))
        if not feature.of_items and not dataset.entities:
            raise KgrecError(
                f"{atomic_path(settings, folder, 'link')}: no item is linked to an entity, so the "
                "vectors belong to nothing; give links to `kgrec prepare --links FILE`"
            )
        of_recbole = settings.recbole_compat and feature.name == ENTITY
        tokens, vectors = read_entity_features(
            feature.path,
            expected_width=settings.embedding_size if of_recbole else None,
            id_field=feature.id_field,
            vec_field=feature.vec_field,
            field_separator=settings.field_separator,
            seq_separator=settings.seq_separator,
        )
        tables[feature.name] = _align(feature, dataset, tokens, vectors, on_event)
    return tables


def _align(
    feature: Feature,
    dataset: Dataset,
    tokens: list[str],
    vectors: NDArray[np.float32],
    on_event: OnEvent,
) -> NDArray[np.float32]:
    """The vectors by item id; says how many items have one."""
    items = list(dataset.items.tokens)
    links = dict(zip(items[1:], items[1:], strict=True)) if feature.of_items else dataset.entities
    table = pl.DataFrame({"item_id": list(links), "entity_id": list(links.values())})
    aligned, report = align_entity_vectors(items, table, tokens, vectors)
    what = "an entity vector" if feature.name == ENTITY else f"a vector in {feature.path.name}"
    n_items = len(items) - 1
    if report.n_with_vector < n_items:
        missing = (
            f"{report.n_with_vector:,} of {n_items:,} items have {what}; the others read zeros"
        )
        on_event(Note(missing))
    return aligned


def _check_sidecar(path: Path, kg_path: Path) -> None:
    sidecar_path = path.with_name(f"{path.name}.json")
    if not sidecar_path.is_file() or not kg_path.is_file():
        return
    made_from = read_json(sidecar_path).get("kg_sha256")
    if made_from is not None and made_from != sha256_of(kg_path):
        raise KgrecError(
            f"{path}: made from another {kg_path.name} than the one beside it; "
            "run `kgrec pretrain-kg` again"
        )


@dataclass(frozen=True)
class AlignReport:
    """How many items got an entity vector; padding is not an item.

    Attributes:
        n_items: All items.
        n_linked: Items that have a link.
        n_without_vector: Items that have a link but no vector for its entity.
        n_with_vector: Items whose row is their entity's vector.
    """

    n_items: int
    n_linked: int
    n_without_vector: int
    n_with_vector: int


def align_entity_vectors(
    item_tokens: Sequence[str],
    links: pl.DataFrame,
    entity_ids: Sequence[str],
    vectors: np.ndarray,
) -> tuple[np.ndarray, AlignReport]:
    """The entity vectors laid out by item id.

    Differs from RecBole: two items may be linked to one entity, and unlinked items keep their
    place, with zeros.

    Args:
        item_tokens: N tokens by item id; index 0 is the padding.
        links: String columns item_id, entity_id. Links of other items are passed over; of several
            links of one item the first whose entity has a vector counts.
        entity_ids: E entity tokens, none twice.
        vectors: float32 (E, D), row e is the vector of entity_ids[e].

    Returns:
        float32 (N, D): row i is the vector of item i's entity, zeros for the padding and for items
        without a link or a vector; and the counts.

    Raises:
        KgrecError: An entity stands twice in `entity_ids`, or no item at all gets a vector.
    """
    if len(entity_ids) != len(vectors):
        raise ValueError(f"{len(entity_ids)} entity ids for {len(vectors)} vectors")
    row_of_entity = {entity: row for row, entity in enumerate(entity_ids)}
    if len(row_of_entity) < len(entity_ids):
        twice = next(e for row, e in enumerate(entity_ids) if row_of_entity[e] != row)
        raise KgrecError(f"entity '{twice}' has two vectors; expected one per entity")
    id_of_item = {token: item for item, token in enumerate(item_tokens) if item > 0}
    linked: set[int] = set()
    row_of_item: dict[int, int] = {}
    for token, entity in zip(links["item_id"], links["entity_id"], strict=True):
        item = id_of_item.get(token)
        if item is None:
            continue
        linked.add(item)
        row = row_of_entity.get(entity)
        if row is not None:
            row_of_item.setdefault(item, row)
    if not row_of_item:
        raise KgrecError(_nothing_fits(item_tokens, links, entity_ids, len(linked)))
    aligned = np.zeros((len(item_tokens), vectors.shape[1]), dtype=np.float32)
    aligned[list(row_of_item)] = vectors[list(row_of_item.values())]
    report = AlignReport(
        n_items=len(id_of_item),
        n_linked=len(linked),
        n_without_vector=len(linked) - len(row_of_item),
        n_with_vector=len(row_of_item),
    )
    return aligned, report


def _nothing_fits(
    item_tokens: Sequence[str], links: pl.DataFrame, entity_ids: Sequence[str], n_linked: int
) -> str:
    """One line that shows an id of each side, so that the mismatch can be seen."""
    if n_linked == 0:
        item = item_tokens[1] if len(item_tokens) > 1 else "none"
        link = links["item_id"][0] if links.height else "none"
        return (
            f"no item is linked to an entity: the items are like '{item}', the items of the links "
            f"like '{link}'; expected the same ids (give `kgrec prepare` the links of this data)"
        )
    entity = entity_ids[0] if len(entity_ids) else "none"
    return (
        f"{n_linked} items are linked but none of their entities has a vector: the links' entities "
        f"are like '{links['entity_id'][0]}', those with vectors like '{entity}'; expected the "
        "same ids (run `kgrec pretrain-kg` again)"
    )
