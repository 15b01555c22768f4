"""`kgrec export`: a run as a checkpoint for RecBole."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def export(
    run: opt.Run = None,
    export_format: Annotated[
        Literal["recbole"], typer.Option("--format", help="Program that reads it.")
    ] = "recbole",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="File to write; default: RUN.pth here."),
    ] = None,
    json_output: opt.Json = False,
) -> None:
    """Write a run's weights as a checkpoint that RecBole's GRU4RecKG loads."""
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages.export import run_export

    folder = Path()
    run_dir = find_run(folder, run)
    out_path = out or folder / f"{run_dir.name}.pth"
    with console.listening(json_output) as on_event:
        result = run_export(run_dir, folder, out_path, on_event=on_event)
    if json_output:
        console.emit_json(
            {"out": str(result.path), "items": result.n_items, "left_out": result.n_dropped}
        )
        return
    console.say(f"{result.n_items:,} items, in RecBole's order -> {result.path}")
    if result.n_dropped:
        console.say(f"{result.n_dropped:,} items have no entity in the graph: RecBole drops them")
    console.say(f'in RecBole: model.load_state_dict(torch.load("{result.path}")["state_dict"])')
