"""`kgrec doctor`: a data set named, `run_doctor`, its findings shown."""

from pathlib import Path

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def doctor(
    dataset: opt.DatasetArgument = None,
    dataset_option: opt.DatasetOption = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Check a data set's files, RecBole's too: what is wrong or odd, and what to do."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.stages.doctor import run_doctor

    folder = Path()
    settings = resolve_settings(
        folder=folder,
        config_paths=config,
        options={"dataset": opt.one_dataset(dataset, dataset_option)},
        assignments=assignments,
        needs_dataset=True,
    )
    diagnosis = run_doctor(settings, folder)
    if json_output:
        console.emit_json(diagnosis.as_json())
    else:
        for finding in diagnosis.findings:
            console.finding(finding.level, finding.about, finding.text, finding.cure)
        verdict = "not usable yet" if diagnosis.is_bad else "ready to use"
        console.say(f"{diagnosis.dataset}: {verdict}")
    if diagnosis.is_bad:
        raise typer.Exit(1)
