"""The feature files of a data set: one input branch of the model for each.

`.ent_feature` holds entity vectors; `additional_feat_suffix` names further files, whose rows are
entities or items. Every item gets one row of each table, zeros where it has none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.core.linking import align_entity_vectors
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.atomic import read_header
from kgrec_cli.formats.entity_features import read_entity_features
from kgrec_cli.formats.files import read_json, sha256_of
from kgrec_cli.settings import Settings
from kgrec_cli.stages.dataset import Dataset, atomic_path

ENTITY = "entity"
DEFAULT_SUFFIX, RECBOLE_SUFFIX = "ent_feature", "ent"

FeatureTables = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Feature:
    """One feature file.

    Attributes:
        name: Of its branch: "entity" for the first file of entities, else its suffix.
        path: The file.
        id_field: Its column of tokens.
        vec_field: Its column of vectors.
        of_items: True when its tokens are items, False when they are entities.
    """

    name: str
    path: Path
    id_field: str
    vec_field: str
    of_items: bool


def load_feature_tables(
    settings: Settings, dataset: Dataset, folder: Path, on_event: OnEvent
) -> FeatureTables:
    """The vectors of every item, float32 (N, width), by branch; none for GRU4Rec.

    The entity branch's width must be `embedding_size`, as in RecBole; further ones take any.

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
        tokens, vectors = read_entity_features(
            feature.path,
            expected_width=settings.embedding_size if feature.name == ENTITY else None,
            id_field=feature.id_field,
            vec_field=feature.vec_field,
            field_separator=settings.field_separator,
            seq_separator=settings.seq_separator,
        )
        tables[feature.name] = _align(feature, dataset, tokens, vectors, on_event)
    return tables


def find_features(settings: Settings, folder: Path) -> list[Feature]:
    """The feature files that the settings name, in their order.

    Raises:
        KgrecError: A missing file, or one whose columns the settings do not explain.
    """
    suffixes = settings.additional_feat_suffix or (_only_suffix(settings, folder),)
    features: list[Feature] = []
    for suffix in suffixes:
        path = atomic_path(settings, folder, suffix)
        if not path.is_file():
            raise KgrecError(
                f"{path}: no such file; `kgrec pretrain-kg` makes it "
                "(or train without: --model GRU4Rec)"
                if suffix == DEFAULT_SUFFIX
                else f"{path}: no such file, though additional_feat_suffix names it"
            )
        id_field, vec_field = _fields(settings, path)
        of_items = id_field in (settings.ITEM_ID_FIELD, *settings.alias_of_item_id)
        if not of_items and id_field not in (
            settings.ENTITY_ID_FIELD,
            *settings.alias_of_entity_id,
        ):
            raise KgrecError(
                f"{path}: are its '{id_field}' entities or items? name the column in "
                "alias_of_entity_id or alias_of_item_id"
            )
        is_first_of_entities = not of_items and all(known.of_items for known in features)
        name = ENTITY if is_first_of_entities else suffix
        features.append(Feature(name, path, id_field, vec_field, of_items))
    return features


def _only_suffix(settings: Settings, folder: Path) -> str:
    """`ent_feature`, or `ent` (RecBole's own default for this model) when only that is there."""
    own = atomic_path(settings, folder, DEFAULT_SUFFIX).is_file()
    recbole = atomic_path(settings, folder, RECBOLE_SUFFIX).is_file()
    return RECBOLE_SUFFIX if recbole and not own else DEFAULT_SUFFIX


def _fields(settings: Settings, path: Path) -> tuple[str, str]:
    """The id column and the vector column: as preload_weight says, else told by their types."""
    header = read_header(path, settings.field_separator)
    for id_field, vec_field in (settings.preload_weight or {}).items():
        if id_field in header:
            return id_field, vec_field
    tokens = [name for name, kind in header.items() if kind == "token"]
    vectors = [name for name, kind in header.items() if kind == "float_seq"]
    if not tokens or not vectors:
        found = ", ".join(f"{name}:{kind}" for name, kind in header.items())
        raise KgrecError(
            f"{path}, line 1: found {found}; expected a token column and a float_seq column"
        )
    if settings.preload_weight:
        raise KgrecError(
            f"{path}: preload_weight has no entry for it; add {{{tokens[0]}: {vectors[0]}}}"
        )
    return tokens[0], vectors[0]


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
