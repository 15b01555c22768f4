"""How well does each system rank? Trains what is missing, writes benchmarks/results/ml-100k.json.

    make parity                        # once: RecBole's virtual environment and its bundled ml-100k
    .venv/bin/python -m benchmarks.accuracy.results --data DATA --folder FOLDER [--set ml-100k]
        [--rows "NAME;NAME"] [--seeds 2020] [--recbole 2020] [--jobs 1]

DATA, FOLDER and RecBole's training as for `benchmarks.accuracy.against_recbole`, whose folder and
data sets these are: leave-one-out, every system on the 1,598 items that RecBole's links name.
RecBole reads its own links, kgrec the repaired ones. Each of our runs is a plain `kgrec train`, 4
to 8 minutes of one core; RecBole's takes 50 to 70. What is there already is kept; `--rows` trains
some rows, and all that are there are measured. Differences are those of `kgrec compare`; without
RecBole's row there are none.
"""

import argparse
import json
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import mean

from benchmarks.accuracy.against_recbole import recbole_run, write_datasets
from benchmarks.accuracy.study import prepare
from benchmarks.accuracy.trainings import COMMIT, kgrec, train_all
from benchmarks.record import (
    BEST,
    DEFAULT,
    GRU4REC,
    ITEM_KNN,
    POPULARITY,
    RECBOLE,
    SYSTEMS,
    Results,
    Row,
    Views,
    machine_words,
    package_commit,
    recbole_version,
    write_results,
)
from kgrec_cli import __version__
from kgrec_cli.runs.run_dir import is_finished
from kgrec_cli.runs.run_files import ITEMS, MODEL

VIEWS = ("test_masked", "test")
BASELINES = {POPULARITY: "Pop", ITEM_KNN: "ItemKNN"}
TRAINED = {
    GRU4REC: ["--dataset", "bundled", "--model", "GRU4Rec"],
    DEFAULT: ["--dataset", "repaired"],
    BEST: ["--dataset", "repaired", "--preset", "best"],
}
COMMAND = "python -m benchmarks.accuracy.results --data DATA --folder FOLDER"


def train_rows(options: argparse.Namespace, folder: Path, names: Sequence[str]) -> None:
    """Trains what is missing of some rows."""
    if RECBOLE in names:
        for seed in options.recbole:
            recbole_run(folder, seed)
    wanted = [
        (f"{name}/{seed}", [*TRAINED[name], "--seed", str(seed)])
        for name in names
        if name in TRAINED
        for seed in options.seeds
    ]
    if wanted:
        train_all(folder, wanted, options.jobs)


def finished_runs(folder: Path) -> dict[str, list[str]]:
    """The runs of each row that are there, one a seed, from the folder."""
    found = {}
    for name in SYSTEMS:
        saved = folder / "saved" / ("recbole" if name == RECBOLE else name)
        runs = [run for run in sorted(saved.glob("*/*")) if is_finished(run)]
        if runs:
            found[name] = [str(run.relative_to(folder)) for run in runs]
    return found


def evaluate(folder: Path, run: str) -> Views:
    """What `kgrec evaluate` measures of a run: views of metrics, and its baselines."""
    told: Views = json.loads(kgrec(folder, "evaluate", run, "--threads", "1", "--json"))
    return told


def compare(folder: Path, runs: dict[str, list[str]]) -> dict[str, Views]:
    """Each row's differences to RecBole, by `kgrec compare`; a row's seeds are one side of it."""
    if RECBOLE not in runs or len(runs) < 2:
        return {}
    all_runs = [run for of_row in runs.values() for run in of_row]
    told = json.loads(kgrec(folder, "compare", *all_runs, "--threads", "1", "--json"))
    row_of = {run: name for name, of_row in runs.items() for run in of_row}
    return {
        row_of[side["runs"][0]]: {view: pair["differences"][view] for view in VIEWS}
        for side, pair in zip(told["runs"][1:], told["pairs"], strict=True)
    }


