"""All columns of an item table as text, and which of them `--kg-columns` asks for.

`item_lists` reads what every list has (ids, titles, years, genres) for `.item`; this is for the
graph that `--kg metadata` makes of the rest. MovieLens' own lists have no more than that.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import polars as pl

from kgrec_cli.core.linking.item_columns import KINDS, N_BINS, Kind
from kgrec_cli.errors import KgrecError, UsageError, unknown_name
from kgrec_cli.formats.raw.columns import named_column, plain_name
from kgrec_cli.formats.raw.files import RawFile, is_parquet
from kgrec_cli.formats.raw.item_lists import FILMS, ListColumns, find_table
from kgrec_cli.formats.raw.tables import RawTable, read_columns, read_lines
from kgrec_cli.formats.raw.typed import json_texts

OPTION = "--kg-columns"


class ItemColumns(NamedTuple):
    """The columns of an item table.

    Attributes:
        table: String column item_id, then a String column for each other column, by its name; ""
            for nothing.
        roles: Column -> "title", "year" or "genre", for those that `.item` is made of.
        of_films: Whether it is a list of films, whose years and genres have relations of their own.
        unread: Columns that hold neither text nor numbers.
        where: The file.
    """

    table: pl.DataFrame
    roles: Mapping[str, str]
    of_films: bool
    unread: tuple[str, ...]
    where: str


class WantedColumn(NamedTuple):
    """A column that the user named, and how to take its cells; None guesses."""

    column: str
    kind: Kind | None = None
    n_bins: int = N_BINS


def parse_wanted(text: str) -> tuple[WantedColumn, ...]:
    """What `--kg-columns brand,category:list,price:bins` asks for; "bins=10" makes ten quantiles.

    Raises:
        UsageError: An unknown kind, or a number of bins that is none.
    """
    wanted = []
    for part in filter(None, map(str.strip, text.split(","))):
        column, colon, how = part.rpartition(":") if ":" in part else (part, "", "")
        how, equals, number = how.partition("=")
        if not colon:
            wanted.append(WantedColumn(part))
            continue
        if how not in KINDS or not column:
            raise UsageError(f"{OPTION} {part}: {unknown_name('kind of column', how, KINDS)}")
        if equals and (how != "bins" or not re.fullmatch(r"[1-9]\d{0,3}", number) or number == "1"):
            raise UsageError(f"{OPTION} {part}: expected {column}:bins=N, N from 2 to 9999")
        kind = next(kind for kind in get_args(Kind) if kind == how)
        wanted.append(WantedColumn(column, kind, int(number) if equals else N_BINS))
    if not wanted:
        raise UsageError(f"{OPTION}: names no column; for instance brand,category:list,price:bins")
    return tuple(wanted)


def read_item_columns(file: RawFile, named: ListColumns) -> ItemColumns | None:
    """All columns of an item table; None for a list as MovieLens packs it, which has no others.

    Raises:
        KgrecError: The file cannot be read, or no column holds ids.
    """
    found = find_table(file, named)
    if found is None:
        return None
    table, columns = found
    id_number = columns.pop("id")
    names = [plain_name(name) for name in table.names]
    others = [n for n in range(len(names)) if n != id_number]
    texts, unread = _read(table, [id_number, *others])
    named_texts = {names[n]: column for n, column in texts.items() if n != id_number}
    ids = texts[id_number].alias("item_id")
    columns_of_items = pl.DataFrame(
        [ids, *(c.alias(n) for n, c in named_texts.items() if n != "item_id")]
    )
    return ItemColumns(
        columns_of_items.filter(pl.col("item_id") != ""),
        {names[number]: role for role, number in columns.items()},
        any(map(FILMS.search, table.names)),
        tuple(names[n] for n in unread),
        file.where,
    )


def choose_columns(columns: ItemColumns, wanted: Sequence[WantedColumn]) -> list[WantedColumn]:
    """The columns to make relations of: those that the user named, else all but the titles.

    Raises:
        UsageError: A named column is not there, with the nearest name.
    """
    names = [*columns.table.columns[1:], *columns.unread]
    chosen = []
    for each in wanted:
        number = named_column(each.column, names, where=columns.where, option=OPTION)
        chosen.append(each._replace(column=names[number]))
    of_films = ("title", "year", "genre") if columns.of_films else ("title",)
    return chosen or [
        WantedColumn(name) for name in names if columns.roles.get(name) not in of_films
    ]


def _read(table: RawTable, numbers: Sequence[int]) -> tuple[dict[int, pl.Series], list[int]]:
    """The columns of those numbers as text, the first one of ids; and those that cannot be read."""
    if table.separator is None and not is_parquet(table.file):
        wanted = {str(n): table.names[n] for n in numbers}
        lines = read_lines(table.file)
        parts = json_texts(lines, wanted, table.file.where, lists=wanted, may_nest=True)
        rows = pl.concat(parts)
        return {n: rows[str(n)] for n in numbers}, []
    if table.separator is not None:
        rows = read_columns(table, {str(n): n for n in numbers}, ids=(str(numbers[0]),))
        return {n: rows[str(n)] for n in numbers}, []
    texts, unread = {}, []
    for n in numbers:
        try:
            texts[n] = read_columns(table, {"0": n}, ids=("0",), lists=("0",))["0"]
        except KgrecError:  # a column of objects, or of lists of numbers
            if n == numbers[0]:
                raise
            unread.append(n)
    return texts, unread
