"""Several graphs as one: entities that are the same get one token.

Two entities are the same when they have the same token, when a triple says so (`owl:sameAs`), or
when the links of two graphs lead one item, and it alone, to them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kgrec_cli.core.linking.names import entities_of

SAME_AS = r"(?i)(?:^|[/#:.])same_?as$"
"""The relations whose head and tail are the same entity."""


class Graph(NamedTuple):
    """A graph and its links: String columns head_id, relation_id, tail_id; item_id, entity_id."""

    triples: pl.DataFrame
    links: pl.DataFrame


class Joined(NamedTuple):
    """The graphs as one, and by what their entities were joined.

    Attributes:
        triples: Triples of all graphs, in their order, without those that say `sameAs`.
        links: Links of all graphs, those of the first graph first.
        n_shared: Entities that a later graph calls as an earlier one does.
        n_same_as: Pairs of entities that triples say are the same.
        n_through_items: Pairs of entities that are the same because one item is linked to both.
        n_kept_apart: Items whose entities in two graphs are not: another item shares one of them.
        names: token, name: what an entity is called now, for those that are called otherwise.
    """

    triples: pl.DataFrame
    links: pl.DataFrame
    n_shared: int
    n_same_as: int
    n_through_items: int
    n_kept_apart: int
    names: pl.DataFrame

    def renamed(self, table: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """A table in whose columns entities are called as in the joined graph."""
        return _renamed(table, self.names, *columns)


def join_graphs(graphs: Sequence[Graph]) -> Joined:
    """One graph of several; the token of an entity is that of the earliest graph that has it."""
    triples = pl.concat([graph.triples for graph in graphs])
    links = pl.concat([graph.links for graph in graphs])
    says_same = pl.col("relation_id").str.contains(SAME_AS)
    same = triples.filter(says_same & (pl.col("head_id") != pl.col("tail_id")))
    pairs = same.select(one="head_id", other="tail_id").unique(maintain_order=True)
    through, n_apart = _through_items([graph.links for graph in graphs])
    facts = triples.filter(~says_same)
    names = _one_name(pl.concat([pairs, through]), links, facts)
    entities = [entities_of(graph.triples) for graph in graphs]
    return Joined(
        _renamed(facts, names, "head_id", "tail_id"),
        _renamed(links, names, "entity_id"),
        sum(map(len, entities)) - pl.concat(entities).n_unique(),
        pairs.height,
        through.height,
        n_apart,
        names,
    )


def connected_groups(pairs: pl.DataFrame) -> pl.DataFrame:
    """The parts of a graph: columns token and group, a number that connected tokens share.

    Args:
        pairs: Two String columns, joined tokens.
    """
    ends = pairs.get_columns()
    tokens = pl.concat([end.alias("token") for end in ends]).unique(maintain_order=True)
    numbers = pl.int_range(len(tokens), eager=True)
    one, other = (end.replace_strict(tokens, numbers).to_numpy() for end in ends)
    ones = np.ones(len(one), dtype=np.int8)
    matrix = coo_array((ones, (one, other)), shape=(len(tokens), len(tokens)))
    return pl.DataFrame({"token": tokens, "group": connected_components(matrix, directed=False)[1]})


def _renamed(table: pl.DataFrame, names: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return table.with_columns(pl.col(columns).replace(names["token"], names["name"]))


def _through_items(links: Sequence[pl.DataFrame]) -> tuple[pl.DataFrame, int]:
    """Pairs of entities that one item alone is linked to, columns one, other; and items without."""
    pairs, n_apart = [pl.DataFrame(schema={"one": pl.String, "other": pl.String})], 0
    known = links[0].unique("item_id", keep="first", maintain_order=True)
    for later in links[1:]:
        later = later.unique("item_id", keep="first", maintain_order=True)
        both = known.join(later, on="item_id", suffix="_later", maintain_order="left")
        both = both.filter(pl.col("entity_id") != pl.col("entity_id_later"))
        shared = [
            table.filter(pl.col("entity_id").is_duplicated())["entity_id"].unique()
            for table in (known, later)
        ]
        is_apart = pl.col("entity_id").is_in(shared[0].implode()) | pl.col("entity_id_later").is_in(
            shared[1].implode()
        )
        n_apart += both.filter(is_apart).height
        pairs.append(both.filter(~is_apart).select(one="entity_id", other="entity_id_later"))
        new = later.join(known, on="item_id", how="anti", maintain_order="left")
        known = pl.concat([known, new])
    return pl.concat(pairs), n_apart


def _one_name(pairs: pl.DataFrame, links: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Token and name of each entity that is called by another one's token.

    Of those that are the same the first in the links gives the name, else the first in the triples.
    """
    if pairs.is_empty():
        return pl.DataFrame(schema={"token": pl.String, "name": pl.String})
    groups = connected_groups(pairs)
    of_facts = facts.select(pl.concat_list("head_id", "tail_id").explode()).to_series()
    order = pl.concat([links["entity_id"], of_facts, groups["token"]])
    places = order.unique(maintain_order=True).rename("token").to_frame().with_row_index("place")
    named = (
        groups.join(places, on="token")
        .sort("place")
        .with_columns(name=pl.col("token").first().over("group"))
    )
    return named.filter(pl.col("token") != pl.col("name")).select("token", "name")
