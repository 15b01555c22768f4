"""The feature files of a data set: one input branch of the model for each.

`.ent_feature` holds entity vectors; `additional_feat_suffix` names further files, whose rows are
entities or items. Every item gets one row of each table, zeros where it has none.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.core.linking import align_entity_vectors
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.entity_features import read_entity_features
from kgrec_cli.formats.files import read_json, sha256_of
from kgrec_cli.settings import Settings
from kgrec_cli.stages.dataset import Dataset
from kgrec_cli.stages.dataset_files import ENTITY, Feature, atomic_path, find_features

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
