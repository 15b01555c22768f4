"""Item lists: ids, titles, years and genres of `u.item`, `movies.dat`, `movies.csv` or any table.

`movielens` reads the list of a data set with it, `prepare` the files of `--items` and `--catalog`.
The first line shows the kind of list, not the name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kgrec_cli.core.linking.item_columns import LIST_END
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import OnEvent, ignore_event
from kgrec_cli.formats.raw.columns import guess_columns, named_column, plain_name, show_names
from kgrec_cli.formats.raw.files import RawFile, first_lines, is_parquet, is_zip, list_raw_files
from kgrec_cli.formats.raw.layout import detect_table
from kgrec_cli.formats.raw.tables import (
    BAD_ROW_SCHEMA,
    Line,
    RawTable,
    find_lines,
    read_columns,
    read_lines,
    row_place,
    widths,
)

ITEM_SCHEMA = dict.fromkeys(("item_id", "title", "movie_title", "release_year", "genre"), pl.String)
FILMS = re.compile(r"movie|film", re.IGNORECASE)
"""What a list of films has in the name of a column, as MovieLens' has ("movieId")."""
U_GENRE = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRE = frozenset({"", "unknown", "(no genres listed)"})
_LIST = "an item list (MovieLens, or a table of id and title)"
LIST_NAMES = ("movies.csv", "movie.csv", "movies.dat", "u.item")

_YEAR_BESIDE = re.compile(r"(?<!\d)\d{4}(?!\d)")  # in a column of years, or of dates
_YEAR = re.compile(r"\s*\((\d{4})(?:\s*[-–—]\s*(?:\d{4})?)?\)(?=(?:\s*\([^()]*\))*\s*$)")


@dataclass(frozen=True)
class ListColumns:
    """The columns of an item list that the user named: a name, or a number from 1.

    None goes by common names. True when any is named. `item` is what the interactions call their
    items: a column of the list that is called so holds its ids, unless `id` names another. A table
    whose columns become a graph needs no titles.
    """

    id: str | None = None
    title: str | None = None
    year: str | None = None
    genre: str | None = None
    item: str | None = None
    needs_title: bool = True

    def __bool__(self) -> bool:
        return any((self.id, self.title, self.year, self.genre))


class ItemList(NamedTuple):
    """The items of a list.

    Attributes:
        items: String columns of ITEM_SCHEMA: `title` as the file has it; `movie_title`, in a list
            of films only, without its year; `release_year` (null when not known), `genre` (tokens
            joined by spaces, or null).
        bad_rows: Rows that could not be read, columns of `tables.BAD_ROW_SCHEMA`.
    """

    items: pl.DataFrame
    bad_rows: pl.DataFrame


class ListRow(NamedTuple):
    """A row of a list: where it stands, its fields (the id first), or what is wrong with it."""

    line: Line
    values: Sequence[str] = ()
    problem: tuple[str, str] | None = None  # found, expected


def split_title(title: str) -> tuple[str, str | None]:
    """A title without its year, and the year: "Heat (1995)" gives ("Heat", "1995").

    The year is the last bracket that holds one and has only brackets behind it; of a span such as
    (1995-1996) it is the first. "Babylon 5" has none.
    """
    matches = list(_YEAR.finditer(title))
    if not matches:
        return title.strip(), None
    match = matches[-1]
    return (title[: match.start()] + title[match.end() :]).strip(), match[1]


def read_catalog(path: Path) -> pl.DataFrame:
    """The items of a list, columns of ITEM_SCHEMA: from a file, or a folder or zip that holds one.

    Raises:
        KgrecError: No list there, or a row that cannot be read.
    """
    return read_items(find_catalog(path))


def read_items(
    file: RawFile, columns: ListColumns | None = None, *, on_event: OnEvent = ignore_event
) -> pl.DataFrame:
    """The items of a list, columns of ITEM_SCHEMA; arguments as of `read_item_list`.

    Raises:
        KgrecError: It cannot be read, or a row cannot.
        UsageError: A column named by the user is not there.
    """
    items, bad_rows = read_item_list(file, columns=columns, on_event=on_event)
    if bad_rows.height:
        row = bad_rows.row(0, named=True)
        raise KgrecError(f"{row_place(row)}: found {row['found']}, expected {row['expected']}")
    return items


def find_catalog(path: Path) -> RawFile:
    """The item list at `path`: the file itself, or the one in a folder or zip.

    Raises:
        KgrecError: The folder or zip holds none.
    """
    if not path.is_dir() and not is_zip(RawFile(path)):
        return RawFile(path)
    found = best_list(list_raw_files(path))
    if found is None:
        raise KgrecError(
            f"{path}: holds no item list, expected {', '.join(LIST_NAMES)}; of another name give "
            "the file itself"
        )
    return found


