"""Item lists: ids, titles, years and genres of `u.item`, `movies.dat`, `movies.csv` or any table.

`movielens` reads a data set's own list by this, `prepare` the lists given by `--items` and
`--catalog`. The kind of list is told by its first line, not by its name.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.columns import guess_column, has_names, plain_name
from kgrec_cli.formats.raw.delimited import find_separator, split_line
from kgrec_cli.formats.raw.files import RawFile, cannot_read, first_line, list_raw_files, read_text
from kgrec_cli.formats.raw.interaction_rows import BAD_ROW_SCHEMA

ITEM_SCHEMA = dict.fromkeys(("item_id", "title", "movie_title", "release_year", "genre"), pl.String)
U_GENRE = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
NO_GENRE = frozenset({"", "unknown", "(no genres listed)"})
LIST_NAMES = ("movies.csv", "movies.dat", "u.item")

_YEAR = re.compile(r"\s*\((\d{4})(?:\s*[-–—]\s*(?:\d{4})?)?\)(?=(?:\s*\([^()]*\))*\s*$)")


class ItemList(NamedTuple):
    """A catalogue of items.

    Attributes:
        items: String columns of ITEM_SCHEMA: `title` as the file has it, `movie_title` without its
            year, `release_year` (null when not known), `genre` (tokens joined by spaces, or null).
        bad_rows: Rows that could not be read, columns of `interaction_rows.BAD_ROW_SCHEMA`.
    """

    items: pl.DataFrame
    bad_rows: pl.DataFrame


class _Row(NamedTuple):
    """A row of a list; `problem` is (found, expected) when it holds no item."""

    line: int
    text: str
    item_id: str = ""
    title: str = ""
    year: str = ""
    genres: Sequence[str] = ()
    problem: tuple[str, str] | None = None


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
    """The items of a list given by the user: a file, or a folder or zip that holds one.

    Returns:
        String columns of ITEM_SCHEMA.

    Raises:
        KgrecError: No list there, or a row that cannot be read.
    """
    items, bad_rows = read_item_list(find_catalog(path))
    if bad_rows.height:
        row = bad_rows.row(0, named=True)
        raise KgrecError(
            f"{row['file']}, line {row['line']}: found {row['found']}, expected {row['expected']}"
        )
    return items


def find_catalog(path: Path) -> RawFile:
    """The item list at `path`: the file itself, or the one in a folder or zip.

    Raises:
        KgrecError: The folder or zip holds none.
    """
    if not path.is_dir() and path.suffix.lower() != ".zip":
        return RawFile(path)
    files = [file for file in list_raw_files(path) if file.name in LIST_NAMES]
    if not files:
        raise KgrecError(f"{path}: holds no item list, expected {', '.join(LIST_NAMES)}")
    return min(files, key=lambda file: LIST_NAMES.index(file.name))


def read_item_list(file: RawFile, genre_names: Sequence[str] = U_GENRE) -> ItemList:
    """The items in one file.

    Args:
        file: `u.item`, `movies.dat`, `movies.csv`, or a table (CSV, TSV, Parquet, RecBole `.item`)
            with columns for id and title and perhaps year and genres. Without a header the columns
            are id, title, and a year if the third is one.
        genre_names: What the flags of a `u.item` stand for.

    Raises:
        KgrecError: The file cannot be read, or no column holds ids or titles.
    """
    if file.name.endswith(".parquet"):
        return _collect(_parquet_rows(file), file.where)
    line = first_line(file)
    if line.count("::") >= 2:
        return _collect(_dat_rows(read_text(file)), file.where)
    if line.count("|") >= len(genre_names) + 4:
        return _collect(_u_item_rows(read_text(file), genre_names), file.where)
    return _collect(_table_rows(file, line), file.where)


def _collect(rows: Iterable[_Row], where: str) -> ItemList:
    items: dict[str, tuple[str, str, str, str | None, str | None]] = {}
    bad_rows = []
    for row in rows:
        problem = row.problem
        if problem is None and not row.item_id:
            problem = ("no id", "an item's id")
        elif problem is None and row.item_id in items:
            problem = (f"item '{row.item_id}' again", "each item once")
        if problem is not None:
            bad_rows.append((where, row.line, "", *problem, row.text))
            continue
        movie_title, year = split_title(row.title)
        if year is None and re.fullmatch(r"\d{4}(\.0)?", row.year):
            year = row.year[:4]
        names = (name for name in row.genres if name.strip() not in NO_GENRE)
        genre = " ".join("_".join(name.split()) for name in names)
        title = row.title.strip()
        items[row.item_id] = (row.item_id, title, movie_title, year, genre or None)
    return ItemList(
        pl.DataFrame(list(items.values()), schema=ITEM_SCHEMA, orient="row"),
        pl.DataFrame(bad_rows, schema=BAD_ROW_SCHEMA, orient="row"),
    )


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text that hold something, with their numbers from 1."""
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if line.strip():
            yield number, line


