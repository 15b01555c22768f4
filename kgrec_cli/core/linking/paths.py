"""Paths through the graph from history items to an item: what do they share?

A path has three hops, as Xian et al. 2019 (PGPR) count them: from the user to a history item, from
its entity to a shared value (a director, a genre), from the value to the item's entity. Shorter
ones count too: the entities are neighbours, or the same. Triples are walked in both directions.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.core.linking.graph import METADATA_PREFIXES
from kgrec_cli.core.linking.names import entities_of, entity_names, is_label

Triple = tuple[str, str, str]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Path:
    """One path, from a history item to the item that it explains.

    Attributes:
        item: Token of the history item.
        value: The entity that both share; that of the history item when the two are neighbours.
        label: The value in words: a title, a name, else its token.
        relation: What the value is to the explained item, in words; "" when it is its own entity.
        history_relation: What it is to the history item; "" when it is that item's entity.
        triples: The triples of the graph that the path walks, none to two, the history item's
            first.
        weight: ln(n / m): m of n linked items have or are the value. A hub has little weight.
        is_borne_out: Whether the history item is one of those that carry the score.
    """

    item: str
    value: str
    label: str
    relation: str
    history_relation: str
    triples: tuple[Triple, ...]
    weight: float
    is_borne_out: bool


@dataclass(frozen=True, eq=False, repr=False)
class PathFinder:
    """A graph, laid out for paths between items; from `build_path_finder`.

    Attributes:
        entities: Entity id by item token; only entities with a triple.
        tokens: Entity token by entity id.
        labels: The entity's name by token, where it has one.
        relations: The relation's name by token, where it has one.
        edges: Sorted columns entity, value (ids), outward (the entity is the head), relation.
        pair_values: int64 (P,), the value of each distinct pair of entity and value, by entity.
        pair_edges: int64 (P + 1,), where the edges of each pair begin.
        offsets: int64 (E + 1,), where the pairs of each entity begin.
        weights: float64 (E,), the weight of a path through each entity.
        n_triples: int64 (E,), the triples that each entity is in.
        n_relations: Relations of the graph.
    """

    entities: Mapping[str, int]
    tokens: pl.Series
    labels: Mapping[str, str]
    relations: Mapping[str, str]
    edges: pl.DataFrame
    pair_values: Ints
    pair_edges: Ints
    offsets: Ints
    weights: NDArray[np.float64]
    n_triples: Ints
    n_relations: int

    def find(
        self,
        history: Sequence[str],
        items: Sequence[str],
        carriers: Sequence[Sequence[str]],
        limit: int | None = None,
    ) -> list[list[Path]]:
        """For each item the strongest paths from a history, best first.

        Paths from history items that carry the score come first; among them those of the most
        weight, then those of the greatest carrier, then the most recent.

        Args:
            history: Item tokens, oldest first; of those that repeat the last counts.
            items: K items.
            carriers: For each of them, the history items that carry its score, greatest first.
            limit: Paths for an item at most; None for all.

        Returns:
            K lists; empty for an item without an entity in the graph.
        """
        newest = list(dict.fromkeys(token for token in reversed(history) if token in self.entities))
        pairs = [self._pairs_of(self.entities[token]) for token in newest]
        owners = np.repeat(np.arange(len(newest)), [len(each) for each in pairs])
        pair = np.concatenate([np.empty(0, dtype=np.int64), *pairs])
        own = np.array([self.entities[token] for token in newest], dtype=np.int64)
        return [
            self._find_one(newest, owners, pair, own, item, list(of_item), limit)
            for item, of_item in zip(items, carriers, strict=True)
        ]

    def _find_one(
        self,
        newest: list[str],
        owners: Ints,
        pair: Ints,
        own: Ints,
        item: str,
        carriers: list[str],
        limit: int | None,
    ) -> list[Path]:
        entity = self.entities.get(item)
        if entity is None:
            return []
        of_item = {int(self.pair_values[each]): int(each) for each in self._pairs_of(entity)}
        shared = np.isin(self.pair_values[pair], list(of_item))
        of_item[entity] = -1  # the value is the item's own entity: no triple on this side
        near = np.flatnonzero(np.isin(own, list(of_item)))
        owners = np.concatenate([near, owners[shared]])
        values = np.concatenate([own[near], self.pair_values[pair[shared]]])
        from_history = np.concatenate([np.full(len(near), -1), pair[shared]])
        is_other = np.array([token != item for token in newest], dtype=bool)[owners]
        place = {token: number for number, token in enumerate(carriers)}
        places = np.array([place.get(token, len(place)) for token in newest], dtype=np.int64)[
            owners
        ]
        order = np.lexsort((owners, places, -self.weights[values], places == len(place)))
        return [
            self._path(
                newest[owners[row]],
                int(values[row]),
                int(from_history[row]),
                of_item[int(values[row])],
                bool(places[row] < len(place)),
            )
            for row in order[is_other[order]][:limit]
        ]

    def _pairs_of(self, entity: int) -> Ints:
        return np.arange(self.offsets[entity], self.offsets[entity + 1])

    def _path(
        self, item: str, value: int, from_history: int, from_item: int, is_borne_out: bool
    ) -> Path:
        """The path of two pairs, by one relation on both sides where there is such a one."""
        sides = [
            self.edges[self.pair_edges[pair] : self.pair_edges[pair + 1]].rows()
            if pair >= 0
            else []
            for pair in (from_history, from_item)
        ]
        common = [edge[2:] for edge in sides[0] if edge[2:] in [other[2:] for other in sides[1]]]
        chosen = [
            next((edge for edge in side if edge[2:] in common[:1]), side[0]) if side else None
            for side in sides
        ]
        relations = ["" if edge is None else self._in_words(*edge[2:]) for edge in chosen]
        token = self.tokens[value]
        return Path(
            item=item,
            value=token,
            label=self.labels.get(token, token),
            history_relation=relations[0],
            relation=relations[1],
            triples=tuple(self._triple(edge) for edge in chosen if edge is not None),
            weight=float(self.weights[value]),
            is_borne_out=is_borne_out,
        )

    def _in_words(self, outward: bool, relation: str) -> str:
        name = self.relations.get(relation)
        if name is None:
            return relation_in_words(outward, relation)
        return name if outward else f"{name} of"

    def _triple(self, edge: tuple[int, int, bool, str]) -> Triple:
        entity, value, outward, relation = edge
        ends = (entity, value) if outward else (value, entity)
        return self.tokens[ends[0]], relation, self.tokens[ends[1]]


def build_path_finder(
    entities: Mapping[str, str],
    triples: pl.DataFrame,
    titles: Mapping[str, str],
    relations: Mapping[str, str] | None = None,
) -> PathFinder:
    """A graph, laid out for paths between items.

    Args:
        entities: Entity token by item token.
        triples: String columns head_id, relation_id, tail_id. Triples that name an entity are no
            edges.
        titles: Title by item token: names the entities of items.
        relations: Name by relation token, where it has one.
    """
    triples = triples.drop_nulls()
    facts = triples.filter(~is_label() & (pl.col("head_id") != pl.col("tail_id"))).unique()
    tokens = entities_of(facts).sort().rename("token")
    numbers = tokens.to_frame().with_row_index("id")
    of_items = pl.DataFrame(
        list(entities.items()), {"item": pl.String, "token": pl.String}, orient="row"
    ).join(numbers, on="token")
    heads, tails = (
        facts[name].replace_strict(numbers["token"], numbers["id"]).cast(pl.Int64)
        for name in ("head_id", "tail_id")
    )
    edges = pl.concat(
        [
            pl.DataFrame({"entity": entity, "value": value}).with_columns(
                pl.lit(outward).alias("outward"), facts["relation_id"].alias("relation")
            )
            for entity, value, outward in ((heads, tails, True), (tails, heads, False))
        ]
    )
    edges = edges.filter(pl.col("entity").is_in(of_items["id"].cast(pl.Int64).implode())).sort(
        "entity", "value", "outward", "relation", descending=[False, False, True, False]
    )
    pairs = edges.group_by("entity", "value", maintain_order=True).len()
    ends = np.concatenate([heads.to_numpy(), tails.to_numpy()])
    n_items = np.bincount(of_items["id"].to_numpy(), minlength=len(tokens))
    n_having = n_items + np.bincount(
        pairs["value"].to_numpy(), n_items[pairs["entity"].to_numpy()], minlength=len(tokens)
    )
    shared = tokens.filter(pl.Series(n_having > 1))
    return PathFinder(
        entities=dict(of_items.select("item", "id").iter_rows()),
        tokens=tokens,
        labels=_labels(triples, shared, of_items, titles),
        relations=relations or {},
        edges=edges,
        pair_values=pairs["value"].to_numpy(),
        pair_edges=np.concatenate([[0], np.cumsum(pairs["len"].to_numpy(), dtype=np.int64)]),
        offsets=np.searchsorted(pairs["entity"].to_numpy(), np.arange(len(tokens) + 1)),
        weights=np.log(max(n_items.sum(), 1) / np.maximum(n_having, 1)),
        n_triples=np.bincount(ends, minlength=len(tokens)),
        n_relations=facts["relation_id"].n_unique(),
    )


def _labels(
    triples: pl.DataFrame, shared: pl.Series, of_items: pl.DataFrame, titles: Mapping[str, str]
) -> dict[str, str]:
    """Names of the shared values and of the items' entities, by entity token."""
    prefixes = "|".join(METADATA_PREFIXES.values())
    metadata = shared.filter(shared.str.contains(f"^({prefixes}):."))
    names = {token: token.partition(":")[2] for token in metadata}
    names |= dict(entity_names(triples, shared).iter_rows())
    of_entities = of_items.select("token", "item").iter_rows()
    return names | {token: titles[item] for token, item in of_entities if item in titles}


def relation_in_words(outward: bool, relation: str) -> str:
    """A relation as its readers would say it: "dbo:musicComposer" is "music composer".

    Args:
        outward: False when the item is the tail of the triple: "sequel" is then "sequel of".
        relation: The relation's token.
    """
    last = re.split(r"[/#:.]", relation.strip("<>/"))[-1] or relation
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", last).replace("_", " ").lower()
    return words.removeprefix("has ") if outward else f"{words} of"
