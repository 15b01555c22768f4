"""Are the links right? A well-formed table can point every item at another item's entity.

There are two checks. Where entities have names, these are compared with the items' titles. Where
they have none, the graph is compared with the items' genres: in a graph of films, the neighbours of
an entity (its genre nodes, its director, its studio) predict the film's genre, unless the links are
wrong.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple
from urllib.parse import unquote

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rapidfuzz import fuzz
from scipy import sparse

from kgrec_cli.core.linking.graph import is_metadata
from kgrec_cli.core.linking.titles import Title, parse_title

Verdict = Literal["sound", "broken", "unknown"]
Witness = Literal["titles", "genres", "construction", "none"]

SOUND_FROM, BROKEN_BELOW = 0.65, 0.6
"""Shares of right links. Links that are all right come out at 0.73 and more by genres, half of them
shuffled at 0.53 and less (`benchmarks/link_check.py`)."""

N_SPLITS = 10
N_CHOSEN_NODES = 10
MIN_ITEMS_OF_NODE = 8
MIN_COMPARED = 30
MAX_GENRE_SHARE = 0.4
SIMILAR = 85
LABEL_RELATIONS = frozenset({"label", "name", "title", "prefLabel"})
Compare = Callable[[pl.DataFrame, pl.DataFrame, pl.DataFrame], tuple[float | None, int]]


class LinkVerdict(NamedTuple):
    """What is known of a table of links.

    Attributes:
        verdict: "sound", "broken", or "unknown" when there is too little to tell.
        witness: What was compared: "titles" with the names of entities, "genres" with what is
            around entities, "construction" when the graph was made of the items, or "none".
        right: Estimated share of links that are right: of the compared ones by titles; by genres a
            lower bound. None when nothing could be compared.
        n_compared: Items (titles) or predictions (genres) that were compared.
    """

    verdict: Verdict
    witness: Witness
    right: float | None
    n_compared: int

    @property
    def summary(self) -> str:
        """The verdict in a line."""
        if self.witness == "titles":
            why = f"{self.right:.0%} of {self.n_compared:,} titles are their entity's name"
        elif self.witness == "genres":
            why = (
                f"the graph around the entities knows the items' genres as if about "
                f"{self.right:.0%} of the links were right"
            )
        elif self.witness == "construction":
            return "the graph is made of the items themselves"
        else:
            return "nothing to judge the links by: entities without names, items without genres"
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
    checks: tuple[tuple[Witness, Compare], ...] = (("titles", _by_titles), ("genres", _by_genres))
    for witness, compare in checks:
        right, n_compared = compare(items, links, triples)
        if right is not None and n_compared >= MIN_COMPARED:
            is_sound, is_broken = right >= SOUND_FROM, right < BROKEN_BELOW
            verdict: Verdict = "sound" if is_sound else "broken" if is_broken else "unknown"
            return LinkVerdict(verdict, witness, right, n_compared)
    return LinkVerdict("unknown", "none", None, 0)


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
    relation = pl.col("relation_id").str.extract(r"([^/#:.]+)$")
    heads = triples["head_id"].unique()
    labels = triples.filter(
        relation.is_in(list(LABEL_RELATIONS)) & ~pl.col("tail_id").is_in(heads.implode())
    ).select(pl.col("head_id").alias("entity_id"), pl.col("tail_id").alias("name"))
    labels = labels.join(wanted, on="entity_id", how="semi")
    if labels.height:
        return labels
    iris = wanted.filter(pl.col("entity_id").str.contains(r"^<?https?://[^ ]+/[^/]+$"))
    names = [_readable(iri) for iri in iris["entity_id"]]
    named = pl.DataFrame(
        {"entity_id": iris["entity_id"], "name": pl.Series(names, dtype=pl.String)}
    )
    return named.filter(pl.col("name").str.contains(r"\p{L}{2}"))


def _readable(iri: str) -> str:
    """The last part of an IRI as a title; "Emma_(1996_film)" as "Emma (1996)"."""
    name = unquote(iri.strip("<>").rpartition("/")[2].rpartition("#")[2]).replace("_", " ")
    name = re.sub(r"\((\d{4}) [^()]*\)$", r"(\1)", name)
    return re.sub(r" \((?:film|movie|book|novel|album|song|[a-z ]+ film)\)$", "", name)


def _by_titles(
    items: pl.DataFrame, links: pl.DataFrame, triples: pl.DataFrame
) -> tuple[float | None, int]:
    """The share of linked items whose title is their entity's name, and how many had both."""
    if "title" not in items.columns:
        return None, 0
    names = entity_names(triples, links["entity_id"]).group_by("entity_id").agg("name")
    both = links.join(items.select("item_id", "title").drop_nulls(), on="item_id").join(
        names, on="entity_id"
    )
    if both.is_empty():
        return None, 0
    agree = [
        any(_alike(parse_title(title), parse_title(name)) for name in names_of_entity)
        for title, names_of_entity in zip(both["title"], both["name"], strict=True)
    ]
    return float(np.mean(agree)), both.height


