"""What is odd about a graph and its links: columns in another order, self-loops, missing values.

`prepare` warns of it, `doctor` repeats it. Nothing here is certain, so nothing is changed.
"""

from typing import NamedTuple

import polars as pl

from kgrec_cli.core.data.sanity import missing_marks
from kgrec_cli.core.linking.names import entities_of

MIN_RELATIONS = 5
"""With fewer relations a small graph may well have as few heads or tails."""
BETTER_FIT = 0.1
MIN_SAME_SHARE = 0.9
"""A relation whose triples stand under another one to this share says the same."""
MIN_SHARE = 0.01
"""A few self-loops, or a film called None, are not worth a warning."""


class LinkFit(NamedTuple):
    """How well a table of links fits, its columns read in one order.

    `at_one_place` is the share of its entities that the graph has in the same role: as the head, or
    as the tail, of the same relation. The entities of items have one in common.
    """

    items_linked: int
    at_one_place: float


def fit_links(
    links: pl.DataFrame, triples: pl.DataFrame, items: pl.Series
) -> tuple[LinkFit, LinkFit]:
    """How well links fit as they are, and turned round: items for entities, entities for items.

    How many items are linked tells nothing where both are numbers: 0, 1, 2, ... link most.

    Args:
        links: String columns item_id, entity_id.
        triples: String columns head_id, relation_id, tail_id.
        items: String; the items that links should be of.
    """
    ends = [
        triples.select(entity_id=end, place=pl.lit(end) + pl.col("relation_id"))
        for end in ("head_id", "tail_id")
    ]
    places = pl.concat(ends).unique()

    def fit(item: str, entity: str) -> LinkFit:
        entities = links.select(entity_id=entity).unique()
        at_place = places.join(entities, on="entity_id", how="semi").group_by("place").len()
        most = at_place["len"].max() or 0
        linked = links[item].unique().is_in(items.implode()).sum()
        return LinkFit(int(linked), float(most) / max(entities.height, 1))  # type: ignore[arg-type]

    return fit("item_id", "entity_id"), fit("entity_id", "item_id")


def turned_text(read: LinkFit, turned: LinkFit, n_items: int) -> str:
    """A line on links that fit better turned round: to entities of one kind; "" where not."""
    is_better = turned.at_one_place >= read.at_one_place + BETTER_FIT or not read.items_linked
    if not (is_better and turned.items_linked and turned.at_one_place):
        return ""
    cure = "name them in the first line: entity_id, item_id"
    if not (read.items_linked and read.at_one_place):
        return (
            "the columns are turned round: as entity, item they link "
            f"{turned.items_linked:,} of {n_items:,} items, as item, entity none; {cure}"
        )
    as_read, as_turned = (
        f"{fit.items_linked / n_items:.1%} of the items, and {fit.at_one_place:.0%} of the entities"
        for fit in (read, turned)
    )
    return (
        f"are the columns turned round? As item, entity they link {as_read} are of one kind in the "
        f"graph; as entity, item {as_turned}; if so, {cure}"
    )


def graph_oddities(triples: pl.DataFrame) -> list[str]:
    """A line for each thing that is odd about a graph, with its counts.

    Args:
        triples: String columns head_id, relation_id, tail_id; no row twice.
    """
    n_heads, n_relations, n_tails = (triples[name].n_unique() for name in triples.columns)
    n_entities = len(entities_of(triples))
    found = []
    fewest = min(n_heads, n_tails)
    if n_relations >= MIN_RELATIONS and n_relations > fewest:
        end, order = ("tails", "head, tail, relation")
        if n_heads < n_tails:
            end, order = ("heads", "relation, head, tail")
        found.append(
            f"{n_relations:,} relations, but only {fewest:,} different {end} ({n_entities:,} "
            f"entities): are the columns {order}? name them in the first line"
        )
    if (n_loops := count_self_loops(triples)) >= max(1, MIN_SHARE * triples.height):
        text = f"{n_loops:,} of {triples.height:,} triples lead from an entity to itself"
        found.append(f"{text} (self-loops): they say nothing of other entities")
    for end in ("head", "tail"):
        tokens = triples[f"{end}_id"]
        missing = tokens.filter(tokens.is_in(missing_marks(tokens)))
        if len(missing) >= max(1, MIN_SHARE * triples.height):
            found.append(
                f"{len(missing):,} of {triples.height:,} triples have the {end} '{missing[0]}': if "
                "that stands for a missing value, leave them out"
            )
    return found


def count_self_loops(triples: pl.DataFrame) -> int:
    """The triples whose head is their tail."""
    return triples.filter(pl.col("head_id") == pl.col("tail_id")).height


def same_relations(triples: pl.DataFrame) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Pairs of relations of which one says nearly all that the other says: reversed, and as it is.

    Args:
        triples: String columns head_id, relation_id, tail_id; no row twice.
    """
    ends = ("head_id", "tail_id")
    size = triples.group_by("relation_id").len("size")
    found = []
    for order in (ends[::-1], ends):
        others = triples.select(
            pl.col(order[0]).alias("head_id"),
            pl.col(order[1]).alias("tail_id"),
            pl.col("relation_id").alias("other"),
        )
        pairs = (
            triples.join(others, on=list(ends))
            .filter(pl.col("relation_id") < pl.col("other"))
            .group_by("relation_id", "other")
            .len("both")
            .join(size, on="relation_id")
            .join(size.rename({"relation_id": "other", "size": "other_size"}), on="other")
            .filter(pl.col("both") >= MIN_SAME_SHARE * pl.min_horizontal("size", "other_size"))
            .sort("relation_id", "other")
        )
        found.append(list(pairs.select("relation_id", "other").iter_rows()))
    return found[0], found[1]
