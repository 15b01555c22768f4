"""`kgrec import`: a RecBole checkpoint as a run."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def import_weights(
    checkpoint: Annotated[Path, typer.Argument(help="RecBole's checkpoint, saved/*.pth.")],
    dataset: opt.DatasetArgument = None,
    dataset_option: opt.DatasetOption = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Make a run of a RecBole checkpoint and measure it. No code in the file is run."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.formats.recbole_checkpoint import read_checkpoint

    folder, content = Path(), read_checkpoint(checkpoint)
    from kgrec_cli.stages.import_weights import checkpoint_settings, run_import  # loads torch

    settings = resolve_settings(
        folder=folder,
        config_paths=config,
        options={"dataset": opt.one_dataset(dataset, dataset_option)},
        assignments=assignments,
        base=checkpoint_settings(content, checkpoint, folder, resolve_settings(folder=folder)),
        needs_dataset=True,
        on_note=console.note,
    )
    with console.listening(json_output) as on_event:
        result = run_import(content, checkpoint, settings, folder, on_event=on_event)
    if json_output:
        metrics, score = result.metrics, result.best_valid_score
        values = {"run": str(result.run_dir), "checkpoint_valid_score": score, "metrics": metrics}
        console.emit_json(values)
        return
    console.metric_table(result.run_dir.name, result.metrics, [settings.shown_cutoff])
    console.say(f"run: {result.run_dir}")
    console.say("next: kgrec evaluate    or: kgrec recommend --user USER")
