"""What does a warm start save, and what does it cost? See docs/daily_updates.md.

    .venv/bin/python -m benchmarks.accuracy.warm_start --data DATA --folder FOLDER
        [--set ml-latest-small] [--seeds 3] [--preset small] [--also NAME=VALUE ...] [--record]
    .venv/bin/python -m benchmarks.accuracy.warm_start --table

DATA as for `benchmarks.accuracy.link_check`. Yesterday's data set has the first 80 % of the events
in time, today's all of them; the graph and its vectors are the same. A run of yesterday's is
trained once a seed. Then today's test targets (the last event of each user, full ranking, seen
items masked) are ranked by: the old weights as they are, a warm start with early stopping, one of
two epochs, and a training from scratch. One thread each. A run that is there already is kept.
`--record` writes benchmarks/results/warm_start.json; `--table` shows that file as the page does.
"""

import argparse
import json
import shutil
from datetime import date
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import polars as pl

from benchmarks.accuracy.study import prepare
from benchmarks.accuracy.trainings import kgrec, trained
from benchmarks.record import RESULTS_DIR, package_commit
from kgrec_cli.formats.files import read_json, write_json

RESULT = RESULTS_DIR / "warm_start.json"
SHARE = 0.8
METRIC = "ndcg@10"
ANEW = "from scratch"
KEPT = "the old weights, not trained"
METHODS = {
    KEPT: ["--learning-rate", "1e-30", "--epochs", "1"],
    "warm start": [],
    "warm start, 2 epochs": ["--epochs", "2"],
    ANEW: [],
}
GROUPS = {
    "all users": pl.lit(True),
    "users with new events": pl.col("is_active"),
    "of them, a new item": pl.col("is_active") & pl.col("is_new_item"),
}


def split_by_time(today: Path, yesterday: Path) -> dict[str, int]:
    """Copies a data set, of its events the first 80 % in time; returns what is new in the rest."""
    yesterday.mkdir(parents=True, exist_ok=True)
    for path in today.glob(f"{today.name}.*"):
        if path.suffix != ".inter":
            shutil.copy(path, yesterday / path.name.replace(today.name, yesterday.name, 1))
    head, *rows = (today / f"{today.name}.inter").read_text().splitlines()
    times = [float(row.split("\t")[column(head, "timestamp")]) for row in rows]
    cut = sorted(times)[round(SHARE * len(times))]
    old = [row for row, time in zip(rows, times, strict=True) if time < cut]
    new = [row for row, time in zip(rows, times, strict=True) if time >= cut]
    (yesterday / f"{yesterday.name}.inter").write_text("\n".join([head, *old, ""]))
    counts = {"events": len(new)}
    for name in ("user_id", "item_id"):
        before, after = (
            {row.split("\t")[column(head, name)] for row in part} for part in (old, new)
        )
        counts[f"{name.removesuffix('_id')}s"] = len(after - before)
        counts[f"all_{name.removesuffix('_id')}s"] = len(after | before)
    return counts


def column(head: str, name: str) -> int:
    """The place of a column in an atomic file."""
    return [field.partition(":")[0] for field in head.split("\t")].index(name)


def measure(folder: Path, run: str, today: str, yesterday: str) -> dict[str, float]:
    """The masked metric of today's test targets by group, and how many each group has."""
    path = folder / run / "per_user.parquet"
    kgrec(folder, "evaluate", run, "--no-baselines", "--per-user", str(path.resolve()))
    table = pl.read_parquet(path)
    events = {
        name: pl.read_csv(
            folder / "dataset" / name / f"{name}.inter", separator="\t", infer_schema=False
        )
        for name in (today, yesterday)
    }
    old_items = events[yesterday]["item_id:token"].unique()
    n_today, n_before = (
        events[name]["user_id:token"].value_counts() for name in (today, yesterday)
    )
    joined = n_today.join(n_before, "user_id:token", how="left", suffix="_before").with_columns(
        is_active=pl.col("count") > pl.col("count_before").fill_null(0)
    )
    table = table.join(joined, left_on="user", right_on="user_id:token").with_columns(
        is_new_item=~pl.col("item").is_in(old_items.implode()),
        value=pl.when(pl.col("rank_masked") <= 10)
        .then(1 / (pl.col("rank_masked") + 1).log(2))
        .otherwise(0.0),
    )
    groups = {name: table.filter(chosen)["value"] for name, chosen in GROUPS.items()}
    return {name: float(values.mean()) for name, values in groups.items() if len(values)} | {  # type: ignore[arg-type]
        f"n {name}": len(values) for name, values in groups.items()
    }


