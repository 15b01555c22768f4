"""What is the knowledge graph worth, and each option? See docs/studies/2026-11-accuracy.md.

    .venv/bin/python -m benchmarks.accuracy.study --data DATA --folder FOLDER [--set ml-100k]
        [--against ROW] [--rows "NAME;NAME"] [--seeds 5] [--jobs 2] [--epochs 150]
        [--also NAME=VALUE ...] [--table]

DATA as for `benchmarks.accuracy.link_check`. Leave-one-out, full ranking, the best epoch of each
run chosen by validation NDCG@10, seed 1 and on, one thread each. A run that is there already is
kept, one that was stopped goes on; `--table` shows what there is and trains nothing. Writes
FOLDER/SET.json.
"""

import argparse
import json
import shutil
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.accuracy.options import LOSSES, MODELS
from benchmarks.accuracy.trainings import kgrec, train_all
from benchmarks.beauty import BEAUTY, write_beauty
from kgrec_cli.core.linking.oddities import same_relations
from kgrec_cli.formats.atomic import read_atomic, write_atomic
from kgrec_cli.runs.run_dir import is_finished
from kgrec_cli.settings import PRESETS
from kgrec_cli.stages.prepare.write import KG_TYPES

BEST = [f"{name}={json.dumps(value)}" for name, value in PRESETS["small"].items()]
NOT_AVERAGED = ["ema_decay=0"]
NO_LAYER_NORM = ["layer_norm=false"]
NO_KG_ITEMS = ["kg_items=false"]
HIDDEN_DROPOUT = ["hidden_dropout_prob=0.3"]
LARGE = [
    *BEST,
    *NO_LAYER_NORM,
    *NO_KG_ITEMS,
    *("hidden_size=256", "embedding_size=128", "MAX_ITEM_LIST_LENGTH=100", "learning_rate=0.002"),
    *HIDDEN_DROPOUT,
    "dropout_prob=0.3",
]
SETS = ("ml-100k", "ml-1m", "ml-latest-small")
METHODS = ("RotatE", "ComplEx", "DistMult")
VECTORS = {
    **{method: ["--method", method] for method in METHODS},
    "metadata-one-epoch": ["--epochs", "1", "--validate"],
    "metadata-validated": ["--validate"],
    "metadata-ComplEx": ["--method", "ComplEx", "--validate"],
}
"""Variants of a data set that differ in the entity vectors alone: how these are trained."""


class Row(NamedTuple):
    """One configuration.

    Attributes:
        variant: Which variant of the data set it reads.
        settings: What differs from the defaults.
        option: One of `benchmarks.accuracy.options`.
    """

    variant: str
    settings: list[str]
    option: str | None = None


ROWS = {
    "no KG": Row("", ["model=GRU4Rec"]),
    "zero vectors": Row("-zeros", []),
    "random vectors": Row("-random", []),
    "RecBole's links": Row("-recbole", []),
    "metadata KG": Row("-metadata", []),
    "KG": Row("", []),
    "KG, trained": Row("", ["freeze_kg=false"]),
    "KG, seen_bias": Row("", ["seen_bias=true"]),
    "KG, shuffle_ties": Row("", ["shuffle_ties=true"]),
    "KG, kg_items": Row("", ["kg_items=true"]),
    "KG, hidden dropout 0.3": Row("", HIDDEN_DROPOUT),
    "KG, histories of 200": Row("", ["MAX_ITEM_LIST_LENGTH=200"]),
    "no KG, best": Row("", ["model=GRU4Rec", *BEST]),
    "no KG, best, hidden dropout 0.3": Row("", ["model=GRU4Rec", *BEST, *HIDDEN_DROPOUT]),
    "zero vectors, best": Row("-zeros", BEST),
    "random vectors, best": Row("-random", BEST),
    "random vectors, best, no kg_items": Row("-random", [*BEST, *NO_KG_ITEMS]),
    "RecBole's links, best": Row("-recbole", BEST),
    "metadata KG, best": Row("-metadata", BEST),
    "metadata KG, best, no kg_items": Row("-metadata", [*BEST, *NO_KG_ITEMS]),
    "metadata KG without tags, best": Row("-untagged", BEST),
    "both KGs, best": Row("-both", BEST),
    "best": Row("", BEST),
    "best, ties in the file's order": Row("", [*BEST, "shuffle_ties=false"]),
    "best, seen items not told apart": Row("", [*BEST, "seen_bias=false"]),
    "best, hidden dropout 0.3": Row("", [*BEST, *HIDDEN_DROPOUT]),
    "best, no kg_items": Row("", [*BEST, *NO_KG_ITEMS]),
    "best, trained": Row("", [*BEST, "freeze_kg=false"]),
    "best, histories of 200": Row("", [*BEST, "MAX_ITEM_LIST_LENGTH=200"]),
    "best, one direction": Row("-one-direction", BEST),
    **{f"best, {method}": Row(f"-{method}", BEST) for method in METHODS},
    "best, cosines": Row("", [*BEST, "similarity=cosine"]),
    **{f"best, {option}": Row("", BEST, option) for option in [*MODELS, *LOSSES]},
    "no KG, best, no layer norm": Row("", ["model=GRU4Rec", *BEST, *NO_LAYER_NORM]),
    "best, no layer norm": Row("", [*BEST, *NO_LAYER_NORM]),
    "best, weights not averaged": Row("", [*BEST, *NOT_AVERAGED]),
    "no KG, large": Row("", ["model=GRU4Rec", *LARGE]),
    "no KG, large, weights not averaged": Row("", ["model=GRU4Rec", *LARGE, *NOT_AVERAGED]),
    "no KG, large, layer norm": Row("", ["model=GRU4Rec", *LARGE, "layer_norm=true"]),
    "no KG, large, no hidden dropout": Row("", ["model=GRU4Rec", *LARGE, "hidden_dropout_prob=0"]),
    "large": Row("", LARGE),
    "large, kg_items": Row("", [*LARGE, "kg_items=true"]),
}


