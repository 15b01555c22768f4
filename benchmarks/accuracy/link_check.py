"""How often the check of links errs: sound, half-shuffled and shuffled links of three data sets.

    .venv/bin/python -m benchmarks.accuracy.link_check --data DATA [--draws 100] [--out FILE]

DATA is a folder with `ml-100k/`, `ml-1m/`, `ml-latest-small/` as GroupLens packs them, `freebase/`
(`ml2fb.txt`, `ml-100k.kg.gz`, `ml-100k.recbole.link`) and `ml-1m-dbpedia/`. No entity there has a
name that the check may use: names in IRIs are hidden, so that the graph alone is the witness.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from kgrec_cli.core.linking.titles import match_titles
from kgrec_cli.core.linking.verdict import link_verdict
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples


class Linked(NamedTuple):
    """A catalogue, its links, a graph."""

    items: pl.DataFrame
    links: pl.DataFrame
    triples: pl.DataFrame


def shuffled(links: pl.DataFrame, share: float, rng: np.random.Generator) -> pl.DataFrame:
    """The links with that share of the items handed each other's entities."""
    rows = np.flatnonzero(rng.random(links.height) < share)
    entities = links["entity_id"].to_numpy().copy()
    entities[rows] = entities[rng.permutation(rows)]
    return links.with_columns(pl.Series("entity_id", entities, dtype=pl.String))


def without_names(triples: pl.DataFrame, links: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same graph, its entities named by numbers."""
    entities = pl.concat([triples["head_id"], triples["tail_id"], links["entity_id"]]).unique()
    number = pl.DataFrame({"name": entities}).with_row_index("id")
    codes = dict(zip(number["name"], number["id"].cast(pl.String), strict=True))
    return (
        triples.with_columns(pl.col("head_id", "tail_id").replace_strict(codes)),
        links.with_columns(pl.col("entity_id").replace_strict(codes)),
    )


def read_sets(data: Path) -> dict[str, Linked]:
    """The three data sets with sound links, and RecBole's links of ml-100k."""
    ml_100k = read_catalog(data / "ml-100k" / "u.item")
    ml_1m = read_catalog(data / "ml-1m" / "movies.dat")
    small = read_catalog(data / "ml-latest-small" / "movies.csv")
    freebase = read_raw_triples(data / "freebase" / "ml-100k.kg.gz")
    by_movie = read_raw_links(data / "freebase" / "ml2fb.txt").select("item_id", "entity_id")
    matched = match_titles(ml_100k, ml_1m).drop_nulls("catalog_id")
    repaired = matched.join(by_movie, left_on="catalog_id", right_on="item_id").select(
        "item_id", "entity_id"
    )
    dbpedia = data / "ml-1m-dbpedia"
    triples, links = without_names(
        read_raw_triples(dbpedia / "triples.tsv.gz"),
        read_raw_links(dbpedia / "MappingMovielens2DBpedia-1.2.tsv").select("item_id", "entity_id"),
    )
    return {
        "ml-100k, repaired links, Freebase": Linked(ml_100k, repaired, freebase),
        "ml-1m, DBpedia": Linked(ml_1m, links, triples),
        "ml-latest-small, Freebase": Linked(
            small, by_movie.join(small.select("item_id"), on="item_id", how="semi"), freebase
        ),
        "ml-100k, RecBole's links, Freebase": Linked(
            ml_100k,
            read_raw_links(data / "freebase" / "ml-100k.recbole.link").select(
                "item_id", "entity_id"
            ),
            freebase,
        ),
    }


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report = {}
    print(f"{'':36}{'shuffled':>9}{'right':>15}  verdicts")
    for name, (items, links, triples) in read_sets(options.data).items():
        for share in (0.0, 0.5, 1.0):
            draws = 1 if share == 0 else options.draws
            checks = [
                link_verdict(items, shuffled(links, share, np.random.default_rng(seed)), triples)
                for seed in range(draws)
            ]
            right = [check.right or 0.0 for check in checks]
            verdicts = dict(Counter(check.verdict for check in checks))
            report[f"{name}, {share:.0%} shuffled"] = {
                "right": [min(right), max(right)],
                "verdicts": verdicts,
            }
            shown = f"{min(right):.2f} to {max(right):.2f}"
            print(f"{name:36}{share:>9.0%}{shown:>15}  {verdicts}", flush=True)
    if options.out:
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
