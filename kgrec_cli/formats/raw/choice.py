"""Which column of a log is which: as the user says, else by its name. What was guessed is told."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from kgrec_cli.errors import KgrecError, UsageError, shorten
from kgrec_cli.events import OnEvent, Warn, ignore_event
from kgrec_cli.formats.raw.columns import (
    guess_columns,
    has_name_of_time,
    known_names,
    named_column,
    plain_name,
    show_names,
)
from kgrec_cli.formats.raw.tables import RawTable
from kgrec_cli.formats.raw.times import is_date

NO_COLUMN = "none"
KINDS = ("user", "item", "rating", "time")
_OPTIONS = (
    ("user_id", "user", "--user-col"),
    ("item_id", "item", "--item-col"),
    ("rating", "rating", "--rating-col"),
    ("timestamp", "time", "--time-col"),
    ("offset", "offset", "--offset-col"),
)
_EPOCH = (9.5e8, 2.2e9)
"""2000 to 2039 in seconds: a column of such numbers, or a thousand times as large, is of times."""


@dataclass(frozen=True)
class ColumnChoice:
    """The columns the user named: a name, or a number from 1. None: go by common names.

    True when anything is named. `rating` "none" reads no ratings, `time` "none" takes the file's
    order. `offset` is the column of the time within the day that `time` names; `time_format` says
    how `time` is written, as for Python's `strptime`.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None
    offset: str | None = None
    time_format: str | None = None

    def __bool__(self) -> bool:
        return any(vars(self).values())


def choose_columns(
    table: RawTable, choice: ColumnChoice, on_event: OnEvent = ignore_event
) -> dict[str, int]:
    """Which column is which: user_id, item_id, rating, timestamp, offset -> number from 0.

    A warning tells where another column may be meant.

    Raises:
        KgrecError: The header does not name users or items, and neither does the user.
        UsageError: A column named by the user is not there, or two roles for one column.
    """
    names = table.names
    where = f"{table.file.where} ({table.kind})" if table.kind else table.file.where
    guesses = guess_columns(KINDS, names) if table.has_header else {}
    columns: dict[str, int] = {}
    for role, kind, option in _OPTIONS:
        wanted = getattr(choice, kind)
        if wanted is not None and (wanted != NO_COLUMN or kind in ("user", "item")):
            columns[role] = named_column(wanted, names, where=where, option=option)
        elif wanted is None and kind in guesses:
            columns[role] = guesses[kind]
    _check_columns(table, choice, columns)
    for line in _doubts(table, choice, columns):
        on_event(Warn(f"{where}: {line}"))
    return columns


def _check_columns(table: RawTable, choice: ColumnChoice, columns: Mapping[str, int]) -> None:
    names, where = table.names, table.file.where
    missing = [(kind, option) for role, kind, option in _OPTIONS[:2] if role not in columns]
    if missing:
        options = " and ".join(option for _, option in missing)
        if not table.has_header:
            line, text = table.first.number, shorten(table.first.text)
            raise KgrecError(
                f"{where}: no header (line {line} is '{text}'): say by number which column "
                "is which, for instance --user-col 1 --item-col 2 --rating-col 3 --time-col 4"
            )
        kinds = " or ".join(f"{kind}s" for kind, _ in missing)
        shown = show_names(names)
        raise KgrecError(f"{where}: no column of {kinds} among {shown}: name it by {options}")
    taken_by: dict[int, str] = {}
    for role, _, option in _OPTIONS:
        if role in columns and (first := taken_by.setdefault(columns[role], option)) != option:
            name = plain_name(names[columns[role]])
            raise UsageError(f"{option}: column '{name}' is taken by {first} already")
    for option, value in (("--offset-col", choice.offset), ("--time-format", choice.time_format)):
        if value is not None and "timestamp" not in columns:
            raise UsageError(f"{option}: which column is the time? name it by --time-col")


def _doubts(table: RawTable, choice: ColumnChoice, columns: Mapping[str, int]) -> list[str]:
    """Lines on columns that may be other ones than was meant."""
    names = [shorten(plain_name(name)) for name in table.names]
    lines = []
    by_number = []
    for role, kind, option in _OPTIONS:
        if role not in columns:
            continue
        wanted, name = getattr(choice, kind), names[columns[role]]
        if wanted is not None and wanted.isdigit() and table.has_header:
            by_number.append(f"{option} {wanted} is column {columns[role] + 1}, '{name}'")
        others = [n for n in known_names(kind, table.names) if n not in columns.values()]
        if wanted is None and others and kind != "time":
            shown = ", ".join(f"'{names[n]}'" for n in others[:3])
            lines.append(
                f"the {kind}s are column '{name}', the first of the names that kgrec knows; "
                f"{option} takes another ({shown})"
            )
    if by_number:
        source = "" if table.separator is None else f"line {table.first.number} holds names; "
        lines.append(source + ", ".join(by_number))
    return lines


def time_like_columns(table: RawTable, columns: Mapping[str, int]) -> list[str]:
    """The columns not in `columns` that look like times, by their name or by what they hold."""
    found = []
    for number, name in enumerate(table.names):
        values = pl.Series([row[number] for row in table.sample], dtype=pl.String)
        values = values.filter(values != "")
        if number in columns.values() or values.is_empty():
            continue
        numbers = values.cast(pl.Float64, strict=False)
        is_epoch = pl.Series([False] * len(values))
        for factor in (1.0, 1e3):
            is_epoch |= numbers.is_between(_EPOCH[0] * factor, _EPOCH[1] * factor).fill_null(False)
        looks_so = is_date(values) | is_epoch
        if table.has_header and has_name_of_time(name):
            looks_so |= numbers.is_not_null()
        if looks_so.mean() >= 0.9:  # type: ignore[operator]
            found.append(shorten(plain_name(name)) if table.has_header else f"column {name}")
    return found
