"""Are the links right? A well-formed table can point every item at another item's entity.

There are two checks. Where entities have names, these are compared with the items' titles. Where
they have none, the graph is compared with the items' categories: the neighbours of an entity (its
genre nodes, its director, its brand) may predict the category of its item, unless the links are
wrong. A graph that predicts nothing proves nothing: it may be silent, or the links wrong.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

import polars as pl

from kgrec_cli.core.linking.fit import (
    FITS_FROM,
    MAX_CATEGORIES,
    MIN_COMPARED,
    MIN_ENTITIES_OF_NODE,
    beyond_chance,
    fit_categories,
)
from kgrec_cli.core.linking.graph import is_metadata
from kgrec_cli.core.linking.names import entities_of, entity_names, is_label
from kgrec_cli.core.linking.titles import fold_title, parse_title

Verdict = Literal["sound", "broken", "unknown"]
Witness = Literal["titles", "genres", "order", "construction", "none"]

SOUND_FROM, BROKEN_BELOW = 0.65, 0.6
"""Shares of titles that are the name of their entity."""
CHANCE_BELOW, MAX_BEYOND_CHANCE, MIN_CONTRADICTED = 0.35, 4.5, 150
"""Links contradict the graph when surely fewer than the first are right, and it goes with the
categories as if by chance; so many entities have to be compared for that."""

MIN_COMPARED_SHARE = 0.2
MIN_CATEGORIES_NAMED = 3
MAX_ITEMS = 20_000
CATEGORY_WORDS = frozenset({"genre", "genres", "category", "categories"})


class LinkVerdict(NamedTuple):
    """What is known of a table of links.

    Attributes:
        verdict: "sound", "broken", or "unknown" when nothing proves either.
        witness: What was compared: "titles" with the names of entities, "genres" (any categories)
            with what is around entities, "order" when the same entities in another order fit the
            categories better, "construction" when the graph was made of the items, or "none".
        right: Share of links that are right: of the compared ones by titles; by genres a lower
            bound, which a graph that says nothing of the categories leaves at 0. None when nothing
            could be compared.
        n_compared: Items (titles) or entities (genres) that were compared.
    """

    verdict: Verdict
    witness: Witness
    right: float | None
    n_compared: int

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        if self.witness == "construction":
            return "the graph is made of the items themselves"
        if self.witness == "none":
            return "nothing to judge the links by: entities without names, items without genres"
        if self.witness == "titles":
            why = f"{self.right:.0%} of {self.n_compared:,} titles are their entity's name"
        elif self.witness == "order":
            why = "the same entities in another order fit the items' categories (shifted rows?)"
        elif self.verdict == "sound":
            why = f"the graph knows the items' categories; at least {self.right:.0%} are right"
        elif self.verdict == "broken":
            why = "the graph tells the items' categories, and by these links no better than chance"
        else:
            return "the links may be right or wrong: the graph says too little of the categories"
        are = "may be partly wrong" if self.verdict == "unknown" else f"are {self.verdict}"
        return f"the links {are}: {why}"


def link_verdict(items: pl.DataFrame, links: pl.DataFrame, triples: pl.DataFrame) -> LinkVerdict:
    """Whether items are linked to their own entities.

    Metadata that `prepare --add-metadata` hung on the entities by these very links is no witness.

    Args:
        items: item_id (String) and, where known, title (String), release_year and genre (String,
            tokens separated by spaces).
        links: String columns item_id, entity_id; of an item's several links the last counts.
        triples: String columns head_id, relation_id, tail_id.
    """
    links = links.join(
        items.select("item_id"), on="item_id", how="semi", maintain_order="left"
    ).unique("item_id", keep="last", maintain_order=True)
    of_graph = triples.filter(~is_metadata())
    triples = triples if of_graph.is_empty() else of_graph
    return (
        _by_titles(items, links, triples)
        or _by_categories(items, links, triples)
        or LinkVerdict("unknown", "none", None, 0)
    )


def _by_titles(
    items: pl.DataFrame, links: pl.DataFrame, triples: pl.DataFrame
) -> LinkVerdict | None:
    """The verdict by names, or None where too few titles are the name of any entity.

    Of the items whose title is the name of an entity, the share that is linked to one of that name.
    A title that no entity has for a name says nothing: names may be in another language.
    """
    if "title" not in items.columns:
        return None
    names = _folded(entity_names(triples, _of_one_kind(links, triples)), "entity_id", "name")
    named = links.join(names, on="entity_id", how="semi").select("item_id", "entity_id")
    titles = _folded(items.join(named, on="item_id", how="semi"), "item_id", "title")
    compared = titles.join(names, on="text", how="semi")
    n = compared["item_id"].n_unique()
    if n < max(MIN_COMPARED, MIN_COMPARED_SHARE * named.height):
        return None
    agreeing = compared.join(named, on="item_id").join(names, on=["entity_id", "text"])
    # What links in any other order would give: much where many entities have one name.
    bearers = named.join(names, on="entity_id").group_by("text").len("n")
    most = compared.join(bearers, on="text").group_by("item_id").agg(pl.col("n").max())
    by_chance = int(most["n"].sum()) / named.height
    if by_chance > n / 2:
        return None
    right = max(0.0, (agreeing["item_id"].n_unique() - by_chance) / (n - by_chance))
    verdict: Verdict = "unknown"
    if right >= SOUND_FROM:
        verdict = "sound"
    elif right < BROKEN_BELOW:
        verdict = "broken"
    return LinkVerdict(verdict, "titles", right, n)


def _of_one_kind(links: pl.DataFrame, triples: pl.DataFrame) -> pl.Series:
    """The linked entities, and those that have the relation that most of these have.

    So "Chair", a thing for sale, is not looked for among the names of brands and categories.
    """
    facts = triples.filter(~is_label()).select("head_id", "relation_id").unique()
    of_linked = facts.join(links, left_on="head_id", right_on="entity_id", how="semi")
    most_common = of_linked.group_by("relation_id").len().sort("len", "relation_id").tail(1)
    alike = facts.join(most_common, on="relation_id", how="semi")
    return pl.concat([links["entity_id"], alike["head_id"]])


def _folded(table: pl.DataFrame, of: str, column: str) -> pl.DataFrame:
    """The titles in a column and their alternatives, folded: columns `of` and text."""
    texts = table[column].drop_nulls().unique(maintain_order=True)
    rows = [(text, name) for text in texts for name in sorted(parse_title(text).names)]
    folded = pl.DataFrame(rows, {column: pl.String, "text": pl.String}, orient="row")
    return table.join(folded, on=column).select(of, "text").unique()


def _by_categories(
    items: pl.DataFrame, links: pl.DataFrame, triples: pl.DataFrame
) -> LinkVerdict | None:
    """The verdict by what is around the entities, or None where there is too little to compare."""
    if "genre" not in items.columns:
        return None
    genres = items.select("item_id", pl.col("genre").str.split(" ")).explode("genre")
    genres = genres.filter(pl.col("genre").str.len_chars() > 0).unique()
    genres = genres.join(links, on="item_id", how="semi")
    known = genres["item_id"].unique().sort()
    known = known.sample(min(len(known), MAX_ITEMS), seed=0)
    genres = genres.filter(pl.col("item_id").is_in(known.implode()))
    around = _around(genres, links, triples)
    fit = fit_categories(around, genres, links)
    if fit is None:
        return None
    right = max(0.0, fit.right)
    if fit.lower >= FITS_FROM and fit.is_even:
        return LinkVerdict("sound", "genres", right, fit.n_compared)
    telling = around.filter(_tells_by_name(around, genres, triples))
    told = fit_categories(telling, genres, links)
    if (
        told is not None
        and told.n_compared >= MIN_CONTRADICTED
        and told.upper < CHANCE_BELOW
        and beyond_chance(telling, genres, links) < MAX_BEYOND_CHANCE
    ):
        return LinkVerdict("broken", "genres", max(0.0, told.right), told.n_compared)
    for slip in _slips(links, triples):
        better = fit_categories(_around(genres, slip, triples), genres, slip)
        if better is not None and better.lower >= max(FITS_FROM, fit.upper):
            return LinkVerdict("broken", "order", right, fit.n_compared)
    return LinkVerdict("unknown", "genres", right, fit.n_compared)


def _around(genres: pl.DataFrame, links: pl.DataFrame, triples: pl.DataFrame) -> pl.DataFrame:
    """What is around the items' entities: String columns entity_id, relation_id, name, node.

    A node is a neighbour, its name, and how it is reached: by which relation, in which direction.
    """
    entities = links.join(genres, on="item_id", how="semi")["entity_id"]
    wanted = entities.unique().implode()
    ends = [
        triples.filter(pl.col(one).is_in(wanted)).select(
            pl.col(one).alias("entity_id"),
            "relation_id",
            pl.col(other).alias("name"),
            node=pl.concat_str([pl.lit(mark), "relation_id", pl.lit("\t"), other]),
        )
        for one, other, mark in (("head_id", "tail_id", ">"), ("tail_id", "head_id", "<"))
    ]
    return pl.concat(ends).unique()


def _slips(links: pl.DataFrame, triples: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The tables of links from which this one may come by a slip.

    Each row has the entity of the row before or after it; the rows of one column are turned round;
    or the entity of an item is the one of the same number, or of a number one off.
    """
    entities = links["entity_id"]
    for moved in (_rolled(entities, 1), _rolled(entities, -1), entities.reverse()):
        yield links.with_columns(entity_id=moved)
    of_graph = entities_of(triples)
    numbers = [
        pl.DataFrame({column: tokens})
        .with_columns(number=pl.col(column).str.extract(r"(\d+)\D*$").cast(pl.Int64, strict=False))
        .filter(pl.col("number").is_not_null() & pl.col("number").is_unique())
        for column, tokens in (("item_id", links["item_id"]), ("entity_id", of_graph))
    ]
    for off in (0, 1, -1):
        others = numbers[1].with_columns(pl.col("number") + off)
        yield numbers[0].join(others, on="number").select("item_id", "entity_id")


