"""`kgrec import`: a RecBole checkpoint as a run."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def import_weights(
    checkpoint: Annotated[Path, typer.Argument(help="RecBole's checkpoint, saved/*.pth.")],
    dataset: opt.Dataset = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Make a run of a checkpoint of RecBole's GRU4RecKG. Runs nothing that is in the file."""
    from kgrec_cli.config import choose_dataset, resolve_settings
    from kgrec_cli.stages.import_weights import run_import

    folder = Path()
    settings = resolve_settings(
        folder=folder,
        config_paths=config or (),
        options={"dataset": dataset},
        assignments=assignments or (),
        on_note=console.note,
    )
    settings = choose_dataset(settings, folder)
    with console.listening(json_output) as on_event:
        run_dir = run_import(checkpoint, settings, folder, on_event=on_event)
    if json_output:
        console.emit_json({"run": str(run_dir)})
        return
    console.say(f"run: {run_dir}")
    console.say("next: kgrec evaluate    or: kgrec recommend --user USER")
