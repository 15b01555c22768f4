"""How well does each system rank? Trains what is missing, writes benchmarks/results/PLAN.json.

    make parity    # once, for the rows of RecBole and RecTools: their virtual environments
    .venv/bin/python -m benchmarks.accuracy.results --data DATA --folder FOLDER [--plan ml-100k]
        [--rows "NAME;NAME"] [--seeds 2020 2021] [--recbole 2020] [--limit-cpu-s 3600] [--table]

DATA as for `benchmarks.accuracy.link_check`. `plans.py` says what each plan trains and compares.
Each of our runs is a plain `kgrec train` on one thread, 2 to 5 minutes of one core; RecBole's
models take 55 to 250 CPU-seconds an epoch, those of RecTools 8 and more. What is there already is
kept, and a training of ours that was stopped goes on; `--table` trains nothing. All that is there
is measured, by one evaluator: models of others as the scores that they give. Rows and seeds that
FOLDER does not have stay as they were measured: `by_user` keeps them. Intervals draw users and
seeds (`kgrec_cli.core.evaluation.bootstrap`); p is corrected for all differences of the file, by
Holm.
"""

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.by_user import (
    CUTOFF,
    METRIC,
    VIEWS,
    Seeds,
    read_by_user,
    seed_of,
    write_by_user,
)
from benchmarks.accuracy.plans import MASKED, PLANS, POPULARITY, Plan, Rival, Step
from benchmarks.accuracy.rivals import (
    rival_score,
    told_of,
    train_rival,
    train_rival_of_rectools,
)
from benchmarks.accuracy.study import prepare
from benchmarks.accuracy.trainings import COMMIT, train_all
from benchmarks.record import (
    Change,
    Results,
    Row,
    machine_words,
    package_commit,
    read_results,
    recbole_version,
    write_results,
)
from benchmarks.rectools_side.run import rectools_version
from kgrec_cli import __version__
from kgrec_cli.config import build_settings, narrow
from kgrec_cli.core.data.splits import Split, item_popularity
from kgrec_cli.core.evaluation.baselines import measure_baseline
from kgrec_cli.core.evaluation.bootstrap import holm, paired_differences
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.events import ignore_event
from kgrec_cli.formats.files import read_json
from kgrec_cli.runs.held_out import evaluation_settings, load_held_out
from kgrec_cli.runs.run_dir import is_finished
from kgrec_cli.runs.run_files import MODEL
from kgrec_cli.setting_blocks import METRICS

COMMAND = "python -m benchmarks.accuracy.results --data DATA --folder FOLDER --plan {}"


def changes_of(steps: list[Step], rows: Mapping[str, Seeds]) -> list[Change]:
    """The differences of rows that are there, with Holm's p over all of them."""
    found = []
    for step in steps:
        if step.row not in rows or step.less not in rows:
            continue
        row, less = rows[step.row], rows[step.less]
        row.check(less)
        first, other = less.values[step.less_view], row.values[step.view]
        if step.row == step.less:  # two views of the same seeds
            first, other = np.zeros((1, first.shape[1])), other - first
        (difference,) = paired_differences(first[..., None], other[..., None], row.n_targets)
        n_seeds = [len(row.values[MASKED]), len(less.values[MASKED])]
        found.append((step, n_seeds, difference))
    corrected = holm([difference.p_value for *_, difference in found])
    return [
        Change(
            words=step.words,
            row=step.row,
            view=step.view,
            less=step.less,
            less_view=step.less_view,
            n_seeds=n_seeds,
            difference=difference.difference,
            low=difference.low,
            high=difference.high,
            p_value=difference.p_value,
            p_holm=p_holm,
        )
        for (step, n_seeds, difference), p_holm in zip(found, corrected, strict=True)
    ]


