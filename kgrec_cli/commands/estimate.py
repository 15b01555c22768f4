"""`kgrec estimate`: a command line in, what it would take out."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec_cli import console
from kgrec_cli.errors import UsageError

if TYPE_CHECKING:
    from kgrec_cli.stages.estimate import Estimate

COMMANDS = ("train", "tune", "pretrain-kg")


def estimate(
    context: typer.Context,
    line: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND] [OPTIONS]",
            help=f"What would be typed after `kgrec`: {', '.join(COMMANDS)} (default: train), and "
            "its options.",
        ),
    ] = None,
) -> None:
    """Say how long a training or a search takes, and what memory and disk: a probe of seconds."""
    words = list(line or ())
    group: Any = context.parent
    name, first = COMMANDS[0], words[0] if words else ""
    later = [word for word in words if word in COMMANDS]
    if first in COMMANDS:
        name = words.pop(0)
    elif first in group.command.commands:
        raise UsageError(f"estimate is of {', '.join(COMMANDS)}: found {first}")
    elif first.startswith("-") and later:
        raise UsageError(f"the command comes before its options: kgrec estimate {later[0]} {first}")
    command = group.command.get_command(group, name)
    with command.make_context(name, [*words, "--estimate"], parent=group) as inner:
        command.invoke(inner)


def show(found: "Estimate", json_output: bool) -> None:
    """Prints an estimate.

    Raises:
        KgrecError: What it is of does not fit.
    """
    if json_output:
        console.emit_json(found.as_json())
    else:
        for name, text in _describe(found):
            console.say(f"{name:10}{text}")
    found.check_room()


def _describe(found: "Estimate") -> list[tuple[str, str]]:
    training = found.epoch_s - found.validation_s
    each = f"{_seconds(found.epoch_s)}: training {_seconds(training)}, the rest validation"
    trainings = "" if found.runs == 1 else f" for each of {found.runs:,} trainings"
    ends = ": early stopping usually ends it before" if found.can_stop_early else ""
    memory, disk = (
        f"{needed / 1e9:.2f} GB at the peak" + ("" if free is None else f", {free / 1e9:.1f} free")
        for needed, free in ((found.memory, found.free_memory), (found.disk, found.free_disk))
    )
    return [
        ("epoch", each if found.validation_s else _seconds(found.epoch_s)),
        ("epochs", f"at most {found.epochs:,}{trainings}{ends}"),
        ("total", f"at most {_seconds(found.total_s)}"),
        ("memory", memory),
        ("disk", disk),
    ]


def _seconds(seconds: float) -> str:
    return console.duration(seconds) if seconds >= 10 else f"{seconds:.2g}s"
