"""`kgrec export`: a run as a checkpoint for RecBole, as tables of vectors, or as ONNX."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt

ENDINGS = {"recbole": ".pth", "vectors": "-vectors", "onnx": ".onnx"}


def export(
    run: opt.Run = None,
    export_format: Annotated[
        Literal["recbole", "vectors", "onnx"],
        typer.Option(
            "--format",
            help="recbole: weights for RecBole's GRU4RecKG; vectors: of items, users and entities, "
            "as Parquet and safetensors; onnx: encoder and scores.",
        ),
    ] = "recbole",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="File to write, or folder for vectors; default: RUN.pth, RUN-vectors or RUN.onnx.",
        ),
    ] = None,
    json_output: opt.Json = False,
) -> None:
    """Write a run for other programs: RecBole, vector indexes and databases, ONNX runtimes."""
    from kgrec_cli.runs.run_dir import find_run

    folder = Path()
    run_dir = find_run(folder, run)
    out_path = out or folder / f"{run_dir.name}{ENDINGS[export_format]}"
    write = {"recbole": _recbole, "vectors": _vectors, "onnx": _onnx}[export_format]
    told, lines = write(run_dir, folder, out_path, json_output)
    if json_output:
        console.emit_json({"out": str(out_path), **told})
        return
    for line in lines:
        console.say(line)


Told = tuple[dict[str, Any], list[str]]
"""What --json prints, and what the screen shows."""


def _recbole(run_dir: Path, folder: Path, out_path: Path, quiet: bool) -> Told:
    from kgrec_cli.stages.export.recbole import run_export

    with console.listening(quiet) as on_event:
        result = run_export(run_dir, folder, out_path, on_event=on_event)
    lines = [f"{result.n_items:,} items, in RecBole's order -> {out_path}"]
    if result.n_dropped:
        lines.append(f"{result.n_dropped:,} items have no entity in the graph: RecBole drops them")
    lines.append(f'in RecBole: model.load_state_dict(torch.load("{out_path}")["state_dict"])')
    return {"items": result.n_items, "left_out": result.n_dropped}, lines


def _vectors(run_dir: Path, folder: Path, out_path: Path, quiet: bool) -> Told:
    from kgrec_cli.stages.export.vectors import TENSORS, run_export_vectors

    with console.listening(quiet) as on_event:
        result = run_export_vectors(run_dir, folder, out_path, on_event=on_event)
    lines = [
        f"{n:,} {name} x {width} -> {out_path / name}.parquet"
        for name, (n, width) in result.shapes.items()
    ]
    lines.append(f"the same vectors, row by row -> {out_path / TENSORS}")
    told = {name: {"n": n, "width": width} for name, (n, width) in result.shapes.items()}
    return told, lines


def _onnx(run_dir: Path, folder: Path, out_path: Path, quiet: bool) -> Told:
    from kgrec_cli.stages.export.onnx import run_export_onnx

    result = run_export_onnx(run_dir, folder, out_path)
    line = f"largest difference from torch: {result.difference:.1e}, over {result.n_checked} "
    lines = [
        f"{result.n_items:,} items -> {out_path}",
        f"{line}histories, onnxruntime on the CPU (relative to numbers above 1)",
    ]
    told = {"items": result.n_items, "checked": result.n_checked, "difference": result.difference}
    return told, lines
