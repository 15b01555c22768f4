"""How often the check of links errs: right and wrong links of films, right links of other things.

    .venv/bin/python -m benchmarks.accuracy.link_check [--data DATA] [--draws 100] [--out FILE]

DATA is a folder with `ml-100k/`, `ml-1m/`, `ml-latest-small/` as GroupLens packs them, `freebase/`
(`ml2fb.txt`, `ml-100k.kg.gz`, `ml-100k.recbole.link`), `ml-1m-dbpedia/` and `ml-1m-mkr-kg/`;
without it, only the controls are counted. Of films each draw takes a bootstrap sample of the items;
of the controls, right links have twice as many draws, each a new catalogue.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.accuracy.link_controls import CONTROLS, Linked
from kgrec_cli.core.linking.graph import build_metadata_kg
from kgrec_cli.core.linking.titles import match_titles
from kgrec_cli.core.linking.verdict import link_verdict
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples

Spoil = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


def shuffled(links: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    """The links with that share of the items handed each other's entities."""
    return _permuted(links, np.flatnonzero(rng.random(links.height) < share), rng)


def half_of_rows_shuffled(links: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The links, the first half of the table shuffled in itself."""
    return _permuted(links, np.arange(links.height // 2), rng)


def shifted(links: pl.DataFrame) -> pl.DataFrame:
    """The links, each item with the entity of the row before."""
    return _with_entities(links, np.roll(links["entity_id"].to_numpy(), 1))


def _permuted(links: pl.DataFrame, rows: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    entities = links["entity_id"].to_numpy().copy()
    entities[rows] = entities[rng.permutation(rows)]
    return _with_entities(links, entities)


def _with_entities(links: pl.DataFrame, entities: np.ndarray) -> pl.DataFrame:
    return links.with_columns(pl.Series("entity_id", entities, dtype=pl.String))


SPOILED: dict[str, Spoil] = {
    "right": lambda links, rng: links,
    "half shuffled": lambda links, rng: shuffled(links, 0.5, rng),
    "first half shuffled": half_of_rows_shuffled,
    "all shuffled": lambda links, rng: shuffled(links, 1.0, rng),
    "shifted by a row": lambda links, rng: shifted(links),
}


def without_names(triples: pl.DataFrame, links: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same graph, its entities named by numbers."""
    entities = pl.concat([triples["head_id"], triples["tail_id"], links["entity_id"]]).unique()
    number = pl.DataFrame({"name": entities.sort()}).with_row_index("id")
    codes = dict(zip(number["name"], number["id"].cast(pl.String), strict=True))
    return (
        triples.with_columns(pl.col("head_id", "tail_id").replace_strict(codes)),
        links.with_columns(pl.col("entity_id").replace_strict(codes)),
    )


def read_sets(data: Path) -> dict[str, Linked]:
    """Film sets with sound links, and RecBole's links of ml-100k.

    Links to entities that the graph says nothing of are left out: nobody can tell of them.
    """
    ml_100k = read_catalog(data / "ml-100k" / "u.item")
    ml_1m = read_catalog(data / "ml-1m" / "movies.dat")
    small = read_catalog(data / "ml-latest-small" / "movies.csv")
    freebase = read_raw_triples(data / "freebase" / "ml-100k.kg.gz")
    by_movie = read_raw_links(data / "freebase" / "ml2fb.txt").select("item_id", "entity_id")
    matched = match_titles(ml_100k, ml_1m).drop_nulls("catalog_id")
    repaired = matched.join(by_movie, left_on="catalog_id", right_on="item_id").select(
        "item_id", "entity_id"
    )
    recbole = read_raw_links(data / "freebase" / "ml-100k.recbole.link")
    dbpedia = data / "ml-1m-dbpedia"
    named = read_raw_triples(dbpedia / "triples.tsv.gz")
    mapped = read_raw_links(dbpedia / "MappingMovielens2DBpedia-1.2.tsv")
    mapped = mapped.select("item_id", "entity_id")
    nameless, numbered = without_names(named, mapped)
    mkr = data / "ml-1m-mkr-kg"
    metadata, of_metadata = build_metadata_kg(small)
    sets = {
        "ml-100k, repaired links, Freebase": Linked(ml_100k, repaired, freebase),
        "ml-1m, KB4Rec, Freebase": Linked(ml_1m, by_movie, freebase),
        "ml-latest-small, KB4Rec, Freebase": Linked(small, by_movie, freebase),
        "ml-1m, MKR's graph": Linked(
            ml_1m,
            read_raw_links(mkr / "item_index2entity_id.txt").select("item_id", "entity_id"),
            read_raw_triples(mkr / "kg.txt"),
        ),
        "ml-latest-small, metadata": Linked(small, of_metadata, metadata),
        "ml-1m, DBpedia, by names": Linked(ml_1m, mapped, named),
        "ml-1m, DBpedia, names hidden": Linked(ml_1m, numbered, nameless),
        "ml-100k, RecBole's links, Freebase": Linked(
            ml_100k, recbole.select("item_id", "entity_id"), freebase
        ),
    }
    return {name: _known(linked) for name, linked in sets.items()}


def _known(linked: Linked) -> Linked:
    items, links, triples = linked
    entities = pl.concat([triples["head_id"], triples["tail_id"]]).unique()
    links = links.join(items, on="item_id", how="semi", maintain_order="left")
    return Linked(items, links.filter(pl.col("entity_id").is_in(entities.implode())), triples)


def count_films(linked: Linked, spoil: Spoil, n_draws: int) -> dict[str, int]:
    """The verdicts on samples of the items, with the links that `spoil` makes of theirs."""
    verdicts: Counter[str] = Counter()
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        rows = np.unique(rng.integers(linked.items.height, size=linked.items.height))
        items = linked.items[rows]
        links = linked.links.join(items, on="item_id", how="semi", maintain_order="left")
        verdicts[link_verdict(items, spoil(links, rng), linked.triples).verdict] += 1
    return dict(verdicts)


def count_controls(draw: Callable[[int], Linked], spoil: Spoil, n_draws: int) -> dict[str, int]:
    """The verdicts on new draws of a control."""
    verdicts: Counter[str] = Counter()
    for seed in range(n_draws):
        items, links, triples = draw(seed)
        links = spoil(links, np.random.default_rng(seed))
        verdicts[link_verdict(items, links, triples).verdict] += 1
    return dict(verdicts)


def main() -> None:
    """Counts, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report: dict[str, dict[str, dict[str, int]]] = {}
    print(f"{'':36}{'links':21}{'sound':>7}{'broken':>7}{'unknown':>8}")
    for name, linked in (read_sets(options.data) if options.data else {}).items():
        is_right = "RecBole" not in name
        for kind, spoil in SPOILED.items() if is_right else [("as they are", SPOILED["right"])]:
            show(report, name, kind, count_films(linked, spoil, options.draws))
    for name, draw in CONTROLS.items():
        for kind, n_draws in (("right", 2 * options.draws), ("all shuffled", options.draws)):
            show(report, name, kind, count_controls(draw, SPOILED[kind], n_draws))
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n")


def show(
    report: dict[str, dict[str, dict[str, int]]], name: str, kind: str, verdicts: dict[str, int]
) -> None:
    """Prints a row of the table and adds it to the report."""
    report.setdefault(name, {})[kind] = verdicts
    counts = [verdicts.get(verdict, 0) for verdict in ("sound", "broken", "unknown")]
    print(f"{name:36}{kind:21}{counts[0]:>7}{counts[1]:>7}{counts[2]:>8}", flush=True)


if __name__ == "__main__":
    main()