def mean_views(measured: Sequence[Views]) -> Views:
    """The metrics of several seeds, averaged."""
    return {
        view: {name: mean(each[view][name] for each in measured) for name in measured[0][view]}
        for view in VIEWS
    }


def baseline_row(name: str, evaluated: Views) -> Row:
    """A baseline, as `kgrec evaluate` measured it beside a run."""
    return Row(
        name=name,
        system=f"kgrec {__version__}",
        command="kgrec evaluate",
        seeds=[],
        metrics=mean_views([evaluated["baselines"][BASELINES[name]]]),
        differences=None,
        commit=package_commit(),
        date=f"{date.today()}",
        threads=1,
    )


def trained_row(
    name: str, run_dirs: Sequence[Path], measured: Sequence[Views], differences: Views | None
) -> Row:
    """A row that was trained, by its runs and what was measured of each."""
    seeds = [int(run_dir.parent.name) for run_dir in run_dirs]
    numbers = " ".join(map(str, seeds))
    commit_path = run_dirs[0].parent / COMMIT
    written = max((run_dir / MODEL).stat().st_mtime for run_dir in run_dirs)
    system, command = f"kgrec {__version__}", " ".join(["kgrec train", *TRAINED.get(name, ())])
    command += f" --seed {numbers}"
    if name == RECBOLE:
        system, command = f"RecBole {recbole_version()}", f"{COMMAND} --recbole {numbers}"
    return Row(
        name=name,
        system=system,
        command=command,
        seeds=seeds,
        metrics=mean_views(measured),
        differences=differences,
        commit=commit_path.read_text().strip() if commit_path.is_file() else None,
        date=f"{date.fromtimestamp(written)}",
        threads=1,
    )


def make_rows(folder: Path, runs: dict[str, list[str]]) -> list[Row]:
    """Measures the runs, and the baselines beside the last of them.

    Not beside RecBole's: there popularity counts as RecBole counts it.
    """
    evaluated = {run: evaluate(folder, run) for of_row in runs.values() for run in of_row}
    *_, last = evaluated.values()
    differences = compare(folder, runs)
    return [
        baseline_row(name, last)
        if name in BASELINES
        else trained_row(
            name,
            [folder / run for run in runs[name]],
            [evaluated[run] for run in runs[name]],
            differences.get(name),
        )
        for name in SYSTEMS
        if name in BASELINES or name in runs
    ]


def main() -> None:
    """Trains what is missing, measures, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--set", choices=["ml-100k"], default="ml-100k")
    parser.add_argument("--rows", help="names, separated by semicolons; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020], help="ours")
    parser.add_argument("--recbole", type=int, nargs="+", default=[2020], help="its seeds")
    parser.add_argument("--jobs", type=int, default=1, help="our runs trained at a time")
    options = parser.parse_args()
    names = options.rows.split(";") if options.rows else list(SYSTEMS)
    if unknown := set(names) - set(SYSTEMS):
        parser.error(f"no row {min(unknown)!r}; expected some of: {'; '.join(SYSTEMS)}")
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = options.folder.resolve() / "against-recbole"
    folder.mkdir(parents=True, exist_ok=True)
    prepare(options.set, options.data.resolve(), folder.parent)
    write_datasets(folder.parent / "dataset" / options.set, folder)
    train_rows(options, folder, names)
    runs = finished_runs(folder)
    if not runs:
        parser.error(f"{folder}: no finished run; the baselines are measured beside one")
    one_run = folder / next(iter(runs.values()))[0]
    events = (folder / "dataset/bundled/bundled.inter").read_text().splitlines()[1:]
    results = Results(
        dataset=options.set,
        protocol="leave-one-out, ranked among all items",
        item_set="the items that RecBole's links name",
        n_items=len((one_run / ITEMS).read_text().splitlines()) - 1,
        n_users=len({event.split("\t")[0] for event in events}),
        command=COMMAND,
        machine=machine_words(),
        rows=make_rows(folder, runs),
    )
    print(f"wrote {write_results(results)}")


if __name__ == "__main__":
    main()
