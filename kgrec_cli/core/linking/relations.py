"""Which relations of a large graph say what people like: by what linked entities share by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from kgrec_cli.core.linking.names import labels_of

MIN_COVERAGE = 0.01
MIN_SHARED = 0.1
MIN_ENTROPY_BITS = 0.5


@dataclass(frozen=True)
class Selection:
    """A part of a large graph, around linked entities.

    Attributes:
        links: String columns item_id, entity_id, redirects followed.
        triples: String columns head_id, relation_id, tail_id.
        labels: String columns token, kind ("entity" or "relation"), label.
        report: What was chosen and how, for `prepare.json`.
    """

    links: pl.DataFrame
    triples: pl.DataFrame
    labels: pl.DataFrame
    report: dict[str, Any]


def label_table(
    names: Mapping[str, str], links: pl.DataFrame, triples: pl.DataFrame
) -> pl.DataFrame:
    """The names of entities and relations of a graph: String columns token, kind, label."""
    columns = dict.fromkeys(("token", "label"), pl.String)
    table = pl.DataFrame(sorted(names.items()), columns, orient="row")
    labels = labels_of(table, triples, [links["entity_id"]])
    return labels.sort("kind", maintain_order=True)


class ChosenRelations(NamedTuple):
    """The relations to keep, and a row for each one with what it was judged by.

    `table`: relation_id (String), entities and values (counts), coverage and shared (shares),
    entropy (bits), verdict (String: "kept", or why not), the most covering first.
    """

    names: list[str]
    table: pl.DataFrame


def in_both_directions(triples: pl.DataFrame, entities: pl.Series) -> pl.DataFrame:
    """The triples, those that lead to one of `entities` turned round: "^relation" leads from it."""
    incoming = triples.filter(
        pl.col("tail_id").is_in(entities.implode()) & ~pl.col("head_id").is_in(entities.implode())
    ).select(head_id="tail_id", relation_id="^" + pl.col("relation_id"), tail_id="head_id")
    return pl.concat([triples, incoming])


def choose_relations(triples: pl.DataFrame, entities: pl.Series) -> ChosenRelations:
    """The relations that tell linked entities apart and still put some together.

    A relation is kept when at least MIN_COVERAGE of the entities have it; at least MIN_SHARED of
    these share a value with another one (else it is an identifier, or as good as one); and the
    entropy of its values is MIN_ENTROPY_BITS or more (else nearly all have the same value, as with
    "instance of: film").

    Args:
        triples: String columns head_id, relation_id, tail_id; those whose head is no entity of
            `entities` do not count.
        entities: String; the linked entities.
    """
    facts = triples.select("head_id", "relation_id", "tail_id").unique()
    facts = facts.filter(pl.col("head_id").is_in(entities.unique().implode()))
    values = facts.group_by("relation_id", "tail_id").len("n")
    share = pl.col("n") / pl.col("n").sum()
    of_values = values.group_by("relation_id").agg(
        pl.len().alias("values"), (-(share * share.log(2)).sum()).abs().alias("entropy")
    )
    with_shared = facts.join(values.filter(pl.col("n") > 1), on=["relation_id", "tail_id"])
    n_entities = facts.group_by("relation_id").agg(pl.col("head_id").n_unique().alias("entities"))
    n_sharing = with_shared.group_by("relation_id").agg(pl.col("head_id").n_unique().alias("n"))
    verdict = (
        pl.when(pl.col("coverage") < MIN_COVERAGE)
        .then(pl.lit("few have it"))
        .when(pl.col("shared") < MIN_SHARED)
        .then(pl.lit("hardly a value is shared"))
        .when(pl.col("entropy") < MIN_ENTROPY_BITS)
        .then(pl.lit("nearly all have one value"))
        .otherwise(pl.lit("kept"))
    )
    table = (
        n_entities.join(of_values, on="relation_id")
        .join(n_sharing, on="relation_id", how="left")
        .with_columns(
            coverage=pl.col("entities") / max(entities.n_unique(), 1),
            shared=pl.col("n").fill_null(0) / pl.col("entities"),
        )
        .select(
            "relation_id", "entities", "values", "coverage", "shared", "entropy",
            verdict.alias("verdict"),
        )
        .sort("entities", "relation_id", descending=[True, False])
    )  # fmt: skip
    return ChosenRelations(
        table.filter(pl.col("verdict") == "kept")["relation_id"].to_list(), table
    )
