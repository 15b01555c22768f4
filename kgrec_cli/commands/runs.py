"""`kgrec runs`: what lies under `saved/`: listed, shown, renamed, removed, and the best one."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.commands.command import Command, Group
from kgrec_cli.commands.completion import complete_dataset, complete_run
from kgrec_cli.display import loading
from kgrec_cli.errors import KgrecError, UsageError

runs = typer.Typer(cls=Group, help="List the runs; show, rename, remove them; name the best one.")
ARun = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help=opt.RUN_HELP, show_default=False, autocompletion=complete_run
    ),
]


@runs.callback(invoke_without_command=True)
def list_runs(
    context: typer.Context,
    remove_half_begun: Annotated[
        bool,
        typer.Option(
            "--remove-half-begun",
            help="Remove folders of trainings that were killed before they began.",
        ),
    ] = False,
    json_output: opt.Json = False,
) -> None:
    """List the runs: finished, stopped (`kgrec train --resume` resumes them) or half-begun."""
    if context.invoked_subcommand is not None:
        return
    with loading(json_output):
        from kgrec_cli.config import resolve_settings
        from kgrec_cli.runs import run_dir
    settings = resolve_settings(folder=Path())
    saved_dir, metric = Path(settings.checkpoint_dir), settings.valid_metric.casefold()
    half_begun = run_dir.list_half_begun(saved_dir)
    rows = [_describe(run, metric) for run in run_dir.list_runs(saved_dir)]
    for folder in half_begun:
        if remove_half_begun:
            run_dir.remove_folder(folder)
        rows.append({"run": folder.name, "state": "removed" if remove_half_begun else "half-begun"})
    if json_output:
        console.emit_json(rows)
        return
    if not rows:
        console.say(f"no run under {saved_dir}/: `kgrec train` makes one")
        return
    names = ["run", "state", "dataset", "model", "date", "valid_masked", "test_masked"]
    heads = [*names[:5], f"valid\nmasked\n{metric}", f"test\nmasked\n{metric}"]
    console.table(None, heads, [[row.get(name) for name in names] for row in rows])
    if half_begun and not remove_half_begun:
        console.say("`kgrec runs --remove-half-begun` removes what is half-begun")


@runs.command(cls=Command, epilog="kgrec runs show best")
def show(run: ARun, json_output: opt.Json = False) -> None:
    """Show a run: what it was trained with and on, its settings, its masked metrics."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.runs.run_dir import find_run, is_finished
    from kgrec_cli.runs.run_files import read_environment, read_metrics, read_run_settings

    folder = find_run(Path(), run, finished=False)
    metric = resolve_settings(folder=Path()).valid_metric.casefold()
    row, settings = _describe(folder, metric), read_run_settings(folder)
    environment = read_environment(folder).model_dump(mode="json")
    changed = settings.model_dump(mode="json", exclude_defaults=True)
    metrics = read_metrics(folder).model_dump(mode="json") if is_finished(folder) else {}
    if json_output:
        values = {"settings": settings.model_dump(mode="json"), "environment": environment}
        console.emit_json({**row, "folder": str(folder), **values, "metrics": metrics})
        return
    command = " ".join(map(str, environment.get("command", ())))
    training = metrics.get("training", {})
    facts = {
        **row, "folder": folder, "command": command, "best epoch": training.get("best_epoch"),
        "epochs": training.get("epochs"), **{f"setting {k}": v for k, v in changed.items()},
    }  # fmt: skip
    facts[f"valid masked {metric}"] = facts.pop("valid_masked")
    facts[f"test masked {metric}"] = facts.pop("test_masked")
    for name, value in facts.items():
        if value not in (None, ""):
            console.say(f"{name}: {console.format_cell(value)}")


@runs.command(cls=Command, epilog="kgrec runs rename latest mine")
def rename(
    run: ARun,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.", show_default=False)],
    json_output: opt.Json = False,
) -> None:
    """Rename a run and its folder."""
    from kgrec_cli.formats.locks import only_writer
    from kgrec_cli.runs.run_dir import check_new_name, find_run

    folder = find_run(Path(), run, finished=False)
    target = check_new_name(folder.parent, name)
    with only_writer(folder), only_writer(target):
        try:
            folder.rename(target)
        except OSError as error:
            raise KgrecError(f"{folder}: cannot be renamed ({error.strerror})") from error
    if json_output:
        console.emit_json({"run": target.name, "was": folder.name})
    else:
        console.say(f"{folder} -> {target}")


@runs.command(cls=Command, epilog="kgrec runs remove mine --dry-run")
def remove(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Whole names.", show_default=False, autocompletion=complete_run
        ),
    ],
    dry_run: opt.DryRun = False,
    json_output: opt.Json = False,
) -> None:
    """Remove runs for good. Their whole names are needed."""
    from kgrec_cli.formats.locks import only_writer
    from kgrec_cli.runs.run_dir import find_run, remove_folder

    folders = [find_run(Path(), name, finished=False) for name in names]
    for name, folder in zip(names, folders, strict=True):
        if Path(name).name != folder.name:
            raise UsageError(f"'{name}' is {folder.name}: give the whole name to remove it")
    for folder in [] if dry_run else dict.fromkeys(folders):
        with only_writer(folder):
            remove_folder(folder)
    if json_output:
        console.emit_json({"removed": [] if dry_run else [folder.name for folder in folders]})
        return
    for folder in folders:
        console.say(f"{folder}: {'would be removed' if dry_run else 'removed'}")


@runs.command(cls=Command, epilog="kgrec runs best ml-100k")
def best(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="Of which data set.",
            show_default=False,
            autocompletion=complete_dataset,
        ),
    ] = None,
    json_output: opt.Json = False,
) -> None:
    """Name the run with the best masked valid_metric on validation; as RUN it is `best`."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.runs.run_dir import best_run

    metric = resolve_settings(folder=Path()).valid_metric.casefold()
    row = _describe(best_run(Path(), dataset), metric)
    if json_output:
        console.emit_json(row)
    else:
        console.say(f"{row['run']}: masked {metric} {row['valid_masked']:.4f} on validation")


def _describe(run: Path, metric: str) -> dict[str, Any]:
    """What the list shows of a run; None for what is not known. The date is its start's."""
    from kgrec_cli.runs.run_dir import is_finished, masked_metric
    from kgrec_cli.runs.run_files import ENVIRONMENT, read_run_settings

    try:
        settings = read_run_settings(run)
        dataset, model = settings.dataset, settings.model
    except KgrecError:
        dataset = model = None
    started = datetime.fromtimestamp((run / ENVIRONMENT).stat().st_mtime)
    return {
        "run": run.name,
        "state": "finished" if is_finished(run) else "stopped",
        "dataset": dataset,
        "model": model,
        "date": f"{started:%Y-%m-%d %H:%M}",
        "valid_masked": masked_metric(run, "valid", metric),
        "test_masked": masked_metric(run, "test", metric),
    }