def _alike(title: Title, other: Title) -> bool:
    """Whether two titles can be of one film: any two of their names nearly equal, or one in one."""
    return any(
        fuzz.token_set_ratio(one, two) >= SIMILAR for one in title.names for two in other.names
    )


def _by_genres(
    items: pl.DataFrame, links: pl.DataFrame, triples: pl.DataFrame
) -> tuple[float | None, int]:
    """A lower bound for the share of right links, and how many predictions it rests on.

    The items are split in two halves at random. On one half the nodes of the graph are found whose
    neighbours are most surely of one genre; on the other it is counted how often the neighbours of
    those nodes are. With p the purity of a node (at most 1), b the genre's share and q the share
    of right links, that happens with probability q p + (1 - q) b, so (measured - b) / (1 - b) <= q,
    and nearly q for the purest nodes.
    """
    if "genre" not in items.columns:
        return None, 0
    around, genres = _incidence(items, links, triples)
    if around.shape[0] < MIN_COMPARED:
        return None, 0
    rng = np.random.default_rng(0)
    excess, possible, n_compared = 0.0, 0.0, 0
    for _ in range(N_SPLITS):
        order = rng.permutation(around.shape[0])
        halves = np.array_split(order, 2)
        for fit, test in (halves, halves[::-1]):
            hits, bases = _predictions(around[fit], genres[fit], around[test], genres[test])
            excess += float((hits - bases).sum())
            possible += float((1 - bases).sum())
            n_compared += len(hits)
    if possible == 0:
        return None, 0
    return max(0.0, excess / possible), n_compared // N_SPLITS


def _incidence(
    items: pl.DataFrame, links: pl.DataFrame, triples: pl.DataFrame
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Binary (items, nodes) and (items, genres), of linked items that have both."""
    ends = [
        triples.select(
            pl.col(one).alias("entity_id"),
            pl.concat_str([pl.lit(mark), "relation_id", pl.lit(" "), other]).alias("node"),
        )
        for one, other, mark in (("head_id", "tail_id", ">"), ("tail_id", "head_id", "<"))
    ]
    around = links.join(pl.concat(ends).unique(), on="entity_id").select("item_id", "node")
    genres = (
        items.select("item_id", pl.col("genre").str.split(" "))
        .explode("genre")
        .filter(pl.col("genre").str.len_chars() > 0)
        .unique()
    )
    around = around.join(genres, on="item_id", how="semi")
    genres = genres.join(around, on="item_id", how="semi")
    rows = pl.DataFrame({"item_id": around["item_id"].unique().sort()}).with_row_index("row")
    return _binary(around, rows, "node"), _binary(genres, rows, "genre")


def _binary(pairs: pl.DataFrame, rows: pl.DataFrame, column: str) -> sparse.csr_matrix:
    placed = pairs.join(rows, on="item_id").sort("row", column)
    codes = placed[column].rank("dense").to_numpy().astype(np.int64) - 1
    shape = (rows.height, int(codes.max(initial=-1)) + 1)
    ones = np.ones(placed.height, dtype=np.float32)
    return sparse.csr_matrix((ones, (placed["row"].to_numpy(), codes)), shape=shape)


def _predictions(
    around: sparse.csr_matrix,
    genres: sparse.csr_matrix,
    other_around: sparse.csr_matrix,
    other_genres: sparse.csr_matrix,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the purest nodes of one half say of the other: hit or not, and the base rate."""
    support = np.asarray(around.sum(axis=0)).ravel()
    elsewhere = np.asarray(other_around.sum(axis=0)).ravel()
    n_items = around.shape[0]
    nodes = np.flatnonzero(
        (support >= MIN_ITEMS_OF_NODE) & (support < n_items / 2) & (elsewhere > 0)
    )
    base = np.asarray(genres.mean(axis=0)).ravel()
    if len(nodes) == 0 or not (base < MAX_GENRE_SHARE).any():
        return np.zeros(0), np.zeros(0)
    n = support[nodes][:, None]
    share = (around[:, nodes].T @ genres).toarray() / n
    # One standard error below, with a pseudo-count, so that small nodes do not win by luck.
    careful = (share * n + 1) / (n + 2) - np.sqrt(share * (1 - share) / n + 1 / n**2)
    purity = np.where(base < MAX_GENRE_SHARE, (careful - base) / (1 - base), -1)
    chosen = np.argsort(-purity.max(axis=1), kind="stable")[:N_CHOSEN_NODES]
    hits: list[NDArray[np.float64]] = []
    bases: list[NDArray[np.float64]] = []
    for node, genre in zip(nodes[chosen], purity.argmax(axis=1)[chosen], strict=True):
        rows = other_around[:, [node]].nonzero()[0]
        hits.append(other_genres[rows][:, [genre]].toarray().ravel().astype(np.float64))
        bases.append(np.full(len(rows), base[genre], dtype=np.float64))
    return np.concatenate(hits), np.concatenate(bases)