def prepare(name: str, data: Path, folder: Path) -> None:
    """The data set of a name (ml-100k, ml-100k-metadata, ...) and its entity vectors."""
    dataset_dir = folder / "dataset" / name
    made_last = "prepare.json" if name == "beauty" else f"{name}.ent_feature"
    if (dataset_dir / made_last).is_file():
        return
    if name == "beauty":
        write_beauty(data, folder)
        kgrec(folder, "prepare", name, *BEAUTY)
        return
    (base,) = (base for base in SETS if name.startswith(base))
    freebase, dbpedia = data / "freebase", data / "ml-1m-dbpedia"
    by_id: dict[str, Path | str] = {
        "kg": freebase / "ml-100k.kg.gz",
        "links": freebase / "ml2fb.txt",
    }
    by_title = {**by_id, "catalog": data / "ml-1m" / "movies.dat"}
    sources: dict[str, dict[str, Path | str]] = {
        "ml-100k": by_title,
        "ml-100k-both": by_title,
        "ml-100k-recbole": {**by_id, "links": freebase / "ml-100k.recbole.link"},
        "ml-100k-metadata": {"kg": "metadata"},
        "ml-1m": {
            "kg": dbpedia / "triples.tsv.gz",
            "links": dbpedia / "MappingMovielens2DBpedia-1.2.tsv",
        },
        "ml-latest-small": by_id,
        "ml-latest-small-both": by_id,
        "ml-latest-small-metadata": {"kg": "metadata"},
    }
    variant = ""
    if name in sources:
        of_base: dict[str, Path | str] = {"raw": data / base}
        if base == "ml-1m":
            of_base = {
                "raw": data / base / "interactions_ordered.tsv.gz",
                "items": data / base / "movies.dat",
                "time-col": "position",
            }
        options = [f"--{key}={value}" for key, value in (of_base | sources[name]).items()]
        options += ["--add-metadata"] if name.endswith("-both") else []
        kgrec(folder, "prepare", name, *options)
    else:
        variant = name.removeprefix(f"{base}-")
        of_metadata = variant == "untagged" or variant.startswith("metadata-")
        source = f"{base}-metadata" if of_metadata else base
        prepare(source, data, folder)
        vary(folder / "dataset" / source, dataset_dir, variant)
    if not (dataset_dir / f"{name}.ent_feature").is_file():
        how = VECTORS.get(variant, [])
        kgrec(folder, "pretrain-kg", "--dataset", name, "--threads", "2", *how)


def vary(source: Path, target: Path, variant: str) -> None:
    """A copy of a data set with another graph or other vectors."""
    target.mkdir(parents=True, exist_ok=True)
    for suffix in ("inter", "item", "user", "kg", "link"):
        if (source / f"{source.name}.{suffix}").is_file():
            shutil.copy(source / f"{source.name}.{suffix}", target / f"{target.name}.{suffix}")
    if "zeros" in variant or "random" in variant:
        _write_vectors(source, target, variant)
    elif variant not in VECTORS:
        kg = target / f"{target.name}.kg"
        triples = read_atomic(kg, list(KG_TYPES))
        left_out = ["has_tag"]
        if variant == "one-direction":
            left_out = [second for _, second in same_relations(triples.unique())[0]]
        kept = triples.filter(~pl.col("relation_id").is_in(left_out))
        write_atomic(kg, kept, KG_TYPES)


