"""`kgrec doctor`: a data set, or the machine, looked at; the findings shown."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt

if TYPE_CHECKING:
    from kgrec_cli.stages.doctor import Finding


def doctor(
    dataset: opt.DatasetArgument = None,
    system: Annotated[
        bool, typer.Option("--system", help="Look at the machine: versions, threads, memory, GPUs.")
    ] = False,
    dataset_option: opt.DatasetOption = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    json_output: opt.Json = False,
) -> None:
    """Check a data set's files, RecBole's too, or the machine: what is odd, and what to do."""
    from kgrec_cli.config import resolve_settings

    folder = Path()
    settings = resolve_settings(
        folder=folder,
        config_paths=config,
        options={
            "dataset": opt.one_dataset(dataset, dataset_option),
            "device": device,
            "threads": threads,
        },
        assignments=assignments,
        needs_dataset=not system,
    )
    if system:
        from kgrec_cli.stages.machine import describe_machine

        found = describe_machine(settings, folder)
        if json_output:
            console.emit_json([asdict(finding) for finding in found])
        else:
            _show(found)
        return
    from kgrec_cli.stages.doctor import run_doctor

    with console.listening(json_output):
        diagnosis = run_doctor(settings, folder)
    if json_output:
        console.emit_json(diagnosis.as_json())
    else:
        _show(diagnosis.findings)
        verdict = "not usable yet" if diagnosis.is_bad else "ready to use"
        console.say(f"{diagnosis.dataset}: {verdict}")
    if diagnosis.is_bad:
        raise typer.Exit(1)


def _show(findings: "Iterable[Finding]") -> None:
    for finding in findings:
        console.finding(finding.level, finding.about, finding.text, finding.cure)
