"""Catalogues whose links are right by construction, for the check of links to call none broken.

Each is drawn from a seed. The graphs say nothing of the categories, a part, or all; ids of entities
are numbers in another order, so that nothing but the graph ties items to entities.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

KINDS = ("garden", "toys", "tools", "office", "kitchen")
Facts = Mapping[str, Sequence[str] | Sequence[list[str]]]


class Linked(NamedTuple):
    """A catalogue, its links, a graph."""

    items: pl.DataFrame
    links: pl.DataFrame
    triples: pl.DataFrame


def build(
    categories: Sequence[str],
    facts: Facts,
    rng: np.random.Generator,
    owners: Sequence[int] | None = None,
    titles: Sequence[str] | None = None,
) -> Linked:
    """A catalogue with these categories, and a graph with these facts of its entities.

    Args:
        categories: Of each item, separated by spaces where there are several.
        facts: By relation the value, or the values, of each entity.
        rng: Numbers the entities.
        owners: Entity of each item; item n belongs to entity n by default.
        titles: Of each item.
    """
    n_items, n_entities = len(categories), len(next(iter(facts.values())))
    entities = np.array([f"e{number}" for number in rng.permutation(n_entities)])
    of_item = np.arange(n_items) if owners is None else np.array(owners)
    items = pl.DataFrame({"item_id": [f"i{n}" for n in range(n_items)], "genre": categories})
    if titles is not None:
        items = items.with_columns(title=pl.Series(titles))
    links = items.select("item_id", entity_id=pl.Series(entities[of_item].tolist()))
    triples = [
        (entity, relation, tail)
        for relation, values in facts.items()
        for entity, value in zip(entities.tolist(), values, strict=True)
        for tail in ([value] if isinstance(value, str) else value)
    ]
    columns = dict.fromkeys(("head_id", "relation_id", "tail_id"), pl.String)
    return Linked(items, links, pl.DataFrame(triples, columns, orient="row"))


def values(prefix: str, n_values: int, n: int, rng: np.random.Generator) -> list[str]:
    """`n` values that say nothing: "brand3"."""
    return [f"{prefix}{value}" for value in rng.integers(n_values, size=n)]


def telling(
    categories: Sequence[str], purity: float, prefix: str, rng: np.random.Generator, each: int = 4
) -> list[str]:
    """Values of which each belongs to one category; that share of them, the others are random."""
    kinds = sorted(set(categories))
    codes = np.array([kinds.index(category) for category in categories])
    codes = np.where(
        rng.random(len(codes)) < purity, codes, rng.integers(len(kinds), size=len(codes))
    )
    return [f"{prefix}{each * code + rng.integers(each)}" for code in codes]


def shop(seed: int, *, n: int = 400, purity: float = 0.0) -> Linked:
    """Brand, colour and land; the brand tells the category to the purity, the others nothing."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(KINDS, n).tolist()
    facts = {
        "brand": telling(kinds, purity, "brand", rng),
        "colour": rng.choice(["red", "black", "blue", "green", "white"], n).tolist(),
        "made_in": rng.choice(["pt", "cz", "se", "vn"], n).tolist(),
    }
    return build(kinds, facts, rng)


def books(seed: int) -> Linked:
    """Several categories an item, of uneven size; authors keep to one of them half of the time."""
    rng = np.random.default_rng(seed)
    names = np.array([f"shelf{n}" for n in range(12)])
    weights = 1 / np.arange(1, 13)
    first = rng.choice(names, 900, p=weights / weights.sum())
    second = rng.choice(names, 900, p=weights / weights.sum())
    categories = [" ".join(sorted({one, two})) for one, two in zip(first, second, strict=True)]
    facts = {
        "author": telling(first.tolist(), 0.5, "author", rng, each=6),
        "publisher": values("publisher", 30, 900, rng),
        "language": rng.choice(["en", "fr"], 900, p=[0.9, 0.1]).tolist(),
    }
    return build(categories, facts, rng)


def songs(seed: int, *, purity: float = 0.0) -> Linked:
    """Many to one: 900 songs of 60 artists, whose own style and label say little or nothing."""
    rng = np.random.default_rng(seed)
    styles = rng.choice(["rock", "jazz", "folk", "metal", "soul"], 60).tolist()
    owners = rng.integers(60, size=900).tolist()
    facts = {
        "label": telling(styles, purity, "label", rng, each=2),
        "era": values("era", 4, 60, rng),
    }
    return build([styles[owner] for owner in owners], facts, rng, owners)


def recipes(seed: int) -> Linked:
    """One relation: ingredients, some to each dish, none of a cuisine."""
    rng = np.random.default_rng(seed)
    cuisines = rng.choice(["thai", "greek", "french", "indian"], 500).tolist()
    used = [[f"food{n}" for n in rng.choice(80, 6, replace=False)] for _ in cuisines]
    return build(cuisines, {"uses": used}, rng)


def games(seed: int) -> Linked:
    """Categories and names in another language; the shop's word is right for one in three."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["puzzle", "racing", "sports", "strategy"], 400).tolist()
    words = {"puzzle": "Knobelei", "racing": "Rennen", "sports": "Sport", "strategy": "Taktik"}
    heard = [kind if rng.random() < 0.33 else rng.choice(list(words)) for kind in kinds]
    facts = {
        "category": [words[kind] for kind in heard],
        "label": [f"Spiel {n}" for n in range(400)],
        "studio": values("studio", 25, 400, rng),
    }
    return build(kinds, facts, rng, titles=[f"Game {n}" for n in range(400)])


def courses(seed: int) -> Linked:
    """One category for all, and one hub that all entities have."""
    rng = np.random.default_rng(seed)
    facts = {"type": ["Thing"] * 300, "teacher": values("teacher", 20, 300, rng)}
    return build(["course"] * 300, facts, rng)


def papers(seed: int) -> Linked:
    """Citations among the entities, and hubs that say nothing; the catalogue lies by category."""
    rng = np.random.default_rng(seed)
    fields = sorted(rng.choice(["physics", "biology", "history"], 600, p=[0.4, 0.35, 0.25]))
    cites = [[f"e{n}" for n in rng.choice(30, 3, replace=False)] for _ in fields]
    facts = {"cites": cites, "access": rng.choice(["open", "closed"], 600).tolist()}
    return build([str(field) for field in fields], facts, rng)


CONTROLS: dict[str, Callable[[int], Linked]] = {
    "shop, silent": shop,
    "shop, brand tells a third": lambda seed: shop(seed, purity=0.33),
    "shop, brand tells all": lambda seed: shop(seed, purity=1.0),
    "tiny shop, silent": lambda seed: shop(seed, n=40),
    "tiny shop, brand tells all": lambda seed: shop(seed, n=40, purity=1.0),
    "books, authors tell half": books,
    "songs, many to one, silent": songs,
    "songs, many to one, labels tell": lambda seed: songs(seed, purity=0.8),
    "recipes, one relation": recipes,
    "games, another language": games,
    "courses, one category": courses,
    "papers, hubs": papers,
}