def _rolled(column: pl.Series, step: int) -> pl.Series:
    """The column, each value that many rows further down, the last ones at the top."""
    return pl.concat([column.tail(step % max(1, column.len())), column]).head(column.len())


def _tells_by_name(around: pl.DataFrame, genres: pl.DataFrame, triples: pl.DataFrame) -> pl.Expr:
    """Whether the relation of a node tells categories, by the names of its nodes or by its own.

    By their nodes: these name three categories or more, those of at least half of the items
    ("Comedy film" names "comedy"). By their own name ("film.film.genre"): their nodes are mere
    ids, in which no category could be read.
    """
    nodes = around.select("relation_id", "name", "node", n=pl.len().over("node")).unique()
    nodes = nodes.filter(pl.col("n") >= MIN_ENTITIES_OF_NODE)
    read = dict(entity_names(triples, nodes["name"]).iter_rows())
    common = genres.group_by("genre").len("n").sort("n", "genre").tail(MAX_CATEGORIES)
    counts = [(set(fold_title(genre).split()), n) for genre, n in common.iter_rows()]
    total = sum(n for _, n in counts)
    relations = []
    for (relation,), of_relation in nodes.group_by("relation_id", maintain_order=True):
        texts = [
            read.get(name) or re.sub(r".*[/#:](?=.)", "", name.strip("<>")).replace("_", " ")
            for name in of_relation["name"]
        ]
        known = [set(fold_title(text).split()) for text in texts]
        of_all = set().union(*known)
        named = [n for kind, n in counts if kind <= of_all and any(map(kind.issubset, known))]
        spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", str(relation))
        is_named = CATEGORY_WORDS & set(re.findall("[a-z]+", spaced.lower()))
        n_opaque = sum(any(char.isdigit() for char in text) for text in texts)
        tells = len(named) >= MIN_CATEGORIES_NAMED and 2 * sum(named) >= total
        if tells or (is_named and 2 * n_opaque > len(texts)):
            relations.append(relation)
    return pl.col("relation_id").is_in(relations)