def row_of(name: str, seeds: Seeds, numbers: list[int], **told: Any) -> Row:
    """A row, by its seeds."""
    intervals = {}
    for view in VIEWS:
        values = seeds.values[view][..., None]
        (own,) = paired_differences(np.zeros_like(values[:1]), values, seeds.n_targets)
        intervals[view] = [own.low, own.high]
    shown = f"{METRIC.lower()}@{CUTOFF}"
    return Row(
        name=name,
        seeds=numbers,
        metrics={
            view: {key: mean(each[view][key] for each in seeds.metrics) for key in of_view}
            for view in VIEWS
            for of_view in (seeds.metrics[0][view],)
        },
        intervals=intervals,
        by_seed={view: [each[view][shown] for each in seeds.metrics] for view in VIEWS},
        slices={
            name: {key: mean(each[name][key] for each in seeds.slices) for key in of_slice}
            for name, of_slice in seeds.slices[0].items()
        },
        threads=1,
        of_seeds=[
            {"metrics": metrics, "slices": slices}
            for metrics, slices in zip(seeds.metrics, seeds.slices, strict=True)
        ],
        **told,
    )


def arguments_of(plan: Plan) -> list[str]:
    """What every `kgrec train` of a plan is given."""
    return [
        word
        for key, value in plan.settings.items()
        for word in ("--set", f"{key}={json.dumps(value)}")
    ]


def finished_runs(folder: Path, plan_name: str, name: str) -> list[Path]:
    """The runs of a row that are there, one a seed."""
    found = sorted((folder / "saved" / plan_name / name).glob("*/*"))
    return [run for run in found if is_finished(run)]


def trained_row(name: str, plan: Plan, runs: list[Path], folder: Path) -> tuple[Seeds, Row]:
    """A row that kgrec trained."""
    found = None
    for run in runs:
        settings = evaluation_settings(run, {"topk": [5, 10, 20], "metrics": METRICS})
        held_out = load_held_out(run, folder, settings, threads=1, on_event=ignore_event)
        one = seed_of(held_out.measure("test"), held_out.dataset)
        found = one if found is None else found.add(one)
    assert found is not None
    numbers = [int(run.parent.name) for run in runs]
    of_row = plan.trained[name]
    words = ["--dataset", plan.dataset + of_row.variant, *of_row.arguments, *arguments_of(plan)]
    words = [f"'{word}'" if "{" in word else word for word in words]
    written = max((run / MODEL).stat().st_mtime for run in runs)
    return found, row_of(
        name,
        found,
        numbers,
        system=f"kgrec {__version__}",
        command=" ".join(["kgrec train", *words, "--seed SEED"]),
        commit=(runs[0].parent / COMMIT).read_text().strip(),
        date=f"{date.fromtimestamp(written)}",
        remark=remark_on_vectors(folder / "dataset" / (plan.dataset + of_row.variant)),
    )


def remark_on_vectors(dataset_dir: Path) -> str:
    """How well the entity vectors rank held-out triples, where that was measured."""
    sidecar = dataset_dir / f"{dataset_dir.name}.ent_feature.json"
    metrics = read_json(sidecar)["metrics"] if sidecar.is_file() else {}
    return f"vectors of MRR {metrics['mrr']:.3f}" if metrics else ""


@dataclass(frozen=True)
class Events:
    """What all rows of a plan are measured on."""

    dataset: Dataset
    split: Split
    popularity: NDArray[np.int64]
    measuring: MeasureSettings


def load_events(plan: Plan, folder: Path) -> Events:
    """The data set of a plan and its split."""
    settings = build_settings({"dataset": plan.dataset, **plan.settings}, "the plan")
    dataset = load_dataset(settings, folder, ignore_event)
    split = split_dataset(settings, dataset)
    popularity = item_popularity(dataset.histories, split, len(dataset.items))
    return Events(dataset, split, popularity, narrow(settings, MeasureSettings))


