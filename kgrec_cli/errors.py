"""The errors that a user can cause. Each is one line that says where, what, and what to do.

Anything raised from here ends at `cli.main`, which prints the line and exits with its code.
Any other exception that reaches the user is a bug.
"""

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 60
MAX_LISTED_CHARS = 200


class KgrecError(Exception):
    """A mistake in a file, a setting or the state of a folder. Exit code 1."""

    exit_code = 1


class UsageError(KgrecError):
    """A mistake in what was typed on the command line. Exit code 2."""

    exit_code = 2


def is_lack_of_memory(error: Exception) -> bool:
    """Whether a library could not get the memory that it asked for (torch has no error for it)."""
    texts = ("can't allocate memory", "out of memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name with the fewest changes from `name`, case aside; None if none is close."""
    from rapidfuzz.distance import OSA  # late: only a mistake needs it

    folded, by_fold = name.casefold(), {choice.casefold(): choice for choice in valid}
    matches = get_close_matches(folded, by_fold, n=5, cutoff=0.6)
    if not matches:
        return None
    return by_fold[min(matches, key=lambda match: OSA.distance(folded, match))]


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """One line for a name no `kind` (such as "metric") has: the nearest, else the list if short."""
    choices = sorted(valid)
    guess = nearest(name, choices)
    name = shorten(name)
    if guess is not None:
        return f"unknown {kind} '{name}': did you mean '{guess}'?"
    if len(choices) > MAX_LISTED or sum(map(len, choices)) > MAX_LISTED_CHARS:
        return (
            f"unknown {kind} '{name}': none of the {len(choices)} known ones is spelled like it; "
            "leave it out"
        )
    return f"unknown {kind} '{name}': choose one of {', '.join(choices)}"


def shorten(text: str, width: int = 40) -> str:
    """Text of a file as an error quotes it: one line of at most `width` characters, tabs shown."""
    line = " ".join(text[: 20 * width].replace("\t", "<TAB>").split())
    return line if len(line) <= width else line[: width - 3] + "..."


def reason(error: Exception) -> str:
    """Why a file could not be read: the system's words, else the first line of the error's text."""
    words = getattr(error, "strerror", None) or str(error)
    return shorten(words.partition("\n")[0], 120) or type(error).__name__


def cannot_read(where: object, error: Exception) -> KgrecError:
    """The one-line error for a file that could not be read."""
    if isinstance(error, FileNotFoundError):
        return KgrecError(f"{where}: no such file")
    if isinstance(error, IsADirectoryError):
        return KgrecError(f"{where}: a folder, expected a file")
    return KgrecError(f"{where}: cannot be read ({reason(error)})")


class Stopped(KgrecError):
    """The user stopped a command; the line says how to go on. Exit code 130, as for Ctrl-C."""

    exit_code = 130
