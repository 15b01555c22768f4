"""Pruning a graph: relations that are of no use, hubs that all share, values that nobody shares."""

from typing import Any, NamedTuple

import polars as pl

from kgrec_cli.core.linking.names import entities_of, is_label


class Pruning(NamedTuple):
    """What to drop. True when anything is asked for.

    Attributes:
        drop_relations: Relations of which no triple is kept.
        min_degree: Entities in fewer triples are dropped, again and again until none is left.
        max_degree: Entities in more triples are dropped, before that; None for no limit.
    """

    drop_relations: tuple[str, ...] = ()
    min_degree: int = 0
    max_degree: int | None = None

    def __bool__(self) -> bool:
        return bool(self.drop_relations) or self.min_degree > 0 or self.max_degree is not None


def prune(
    triples: pl.DataFrame, links: pl.DataFrame, pruning: Pruning
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The triples that are left, and the counts of what was lost.

    Entities of items are never dropped for their degree, and names (`rdfs:label`) are neither
    counted nor dropped: they go with their entity.

    Args:
        triples: String columns head_id, relation_id, tail_id; none twice.
        links: String columns item_id, entity_id.
        pruning: What to drop.
    """
    items = links["entity_id"].unique()
    kept = triples.filter(~pl.col("relation_id").is_in(list(pruning.drop_relations)))
    names, facts = kept.filter(is_label()), kept.filter(~is_label())
    n_of_relations = triples.height - kept.height
    n_facts = facts.height
    if pruning.max_degree is not None:
        facts = _without(facts, items, pl.col("degree") > pruning.max_degree)
    n_of_hubs, n_facts = n_facts - facts.height, facts.height
    while pruning.min_degree > 1:
        fewer = _without(facts, items, pl.col("degree") < pruning.min_degree)
        if fewer.height == facts.height:
            break
        facts = fewer
    left = pl.concat([facts, names.filter(pl.col("head_id").is_in(entities_of(facts).implode()))])
    left = triples.join(left, on=triples.columns, how="semi", maintain_order="left")
    before, after = (entities_of(table) for table in (triples, left))
    had, has = (items.is_in(tokens.implode()) for tokens in (before, after))
    report = {
        "drop_relations": list(pruning.drop_relations),
        "min_degree": pruning.min_degree,
        "max_degree": pruning.max_degree,
        "triples_of_relations": n_of_relations,
        "triples_of_hubs": n_of_hubs,
        "triples_of_rare_entities": n_facts - facts.height,
        "triples": triples.height - left.height,
        "entities": len(before) - len(after),
        "entities_of_items": int((had & ~has).sum()),
    }
    return left, report


def _without(triples: pl.DataFrame, items: pl.Series, is_odd: pl.Expr) -> pl.DataFrame:
    """The triples without those of entities that are no items and whose `degree` is odd."""
    odd = degrees(triples).filter(is_odd & ~pl.col("entity_id").is_in(items.implode()))
    tokens = odd["entity_id"].implode()
    return triples.filter(~pl.col("head_id").is_in(tokens) & ~pl.col("tail_id").is_in(tokens))


def degrees(triples: pl.DataFrame) -> pl.DataFrame:
    """In how many triples each entity stands: columns entity_id (String), degree.

    A triple from an entity to itself counts once.
    """
    ends = [triples.select(entity_id="head_id")]
    ends.append(triples.filter(pl.col("head_id") != pl.col("tail_id")).select(entity_id="tail_id"))
    return pl.concat(ends).group_by("entity_id").len("degree")
