"""The names of entities, to compare titles with: from label triples or from readable IRIs."""

import re
from collections.abc import Sequence
from urllib.parse import unquote

import polars as pl

LABEL_RELATIONS = frozenset({"label", "name", "title", "prefLabel"})


def entity_names(triples: pl.DataFrame, entities: pl.Series) -> pl.DataFrame:
    """The names of entities, from label triples or, failing these, from readable IRIs.

    A triple names its head when its relation ends in label, name, title or prefLabel, as
    `rdfs:label` does, and its tail is no entity with triples of its own. An IRI such as
    `http://dbpedia.org/resource/Emma_(1996_film)` gives "Emma (1996)".

    Args:
        triples: String columns head_id, relation_id, tail_id.
        entities: String, the entities whose names are wanted.

    Returns:
        String columns entity_id, name; an entity may have several rows, or none.
    """
    wanted = pl.DataFrame({"entity_id": entities.unique(maintain_order=True)})
    heads = triples["head_id"].unique()
    labels = triples.filter(is_label() & ~pl.col("tail_id").is_in(heads.implode())).select(
        pl.col("head_id").alias("entity_id"), pl.col("tail_id").alias("name")
    )
    labels = labels.join(wanted, on="entity_id", how="semi")
    if labels.height:
        return labels
    iris = wanted.filter(pl.col("entity_id").str.contains(r"^<?https?://[^ ]+/[^/]+$"))
    names = [_readable(iri) for iri in iris["entity_id"]]
    named = pl.DataFrame(
        {"entity_id": iris["entity_id"], "name": pl.Series(names, dtype=pl.String)}
    )
    return named.filter(pl.col("name").str.contains(r"\p{L}{2}"))


def with_names(triples: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The triples, and one of the relation "label" for each name of an entity.

    Args:
        triples: String columns head_id, relation_id, tail_id.
        labels: String columns token, kind ("entity" or "relation"), label.
    """
    names = labels.filter(pl.col("kind") == "entity").select(
        head_id="token", relation_id=pl.lit("label"), tail_id="label"
    )
    return pl.concat([triples, names])


def labels_of(
    names: pl.DataFrame, triples: pl.DataFrame, linked: Sequence[pl.Series] = ()
) -> pl.DataFrame:
    """The names (token, label) of a graph's relations and entities: columns token, kind, label.

    A token that is both names both. `linked` are entities that need not stand in triples.
    """
    kinds = (
        ("relation", triples["relation_id"].unique()),
        ("entity", pl.concat([entities_of(triples), *linked]).unique()),
    )
    return pl.concat(
        names.filter(pl.col("token").is_in(tokens.implode())).select(
            "token", pl.lit(kind).alias("kind"), "label"
        )
        for kind, tokens in kinds
    )


def _readable(iri: str) -> str:
    """The last part of an IRI as a title; "Emma_(1996_film)" as "Emma (1996)"."""
    name = unquote(iri.strip("<>").rpartition("/")[2].rpartition("#")[2]).replace("_", " ")
    name = re.sub(r"\((\d{4}) [^()]*\)$", r"(\1)", name)
    return re.sub(r" \((?:film|movie|book|novel|album|song|[a-z ]+ film)\)$", "", name)


def short_iri(token: str) -> str:
    """An IRI by its last part, any other token as it is."""
    return re.sub(r"^https?://.*[/#](?=[^/#]+$)", "", token)


def entities_of(triples: pl.DataFrame) -> pl.Series:
    """The entities of triples (String columns head_id, tail_id), each once."""
    return pl.concat([triples["head_id"], triples["tail_id"]]).unique()


def is_label() -> pl.Expr:
    """Whether the relation of a triple (relation_id) gives its head a name."""
    return pl.col("relation_id").str.extract(r"([^/#:.]+)$").is_in(list(LABEL_RELATIONS))
