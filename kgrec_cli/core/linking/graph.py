"""The graph of a data set: the links and triples that it uses, and a graph of the items' metadata.

`prepare` counts with `select_links` what they cover. `--kg metadata` takes the metadata (genres,
years, tags) for the graph where no other is at hand, `--add-metadata` adds them to another one.
"""

from typing import Any, NamedTuple

import polars as pl

from kgrec_cli.core.linking.item_columns import BETWEEN_ITEMS, NO_FACTS
from kgrec_cli.core.linking.names import entities_of
from kgrec_cli.core.linking.oddities import count_self_loops

_NO_GENRE = r"\(no genres listed\)"
METADATA_PREFIXES = {
    "has_genre": "genre",
    "released_in": "year",
    "released_in_decade": "decade",
    "has_tag": "tag",
}
"""By relation, what the names of its tails begin with."""


class ItemLinks(NamedTuple):
    """What `select_links` leaves: links (each item once) and triples (none twice), with counts.

    Links: String columns item_id, entity_id, items of the data set only. Triples: String columns
    head_id, relation_id, tail_id. The reports count links, items and interactions; triples,
    entities and relations.
    """

    links: pl.DataFrame
    triples: pl.DataFrame
    links_report: dict[str, Any]
    kg_report: dict[str, Any]


def select_links(
    links: pl.DataFrame, triples: pl.DataFrame, items: pl.Series, n_interactions: pl.DataFrame
) -> ItemLinks:
    """The links of a data set's items and its triples, each once, with counts of all that went.

    Items and entities are counted as `train` and `doctor` count them: those with an interaction.

    Args:
        links: String columns item_id, entity_id. Of an item's several entities the first is taken.
        triples: String columns head_id, relation_id, tail_id.
        items: String; every item of the data set, rated or not.
        n_interactions: item_id (String) and n: the interactions of each item that has some.
    """
    of_items = links.join(
        pl.DataFrame({"item_id": items}), on="item_id", how="semi", maintain_order="left"
    )
    distinct = of_items.unique(maintain_order=True)
    chosen = distinct.unique("item_id", keep="first", maintain_order=True)
    unique_triples = triples.unique(maintain_order=True)
    entities = entities_of(unique_triples)
    counted = chosen.join(n_interactions, on="item_id", how="semi", maintain_order="left")
    known = counted.filter(pl.col("entity_id").is_in(entities.implode()))
    shared = counted.filter(pl.col("entity_id").is_duplicated())
    linked = n_interactions.join(counted, on="item_id", how="semi")
    with_triples = n_interactions.join(known, on="item_id", how="semi")
    links_report = {
        "of_other_items": links.height - of_items.height,
        "repeated": of_items.height - distinct.height,
        "further_entities_of_an_item": distinct.height - chosen.height,
        "kept": chosen.height,
        "items": n_interactions.height,
        "items_linked": linked.height,
        "items_with_triples": with_triples.height,
        "interactions_linked": int(linked["n"].sum()),
        "interactions_with_triples": int(with_triples["n"].sum()),
        "entities": counted["entity_id"].n_unique(),
        "entities_without_triple": counted["entity_id"].n_unique() - known["entity_id"].n_unique(),
        "entities_of_several_items": shared["entity_id"].n_unique(),
        "items_sharing_an_entity": shared.height,
    }
    kg_report = {
        "read": triples.height,
        "repeated": triples.height - unique_triples.height,
        "self_loops": count_self_loops(unique_triples),
        "triples": unique_triples.height,
        "entities": len(entities),
        "relations": unique_triples["relation_id"].n_unique(),
    }
    return ItemLinks(chosen, unique_triples, links_report, kg_report)


