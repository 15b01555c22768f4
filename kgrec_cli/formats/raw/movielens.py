"""GroupLens' MovieLens sets, every layout, from a folder or straight out of the zip.

Three layouts are told apart by what the files hold: `u.data` (tabs, ml-100k), `ratings.dat`
(`::`, ml-1m and ml-10m) and `ratings.csv` (ml-20m and later). Rating rows go through polars, the
small lists through plain Python.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.files import RawFile, first_lines, is_zip, list_raw_files
from kgrec_cli.formats.raw.interactions import (
    OnBadRow,
    RawInteractions,
    first_bad_row,
    parse_interactions,
)
from kgrec_cli.formats.raw.item_lists import (
    U_GENRE,
    keep_unique,
    list_rows,
    numbered_lines,
    read_item_list,
)
from kgrec_cli.formats.raw.tables import (
    BAD_ROW_SCHEMA,
    RawTable,
    find_lines,
    find_quotes,
    read_columns,
)

TAG_SCHEMA = dict.fromkeys(("user_id", "item_id", "tag"), pl.String)


@dataclass(frozen=True)
class Layout:
    """One way in which GroupLens lays out a set.

    Attributes:
        name: What kgrec calls it.
        ratings: Usual name of the file of ratings.
        items: Name of the item list.
        users: Name of the file on users, if the layout has one.
        tags: Name of the file of tags, if the layout has one.
        separator: Between two fields of the ratings and the tags.
        pattern: What the first line of ratings looks like.
        columns: What the columns of the ratings are called.
        has_header: Whether the first line of the ratings and of the tags names the columns.
        user_columns: Columns of the file on users.
    """

    name: str
    ratings: str
    items: str
    users: str | None
    tags: str | None
    separator: str
    pattern: str
    columns: tuple[str, ...] = ("user_id", "item_id", "rating", "timestamp")
    has_header: bool = False
    user_columns: tuple[str, ...] = ()


LAYOUTS = (
    Layout(
        name="ml-100k",
        ratings="u.data",
        items="u.item",
        users="u.user",
        tags=None,
        separator="\t",
        pattern=r"^\d+\t\d+\t[1-5]\t\d{9,10}$",
        user_columns=("user_id", "age", "gender", "occupation", "zip_code"),
    ),
    Layout(
        name="ml-1m / ml-10m",
        ratings="ratings.dat",
        items="movies.dat",
        users="users.dat",
        tags="tags.dat",
        separator="::",
        pattern=r"^\d+::\d+::[0-5](\.5|\.0)?::\d+$",
        user_columns=("user_id", "gender", "age", "occupation", "zip_code"),
    ),
    Layout(
        name="ml-20m and later",
        ratings="ratings.csv",
        items="movies.csv",
        users=None,
        tags="tags.csv",
        separator=",",
        pattern=r"^\"?userId\"?,\"?movieId\"?,\"?rating\"?,\"?timestamp\"?$",
        columns=("userId", "movieId", "rating", "timestamp"),
        has_header=True,
    ),
)


@dataclass(frozen=True)
class RawData:
    """What raw files say.

    Attributes:
        layout: A MovieLens layout's name, or "table".
        rows: The interactions, good and bad.
        items: Columns of `item_lists.ITEM_SCHEMA`; None when nothing is known of the items.
        users: String columns user_id, ...; None when nothing is known of the users.
        tags: String columns user_id, item_id, tag; None when there are none or they were not asked
            for.
        bad_rows: Bad rows of all files, columns of `tables.BAD_ROW_SCHEMA`.
        files: The files read.
    """

    layout: str
    rows: RawInteractions
    items: pl.DataFrame | None
    users: pl.DataFrame | None
    tags: pl.DataFrame | None
    bad_rows: pl.DataFrame
    files: tuple[RawFile, ...] = field(default=())


@dataclass(frozen=True)
class MovieLensFiles:
    """A recognised set: its layout and where its files lie; None for those it lacks."""

    layout: Layout
    ratings: RawFile
    items: RawFile | None
    users: RawFile | None
    tags: RawFile | None
    genres: RawFile | None


def find_movielens(path: Path) -> MovieLensFiles | None:
    """The MovieLens files at `path`: a folder, a zip, or a file of ratings beside the others.

    Files with GroupLens' own names are taken first, else the one file whose first line looks like
    ratings. A folder or zip may hold them one folder below.

    Returns:
        None when there is no file of MovieLens ratings.

    Raises:
        KgrecError: No such path, not a whole zip, or several sets at once.
    """
    given = RawFile(path)
    if path.is_file() and not is_zip(given):
        layout = recognise(given)
        siblings = [RawFile(other) for other in sorted(path.parent.iterdir()) if other.is_file()]
        return _with_siblings(layout, given, siblings) if layout else None
    files = list_raw_files(path)
    named = [file for file in files if file.name in {layout.ratings for layout in LAYOUTS}]
    candidates = [(file, layout) for file in named if (layout := recognise(file))]
    if not candidates:
        candidates = [(file, layout) for file in files if (layout := recognise(file))]
    if not candidates:
        return None
    if len(candidates) > 1:
        places = ", ".join(file.where for file, _ in candidates[:3])
        raise KgrecError(f"{path}: several files of ratings; give one of them as --raw ({places})")
    ratings, layout = candidates[0]
    return _with_siblings(
        layout, ratings, [file for file in files if file.folder == ratings.folder]
    )


def recognise(file: RawFile) -> Layout | None:
    """The layout whose ratings a file holds, told by its first line; None when it is none.

    `u.data` and `ratings.dat` are taken by their names even so: what is wrong with their first line
    is then told as a bad row. (A `ratings.csv` may be any table.)
    """
    named = next((layout for layout in LAYOUTS if layout.ratings == file.name), None)
    try:
        line = first_lines(file)[0].rstrip()
    except KgrecError:
        if named:
            raise
        return None
    for layout in LAYOUTS:
        if re.match(layout.pattern, line):
            return layout
    return named if named and not named.has_header else None


def _with_siblings(layout: Layout, ratings: RawFile, files: Iterable[RawFile]) -> MovieLensFiles:
    by_name = {file.name: file for file in files}

    def get(name: str | None) -> RawFile | None:
        return by_name.get(name) if name else None

    return MovieLensFiles(
        layout, ratings, get(layout.items), get(layout.users), get(layout.tags), get("u.genre")
    )


def read_movielens(
    found: MovieLensFiles, on_bad_row: OnBadRow = "error", *, with_tags: bool = False
) -> RawData:
    """Everything a MovieLens set says.

    Args:
        found: What `find_movielens` found.
        on_bad_row: "error" stops at the first bad row; "skip" sets bad rows aside.
        with_tags: Read the tags too.

    Raises:
        KgrecError: A file that cannot be read, or a bad row if `on_bad_row` is "error".
    """
    layout = found.layout
    rows = _read_ratings(found.ratings, layout, on_bad_row)
    files = [found.ratings]
    bad_rows = [rows.bad_rows]

    def take(file: RawFile, table: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
        if bad.height and on_bad_row == "error":
            raise first_bad_row(bad, bad.height, table.height + bad.height)
        files.append(file)
        bad_rows.append(bad)
        return table

    items = users = tags = None
    if found.items:
        genre_names = _read_genre_names(found.genres) if found.genres else U_GENRE
        items = take(found.items, *read_item_list(found.items, genre_names))
    if found.users:
        users = take(found.users, *_read_users(found.users, layout))
    if found.tags and with_tags:
        tags = take(found.tags, *_read_tags(found.tags, layout))
    return RawData(layout.name, rows, items, users, tags, pl.concat(bad_rows), tuple(files))


def _read_ratings(file: RawFile, layout: Layout, on_bad_row: OnBadRow) -> RawInteractions:
    columns = {"user_id": 0, "item_id": 1, "rating": 2, "timestamp": 3}
    return parse_interactions(_table(file, layout), columns, on_bad_row=on_bad_row)


def _table(file: RawFile, layout: Layout) -> RawTable:
    """A file of four columns as the layout has it: ratings, or tags."""
    return RawTable(
        file,
        layout.columns,
        layout.separator,
        layout.has_header,
        quotes=find_quotes(file, layout.separator),
        n_skipped=int(layout.has_header),
    )


def _read_genre_names(file: RawFile) -> Sequence[str]:
    """The names in `u.genre`, in the order of the flags of `u.item`."""
    numbered = {}
    for line in numbered_lines(file):
        name, separator, number = line.text.rpartition("|")
        if separator and number.isdigit():
            numbered[int(number)] = name
    return [numbered[number] for number in sorted(numbered)] or U_GENRE


def _read_users(file: RawFile, layout: Layout) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The users, and the rows that could not be read."""
    separator = "|" if layout.separator == "\t" else layout.separator
    table = RawTable(file, layout.user_columns, separator)
    rows = list_rows(table, range(len(table.names)))
    users, bad_rows = keep_unique(rows, file.where, "user")
    schema = dict.fromkeys(layout.user_columns, pl.String)
    return pl.DataFrame(users, schema=schema, orient="row"), bad_rows


