"""Does the graph card predict what a relation is worth in training?

    .venv/bin/python -m benchmarks.accuracy.graph_card --data DATA --folder FOLDER [--set ml-100k]
        [--jobs 1] [--seeds 3] [--epochs 30] [--table] [--out FILE]

DATA as for `benchmarks.accuracy.link_check`. Each relation of the sets' own metadata and of DBpedia
is the whole graph of a data set of its own (`prepare --drop-relation` of all others): TransE, then
`train --preset small`, beside the same training without a graph (`--model GRU4Rec`), seeds 1 to N;
of ml-1m three relations (least, median and greatest lift of those that half of the items have), one
seed. A relation's worth is the mean test NDCG@10 (seen items masked) over that without a graph. Its
rank correlation with the card's lift, over all relations of all sets and by their ranks within each
set, has a 95 % interval of relations drawn with replacement.

First it counts the links: how many titles are matched, and how many of the matches are right where
the right pair is known. Every finished training is kept in FILE; one that was stopped goes on where
it was. `--table` shows what there is and trains nothing.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path
from statistics import mean
from threading import Event
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.stats import rankdata, spearmanr

from benchmarks.accuracy.trainings import kgrec, trained
from benchmarks.record import machine_words, package_commit
from kgrec_cli.core.linking.names import entity_names
from kgrec_cli.core.linking.titles import match_titles
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples

SETS = ("ml-100k", "ml-latest-small", "ml-1m")
MEASURE = ("test_masked", "ndcg@10")
MIN_POINTS = 15
N_DRAWS = 10_000
NO_GRAPH = "no graph"


class Training(NamedTuple):
    """One training: its set, the relation that is its graph (or `NO_GRAPH`), its seed."""

    dataset: str
    relation: str
    seed: int

    @property
    def key(self) -> str:
        """What it is called in FILE."""
        return f"{self.dataset} | {self.relation} | seed {self.seed}"


def raw_options(dataset: str, data: Path) -> list[str]:
    """The options of `kgrec prepare` for a set with DBpedia's graph and its own metadata."""
    dbpedia = data / "ml-1m-dbpedia"
    raw = ["--raw", f"{data / dataset}"]
    if dataset == "ml-1m":
        raw = ["--raw", f"{data / dataset / 'interactions_ordered.tsv.gz'}"]
        raw += ["--items", f"{data / dataset / 'movies.dat'}"]
    graph = ["--kg", f"{dbpedia / 'triples.tsv.gz'}", "--add-metadata"]
    links = ["--links", f"{dbpedia / 'MappingMovielens2DBpedia-1.2.tsv'}"]
    by = ["--link-by", "title"] if dataset == "ml-100k" else []
    return [*raw, *graph, *links, *by]


def slug(dataset: str, relation: str) -> str:
    """The name of the data set whose graph is one relation."""
    return f"{dataset}-only-{re.sub(r'[^A-Za-z0-9]+', '_', relation).strip('_')}"


def prepare_whole(folder: Path, dataset: str, data: Path) -> None:
    """Makes the data set with all relations unless it is there."""
    if not (folder / "dataset" / dataset / "prepare.json").is_file():
        kgrec(folder, "prepare", dataset, *raw_options(dataset, data))