def baseline_rows(plan: Plan, events: Events) -> dict[str, tuple[Seeds, Row]]:
    """The baselines of `kgrec evaluate`."""
    rows, histories = {}, events.dataset.histories
    for name, key in plan.baselines.items():
        baseline = measure_baseline(
            key, histories, events.split, events.measuring, events.popularity, lambda *_: None
        )
        seeds = seed_of(baseline.measured, events.dataset)
        told = {"system": f"kgrec {__version__}", "command": "kgrec evaluate --baselines all"}
        told |= {"commit": package_commit(), "date": f"{date.today()}"}
        rows[name] = seeds, row_of(name, seeds, [], **told)
    return rows


def rival_row(
    name: str, plan_name: str, told_dirs: list[Path], chosen: str, events: Events
) -> tuple[Seeds, Row]:
    """A row that RecBole or RecTools trained, ranked by kgrec."""
    found, remarks = None, [chosen] if chosen else []
    of_recbole = isinstance(PLANS[plan_name].rivals[name], Rival)
    for told_dir in told_dirs:
        score, said = rival_score(told_dir, events.dataset)
        histories = events.dataset.histories
        measured = measure(
            score, histories, events.split, "test", events.measuring, events.popularity
        )
        one = seed_of(measured, events.dataset)
        found = one if found is None else found.add(one)
        if said["cut_short"]:
            remarks.append(f"stopped by the clock after {len(said['valid_scores'])} epochs")
    assert found is not None
    numbers = [int(told_dir.parent.name) for told_dir in told_dirs]
    system = f"RecBole {recbole_version()}" if of_recbole else f"RecTools {rectools_version()}"
    return found, row_of(
        name,
        found,
        numbers,
        system=system,
        command=f"{COMMAND.format(plan_name)} {'--recbole' if of_recbole else '--seeds'} SEED",
        commit=None,
        date=f"{date.fromtimestamp(max(each.stat().st_mtime for each in told_dirs))}",
        remark="; ".join(remarks),
    )


def with_kept_seeds(here: tuple[Seeds, Row], earlier: tuple[Seeds, Row]) -> tuple[Seeds, Row]:
    """A row with the seeds that were measured earlier, where the same command trained them."""
    (seeds, row), (kept, kept_row) = here, earlier
    of_seeds = kept_row.of_seeds
    if len(kept_row.seeds) == 1:
        of_seeds = [{"metrics": kept_row.metrics, "slices": kept_row.slices}]
    places = [place for place, seed in enumerate(kept_row.seeds) if seed not in row.seeds]
    if not places or not of_seeds or kept_row.command != row.command:
        return here
    others = Seeds(
        [of_seeds[place]["metrics"] for place in places],
        {view: values[places] for view, values in kept.values.items()},
        kept.n_targets,
        kept.users,
        [of_seeds[place]["slices"] for place in places],
    )
    both = others.add(seeds)
    commits, remarks = (
        "; ".join(dict.fromkeys(part for text in texts if text for part in text.split("; ")))
        for texts in ((kept_row.commit, row.commit), (kept_row.remark, row.remark))
    )
    numbers = [kept_row.seeds[place] for place in places] + row.seeds
    return both, row_of(
        row.name,
        both,
        numbers,
        system=row.system,
        command=row.command,
        commit=commits or None,
        date=max(kept_row.date, row.date),
        remark=remarks,
    )


def with_kept(
    plan: Plan, plan_name: str, measured: Mapping[str, tuple[Seeds, Row]]
) -> dict[str, tuple[Seeds, Row]]:
    """The rows of this folder, with the rows and seeds that were measured earlier, elsewhere."""
    earlier, values = read_results(plan_name), read_by_user(plan_name)
    kept_rows = {} if earlier is None else {row.name: row for row in earlier.rows}
    rows = dict(measured)
    for name in plan.rows:
        if name not in values or name not in kept_rows:
            continue
        values[name].check(measured[POPULARITY][0])
        kept = values[name], kept_rows[name]
        rows[name] = with_kept_seeds(rows[name], kept) if name in rows else kept
    return rows


