"""`kgrec config`: the settings as they are resolved and where from, checked, or of two runs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.commands.command import Command, Group
from kgrec_cli.commands.completion import complete_run

config = typer.Typer(
    cls=Group, no_args_is_help=True, help="Show, check and compare settings (docs/settings.md)."
)


@config.command(cls=Command, epilog="kgrec config show --changed")
def show(
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only settings that are no defaults.")
    ] = False,
    json_output: opt.Json = False,
) -> None:
    """Show the settings that a command here would take, and where each comes from."""
    from kgrec_cli.config import find_origins, flatten, resolve_settings

    settings = resolve_settings(
        folder=Path(), config_paths=config, assignments=assignments, on_note=console.note
    )
    origins = find_origins(Path(), config or (), assignments or ())
    values = flatten(settings.model_dump(mode="json"))
    rows = [
        {"setting": name, "value": value, "from": origins.get(name, "default")}
        for name, value in values.items()
        if name in origins or not changed
    ]
    if json_output:
        console.emit_json(rows)
        return
    cells = [[row["setting"], _text(row["value"]), row["from"]] for row in rows]
    console.table(None, ["setting", "value", "from"], cells)


@config.command(cls=Command, epilog="kgrec config validate kgrec.yaml")
def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="Settings files. Default: kgrec.yaml.", show_default=False
        ),
    ] = None,
    json_output: opt.Json = False,
) -> None:
    """Check settings files: keys, values, and whether they go together."""
    from kgrec_cli.bounded_yaml import read_yaml
    from kgrec_cli.config import CONFIG_NAME, flatten, resolve_settings

    checked = {}
    for path in files or [Path(CONFIG_NAME)]:
        # With a base no other kgrec.yaml takes part.
        resolve_settings(folder=Path(), config_paths=[path], base={}, on_note=console.note)
        checked[str(path)] = len(flatten(read_yaml(path)))
    if json_output:
        console.emit_json(checked)
        return
    for name, n_settings in checked.items():
        console.say(f"{name}: {n_settings} settings, all valid")


@config.command(cls=Command, epilog="kgrec config diff best latest")
def diff(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A run, or a settings file.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B", help="Another one.", show_default=False, autocompletion=complete_run
        ),
    ],
    json_output: opt.Json = False,
) -> None:
    """Show the settings in which two runs, or settings files, differ."""
    sides = [_settings_of(name) for name in (first, second)]
    differing = {
        name: [side.get(name) for side in sides]
        for name in dict.fromkeys([*sides[0], *sides[1]])
        if sides[0].get(name) != sides[1].get(name)
    }
    if json_output:
        console.emit_json(differing)
    elif differing:
        rows = [[name, *map(_text, values)] for name, values in differing.items()]
        console.table(None, ["setting", first, second], rows)
    else:
        console.say("no setting differs")


def _settings_of(name: str) -> dict[str, Any]:
    """The settings of a run or of a file, by name; of a file with the defaults."""
    from kgrec_cli.config import flatten, resolve_settings

    if Path(name).is_file():
        settings = resolve_settings(folder=Path(), config_paths=[Path(name)], base={})
    else:
        from kgrec_cli.runs.run_dir import find_run
        from kgrec_cli.runs.run_files import read_run_settings

        settings = read_run_settings(find_run(Path(), name, finished=False))
    return flatten(settings.model_dump(mode="json"))


def _text(value: Any) -> str:
    """A value as a settings file writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