def build_metadata_kg(
    items: pl.DataFrame,
    tags: pl.DataFrame | None = None,
    *,
    more: pl.DataFrame | None = None,
    min_tag_support: int = 5,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The triples of the items' metadata, and the links of the items to their entities.

    Item 1 is the entity "item:1"; its triples are has_genre "genre:Comedy", released_in
    "year:1995", released_in_decade "decade:1990s", has_tag "tag:dark hero". Tags are compared
    without case and outer blanks. Genres "unknown" and "(no genres listed)" say nothing and give
    nothing.

    Args:
        items: item_id (String) and, where known, release_year (number or String) and genre
            (String, separated by spaces); one row per item, other columns are not used.
        tags: item_id and tag (String), a row for each time somebody gave the tag.
        more: Further facts, String columns item_id, relation_id, tail_id, as of
            `item_columns.column_facts`; their items need not be in `items`.
        min_tag_support: A tag counts when at least so many different items have it.

    Returns:
        Triples: String columns head_id, relation_id, tail_id, none twice, ordered by relation, then
        item. Links: String columns item_id, entity_id of the items that have a triple, in the order
        of `items`.
    """
    tables = [*_genres(items), *_years(items)]
    if tags is not None:
        tables.append(_tags(items, tags, min_tag_support))
    if more is not None:
        tables.append(more)
    facts = pl.concat([NO_FACTS, *tables]).unique(maintain_order=True)
    head = pl.format("item:{}", pl.col("item_id"))
    triples = facts.select(head.alias("head_id"), "relation_id", "tail_id")
    of_items = facts.filter(is_between_items())["tail_id"].str.strip_prefix("item:")
    known = pl.concat([facts["item_id"], of_items]).unique()
    all_items = items["item_id"] if more is None else pl.concat([items["item_id"], more["item_id"]])
    links = (
        pl.DataFrame({"item_id": all_items.unique(maintain_order=True)})
        .filter(pl.col("item_id").is_in(known.implode()))
        .with_columns(head.alias("entity_id"))
    )
    return triples, links


def add_metadata(
    links: pl.DataFrame,
    triples: pl.DataFrame,
    items: pl.DataFrame,
    tags: pl.DataFrame | None = None,
    more: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Links and triples with the items' metadata (see `build_metadata_kg`) added at the end.

    The entity of a linked item gets the metadata triples; an item without one becomes the entity
    "item:1" and is linked to it.

    Args:
        links: String columns item_id, entity_id; each item once.
        triples: String columns head_id, relation_id, tail_id.
        items: item_id and, where known, release_year and genre.
        tags: item_id and tag.
        more: Further facts, as of `build_metadata_kg`.
    """
    facts, of_items = build_metadata_kg(items, tags, more=more)
    entities = of_items.join(links, on="item_id", suffix="_of_kg")
    of_kg = (entities["entity_id"], entities["entity_id_of_kg"])
    tails = pl.when(is_between_items()).then(pl.col("tail_id").replace(*of_kg))
    facts = facts.with_columns(
        pl.col("head_id").replace(*of_kg), tails.otherwise(pl.col("tail_id")).alias("tail_id")
    )
    added = of_items.join(links, on="item_id", how="anti", maintain_order="left")
    return pl.concat([links, added]), pl.concat([triples, facts])


def is_between_items() -> pl.Expr:
    """Whether a triple (relation_id) is one from an item to another of `build_metadata_kg`."""
    return pl.col("relation_id").str.starts_with(BETWEEN_ITEMS)


def is_metadata() -> pl.Expr:
    """Whether a triple (relation_id, tail_id) is one that `build_metadata_kg` makes."""
    relation, tail = pl.col("relation_id"), pl.col("tail_id")
    of_column = tail.str.starts_with(pl.concat_str(relation, pl.lit(":"))) | is_between_items()
    return of_column | pl.any_horizontal(
        (pl.col("relation_id") == relation) & pl.col("tail_id").str.starts_with(f"{prefix}:")
        for relation, prefix in METADATA_PREFIXES.items()
    )


def _facts(table: pl.DataFrame, relation: str, tail: pl.Expr) -> pl.DataFrame:
    name = pl.format(f"{METADATA_PREFIXES[relation]}:{{}}", tail)
    return table.select(
        "item_id", pl.lit(relation).alias("relation_id"), name.alias("tail_id")
    ).unique(maintain_order=True)


def _genres(items: pl.DataFrame) -> list[pl.DataFrame]:
    if "genre" not in items.columns:
        return []
    words = pl.col("genre").str.replace_all(_NO_GENRE, "").str.extract_all(r"\S+")
    table = (
        items.select("item_id", words)
        .explode("genre")
        .filter(pl.col("genre").str.to_lowercase() != "unknown")
    )
    return [_facts(table, "has_genre", pl.col("genre"))]


def _years(items: pl.DataFrame) -> list[pl.DataFrame]:
    if "release_year" not in items.columns:
        return []
    year = pl.col("release_year").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    table = items.select("item_id", year).drop_nulls("release_year")
    decade = pl.col("release_year") // 10 * 10
    return [
        _facts(table, "released_in", pl.col("release_year")),
        _facts(table, "released_in_decade", pl.format("{}s", decade)),
    ]


def _tags(items: pl.DataFrame, tags: pl.DataFrame, min_support: int) -> pl.DataFrame:
    named = (
        tags.select("item_id", pl.col("tag").str.to_lowercase().str.extract_all(r"\S+"))
        .with_columns(pl.col("tag").list.join(" "))
        .filter(pl.col("tag") != "")
        .unique()
    )
    table = (
        items.select("item_id")
        .join(named, on="item_id")
        .filter(pl.len().over("tag") >= min_support)
        .with_row_index("row")
    )
    place = items.select("item_id").with_row_index("place")
    table = table.join(place, on="item_id").sort("place", "tag")
    return _facts(table, "has_tag", pl.col("tag"))