def machines(plan_name: str) -> str:
    """This machine, and those that earlier rows are from."""
    earlier = read_results(plan_name)
    names = [machine_words(), *(earlier.machine.split("; ") if earlier else [])]
    return "; ".join(dict.fromkeys(names))


def measure_all(plan_name: str, folder: Path) -> Results:
    """Measures all rows that are there."""
    plan = PLANS[plan_name]
    events = load_events(plan, folder)
    rows = baseline_rows(plan, events)
    for name, rival in plan.rivals.items():
        told, chosen = told_of(folder, name, rival)
        if told:
            rows[name] = rival_row(name, plan_name, told, chosen, events)
    for name in plan.trained:
        if runs := finished_runs(folder, plan_name, name):
            rows[name] = trained_row(name, plan, runs, folder)
    here = dict(rows)
    rows = with_kept(plan, plan_name, here)
    write_by_user(plan_name, {name: rows[name][0] for name in plan.rows if name in rows})
    one = rows[POPULARITY][0]
    return Results(
        plan=plan_name,
        dataset=plan.dataset,
        protocol=plan.protocol,
        n_items=len(events.dataset.items) - 1,
        n_users=len(one.users),
        n_targets=int(one.n_targets.sum()),
        command=COMMAND.format(plan_name),
        machine=machine_words() if rows == here else machines(plan_name),
        rows=[rows[name][1] for name in plan.rows if name in rows],
        changes=changes_of(plan.steps, {name: seeds for name, (seeds, _) in rows.items()}),
    )


def train(options: argparse.Namespace, folder: Path, names: list[str]) -> None:
    """Trains what is missing of some rows, the first seed of every row first."""
    plan = PLANS[options.plan]
    chosen = {name: row for name, row in plan.trained.items() if name in names}
    for variant in dict.fromkeys(row.variant for row in chosen.values()):
        prepare(plan.dataset + variant, options.data.resolve(), folder)
    wanted = []
    for seed in options.seeds:
        for name, row in chosen.items():
            where = ["--dataset", plan.dataset + row.variant, "--seed", str(seed)]
            wanted.append(
                (f"{options.plan}/{name}/{seed}", [*where, *row.arguments, *arguments_of(plan)])
            )
    if wanted:
        train_all(folder, wanted, options.jobs)
    source = folder / "dataset" / plan.dataset
    for name in [name for name in plan.rivals if name in names]:
        prepare(plan.dataset, options.data.resolve(), folder)
        rival = plan.rivals[name]
        for seed in options.recbole if isinstance(rival, Rival) else options.seeds:
            if isinstance(rival, Rival):
                train_rival(folder, source, name, rival, seed, options.limit_cpu_s)
            else:
                train_rival_of_rectools(folder, source, name, rival, seed)


def main() -> None:
    """Trains what is missing, measures, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--plan", choices=PLANS, default="ml-100k")
    parser.add_argument("--rows", help="names, separated by semicolons; default: all")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[*range(2020, 2025)], help="ours and RecTools'"
    )
    parser.add_argument("--recbole", type=int, nargs="+", default=[2020, 2021], help="its seeds")
    parser.add_argument("--limit-cpu-s", type=float, help="for a training of RecBole")
    parser.add_argument("--jobs", type=int, default=1, help="our runs trained at a time")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    names = options.rows.split(";") if options.rows else PLANS[options.plan].rows
    if unknown := set(names) - set(PLANS[options.plan].rows):
        rows = "; ".join(PLANS[options.plan].rows)
        parser.error(f"no row {min(unknown)!r}; expected some of: {rows}")
    if not options.table and options.data is None:
        parser.error("--data is needed to train")
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not options.table:
        train(options, folder, names)
    results = measure_all(options.plan, folder)
    print(json.dumps([asdict(change) for change in results.changes], indent=2))
    print(f"wrote {write_results(results)}")


if __name__ == "__main__":
    main()
