"""Options of several commands, each defined once, and those that are settings."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kgrec_cli.commands.command import MACHINE
from kgrec_cli.commands.completion import complete_assignment, complete_dataset, complete_run
from kgrec_cli.descriptions import DEFAULTS, DESCRIPTIONS
from kgrec_cli.errors import UsageError

SETTINGS = "Data and settings"
PANELS = {
    "Model": "model freeze_kg embedding_size hidden_size num_layers dropout_prob",
    "Training": "epochs learning_rate train_batch_size loss_type valid_metric stopping_step seed",
    SETTINGS: "preset",
    MACHINE: "device threads",
}
"""The headings of the help under which options that are settings stand."""


def setting(name: str, *flags: str, **more: Any) -> Any:
    """An option that is a setting: its description is the help, with the default if it has one."""
    default = f" [default: {DEFAULTS[name]}]" if name in DEFAULTS else ""
    panel = next((panel for panel, names in PANELS.items() if name in names.split()), None)
    return typer.Option(*flags, help=DESCRIPTIONS[name] + default, rich_help_panel=panel, **more)


def count(name: str, *flags: str, min: int = 1) -> Any:
    """As `setting`, of a whole number; the short metavar leaves room for the help's text."""
    return setting(name, *flags, min=min, metavar="N")


DatasetArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="DATASET",
        help="A data set under data_path, or any folder with one (NAME/NAME.inter). "
        "Default: the only one under data_path.",
        show_default=False,
        autocompletion=complete_dataset,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="DATASET",
        help="The data set, as an option.",
        rich_help_panel=SETTINGS,
        autocompletion=complete_dataset,
    ),
]
Model = Annotated[str | None, setting("model", "--model", "-m")]
Preset = Annotated[str | None, setting("preset")]
Config = Annotated[
    list[Path] | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Settings file (YAML); may be repeated, later over earlier.",
        rich_help_panel=SETTINGS,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Any setting; may be repeated.",
        rich_help_panel=SETTINGS,
        autocompletion=complete_assignment,
    ),
]
RUN_HELP = (
    "A run: its name under saved/ or how it begins, a folder, a data set (its newest run), latest, "
    "best."
)
Run = Annotated[
    str | None,
    typer.Argument(
        help=f"{RUN_HELP} Default: latest.", show_default=False, autocompletion=complete_run
    ),
]
Device = Annotated[str | None, setting("device")]
Threads = Annotated[int | None, count("threads")]
Seed = Annotated[int | None, count("seed", min=0)]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, nothing else.", rich_help_panel=MACHINE),
]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would be written.", rich_help_panel=MACHINE)
]

Estimate = Annotated[bool, typer.Option("--estimate", hidden=True)]
"""What `kgrec estimate` adds to the command line that it is given."""


def split_list(typed: str) -> list[str]:
    """The words of a text "ONE, TWO,..."."""
    return [word.strip() for word in typed.split(",") if word.strip()]


def one_dataset(argument: str | None, option: str | None) -> str | None:
    """The data set that was named as an argument or by --dataset.

    Raises:
        UsageError: Two names that differ.
    """
    if argument is not None and option is not None and argument != option:
        raise UsageError(f"two data sets, {argument} and --dataset {option}: give one")
    return option if argument is None else argument