def best_list(files: Sequence[RawFile]) -> RawFile | None:
    """The first of `files` that is called as MovieLens or RecBole call an item list."""
    names = [*LIST_NAMES, *(file.name for file in files if file.name.endswith(".item"))]
    lists = [file for file in files if file.name in names]
    return min(lists, key=lambda file: names.index(file.name), default=None)


def read_item_list(
    file: RawFile,
    genre_names: Sequence[str] = U_GENRE,
    *,
    columns: ListColumns | None = None,
    on_event: OnEvent = ignore_event,
) -> ItemList:
    """The items in one file.

    Args:
        file: `u.item`, `movies.dat`, `movies.csv`, or a table (CSV, TSV, Parquet, RecBole `.item`)
            with columns for id and title and perhaps year and genres. Without a header the columns
            are id, title, and a year if the third is one.
        genre_names: What the flags of a `u.item` stand for.
        columns: The columns of a table that the user may name; None where there is no option.
        on_event: Is told what was guessed.

    Raises:
        KgrecError: The file cannot be read, or no column holds ids or titles.
        UsageError: A column named by the user is not there.
    """
    first = "" if is_parquet(file) else next(filter(str.strip, first_lines(file)), None)
    if first is None:
        raise KgrecError(f"{file.where}, line 1: found nothing, expected {_LIST}")
    is_of_films = True
    layout = "" if columns else _movielens_layout(first, genre_names)
    if layout == "movies.dat":
        rows = _dat_rows(file)
    elif layout == "u.item":
        rows = _u_item_rows(file, genre_names)
    else:
        table, numbers = _table_columns(file, columns, on_event)
        rows = _table_rows(table, numbers, on_event)
        is_of_films = any(map(FILMS.search, table.names))
    good, bad_rows = keep_unique(rows, file.where, "item")
    items = []
    for item_id, title, year, genres in good:  # one genre a line
        movie_title, year_in_title = split_title(title) if is_of_films else ("", None)
        beside = match[0] if (match := _YEAR_BESIDE.search(year)) else None
        names = (name for name in genres.split("\n") if name.strip() not in NO_GENRE)
        genre = " ".join("_".join(name.split()) for name in names)
        # A title that is all year, such as "(1962)", keeps it.
        items.append((item_id, title, movie_title or title, year_in_title or beside, genre or None))
    table_of_items = pl.DataFrame(items, schema=ITEM_SCHEMA, orient="row")
    if not any(item[1] for item in items):  # a table without titles
        table_of_items = table_of_items.with_columns(pl.lit(None, pl.String).alias("title"))
        is_of_films = False
    return ItemList(table_of_items if is_of_films else table_of_items.drop("movie_title"), bad_rows)


def _movielens_layout(first: str, genre_names: Sequence[str] = U_GENRE) -> str:
    """Which of MovieLens' two lists without a header begins with a line; "" for neither."""
    if first.count("::") >= 2:
        return "movies.dat"
    return "u.item" if first.count("|") >= len(genre_names) + 4 else ""


def find_table(file: RawFile, columns: ListColumns) -> tuple[RawTable, dict[str, int]] | None:
    """An item list that is a table with a header, and the numbers of id, title, year and genre.

    None for another list. Nothing is told: `read_item_list` does so.

    Raises:
        KgrecError: The file cannot be read, or no column holds ids.
        UsageError: A column named by the user is not there.
    """
    first = "" if is_parquet(file) else next(filter(str.strip, first_lines(file)), "")
    if not columns and _movielens_layout(first):
        return None
    table, numbers = _table_columns(file, columns, ignore_event)
    return (table, numbers) if table.has_header or table.separator is None else None


def keep_unique(
    rows: Iterable[ListRow], where: str, what: str
) -> tuple[list[Sequence[str]], pl.DataFrame]:
    """The fields of the good rows, each id once; and the bad rows, columns of BAD_ROW_SCHEMA.

    Errors name the file `where`, and `what` the ids are of: "item" or "user".
    """
    good: dict[str, Sequence[str]] = {}
    bad_rows = []
    for line, values, problem in rows:
        if problem is None and not values[0]:
            problem = ("no id", f"{'an' if what == 'item' else 'a'} {what}'s id")
        elif problem is None and values[0] in good:
            problem = (f"{what} '{values[0]}' again", f"each {what} once")
        if problem is None:
            good[values[0]] = values
        else:
            bad_rows.append((where, line.number, "", *problem, line.text))
    return list(good.values()), pl.DataFrame(bad_rows, schema=BAD_ROW_SCHEMA, orient="row")


def numbered_lines(file: RawFile) -> Iterator[Line]:
    """The lines of a text that are not blank."""
    for number, text in enumerate(read_lines(file), start=1):
        if text:
            yield Line(number, text, 0)


