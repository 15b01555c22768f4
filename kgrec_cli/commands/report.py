"""`kgrec report`: what is to be shown named, `run_report`, where the page is."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...|STUDY|DATASET]",
            help="Runs (several are compared with the first), a study or a data set; default: the "
            "newest finished run.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The page; default: report-NAME.html here."
        ),
    ] = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    json_output: opt.Json = False,
) -> None:
    """Write one HTML page on runs, a study or a data set. It needs no network."""
    from kgrec_cli.stages.report.run import run_report

    with console.listening(json_output) as on_event:
        result = run_report(
            names or (), Path(), out=out, device=device, threads=threads, on_event=on_event
        )
    if json_output:
        console.emit_json(asdict(result) | {"path": str(result.path)})
        return
    size, seconds = result.n_bytes / 1e6, result.elapsed_s
    console.say(f"{result.path}: {size:.1f} MB, made in {seconds:.1f} s; open it in a browser")
