"""GroupLens' MovieLens sets, every layout, from a folder or straight out of the zip.

The content tells three layouts apart: `u.data` (tabs, ml-100k), `ratings.dat`
(`::`, ml-1m and ml-10m) and `ratings.csv` (ml-20m and later). Rating rows go through polars, the
small lists through plain Python.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, ignore_event
from kgrec_cli.formats.raw.files import RawFile, first_lines, is_zip, list_raw_files
from kgrec_cli.formats.raw.interactions import (
    OnBadRow,
    RawInteractions,
    first_bad_row,
    parse_interactions,
)
from kgrec_cli.formats.raw.item_columns import ItemColumns
from kgrec_cli.formats.raw.item_lists import (
    U_GENRE,
    ListColumns,
    keep_unique,
    list_rows,
    numbered_lines,
    read_item_list,
)
from kgrec_cli.formats.raw.layout import find_quotes
from kgrec_cli.formats.raw.missing_ids import OnMissingId
from kgrec_cli.formats.raw.tables import BAD_ROW_SCHEMA, RawTable, find_lines, read_columns

TAG_SCHEMA = dict.fromkeys(("user_id", "item_id", "tag"), pl.String)


@dataclass(frozen=True)
class Layout:
    """One way in which GroupLens lays out a set.

    Attributes:
        name: What kgrec calls it.
        ratings, items, users, tags: Usual names of the files; "" where the layout has none. Beside
            "movies.csv" and "tags.csv" stand Kaggle's, in the singular.
        separator: Between two fields of the ratings and the tags.
        pattern: What the first line of ratings looks like.
        columns: What the columns of the ratings are called.
        has_header: Whether the first line of the ratings and of the tags names the columns.
        user_columns: Columns of the file on users.
    """

    name: str
    ratings: str
    items: str
    users: str
    tags: str
    separator: str
    pattern: str
    columns: tuple[str, ...] = ("user_id", "item_id", "rating", "timestamp")
    has_header: bool = False
    user_columns: tuple[str, ...] = ()


# fmt: off
LAYOUTS = (
    Layout(
        "ml-100k", "u.data", "u.item", "u.user", "", "\t", r"^\d+\t\d+\t[1-5]\t\d{9,10}$",
        user_columns=("user_id", "age", "gender", "occupation", "zip_code"),
    ),
    Layout(
        "ml-1m / ml-10m", "ratings.dat", "movies.dat", "users.dat", "tags.dat", "::",
        r"^\d+::\d+::[0-5](\.5|\.0)?::\d+$",
        user_columns=("user_id", "gender", "age", "occupation", "zip_code"),
    ),
    Layout(
        "ml-20m and later", "ratings.csv", "movies.csv", "", "tags.csv", ",",
        r"^\"?userId\"?,\"?movieId\"?,\"?rating\"?,\"?timestamp\"?$",
        columns=("userId", "movieId", "rating", "timestamp"), has_header=True,
    ),
)
# fmt: on


@dataclass(frozen=True)
class RawData:
    """The contents of the raw files.

    Attributes:
        layout: A MovieLens layout's name, or "table".
        rows: The interactions, good and bad.
        items: Columns of `item_lists.ITEM_SCHEMA`; None when nothing is known of the items.
        users: String columns user_id, ...; None when nothing is known of the users.
        tags: String columns user_id, item_id, tag; None without tags, or when not read.
        bad_rows: Bad rows of all files, columns of `tables.BAD_ROW_SCHEMA`.
        item_columns: All columns of the item list, where it is a table and they are wanted.
    """

    layout: str
    rows: RawInteractions
    items: pl.DataFrame | None
    users: pl.DataFrame | None
    tags: pl.DataFrame | None
    bad_rows: pl.DataFrame
    files: tuple[RawFile, ...]
    item_columns: ItemColumns | None = None


@dataclass(frozen=True)
class MovieLensFiles:
    """A recognised set: its layout, its ratings, and the files beside these by name."""

    layout: Layout
    ratings: RawFile
    by_name: Mapping[str, RawFile]


def find_movielens(path: Path) -> MovieLensFiles | None:
    """The MovieLens files at `path`: a folder, a zip, or a file of ratings beside the others.

    Files with GroupLens' names are taken first, else the one file whose first line looks like
    ratings. A folder or zip may hold them one folder below.

    Returns:
        None when there is no file of MovieLens ratings.

    Raises:
        KgrecError: No such path, not a whole zip, or several sets at once.
    """
    if path.is_file() and not is_zip(RawFile(path)):
        folder = str(path.parent)
        named, others, files = [RawFile(path)], [], [RawFile(path)]
        with suppress(KgrecError):  # a folder that cannot be listed
            files = [file for file in list_raw_files(path.parent) if file.folder == folder]
    else:
        files = others = list_raw_files(path)
        named = [file for file in files if file.name in {layout.ratings for layout in LAYOUTS}]
    recognised = [(file, layout) for file in named if (layout := recognise(file))] or [
        (file, layout) for file in others if (layout := recognise(file))
    ]
    layouts = {layout.name: layout for _, layout in recognised}
    if not recognised or _are_parts([file for file, _ in recognised], layouts):
        return None
    if len(recognised) > 1:
        places = ", ".join(file.where for file, _ in recognised[:3])
        raise KgrecError(f"{path}: several files of ratings; give one of them as --raw ({places})")
    ratings, layout = recognised[0]
    by_name = {file.name: file for file in files if file.folder == ratings.folder}
    return MovieLensFiles(layout, ratings, by_name)


def _are_parts(files: Sequence[RawFile], layouts: Mapping[str, Layout]) -> bool:
    """Whether files of ratings are the parts of one table: of one folder, each with the header."""
    folders = {file.folder for file in files}
    headers = all(layout.has_header for layout in layouts.values())
    unnamed = {file.name for file in files}.isdisjoint(layout.ratings for layout in LAYOUTS)
    return len(files) > 1 and len(folders) == len(layouts) == 1 and headers and unnamed


def recognise(file: RawFile) -> Layout | None:
    """The layout whose ratings a file holds, by its first line; None when it holds none.

    `u.data` and `ratings.dat` are recognised by name, too: an error in their first line is then
    reported as a bad row. (A `ratings.csv` may be any table.)
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


