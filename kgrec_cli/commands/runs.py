"""`kgrec runs`: what lies under `saved/`, and removal of what killed trainings left there."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def runs(
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
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.runs import run_dir

    saved_dir = resolve_settings(folder=Path()).checkpoint_dir
    half_begun = run_dir.list_half_begun(Path(saved_dir))
    states = {
        run.name: "finished" if run_dir.is_finished(run) else "stopped"
        for run in run_dir.list_runs(Path(saved_dir))
    }
    for folder in half_begun:
        if remove_half_begun:
            run_dir.remove_half_begun(folder)
        states[folder.name] = "removed" if remove_half_begun else "half-begun"
    if json_output:
        console.emit_json([{"run": name, "state": state} for name, state in states.items()])
        return
    if not states:
        console.say(f"no run under {saved_dir}/: `kgrec train` makes one")
        return
    console.table(None, ["run", "state"], [[name, state] for name, state in states.items()])
    if half_begun and not remove_half_begun:
        console.say("`kgrec runs --remove-half-begun` removes what is half-begun")
