"""The feature files of a data set: one input branch of the model for each.

`.ent_feature` holds entity vectors; `additional_feat_suffix` names further files, whose rows are
entities or items. Every item gets one row of each table, zeros where it has none.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.vectors import find_fault
from kgrec_cli.dataset import files
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.atomic import read_entity_features
from kgrec_cli.settings import Settings

FeatureTables = dict[str, NDArray[np.float32]]
CURE = "are they another catalogue's? `kgrec prepare --link-by title --catalog FILE` joins by title"

CURE_VECTORS = "`kgrec pretrain-kg` again, with a smaller --learning-rate if it was set"


def load_feature_tables(
    settings: Settings, dataset: Dataset, folder: Path, on_event: OnEvent
) -> FeatureTables:
    """The vectors of every item, float32 (N, width), by branch; none for GRU4Rec.

    Vectors may have any width; with `recbole_compat` the entities' only `embedding_size`.

    Raises:
        KgrecError: A missing file, one that no setting ties to entities or items, vectors of the
            wrong width, that say nothing, or that were made from another `.kg`.
    """
    if settings.model == "GRU4Rec":
        return {}
    tables = {}
    for feature in files.find_features(settings, folder, on_event):
        if feature.name == files.ENTITY:
            kg_path = files.atomic_path(settings, folder, "kg")
            if files.made_from_another_kg(feature.path, kg_path):
                raise KgrecError(
                    f"{feature.path}: made from another {kg_path.name} than the one beside it; "
                    "run `kgrec pretrain-kg` again"
                )
        of_recbole = settings.recbole_compat and feature.name == files.ENTITY
        width = settings.embedding_size if of_recbole else None
        tokens, vectors = read_vectors(settings, feature, width)
        fault = find_fault(vectors)
        if fault:
            raise KgrecError(
                f"{feature.path}: {fault}, of which nothing can be learned; {CURE_VECTORS}"
            )
        if text := other_kind_of_ids(feature, dataset, tokens):
            raise KgrecError(text)
        if not feature.of_items and not dataset.entities:
            path = files.atomic_path(settings, folder, "link")
            raise KgrecError(
                f"{path}: no item is linked to an entity, so the vectors belong to nothing; "
                "`kgrec prepare NAME --kg FILE --links FILE` makes links"
            )
        tables[feature.name] = _align(feature, dataset, tokens, vectors, on_event)
    return tables


def read_vectors(
    settings: Settings, feature: files.Feature, expected_width: int | None = None
) -> tuple[list[str], NDArray[np.float32]]:
    """The n tokens of a feature file and their vectors, float32 (n, D)."""
    return read_entity_features(
        feature.path,
        expected_width=expected_width,
        id_field=feature.id_field,
        vec_field=feature.vec_field,
        field_separator=settings.field_separator,
        seq_separator=settings.seq_separator,
    )


def _align(
    feature: files.Feature,
    dataset: Dataset,
    tokens: list[str],
    vectors: NDArray[np.float32],
    on_event: OnEvent,
) -> NDArray[np.float32]:
    """The vectors by item id; says how many items have one."""
    items = dataset.items.tokens
    links = token_of_item(feature, dataset)
    aligned, n_with_vector = align_vectors(items, links, tokens, vectors)
    n_items = len(items) - 1
    if n_with_vector < n_items:
        what = (
            "an entity vector"
            if feature.name == files.ENTITY
            else f"a vector in {feature.path.name}"
        )
        text = f"{n_with_vector:,} of {n_items:,} items have {what}; the others read zeros"
        on_event(Note(text))
    return aligned


def token_of_item(feature: files.Feature, dataset: Dataset) -> Mapping[str, str]:
    """By item token, the token that its vector has in a feature file: itself, or its entity."""
    return {i: i for i in dataset.items.tokens[1:]} if feature.of_items else dataset.entities


def other_kind_of_ids(feature: files.Feature, dataset: Dataset, tokens: Sequence[str]) -> str:
    """A line on a feature file whose ids are items where entities are expected, or the reverse.

    "" where an id is of the expected kind, or none is of the other one.
    """
    items, entities = set(dataset.items.tokens[1:]), set(dataset.entities.values())
    expected, other = (items, entities) if feature.of_items else (entities, items)
    example = next((token for token in tokens if token in other), None)
    if example is None or not expected.isdisjoint(tokens):
        return ""
    field = feature.id_field
    found, cure = "items", f"set alias_of_item_id: [{field}]"
    if feature.of_items:
        found, cure = "entities", f"name {field} in alias_of_entity_id, not in alias_of_item_id"
    return f"{feature.path}: its ids (such as '{example}') are {found}; {cure}"


def align_vectors(
    item_tokens: Sequence[str],
    links: Mapping[str, str],
    entity_tokens: Sequence[str],
    vectors: NDArray[np.float32],
) -> tuple[NDArray[np.float32], int]:
    """The vectors of entities laid out by item id, and how many items got one.

    Differs from RecBole: two items may be linked to one entity, and unlinked items keep their
    place, with zeros.

    Args:
        item_tokens: N tokens by item id; index 0 is the padding.
        links: Entity token by item token; those of other items are passed over.
        entity_tokens: E tokens, none twice.
        vectors: float32 (E, D), row e is the vector of entity_tokens[e].

    Returns:
        float32 (N, D): row i is the vector of item i's entity, zeros for the padding and for items
        without a link or a vector. The count leaves the padding out.

    Raises:
        KgrecError: An entity stands twice in `entity_tokens`, or no item at all gets a vector.
    """
    row_of_entity = {entity: row for row, entity in enumerate(entity_tokens)}
    if len(row_of_entity) < len(entity_tokens):
        twice = next(e for row, e in enumerate(entity_tokens) if row_of_entity[e] != row)
        raise KgrecError(f"entity '{twice}' has two vectors; expected one per entity")
    row_of_item = {
        item: row_of_entity[links[token]]
        for item, token in enumerate(item_tokens)
        if item > 0 and links.get(token) in row_of_entity
    }
    if not row_of_item:
        raise KgrecError(_why_nothing_fits(item_tokens, links, entity_tokens))
    aligned = np.zeros((len(item_tokens), vectors.shape[1]), dtype=np.float32)
    aligned[list(row_of_item)] = vectors[list(row_of_item.values())]
    return aligned, len(row_of_item)


def _why_nothing_fits(
    item_tokens: Sequence[str], links: Mapping[str, str], entity_tokens: Sequence[str]
) -> str:
    """One line that shows a token of each side, so that the mismatch can be seen."""
    linked = [links[token] for token in item_tokens[1:] if token in links]
    if not linked:
        item, link = next(iter(item_tokens[1:]), "none"), next(iter(links), "none")
        return (
            f"no item is linked to an entity: the items are like '{item}', the items of the links "
            f"like '{link}'; expected the same ids (give `kgrec prepare` the links of this data)"
        )
    entity = next(iter(entity_tokens), "none")
    return (
        f"{len(linked)} items are linked but none of their entities has a vector: the links' "
        f"entities are like '{next(iter(links.values()))}', those with vectors like '{entity}'; "
        "expected the same ids (run `kgrec pretrain-kg` again)"
    )


def warn_of_broken_links(
    settings: Settings, dataset: Dataset, folder: Path, on_event: OnEvent
) -> None:
    """Warns when a model is about to learn from the vectors of other items' entities.

    `prepare` has recorded the verdict on its links; for other files it is made here.

    Raises:
        KgrecError: A malformed `.kg`.
    """
    if settings.model == "GRU4Rec":
        return
    if not all(files.atomic_path(settings, folder, suffix).is_file() for suffix in ("link", "kg")):
        return
    recorded = files.recorded_verdict(settings, folder)
    if recorded is None:  # only then is the title matcher needed
        from kgrec_cli.core.linking.verdict import link_verdict

        triples = files.read_named_kg(settings, folder)
        links = link_verdict(dataset.catalogue, dataset.links, triples)
        recorded = links.verdict, links.summary
    verdict, summary = recorded
    if verdict == "broken":
        on_event(Warn(f"{summary}; {CURE}"))
