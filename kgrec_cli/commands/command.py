"""The classes of all commands: help in sections with examples, and what all of them take."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from kgrec_cli import terminal
from kgrec_cli.display import loading
from kgrec_cli.errors import UsageError

MACHINE = "Machine and output"
"""The last section of a command's help."""


def _set_level(level: int, typed: bool) -> None:
    if typed and terminal.level == -level:
        raise UsageError("--quiet and --verbose: give one")
    if typed:
        terminal.set_level(level)


def _of_all_commands(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=lambda typed: _set_level(terminal.QUIET, typed),
            help="No progress and no notes; warnings stay.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=lambda typed: _set_level(terminal.VERBOSE, typed),
            help="Every step with its time; why an error came about.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
) -> None:
    pass


def _make_common() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_of_all_commands)
    params = typer.main.get_command(app).params
    for param in params:
        param.expose_value = False  # the functions of the commands do not see them
    return params


COMMON = _make_common()
"""--quiet and --verbose."""


class _Shared:
    """What commands and groups have in common."""

    epilog: str | None

    def __init__(self, **named: Any) -> None:
        super().__init__(**{**named, "params": [*named["params"], *COMMON]})

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes arguments and options, a section for each `rich_help_panel`."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):  # type: ignore[attr-defined]
            record = param.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if param.param_type_name == "argument" else "Options"
                usual = MACHINE if param.name == "help" else usual
                section = getattr(param, "rich_help_panel", None) or usual
                sections.setdefault(section, []).append(record)
        usual_first = ("Arguments", "Options")
        for name in sorted(sections, key=lambda name: (name not in usual_first, name == MACHINE)):
            with formatter.section(name):
                formatter.write_dl(sections[name])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples, a line each."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write_text(line)


class Command(_Shared, TyperCommand):
    """A command whose options are listed under the headings that they name."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; until it shows something, a terminal says that it is loading.

        Raises:
            UsageError: torchrun has started several of one that is for one process.
        """
        if (
            "TORCHELASTIC_RUN_ID" in os.environ
            and os.environ.get("WORLD_SIZE", "1") != "1"
            and ctx.info_name != "train"
        ):
            is_first = os.environ.get("LOCAL_RANK", "0") == "0"
            line = f"{ctx.command_path}: takes one process; of the commands torchrun is for train"
            raise UsageError(f"{line} alone: run it without" if is_first else "")
        with loading(quiet=bool(ctx.params.get("json_output"))):
            return super().invoke(ctx)


class Group(_Shared, TyperGroup):
    """A command of commands, each listed with the whole first sentence of its help."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the options, then the commands in their order."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the commands in their order."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(1000))
                    for name, command in self.commands.items()
                ]
            )
