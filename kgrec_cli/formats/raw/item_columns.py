"""All columns of an item table as text, and which of them `--kg-columns` asks for.

`item_lists` reads what every list has (ids, titles, years, genres) for `.item`; this is for the
graph that `--kg metadata` makes of the rest. MovieLens' own lists have no more than that.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import polars as pl

from kgrec_cli.core.linking.item_columns import KINDS, N_BINS, Kind
from kgrec_cli.errors import KgrecError, UsageError, shorten, unknown_name
from kgrec_cli.formats.raw.columns import named_column, plain_name
from kgrec_cli.formats.raw.files import RawFile, is_parquet
from kgrec_cli.formats.raw.item_lists import FILMS, ListColumns, find_table
from kgrec_cli.formats.raw.tables import RawTable, read_columns, read_lines, whole_numbers
from kgrec_cli.formats.raw.typed import json_texts

OPTION = "--kg-columns"


class ItemColumns(NamedTuple):
    """The columns of an item table.

    Attributes:
        names: Of all columns, as in the file; of one without a name its number.
        texts: Number of a column, from 0 -> its cells, a String for each item, "" for nothing.
            Columns that hold neither text nor numbers are not there.
        ids: The number of the column of ids.
        roles: Number -> "title", "year" or "genre", for those that `.item` is made of.
        of_films: Whether it is a list of films, whose years and genres have relations of their own.
        where: The file.
        spaced: The numbers of those whose type is RecBole's `token_seq`: spaces separate values.
    """

    names: tuple[str, ...]
    texts: Mapping[int, pl.Series]
    ids: int
    roles: Mapping[int, str]
    of_films: bool
    where: str
    spaced: frozenset[int] = frozenset()


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
    texts = _read(table, id_number)
    has_id = texts[id_number] != ""
    return ItemColumns(
        tuple(plain_name(name) or str(n) for n, name in enumerate(table.names, start=1)),
        {number: column.filter(has_id) for number, column in texts.items()},
        id_number,
        {number: role for role, number in columns.items()},
        any(map(FILMS.search, table.names)),
        file.where,
        frozenset(n for n, name in enumerate(table.names) if name.endswith(":token_seq")),
    )


def choose_columns(
    columns: ItemColumns, wanted: Sequence[WantedColumn]
) -> list[tuple[int, WantedColumn]]:
    """The columns to make relations of: those that the user named, else all but the titles.

    Returns:
        The number of each, from 0, and how to take it.

    Raises:
        UsageError: A named column is not there (with the nearest name), has the ids, or is named
            twice.
        KgrecError: Two columns have one name.
    """
    names, where = columns.names, columns.where
    chosen = [
        (named_column(each.column, names, where=where, option=OPTION), each) for each in wanted
    ]
    if not wanted:
        not_wanted = ("title", "year", "genre") if columns.of_films else ("title",)
        chosen = [
            (number, WantedColumn(name))
            for number, name in enumerate(names)
            if number != columns.ids and columns.roles.get(number) not in not_wanted
        ]
    seen: dict[str, int] = {}
    for number, _ in chosen:
        name = names[number]
        if number == columns.ids:
            raise UsageError(f"{OPTION}: '{shorten(name)}' is the column of ids in {where}")
        if seen.setdefault(name, number) != number:
            raise KgrecError(
                f"{where}: columns {seen[name] + 1} and {number + 1} are both called "
                f"'{shorten(name)}'; rename one, or say which by its number: {OPTION} {number + 1}"
            )
    numbers = [number for number, _ in chosen]
    for number in numbers:
        if numbers.count(number) > 1:
            raise UsageError(f"{OPTION}: '{shorten(names[number])}' is named twice")
    return [(number, each._replace(column=names[number])) for number, each in chosen]


def _read(table: RawTable, id_number: int) -> dict[int, pl.Series]:
    """The columns as text by their numbers, but those that cannot be read.

    Whole numbers are read as such, as ids are: also in a column of ids of other items.
    """
    numbers = range(len(table.names))
    wanted = {str(n): n for n in numbers}
    if table.separator is not None:
        rows = read_columns(table, wanted, ids=tuple(wanted))
        return {n: rows[str(n)] for n in numbers}
    if not is_parquet(table.file):
        names = {str(n): table.names[n] for n in numbers}
        lines = read_lines(table.file)
        parts = json_texts(lines, names, table.file.where, lists=names, may_nest=True)
        rows = pl.concat(parts)
        return {n: whole_numbers(rows[str(n)]) for n in numbers}
    texts = {}
    for n in numbers:
        try:
            texts[n] = read_columns(table, {"0": n}, ids=("0",), lists=("0",))["0"]
        except KgrecError:  # a column of objects
            if n == id_number:
                raise
    return texts
