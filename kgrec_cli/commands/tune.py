"""`kgrec tune`: a search space named, `run_tune`, its leaderboard shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.commands.estimate import show as show_estimate
from kgrec_cli.errors import UsageError

if TYPE_CHECKING:
    from kgrec_cli.settings import Settings

SHOWN_TRIALS = 10


def tune(
    space: Annotated[
        Path, typer.Argument(help="Search space in RecBole's format, for instance hyper.test.")
    ],
    dataset: opt.DatasetArgument = None,
    search: Annotated[
        str, typer.Option(help="exhaustive (every point of choices), random or tpe.")
    ] = "exhaustive",
    max_trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Trials at most, those of earlier calls included."),
    ] = None,
    pruner: Annotated[
        str, typer.Option(help="Stop poor trials early: none, median, hyperband or asha.")
    ] = "none",
    early_stop: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="End after this many trials without progress (RecBole: 10)."
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            help="Who runs the trials: serial, processes, ray, or batched (trials of equal shapes "
            "make each step together; made for GPUs)."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Trials at a time; alone it means --executor processes.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="A Ray cluster; default: Ray on this machine."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database of the study (SQLAlchemy URL), which several machines may share; "
            "default: its study.db.",
        ),
    ] = None,
    dataset_option: opt.DatasetOption = None,
    model: opt.Model = None,
    preset: opt.Preset = None,
    seed: opt.Seed = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    estimate: opt.Estimate = False,
    dry_run: opt.DryRun = False,
    json_output: opt.Json = False,
) -> None:
    """Search for the best settings. The same command resumes a stopped search."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.stages.tune import run_tune

    folder, dataset = Path(), opt.one_dataset(dataset, dataset_option)
    if dataset is not None and Path(dataset).is_file() and not space.is_file():
        raise UsageError(f"the search space comes first: kgrec tune {dataset} {space}")
    settings = resolve_settings(
        folder=folder,
        config_paths=config,
        options={
            "dataset": dataset,
            "model": model,
            "preset": preset,
            "seed": seed,
            "device": device,
            "threads": threads,
        },
        assignments=assignments,
        needs_dataset=True,
        on_note=console.note,
    )
    if estimate:
        from kgrec_cli.stages.estimate import estimate_search

        with console.listening(json_output) as on_event:
            found = estimate_search(
                settings, folder, space, search=search, max_trials=max_trials, pruner=pruner,
                executor=executor, jobs=jobs, address=address, on_event=on_event,
            )  # fmt: skip
        show_estimate(found, json_output)
        return
    if dry_run:
        _show_plan(settings, folder, space, search, max_trials, json_output)
        return
    with console.listening(json_output) as on_event:
        result = run_tune(
            settings,
            folder,
            space,
            search=search,
            max_trials=max_trials,
            pruner=pruner,
            early_stop=early_stop,
            executor=executor,
            jobs=jobs,
            address=address,
            storage=storage,
            on_event=on_event,
        )
    if json_output:
        console.emit_json(
            {
                "study": str(result.study_dir),
                "stopped": result.stopped,
                "n_new": result.n_new,
                "leaderboard": result.leaderboard,
            }
        )
        return
    metric = settings.valid_metric.casefold()
    columns = list(result.leaderboard[0])[4:-3] if result.leaderboard else []
    parameters = [
        name for name in columns if not name.startswith(("valid_", "test_")) and name != "epochs"
    ]
    names = ["rank", "trial", *parameters, f"valid_{metric}", f"test_{metric}", "epochs"]
    rows = [
        [str(row[name]) if name in parameters else row.get(name) for name in names]
        for row in result.leaderboard[:SHOWN_TRIALS]
        if row["state"] == "complete"
    ]
    console.table(f"{result.study_dir.name}: the best of {len(result.leaderboard)}", names, rows)
    console.say(f"leaderboard.csv, result.txt and chart.html are in {result.study_dir}")
    console.say(f"next: kgrec train --config {result.study_dir / 'best.yaml'}")


def _show_plan(
    settings: "Settings", folder: Path, space_path: Path, search: str, max_trials: int | None,
    json_output: bool,
) -> None:  # fmt: skip
    """What a search would try and write."""
    from kgrec_cli.core.tuning.space import Choice, check_listable, count_points
    from kgrec_cli.stages.tune import read_space, study_dir_of

    with console.listening(json_output) as on_event:
        ranges = read_space(settings, space_path, on_event).ranges
    if search == "exhaustive":
        check_listable(ranges)
    n_points, study_dir = count_points(ranges), study_dir_of(settings, folder, space_path)
    plan = {"study": str(study_dir), "points": n_points, "max_trials": max_trials}
    if json_output:
        console.emit_json({**plan, "is_there": study_dir.is_dir(), "parameters": list(ranges)})
        return
    shown = [
        [
            name,
            ", ".join(map(str, range_.values))
            if isinstance(range_, Choice)
            else f"{range_.kind} {range_.low:g} to {range_.high:g}",
        ]
        for name, range_ in ranges.items()
    ]
    console.table(None, ["parameter", "values"], shown)
    points = "no end of points" if n_points is None else f"{n_points:,} points"
    most = "" if max_trials is None else f", {max_trials:,} trials at most"
    state = "resumed" if study_dir.is_dir() else "made"
    console.say(f"{search} search of {points}{most}")
    console.say(f"{study_dir}: would be {state}; nothing is written (--dry-run)")
