"""`kgrec doctor`: a data set named, `run_doctor`, its findings shown."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt


def doctor(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="A data set under data_path, or any folder with one (NAME/NAME.inter). "
            "Default: as for train."
        ),
    ] = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    json_output: opt.Json = False,
) -> None:
    """Check a data set's files, RecBole's too: what is wrong or odd, and what to do."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.stages.doctor import run_doctor

    folder = Path()
    options: dict[str, object] = {"dataset": dataset}
    if dataset is not None and Path(dataset).is_dir():
        path = Path(dataset).resolve()
        options = {"dataset": path.name, "data_path": str(path.parent)}
    settings = resolve_settings(
        folder=folder,
        config_paths=config,
        options=options,
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