def relations_of(dataset: str, card: dict[str, Any]) -> list[str]:
    """The relations to train with: all that have a lift; of ml-1m three."""
    known = [each for each in card["relations"] if each["lift"]["lift"] is not None]
    if dataset == "ml-1m":
        common = [each for each in known if 2 * each["items"] >= card["items"]]
        common.sort(key=lambda each: each["lift"]["lift"])
        known = [common[0], common[len(common) // 2], common[-1]]
    return [each["relation"] for each in known]


def wanted(cards: dict[str, dict[str, Any]], n_seeds: int) -> Iterator[Training]:
    """All trainings of some sets, seed by seed, so that a part is a whole with fewer seeds."""
    for seed in range(1, n_seeds + 1):
        for dataset, card in cards.items():
            if dataset == "ml-1m" and seed > 1:
                continue
            for relation in (NO_GRAPH, *relations_of(dataset, card)):
                yield Training(dataset, relation, seed)


def prepare_alone(
    folder: Path, dataset: str, relation: str, card: dict[str, Any], data: Path
) -> None:
    """Makes the data set whose graph is one relation, and its entity vectors."""
    name = slug(dataset, relation)
    files = folder / "dataset" / name
    if not (files / "prepare.json").is_file():
        others = [each["relation"] for each in card["relations"] if each["relation"] != relation]
        drop = [part for other in others for part in ("--drop-relation", other)]
        kgrec(folder, "prepare", name, *raw_options(dataset, data), *drop)
    if not (files / f"{name}.ent_feature").is_file():
        kgrec(folder, "pretrain-kg", name, "--method", "TransE", "--threads", "1")


def train(folder: Path, training: Training, epochs: int) -> float:
    """The measure of one training, which is made unless it is there."""
    dataset, relation, seed = training
    name = dataset if relation == NO_GRAPH else slug(dataset, relation)
    arguments = ["--dataset", name, "--preset", "small", "--epochs", str(epochs)]
    arguments += ["--seed", str(seed)]
    if relation == NO_GRAPH:
        arguments += ["--model", "GRU4Rec"]
    run = trained(folder, f"{name}-{seed}", *arguments)
    metrics = json.loads((folder / run / "metrics.json").read_text())
    return float(metrics[MEASURE[0]][MEASURE[1]])


def link_counts(data: Path) -> list[dict[str, Any]]:
    """How many titles are matched, and how many matches are right where the pair is known."""
    ml_1m, small = (
        read_catalog(data / "ml-1m" / "movies.dat"),
        read_catalog(data / "ml-latest-small" / "movies.csv"),
    )
    columns = ("item_id", "title", "release_year")
    same = pl.DataFrame({"item_id": small["item_id"], "right": small["item_id"]})
    mapped = read_raw_links(data / "ml-1m-dbpedia" / "MappingMovielens2DBpedia-1.2.tsv")
    triples = read_raw_triples(data / "ml-1m-dbpedia" / "triples.tsv.gz")
    names = entity_names(triples, triples["head_id"])
    named = names.select(item_id="entity_id", title="name", release_year=pl.lit(None, pl.String))
    by_id = mapped.filter(pl.col("entity_id").is_in(triples["head_id"].unique().implode()))
    right = by_id.select("item_id", right="entity_id")
    # Freebase's entities have no names here: two catalogues' ids in KB4Rec's list are compared.
    freebase = read_raw_links(data / "freebase" / "ml2fb.txt")
    entities = dict(freebase.select("item_id", "entity_id").iter_rows())
    by_small = small.select(columns).with_columns(
        pl.col("item_id").replace_strict(entities, default=None)
    )
    return [
        _precision("ml-1m by ml-latest-small's titles", ml_1m, small.select(columns), same),
        _precision("ml-1m by DBpedia's names", ml_1m, named, right),
        _precision(
            "ml-latest-small by DBpedia's names",
            small.filter(pl.col("item_id").is_in(ml_1m["item_id"].implode())),
            named,
            right,
        ),
        _precision(
            "ml-1m to Freebase by ml-latest-small's titles",
            ml_1m,
            by_small.drop_nulls("item_id"),
            freebase.select("item_id", right="entity_id"),
        ),
    ]


def _precision(
    what: str, items: pl.DataFrame, catalog: pl.DataFrame, right: pl.DataFrame
) -> dict[str, Any]:
    matches = match_titles(items.select("item_id", "title", "release_year"), catalog)
    found = matches.drop_nulls("catalog_id")
    known = found.join(right, on="item_id")
    n_right = known.filter(pl.col("catalog_id") == pl.col("right")).height
    return {
        "what": what,
        "items": items.height,
        "with_a_known_pair": items.join(right, on="item_id", how="semi").height,
        "matched": found.height,
        "matched_with_a_known_pair": known.height,
        "right": n_right,
        "precision": n_right / known.height,
    }


def points(
    cards: dict[str, dict[str, Any]], done: dict[str, float], n_seeds: int
) -> list[dict[str, Any]]:
    """A row for each relation with a training: its lift, and its worth over the common seeds."""
    rows = []
    for dataset, card in cards.items():
        for each in card["relations"]:
            worths = []
            for seed in range(1, n_seeds + 1):
                alone, without = (
                    done.get(Training(dataset, relation, seed).key)
                    for relation in (each["relation"], NO_GRAPH)
                )
                if alone is not None and without:
                    worths.append(alone / without - 1)
            if worths:
                rows.append(
                    {
                        "dataset": dataset,
                        "relation": each["relation"],
                        "covered": each["items"] / card["items"],
                        **{name: each["lift"][name] for name in ("lift", "low", "high")},
                        "worth": mean(worths),
                        "least": min(worths),
                        "most": max(worths),
                        "seeds": len(worths),
                    }
                )
    return rows


def correlation(lifts: Sequence[float], worths: Sequence[float]) -> dict[str, Any]:
    """Spearman's rank correlation, its n and 95 % interval, and whether that decides anything.

    With fewer than `MIN_POINTS` points it is undecided, whatever it is.
    """
    n = len(lifts)
    if n < 3:
        return {"n": n, "correlation": None, "low": None, "high": None, "verdict": "undecided"}
    pairs = np.array([lifts, worths], dtype=np.float64)
    drawn = pairs[:, np.random.default_rng(0).integers(n, size=(N_DRAWS, n))]
    ranks = rankdata(drawn, axis=-1) - (n + 1) / 2
    with np.errstate(invalid="ignore"):  # a draw of one relation alone
        found = (ranks[0] * ranks[1]).sum(1) / np.sqrt((ranks**2).sum(2).prod(0))
    low, high = np.nanquantile(found, [0.025, 0.975])
    verdict = "undecided"
    if n >= MIN_POINTS and (low > 0 or high < 0):
        verdict = "predicts" if low > 0 else "contradicts"
    value = float(spearmanr(*pairs).statistic)
    return {
        "n": n,
        "correlation": value,
        "low": float(low),
        "high": float(high),
        "verdict": verdict,
    }


def within(sets: Sequence[str], values: Sequence[float]) -> list[float]:
    """The rank of each value among those of its set, between 0 and 1."""
    groups, found = np.array(sets), np.array(values, dtype=np.float64)
    for name in set(sets):
        found[groups == name] = rankdata(found[groups == name]) / ((groups == name).sum() + 1)
    ranks: list[float] = found.tolist()
    return ranks


def summary(record: dict[str, Any], n_seeds: int) -> str:
    """The record as text: links, relations, correlations."""
    lines = ["links: matched of all items, right of those with a known pair"]
    for row in record["links"]:
        share = f"{row['right']:,} of {row['matched_with_a_known_pair']:,} ({row['precision']:.1%})"
        lines.append(f"  {row['what']}: {row['matched']:,} of {row['items']:,}; {share} right")
    rows = points(record["cards"], record["trainings"], n_seeds)
    lines += ["", f"{'relation':42} covered  lift (95 %)          worth (least to most)"]
    for row in sorted(rows, key=lambda row: -row["worth"]):
        interval = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
        worth = f"{row['worth']:+.1%} ({row['least']:+.1%} to {row['most']:+.1%}, {row['seeds']})"
        name = f"{row['dataset']} {row['relation']}"
        lines.append(f"{name:42} {row['covered']:6.0%}  {row['lift']:.2f}{interval:17} {worth}")
    lifts, worths = ([row[name] for row in rows] for name in ("lift", "worth"))
    spread = [(row["lift"] - 1) * row["covered"] for row in rows]
    sets = [row["dataset"] for row in rows]
    pairs = {
        "lift and worth": (lifts, worths),
        "(lift - 1) x items covered and worth": (spread, worths),
        "lift and worth within each set": (within(sets, lifts), within(sets, worths)),
    }
    for name, pair in pairs.items():
        found = correlation(*pair)
        text = f"n = {found['n']}"
        if found["correlation"] is not None:
            text = (
                f"{found['correlation']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}], {text}"
            )
        lines.append(f"rank correlation of {name}: {text}: {found['verdict']}")
    return "\n".join(lines)


def main() -> None:
    """Trains what is missing, keeps each result, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, action="append", dest="sets")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    folder, data = options.folder.resolve(), options.data.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    out = options.out or folder / "graph_card.json"
    record: dict[str, Any] = {"links": [], "cards": {}, "trainings": {}}
    if out.is_file():
        record = json.loads(out.read_text())
        if record["epochs"] != options.epochs:
            parser.error(f"{out} holds trainings of {record['epochs']} epochs: another --out")
    record |= {"epochs": options.epochs, "machine": machine_words(), "commit": package_commit()}

    def keep() -> None:
        part = out.with_name(f"{out.name}.part")
        part.write_text(json.dumps(record, indent=2) + "\n")
        part.replace(out)

    if not options.table:
        record["links"] = record["links"] or link_counts(data)
        for dataset in options.sets or SETS:
            prepare_whole(folder, dataset, data)
            if dataset not in record["cards"]:
                record["cards"][dataset] = json.loads(kgrec(folder, "graph", dataset, "--json"))
                keep()
        run_missing(record, folder, data, options, keep)
    print(summary(record, options.seeds))


def run_missing(
    record: dict[str, Any],
    folder: Path,
    data: Path,
    options: argparse.Namespace,
    keep: Callable[[], None],
) -> None:
    """Trains what the record lacks, so many at a time; each result is kept when it is there."""
    cards = {name: record["cards"][name] for name in options.sets or SETS}
    missing = [each for each in wanted(cards, options.seeds) if each.key not in record["trainings"]]
    for dataset, relation in dict.fromkeys((each.dataset, each.relation) for each in missing):
        if relation != NO_GRAPH:
            prepare_alone(folder, dataset, relation, cards[dataset], data)
    has_failed = Event()

    def train_one(training: Training) -> float:
        if has_failed.is_set():
            raise CancelledError
        try:
            return train(folder, training, options.epochs)
        except BaseException:
            has_failed.set()  # before this thread takes the next one
            raise

    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(train_one, each): each for each in missing}
        try:
            for n, future in enumerate(as_completed(futures), start=1):
                record["trainings"][futures[future].key] = future.result()
                keep()
                print(f"{n} of {len(missing)}: {futures[future].key}", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    main()
