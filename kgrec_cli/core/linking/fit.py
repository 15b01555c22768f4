"""How well a graph fits the categories of items through their links: a bound, and a test of chance.

`verdict` asks this of the links at hand and of others that they may come from.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

FITS_FROM = 0.5
"""A graph fits the categories when surely more than this share of the links is right."""
SURELY = 4.0
"""Standard errors on either side: of wrong links the true error is up to 1.5 times the estimate."""

N_SPLITS, N_ORDERS = 5, 50
N_CHOSEN_NODES = 10
MAX_BELOW_BEST = 0.25
MIN_ENTITIES_OF_NODE = 8
MIN_COMPARED, MIN_COMPARED_OF_QUARTER = 30, 10
MAX_CATEGORY_SHARE, MAX_CATEGORIES = 0.4, 100


class Fit(NamedTuple):
    """A lower bound for the share of right links, its standard error and on how much it rests.

    `is_even` is False when a quarter of the table fits surely worse than a sound one.
    """

    right: float
    error: float
    n_compared: int
    is_even: bool = True

    @property
    def lower(self) -> float:
        """What the share surely is at least."""
        return self.right - SURELY * self.error

    @property
    def upper(self) -> float:
        """What the bound surely is at most."""
        return self.right + SURELY * self.error


def fit_categories(around: pl.DataFrame, genres: pl.DataFrame, links: pl.DataFrame) -> Fit | None:
    """A lower bound for the share of right links; None where it would rest on too little.

    Each entity has the mean of its items' categories. The entities are split in two halves at
    random. On one half the nodes of the graph are found whose neighbours are most surely of one
    category; on the other it is counted how often the neighbours of those nodes are. With p the
    purity of a node (at most 1), b the category's share and q the share of right links, that
    happens with probability q p + (1 - q) b, so (measured - b) / (1 - b) <= q, and nearly q only
    where nodes are pure. The standard error takes the entities as independent.

    Args:
        around: String columns entity_id, node: what is around each entity, no row twice.
        genres: String columns item_id, genre: the categories of each item, no row twice.
        links: String columns item_id, entity_id, in the order of the table.
    """
    neighbours, shares, in_order = _tables(around, genres, links)
    n = len(shares)
    if n < MIN_COMPARED:
        return None
    rng = np.random.default_rng(0)
    excess, possible = np.zeros(n), np.zeros(n)
    for _ in range(N_SPLITS):
        halves = np.array_split(rng.permutation(n), 2)
        for fit, test in (halves, halves[::-1]):
            is_test = np.isin(np.arange(n), test)
            for node, category, base in _purest(neighbours, shares, fit):
                rows = neighbours.indices[slice(*neighbours.indptr[node : node + 2])]
                rows = rows[is_test[rows]]
                excess[rows] += shares[rows, category] - base
                possible[rows] += 1 - base
    whole = _bound(excess, possible)
    if whole.n_compared < MIN_COMPARED:
        return None
    quarters = np.array_split(in_order, 4)
    bounds = [_bound(excess[quarter], possible[quarter]) for quarter in quarters]
    is_even = all(b.n_compared < MIN_COMPARED_OF_QUARTER or b.upper >= FITS_FROM for b in bounds)
    return whole._replace(is_even=is_even)


def beyond_chance(around: pl.DataFrame, genres: pl.DataFrame, links: pl.DataFrame) -> float:
    """How much more nodes and categories go together than by chance, in standard deviations.

    Pearson's statistic of the two, beside that of random orders of the entities (a permutation
    test; Fisher, The Design of Experiments, 1935). Arguments as of `fit_categories`.
    """
    neighbours, shares, _ = _tables(around, genres, links)
    base = shares.mean(axis=0)
    beyond = (shares - base) / np.sqrt(np.maximum(base * (1 - base), 1 / len(shares)))
    support = np.asarray(neighbours.sum(axis=1))
    rng = np.random.default_rng(0)

    def together(order: NDArray[np.int64]) -> float:
        return float((np.square(neighbours @ beyond[order]) / support).sum())

    by_chance = [together(rng.permutation(len(shares))) for _ in range(N_ORDERS)]
    own = together(np.arange(len(shares)))
    return float((own - np.mean(by_chance)) / np.std(by_chance))


def _bound(excess: NDArray[np.float64], possible: NDArray[np.float64]) -> Fit:
    """The bound from what each entity adds to both sums: hits beyond chance, and the most of it."""
    most = possible.sum()
    if most == 0:
        return Fit(0.0, 0.0, 0)
    right = float(excess.sum() / most)
    error = float(np.sqrt(np.square(excess - right * possible).sum()) / most)
    return Fit(right, error, int((possible > 0).sum()))


def _tables(
    around: pl.DataFrame, genres: pl.DataFrame, links: pl.DataFrame
) -> tuple[sparse.csr_matrix, NDArray[np.float64], NDArray[np.int64]]:
    """Binary (nodes, entities), shares (entities, genres), the entities as the links order them.

    Of the linked entities that have a neighbour and an item with a category.
    """
    of_entity = links.with_row_index("place").join(genres, on="item_id")
    around = around.join(of_entity, on="entity_id", how="semi")
    of_entity = of_entity.join(around, on="entity_id", how="semi")
    nodes = around.filter(pl.len().over("node") >= MIN_ENTITIES_OF_NODE)
    common = of_entity.group_by("genre").len("n").sort("n", "genre").tail(MAX_CATEGORIES)
    rows, columns, kinds = (
        pl.Enum(names.unique().sort())
        for names in (of_entity["entity_id"], nodes["node"], common["genre"])
    )
    places = [nodes["node"].cast(columns), nodes["entity_id"].cast(rows)]
    ones = np.ones(nodes.height)
    shape = (len(columns.categories), len(rows.categories))
    binary = sparse.csr_matrix((ones, [place.to_physical() for place in places]), shape=shape)
    by_entity = of_entity.group_by("entity_id").agg(
        pl.col("item_id").n_unique().alias("n_items"), pl.col("place").min()
    )
    by_entity = by_entity.sort("entity_id")
    counts = of_entity.join(common, on="genre", how="semi").group_by("entity_id", "genre").len("n")
    counts = counts.join(by_entity, on="entity_id")
    shares = np.zeros((shape[1], len(kinds.categories)))
    places = [counts["entity_id"].cast(rows), counts["genre"].cast(kinds)]
    shares[*(place.to_physical() for place in places)] = counts["n"] / counts["n_items"]
    return binary, shares, by_entity["place"].arg_sort().to_numpy()


def _purest(
    neighbours: sparse.csr_matrix, shares: NDArray[np.float64], fit: NDArray[np.int64]
) -> list[tuple[int, int, float]]:
    """The purest nodes among the entities `fit`: each with its category and that one's share."""
    of_fit = np.zeros((len(shares), 1))
    of_fit[fit] = 1
    support = (neighbours @ of_fit).ravel()
    nodes = np.flatnonzero((support >= MIN_ENTITIES_OF_NODE) & (support < len(fit) / 2))
    base = shares[fit].mean(axis=0)
    rare = np.flatnonzero(base < MAX_CATEGORY_SHARE)
    if len(nodes) == 0 or len(rare) == 0:
        return []
    base, n = base[rare], support[nodes][:, None]
    share = (neighbours @ (shares[:, rare] * of_fit))[nodes] / n
    # One standard error below, with a pseudo-count, so that small nodes do not win by luck.
    careful = (share * n + 1) / (n + 2) - np.sqrt(share * (1 - share) / n + 1 / n**2)
    purity = (careful - base) / (1 - base)
    best = purity.max(axis=1)
    chosen = np.argsort(-best, kind="stable")[:N_CHOSEN_NODES]
    chosen = chosen[best[chosen] >= best.max() - MAX_BELOW_BEST]
    return [
        (int(nodes[node]), int(rare[category]), float(base[category]))
        for node, category in zip(chosen, purity.argmax(axis=1)[chosen], strict=True)
    ]