def _dat_rows(text: str) -> Iterator[_Row]:
    """`id::title::genres`; a title may hold `::` itself, so both ends are split off first."""
    for number, line in numbered_lines(text):
        item_id, first, rest = line.partition("::")
        title, second, genres = rest.rpartition("::")
        if first and second:
            yield _Row(number, line, item_id.strip(), title, "", genres.split("|"))
        else:
            found = f"{line.count('::') + 1} columns"
            yield _Row(number, line, problem=(found, "3 (id::title::genres)"))


def _u_item_rows(text: str, genre_names: Sequence[str]) -> Iterator[_Row]:
    """`id|title|date|video date|address|flag|flag|...`, a flag for each genre."""
    n_columns = 5 + len(genre_names)
    for number, line in numbered_lines(text):
        fields = line.split("|")
        flags = fields[-len(genre_names) :]
        if len(fields) < n_columns or not {*flags} <= {"0", "1"}:
            found = f"{len(fields)} columns" if len(fields) != n_columns else "a genre not 0 or 1"
            expected = f"{n_columns} columns, the last {len(genre_names)} of them 0 or 1"
            yield _Row(number, line, problem=(found, expected))
            continue
        title = "|".join(fields[1 : len(fields) - n_columns + 2])
        year = fields[-len(genre_names) - 3][-4:]  # of a date such as 01-Jan-1995
        genres = [name for name, flag in zip(genre_names, flags, strict=True) if flag == "1"]
        yield _Row(number, line, fields[0].strip(), title, year, genres)


def _table_rows(file: RawFile, line: str) -> Iterator[_Row]:
    separator = find_separator(line)
    if not separator or separator == " ":
        found = f"'{line[:60]}'" if line else "nothing"
        raise KgrecError(
            f"{file.where}, line 1: found {found}, expected an item list "
            "(MovieLens, or a table of id and title)"
        )
    names = split_line(line, separator, quoted=True)
    has_header = has_names(names)
    columns = _item_columns(names, has_header, file.where)
    for number, text, fields in _split_rows(read_text(file), separator):
        if has_header and number == 1:
            continue
        if len(fields) != len(names):
            problem = (f"{len(fields)} columns", str(len(names)))
            yield _Row(number, text, problem=problem)
        else:
            yield _table_row(number, text, fields, columns)


def _parquet_rows(file: RawFile) -> Iterator[_Row]:
    try:
        table = pl.read_parquet(file.path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise cannot_read(file.where, error) from error
    columns = _item_columns(table.columns, True, file.where)
    for number, values in enumerate(table.iter_rows(), start=1):
        fields = ["" if value is None else str(value) for value in values]
        yield _table_row(number, "\t".join(fields), fields, columns)


class _Columns(NamedTuple):
    """Numbers of the columns; None for what the table does not have."""

    item_id: int
    title: int
    year: int | None
    genre: int | None
    genre_separator: str | None


def _item_columns(names: Sequence[str], has_header: bool, where: str) -> _Columns:
    if not has_header:
        year = 2 if len(names) > 2 and re.fullmatch(r"\d{4}", names[2]) else None
        return _Columns(0, 1, year, None, "|")
    found = {kind: guess_column(kind, names) for kind in ("id", "title", "year", "genre")}
    item_id, title, genre = found["id"], found["title"], found["genre"]
    if item_id is None or title is None:
        shown = ", ".join(plain_name(name) for name in names)
        missing = "ids (item_id)" if item_id is None else "titles (title)"
        raise KgrecError(f"{where}, line 1: no column of {missing}; its columns are {shown}")
    is_sequence = genre is not None and names[genre].endswith(":token_seq")
    return _Columns(item_id, title, found["year"], genre, None if is_sequence else "|")


def _table_row(number: int, text: str, fields: Sequence[str], columns: _Columns) -> _Row:
    return _Row(
        number,
        text,
        fields[columns.item_id].strip(),
        fields[columns.title],
        "" if columns.year is None else fields[columns.year].strip(),
        () if columns.genre is None else fields[columns.genre].split(columns.genre_separator),
    )


def _split_rows(text: str, separator: str) -> Iterator[tuple[int, str, list[str]]]:
    """Line number, text and fields of each row.

    Quotes enclose a field, except in tab-separated text where some do not: there a quote that does
    not enclose its whole field is a character like any other.
    """
    if separator == "\t":
        for number, line in numbered_lines(text):
            yield number, line, [_unquoted(field) for field in line.split("\t")]
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    number = 1
    try:
        for fields in reader:
            if any(fields):
                yield number, separator.join(fields), fields
            number = reader.line_num + 1
    except csv.Error:
        yield number, "", []


def _unquoted(field: str) -> str:
    inside = field[1:-1]
    if len(field) >= 2 and field[0] == field[-1] == '"' and '"' not in inside.replace('""', ""):
        return inside.replace('""', '"')
    return field
