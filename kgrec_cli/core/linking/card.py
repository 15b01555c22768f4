"""The graph card: what a graph reaches, and what each of its relations may be worth.

`kgrec graph` shows it, `doctor` repeats what is odd. Everything is counted in triples that link the
items of the data set to something; names (`rdfs:label`) are no facts.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from kgrec_cli.core.linking.join import connected_groups
from kgrec_cli.core.linking.lift import Consumption, Lift, relation_lift
from kgrec_cli.core.linking.names import is_label
from kgrec_cli.core.linking.oddities import same_relations
from kgrec_cli.core.linking.prune import degrees

N_HUBS = 5
MIN_HUB = 0.25
"""A value that this share of the reached items have is a hub."""


class RelationCard(NamedTuple):
    """One relation: its triples, the items that have it, the values they have, and its lift.

    `items` counts items with an interaction; `shared` of their `values` two items have at least.
    """

    relation: str
    triples: int
    items: int
    values: int
    shared: int
    lift: Lift


class Hub(NamedTuple):
    """A value that many items have: its token, its triples, and the items it is a neighbour of."""

    entity: str
    degree: int
    items: int


class GraphCard(NamedTuple):
    """What is known of a graph and the items that it is linked to.

    Attributes:
        items: Items with an interaction.
        linked, reached: Those with a link, and with a link to an entity with triples.
        interactions_reached: Share of the training interactions that are of reached items.
        alone: Reached items that share no value with another.
        triples, entities: Different triples, and their entities.
        repeated: Triples that stand more than once.
        degrees: Least, median and greatest number of triples of the reached items' entities.
        components: Parts of the graph without a path between them.
        in_largest: Share of the reached items that are in the largest part.
        relations: The relations, by their lift.
        hubs: Values that `MIN_HUB` of the reached items have, the greatest first.
        inverse: Pairs of relations of which one says, reversed, what the other says.
        same: Pairs of relations of which one says what the other says.
    """

    items: int
    linked: int
    reached: int
    interactions_reached: float
    alone: int
    triples: int
    entities: int
    repeated: int
    degrees: tuple[int, float, int]
    components: int
    in_largest: float
    relations: tuple[RelationCard, ...]
    hubs: tuple[Hub, ...]
    inverse: tuple[tuple[str, str], ...]
    same: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """A JSON value of the same names."""
        relations = [{**card._asdict(), "lift": card.lift._asdict()} for card in self.relations]
        hubs = [hub._asdict() for hub in self.hubs]
        return {**self._asdict(), "relations": relations, "hubs": hubs}


def graph_card(triples: pl.DataFrame, links: pl.DataFrame, consumed: Consumption) -> GraphCard:
    """The card of a graph.

    Args:
        triples: String columns head_id, relation_id, tail_id.
        links: item (number, a row of `consumed`) and entity_id (String); each item once.
        consumed: Who consumed what in training.
    """
    facts = triples.filter(~is_label())
    distinct = facts.unique(maintain_order=True)
    around = _around(distinct, links)
    of_entity = degrees(distinct)
    reached = links.join(of_entity, on="entity_id")
    share = consumed.counts[reached["item"].to_numpy()].sum() / max(consumed.counts.sum(), 1)
    n_components, in_largest = _components(distinct, reached["entity_id"])
    cards = [
        _relation_card(str(relation), distinct, around, links, consumed)
        for relation in distinct["relation_id"].unique(maintain_order=True)
    ]
    values = around.group_by("value", maintain_order=True).agg(n=pl.col("item").n_unique())
    shared = values.filter(pl.col("n") > 1)
    together = around.join(shared, on="value", how="semi")["item"].n_unique()
    hubs = _hubs(around, of_entity, reached.height)
    inverse, same = same_relations(distinct)
    numbers = reached["degree"].to_numpy()
    return GraphCard(
        items=len(consumed.counts),
        linked=links.height,
        reached=reached.height,
        interactions_reached=float(share),
        alone=reached.height - together,
        triples=distinct.height,
        entities=of_entity.height,
        repeated=facts.height - distinct.height,
        degrees=(int(numbers.min()), float(np.median(numbers)), int(numbers.max()))
        if len(numbers)
        else (0, 0.0, 0),
        components=n_components,
        in_largest=in_largest,
        relations=tuple(sorted(cards, key=lambda card: -(card.lift.low or 0))),
        hubs=hubs,
        inverse=tuple(inverse),
        same=tuple(same),
    )


def _around(facts: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """The values of items: columns item, relation_id, outward (the item is head), entity, value.

    `value` is a number, unique to relation, direction and entity.
    """
    ends = [
        links.join(facts, left_on="entity_id", right_on=one, maintain_order="left_right").select(
            "item", "relation_id", pl.lit(outward).alias("outward"), pl.col(other).alias("entity")
        )
        for one, other, outward in (("head_id", "tail_id", True), ("tail_id", "head_id", False))
    ]
    table = pl.concat(ends).unique(maintain_order=True)
    return table.with_columns(value=pl.struct("relation_id", "outward", "entity").rank("dense"))


def _relation_card(
    relation: str,
    facts: pl.DataFrame,
    around: pl.DataFrame,
    links: pl.DataFrame,
    consumed: Consumption,
) -> RelationCard:
    of_relation = around.filter(pl.col("relation_id") == relation)
    sizes = of_relation.group_by("value").agg(n=pl.col("item").n_unique())
    direct = of_relation.filter("outward").join(links, left_on="entity", right_on="entity_id")
    return RelationCard(
        relation,
        facts.filter(pl.col("relation_id") == relation).height,
        of_relation["item"].n_unique(),
        sizes.height,
        sizes.filter(pl.col("n") > 1).height,
        relation_lift(
            of_relation.select("value", "item"), direct.select("item", other="item_right"), consumed
        ),
    )


def _hubs(around: pl.DataFrame, of_entity: pl.DataFrame, n_reached: int) -> tuple[Hub, ...]:
    """The values that most items have, of those that are no hubs by chance of a small graph."""
    items = around.group_by("entity").agg(items=pl.col("item").n_unique())
    large = items.filter(pl.col("items") >= max(2.0, MIN_HUB * n_reached))
    table = large.join(of_entity, left_on="entity", right_on="entity_id")
    table = table.sort("items", "entity", descending=[True, False]).head(N_HUBS)
    return tuple(Hub(*row) for row in table.select("entity", "degree", "items").iter_rows())


def _components(facts: pl.DataFrame, entities: pl.Series) -> tuple[int, float]:
    """How many parts the graph has, and the share of some entities that are in the largest."""
    if facts.is_empty() or entities.is_empty():
        return 0, 0.0
    groups = connected_groups(facts.select("head_id", "tail_id"))
    sizes = np.bincount(groups["group"].to_numpy())
    of_items = entities.to_frame("token").join(groups, on="token")["group"].to_numpy()
    return len(sizes), float((of_items == sizes.argmax()).mean())