def _read_tags(file: RawFile, layout: Layout) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tags, and the rows that could not be read."""
    if layout.separator != "::":
        return _read_csv_tags(_table(file, layout))
    tags = []
    bad_rows = []
    for line in numbered_lines(file):
        user_id, first, rest = line.text.partition("::")
        item_id, second, rest = rest.partition("::")
        tag, third, _ = rest.rpartition("::")  # a tag may hold "::" itself
        if first and second and third and user_id and item_id:
            tags.append((user_id.strip(), item_id.strip(), tag.strip()))
        else:
            problem = (f"{line.text.count('::') + 1} columns", "4 (user::item::tag::time)")
            bad_rows.append((file.where, line.number, "", *problem, line.text))
    return (
        pl.DataFrame(tags, schema=TAG_SCHEMA, orient="row"),
        pl.DataFrame(bad_rows, schema=BAD_ROW_SCHEMA, orient="row"),
    )


def _read_csv_tags(table: RawTable) -> tuple[pl.DataFrame, pl.DataFrame]:
    fields = read_columns(table, {"user_id": 0, "item_id": 1, "tag": 2, "timestamp": 3})
    blank = pl.all_horizontal(pl.all() == "")
    bad = (pl.col("user_id") == "") | (pl.col("item_id") == "") | (pl.col("timestamp") == "")
    rows = fields.select((bad & ~blank).arg_true()).to_series().to_list()
    expected = str(len(table.names))
    bad_rows = [
        (table.file.where, line.number, "", f"{line.n_fields} columns", expected, line.text)
        for line in find_lines(table, rows)
    ]
    return (
        fields.filter(~bad & ~blank).select(*TAG_SCHEMA),
        pl.DataFrame(bad_rows, schema=BAD_ROW_SCHEMA, orient="row"),
    )
