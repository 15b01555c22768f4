"""A knowledge graph of what the raw set itself says of its items: genres, years, tags.

`prepare --kg metadata` writes it as `.kg` and `.link` where no other graph is at hand.
"""

import polars as pl

_NO_GENRE = r"\(no genres listed\)"
_TRIPLE = ("head_id", "relation_id", "tail_id")


def build_metadata_kg(
    items: pl.DataFrame, tags: pl.DataFrame | None = None, *, min_tag_support: int = 5
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The triples of the items' own metadata, and the links of the items to their entities.

    Item 1 is the entity "item:1"; its triples are has_genre "genre:Comedy", released_in
    "year:1995", released_in_decade "decade:1990s", has_tag "tag:dark hero". Tags are compared
    without case and outer blanks. Genres "unknown" and "(no genres listed)" say nothing and give
    nothing.

    Args:
        items: item_id (String) and, where known, release_year (number or String) and genre
            (String, separated by spaces); one row per item, other columns are not used.
        tags: item_id and tag (String), a row for each time somebody gave the tag.
        min_tag_support: A tag counts when at least so many different items have it.

    Returns:
        Triples: String columns head_id, relation_id, tail_id, none twice, ordered by relation, then
        item. Links: String columns item_id, entity_id of the items that have a triple, in the order
        of `items`.
    """
    parts = [*_genres(items), *_years(items)]
    if tags is not None:
        parts.append(_tags(items, tags, min_tag_support))
    empty = pl.DataFrame(schema=dict.fromkeys(("item_id", "relation_id", "tail_id"), pl.String))
    facts = pl.concat([empty, *parts])
    head = pl.format("item:{}", pl.col("item_id"))
    triples = facts.select(head.alias("head_id"), "relation_id", "tail_id")
    links = (
        items.select("item_id")
        .join(facts, on="item_id", how="semi", maintain_order="left")
        .with_columns(head.alias("entity_id"))
    )
    return triples.select(_TRIPLE), links


def _facts(table: pl.DataFrame, relation: str, tail: pl.Expr) -> pl.DataFrame:
    return table.select(
        "item_id", pl.lit(relation).alias("relation_id"), tail.alias("tail_id")
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
    return [_facts(table, "has_genre", pl.format("genre:{}", pl.col("genre")))]


def _years(items: pl.DataFrame) -> list[pl.DataFrame]:
    if "release_year" not in items.columns:
        return []
    year = pl.col("release_year").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    table = items.select("item_id", year).drop_nulls("release_year")
    decade = pl.col("release_year") // 10 * 10
    return [
        _facts(table, "released_in", pl.format("year:{}", pl.col("release_year"))),
        _facts(table, "released_in_decade", pl.format("decade:{}s", decade)),
    ]


def _tags(items: pl.DataFrame, tags: pl.DataFrame, min_support: int) -> pl.DataFrame:
    given = (
        tags.select("item_id", pl.col("tag").str.to_lowercase().str.extract_all(r"\S+"))
        .with_columns(pl.col("tag").list.join(" "))
        .filter(pl.col("tag") != "")
        .unique()
    )
    table = (
        items.select("item_id")
        .join(given, on="item_id")
        .filter(pl.len().over("tag") >= min_support)
        .with_row_index("row")
    )
    place = items.select("item_id").with_row_index("place")
    table = table.join(place, on="item_id").sort("place", "tag")
    return _facts(table, "has_tag", pl.format("tag:{}", pl.col("tag")))
