"""Options that several commands take, each defined once."""

from pathlib import Path
from typing import Annotated

import typer

Dataset = Annotated[
    str | None,
    typer.Option(help="Data set; default: kgrec.yaml's, else the only one under data_path."),
]
Config = Annotated[
    list[Path] | None,
    typer.Option("--config", help="Settings file (YAML); may be repeated, later over earlier."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated."),
]
Run = Annotated[
    str | None,
    typer.Argument(help="Run folder or its name under saved/; default: the newest finished run."),
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, nothing else.")]