def read_movielens(
    files: MovieLensFiles,
    on_bad_row: OnBadRow = "error",
    *,
    with_tags: bool = False,
    item_list: RawFile | None = None,
    list_columns: ListColumns | None = None,
    on_missing_id: OnMissingId = "error",
    on_event: OnEvent = ignore_event,
) -> RawData:
    """The contents of a MovieLens set; tags only `with_tags`.

    "error" stops at the first bad row; "skip" sets bad rows aside. `on_missing_id` says the same of
    ids such as "NA", see `settle_missing_ids`. `item_list` is taken in place of the set's own; its
    columns may be named.

    Raises:
        KgrecError: A file that cannot be read, or a bad row or missing id that is to stop it.
    """
    layout, by_name = files.layout, files.by_name
    columns = {"user_id": 0, "item_id": 1, "rating": 2, "timestamp": 3}
    rows = parse_interactions(
        _table(files.ratings, layout),
        columns,
        on_bad_row=on_bad_row,
        on_missing_id=on_missing_id,
        on_event=on_event,
    )
    read = [files.ratings]
    bad_rows = [rows.bad_rows]

    def take(file: RawFile, table: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
        if bad.height and on_bad_row == "error":
            raise first_bad_row(bad, bad.height, table.height + bad.height)
        read.append(file)
        bad_rows.append(bad)
        return table

    items = users = tags = None
    if file := item_list or by_name.get(layout.items) or by_name.get(_singular(layout.items)):
        genres = by_name.get("u.genre")
        names = _read_genre_names(genres) if genres else U_GENRE
        items = take(file, *read_item_list(file, names, columns=list_columns))
    if file := by_name.get(layout.users):
        users = take(file, *_read_users(file, layout))
    if with_tags and (file := by_name.get(layout.tags) or by_name.get(_singular(layout.tags))):
        tags = take(file, *_read_tags(file, layout))
    return RawData(layout.name, rows, items, users, tags, pl.concat(bad_rows), tuple(read))


def _singular(name: str) -> str:
    """Kaggle's name for a file of GroupLens': "movie.csv" for "movies.csv"."""
    return name.replace("s.", ".")


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