def run_seed(options: argparse.Namespace, settings: list[str], seed: int) -> dict[str, Any]:
    """By method: the metric by group, epochs, seconds of training."""
    folder, today = options.folder, options.set
    yesterday = f"{today}-yesterday"
    prefix = "-".join([options.preset or "default", *options.also, f"seed{seed}"])
    common = ["--seed", str(seed)]
    old = trained(folder, f"{yesterday}-{prefix}", "--dataset", yesterday, *settings, *common)
    found = {}
    for name, more in METHODS.items():
        arguments = ["--dataset", today, *common, *more]
        arguments += settings if name == ANEW else ["--from", old]
        run = trained(
            folder, f"{today}-{prefix}-{'-'.join(name.replace(',', '').split())}", *arguments
        )
        training = read_json(folder / run / "metrics.json")["training"]
        found[name] = {
            "epochs": training["epochs"],
            "train_s": training["train_s"],
            METRIC: measure(folder, run, today, yesterday),
        }
        print(f"{prefix}, {name}: {found[name]}", flush=True)
    return found


def summary(by_seed: list[dict[str, Any]]) -> dict[str, Any]:
    """By method: means over the seeds, and the standard deviation of the metric of all users."""
    methods = {}
    for name in METHODS:
        rows = [of_seed[name] for of_seed in by_seed]
        values = {group: mean(row[METRIC][group] for row in rows) for group in rows[0][METRIC]}
        everyone = [row[METRIC]["all users"] for row in rows]
        methods[name] = {
            "epochs": mean(row["epochs"] for row in rows),
            "train_s": mean(row["train_s"] for row in rows),
            METRIC: values,
            "sd": stdev(everyone) if len(everyone) > 1 else None,
        }
    return methods


def page_table(results: dict[str, Any]) -> str:
    """The Markdown tables of the page, one for each data set and settings."""
    tables = []
    for key, part in results.items():
        n_seeds, counts = len(part["seeds"]), part["methods"][ANEW][METRIC]
        seeds, new = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds", part["new"]
        news = f"{new['events']:,} events, {new['users']} users and {new['items']} items"
        lines = [
            f"{key}; {seeds}. New today: {news}.",
            "",
            "| weights | epochs | NDCG@10 | users with new events | of them, a new item |",
            "|---|---|---|---|---|",
            "| | | " + " | ".join(f"n = {counts[f'n {group}']:.0f}" for group in GROUPS) + " |",
        ]
        for name, row in part["methods"].items():
            values = " | ".join(f"{row[METRIC][group]:.4f}" for group in GROUPS)
            epochs = 0 if name == KEPT else row["epochs"]
            lines.append(f"| {name} | {epochs:g} | {values} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def main() -> None:
    """Reads the options; trains, measures, records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--set", default="ml-latest-small", choices=("ml-100k", "ml-latest-small"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset")
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(page_table(read_json(RESULT)))
        return
    if options.data is None or options.folder is None:
        parser.error("--data and --folder are needed")
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options.set, options.data.resolve(), options.folder)
    dataset_dir = options.folder / "dataset"
    new = split_by_time(dataset_dir / options.set, dataset_dir / f"{options.set}-yesterday")
    settings = ["--preset", options.preset] if options.preset else []
    settings += [f"--set={setting}" for setting in options.also]
    seeds = list(range(1, options.seeds + 1))
    methods = summary([run_seed(options, settings, seed) for seed in seeds])
    named = [f"--preset {options.preset}" if options.preset else "defaults", *options.also]
    key = ", ".join([options.set, *named])
    part = {
        "new": new,
        "seeds": seeds,
        "commit": package_commit(),
        "date": date.today().isoformat(),
        "methods": methods,
    }
    print(json.dumps(part, indent=2))
    if options.record:
        write_json(RESULT, (read_json(RESULT) if RESULT.is_file() else {}) | {key: part})


if __name__ == "__main__":
    main()