def list_rows(
    table: RawTable,
    columns: Sequence[int],
    *,
    genres: int | None = None,
    on_event: OnEvent = ignore_event,
) -> Iterator[ListRow]:
    """The rows of a table that are not blank, with the fields of some columns (numbers from 0).

    The first of `columns` has ids; `genres` is the number of one that may have lists.
    """
    fields = read_columns(
        table,
        {str(number): number for number in columns},
        ids=(str(columns[0]),),
        lists=(str(genres),),
        on_event=on_event,
    )
    lines = find_lines(table, range(fields.height))
    for line, (*values, extra) in zip(lines, fields.iter_rows(), strict=True):
        if line.n_fields != len(table.names) and (extra or any(values)):
            yield ListRow(line, problem=widths(table, line.n_fields))
        elif any(values):
            yield ListRow(line, values)


def _dat_rows(file: RawFile) -> Iterator[ListRow]:
    """`id::title::genres`; a title may hold `::` itself, so both ends are split off first."""
    for line in numbered_lines(file):
        item_id, first, rest = line.text.partition("::")
        title, second, genres = rest.rpartition("::")
        if first and second:
            yield ListRow(line, (item_id.strip(), title.strip(), "", genres.replace("|", "\n")))
        else:
            found = f"{line.text.count('::') + 1} columns"
            yield ListRow(line, problem=(found, "3 (id::title::genres)"))


def _u_item_rows(file: RawFile, genre_names: Sequence[str]) -> Iterator[ListRow]:
    """`id|title|date|video date|address|flag|flag|...`, a flag for each genre."""
    n_columns = 5 + len(genre_names)
    for line in numbered_lines(file):
        fields = line.text.split("|")
        flags = fields[-len(genre_names) :]
        if len(fields) < n_columns or not {*flags} <= {"0", "1"}:
            found = f"{len(fields)} columns" if len(fields) != n_columns else "a genre not 0 or 1"
            expected = f"{n_columns} columns, the last {len(genre_names)} of them 0 or 1"
            yield ListRow(line, problem=(found, expected))
            continue
        title = "|".join(fields[1 : len(fields) - n_columns + 2])
        year = fields[-len(genre_names) - 3][-4:]  # of a date such as 01-Jan-1995
        genres = [name for name, flag in zip(genre_names, flags, strict=True) if flag == "1"]
        yield ListRow(line, (fields[0].strip(), title.strip(), year, "\n".join(genres)))


def _table_columns(
    file: RawFile, named: ListColumns | None, on_event: OnEvent
) -> tuple[RawTable, dict[str, int]]:
    """A table and the numbers of its columns id, title and, where it has them, year and genre."""
    kinds = ("id", "title", "year", "genre")
    table = detect_table(file, _LIST, kinds, if_unsure=True, on_event=on_event)
    place = file.where if table.separator is None else f"{file.where}, line {table.first.number}"
    if table.separator in ("", " "):  # titles hold spaces
        raise KgrecError(f"{place}: found '{shorten(table.first.text)}', expected {_LIST}")
    columns = guess_columns(kinds, table.names)
    if not table.has_header:
        has_year = len(table.names) > 2 and re.fullmatch(r"\d{4}", table.sample[0][2])
        columns = dict(zip(kinds, range(3 if has_year else 2), strict=False))
    if named is not None:
        columns |= _named_columns(table, named)
    for kind, missing in (("id", "ids (item_id)"), ("title", "titles (title)")):
        if kind not in columns and (kind == "id" or named is None or named.needs_title):
            cure = "" if named is None else f": name it by --{kind}-col"
            raise KgrecError(
                f"{place}: no column of {missing} among {show_names(table.names)}{cure}"
            )
    columns = {kind: columns[kind] for kind in kinds if kind in columns}
    return table, columns


def _table_rows(
    table: RawTable, columns: Mapping[str, int], on_event: OnEvent
) -> Iterator[ListRow]:
    is_sequence = "genre" in columns and table.names[columns["genre"]].endswith(":token_seq")
    numbers = list(columns.values())
    for row in list_rows(table, numbers, genres=columns.get("genre"), on_event=on_event):
        fields = dict(zip(columns, row.values, strict=False))
        genres = fields.get("genre", "").replace(" " if is_sequence else "|", "\n")
        genres = genres.replace(LIST_END, "\n")
        values = (fields.get("id", ""), fields.get("title", ""), fields.get("year", ""), genres)
        yield row._replace(values=values)


def _named_columns(table: RawTable, named: ListColumns) -> dict[str, int]:
    """The columns that the user named, and the ids where the interactions name them."""
    columns = {}
    plain = [plain_name(name) for name in table.names]
    if table.has_header and named.item in plain:
        columns["id"] = plain.index(named.item)
    for kind in ("id", "title", "year", "genre"):
        if (name := getattr(named, kind)) is not None:
            where, option = table.file.where, f"--{kind}-col"
            columns[kind] = named_column(name, table.names, where=where, option=option)
    return columns
