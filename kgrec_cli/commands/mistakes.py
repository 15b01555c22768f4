"""What was typed wrong, in one line: the option that was meant, the value that was refused."""

from collections.abc import Sequence
from typing import Any

import typer


def explain(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """One line for what Typer refuses: an unknown command or option, a missing or bad value."""
    if hasattr(error, "possibilities") and hasattr(error, "option_name"):
        line = _unknown_option(error, arguments)
    elif error.__cause__ is not None and hasattr(error.__cause__, "errors"):
        line = _refused_value(error)
    else:
        line = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    hint = f" (see `{context.command_path} --help`)" if context is not None else ""
    return " ".join(line.split()) + hint if line.strip() else ""


def _refused_value(error: Any) -> str:
    """The option, the value and what it takes; Typer leaves the value out."""
    from kgrec_cli.config import expected_of

    problem = error.__cause__.errors()[0]
    where = "value"
    if error.param is not None:
        longest = max(error.param.opts, key=len)
        where = f"'{longest}'" if longest.startswith("-") else error.param.get_error_hint()
    if problem["type"] == "value_error":
        return f"Invalid value for {where}: {problem['msg'].removeprefix('Value error, ')}"
    return f"Invalid value for {where}: {expected_of(problem)}"


def _unknown_option(error: Any, arguments: Sequence[str]) -> str:
    """The option or the setting that goes by another name here."""
    from kgrec_cli.config import setting_names
    from kgrec_cli.recbole_keys import IGNORED, OTHER_NAMES, REFUSED

    names = [text.partition("=")[0] for text in arguments]
    typed = next((n for n in names if n.replace("_", "-") == error.option_name), error.option_name)
    flags = {flag for param in error.ctx.command.params for flag in param.opts}
    name = typed.lstrip("-").replace("-", "_")
    by_fold = {known.casefold(): known for known in (*setting_names(), *IGNORED, *REFUSED)}
    meant = OTHER_NAMES.get(name.casefold()) or by_fold.get(name.casefold())
    line = f"No such option: {typed}"
    if meant is None:
        likely = [flag for flag in error.possibilities or () if flag != "--help"]
        return line + (f" (did you mean {' or '.join(likely)}?)" if likely else "")
    flag = f"--{meant.replace('_', '-')}"
    if flag == "--device" and flag in flags:
        return f"{line} (it is --device: auto, cpu, cuda or cuda:N)"
    if flag in flags:
        return f"{line} (it is {flag})"
    if meant in IGNORED:
        return f"{line} (leave it out: {IGNORED[meant]})"
    if meant in REFUSED:
        return f"{line} ({REFUSED[meant][1]})"
    if "--set" in flags:
        return f"{line} (give it as --set {meant}=VALUE)"
    return f"{line} ({meant} is no option of this command)"