def _write_vectors(source: Path, target: Path, variant: str) -> None:
    """Zeros, or random vectors as long as the source's: draw N of `random-N`, 0 of `random`."""
    head, *lines = (source / f"{source.name}.ent_feature").read_text().splitlines()
    _, is_random, draw = variant.partition("random")
    rng, written = np.random.default_rng(int(draw.removeprefix("-") or 0)), [head]
    for line in lines:
        token, _, numbers = line.partition("\t")
        vector = np.array(numbers.split(" "), dtype=float)
        drawn = rng.standard_normal(len(vector)) if is_random else np.zeros(len(vector))
        drawn *= float(np.linalg.norm(vector)) / max(float(np.linalg.norm(drawn)), 1e-9)
        written.append(f"{token}\t{' '.join(f'{number:.6g}' for number in drawn)}")
    (target / f"{target.name}.ent_feature").write_text("\n".join(written) + "\n")


def train(options: argparse.Namespace, chosen: dict[str, Row]) -> None:
    """Trains what is missing, the first seed of every row first."""
    wanted, put_in = [], {}
    for seed in range(1, options.seeds + 1):
        for name, row in chosen.items():
            dataset = f"{options.set}{row.variant}"
            arguments = ["--dataset", dataset, "--seed", str(seed)]
            common = [f"epochs={options.epochs}", "stopping_step=20"]
            settings = [*common, *row.settings, *options.also]
            arguments += [part for setting in settings for part in ("--set", setting)]
            wanted.append((f"{options.set}/{name}/{seed}", arguments))
            if row.option:
                put_in[wanted[-1][0]] = row.option
    train_all(options.folder, wanted, options.jobs, put_in)


def finished(folder: Path, of_set: str, name: str) -> list[str]:
    """The runs of a row that are there."""
    runs = sorted((folder / "saved" / of_set / name).glob("*/*"))
    return [str(run.relative_to(folder)) for run in runs if is_finished(run)]


def measure(options: argparse.Namespace, chosen: dict[str, Row]) -> dict[str, Any]:
    """What the runs that are there reached, and each row's paired difference to `--against`."""
    folder, of_set = options.folder, options.set
    reference, report = finished(folder, of_set, options.against), {}
    for name in chosen:
        runs = finished(folder, of_set, name)
        if not runs:
            continue
        told = [json.loads((folder / run / "metrics.json").read_text()) for run in runs]
        values = {
            view: [metrics[view]["ndcg@10"] for metrics in told]
            for view in ("valid", "test", "test_masked")
        }
        epochs = [metrics["training"]["best_epoch"] for metrics in told]
        report[name] = {"ndcg@10": values, "best_epochs": epochs}
        options_of_both = {ROWS[row].option for row in (name, options.against)} - {None}
        if name != options.against and reference and len(options_of_both) < 2:
            option = next(iter(options_of_both), None)
            compared = json.loads(
                kgrec(folder, "compare", *reference, *runs, "--json", option=option)
            )
            (pair,) = compared["pairs"]  # one: a row's runs differ in the seed alone
            report[name]["against"] = pair["differences"]
    return report


def show(report: dict[str, Any], against: str) -> None:
    """The table in Markdown: mean over seeds, spread of the seeds, difference to a row."""
    print(f"| row | seeds | valid | test | masked | test, less '{against}' | masked, less |")
    print("|---|---|---|---|---|---|---|")
    for name, row in report.items():
        cells = [name, str(len(row["best_epochs"]))]
        for values in row["ndcg@10"].values():
            spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.4f}{spread}")
        for view in ("test", "test_masked"):
            found = row.get("against", {}).get(view, {}).get("ndcg@10")
            cells.append(
                f"{found['difference']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f}, "
                f"p {found['p_value']:.3g})"
                if found
                else ""
            )
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Trains, measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, default="ml-100k")
    parser.add_argument("--against", choices=ROWS, default="KG", help="the row to compare with")
    parser.add_argument("--rows", help="names, separated by semicolons; default: all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="runs trained at a time")
    parser.add_argument("--epochs", type=int, default=150, help="at most")
    parser.add_argument("--also", nargs="*", default=[], help="settings of every run")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    names = options.rows.split(";") if options.rows else list(ROWS)
    if unknown := set(names) - set(ROWS):
        parser.error(f"no row {min(unknown)!r}; expected some of: {'; '.join(ROWS)}")
    chosen = {name: ROWS[name] for name in names}
    options.folder.mkdir(parents=True, exist_ok=True)
    if not options.table:
        for variant in dict.fromkeys(row.variant for row in chosen.values()):
            prepare(f"{options.set}{variant}", options.data.resolve(), options.folder)
        train(options, chosen)
    report = measure(options, ROWS)
    show(report, options.against)
    (options.folder / f"{options.set}.json").write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
