"""Any table of interactions: CSV, TSV, other separators, `::`, Parquet, RecBole's `.inter`, gzip.

Says which column is which, by the user's word or by common names; `interaction_rows` does the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.formats.raw.columns import guess_column, has_names, named_column, plain_name
from kgrec_cli.formats.raw.delimited import (
    EXTRA,
    Form,
    Line,
    find_lines,
    find_separator,
    read_fields,
    split_line,
)
from kgrec_cli.formats.raw.files import RawFile, cannot_read, first_line, head
from kgrec_cli.formats.raw.interaction_rows import (
    LocateRows,
    OnBadRow,
    ParsedRows,
    parse_interactions,
)

NO_COLUMN = "none"
_PARQUET_MAGIC = b"PAR1"
_OPTIONS = (
    ("user_id", "user", "--user-col"),
    ("item_id", "item", "--item-col"),
    ("rating", "rating", "--rating-col"),
    ("timestamp", "time", "--time-col"),
)


@dataclass(frozen=True)
class ColumnChoice:
    """The columns the user named: a name, or a number from 1. None: go by common names.

    Attributes:
        user: Column of users.
        item: Column of items.
        rating: Column of ratings; "none" leaves ratings out.
        time: Column of times; "none" takes the file's order.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None

    def is_given(self) -> bool:
        """True when the user named any column."""
        return any((self.user, self.item, self.rating, self.time))


@dataclass(frozen=True)
class Table:
    """The interactions of a table, and the names of the columns they came from."""

    rows: ParsedRows
    columns: dict[str, str]


def read_table(path: Path, choice: ColumnChoice, *, on_bad_row: OnBadRow = "error") -> Table:
    """The interactions in a table.

    Args:
        path: The file.
        choice: Which column is which, as far as the user says.
        on_bad_row: "error" stops at the first bad row; "skip" sets bad rows aside.

    Raises:
        KgrecError: The file cannot be read, is empty, has no columns that could be users and items,
            or a bad row if `on_bad_row` is "error".
        UsageError: A column named by the user is not there.
    """
    file = RawFile(path)
    start = head(file, 4)
    if start == _PARQUET_MAGIC:
        return _read_parquet(file, choice, on_bad_row)
    if start[:2] == b"PK":
        raise KgrecError(f"{path}: a zip that holds no MovieLens set; give the table itself")
    line = first_line(file)
    if not line.strip():
        raise KgrecError(f"{path}: empty, expected a table of interactions")
    separator = find_separator(line)
    if not separator:
        raise KgrecError(
            f"{path}, line 1: found '{line[:60]}', expected columns separated by tab, comma, "
            "semicolon, '|' or '::'"
        )
    names = split_line(line, separator, quoted=True)
    has_header = has_names(names)
    if not has_header:
        names = [str(number) for number in range(1, len(names) + 1)]
    columns = choose_columns(names, choice, has_header=has_header, first=line, where=file.where)
    form = Form(separator, len(names), has_header, quoted=len(separator) == 1)
    try:
        fields = read_fields(file, form, columns)
    except KgrecError:
        form = Form(separator, len(names), has_header, quoted=False)  # quotes that are mere text
        fields = read_fields(file, form, columns)
    locate = partial(find_lines, file, form)
    return _parse(fields, file, names, columns, on_bad_row, locate)


def choose_columns(
    names: Sequence[str], choice: ColumnChoice, *, has_header: bool, first: str, where: str
) -> dict[str, int]:
    """Which column is which: user_id, item_id, rating, timestamp -> number from 0.

    Args:
        names: The table's columns.
        choice: What the user says.
        has_header: Whether the names are the file's own; else only the user can know.
        first: The file's first line, for the error when there is no header.
        where: The file.

    Raises:
        KgrecError: Users or items cannot be told.
        UsageError: A column named by the user is not there, or two roles for one column.
    """
    columns: dict[str, int] = {}
    for role, kind, option in _OPTIONS:
        wanted = getattr(choice, kind)
        optional = role in ("rating", "timestamp")
        if wanted is not None and not (optional and wanted == NO_COLUMN):
            columns[role] = named_column(wanted, names, where=where, option=option)
        elif wanted is None and has_header:
            guess = guess_column(kind, names)
            if guess is not None:
                columns[role] = guess
    missing = [(kind, option) for role, kind, option in _OPTIONS[:2] if role not in columns]
    if missing:
        options = " and ".join(option for _, option in missing)
        if not has_header:
            raise KgrecError(
                f"{where}: no header (line 1 is '{first[:60]}'): say by number which column is "
                f"which, for instance --user-col 1 --item-col 2 --rating-col 3 --time-col 4"
            )
        kinds = " or ".join(f"{kind}s" for kind, _ in missing)
        shown = ", ".join(plain_name(name) for name in names)
        raise KgrecError(f"{where}: no column of {kinds} among {shown}: name it by {options}")
    by_number: dict[int, str] = {}
    for role, _, option in _OPTIONS:
        number = columns.get(role)
        if number is not None and number in by_number:
            name = plain_name(names[number])
            raise UsageError(f"{option}: column '{name}' is taken by {by_number[number]} already")
        if number is not None:
            by_number[number] = option
    return columns


def _parse(
    fields: pl.DataFrame,
    file: RawFile,
    names: Sequence[str],
    columns: dict[str, int],
    on_bad_row: OnBadRow,
    locate: LocateRows,
) -> Table:
    shown = {role: plain_name(names[number]) for role, number in columns.items()}
    rows = parse_interactions(
        fields,
        where=file.where,
        names=shown,
        n_columns=len(names),
        on_bad_row=on_bad_row,
        locate=locate,
    )
    return Table(rows, shown)


def _read_parquet(file: RawFile, choice: ColumnChoice, on_bad_row: OnBadRow) -> Table:
    try:
        names = list(pl.read_parquet_schema(file.path))
        columns = choose_columns(names, choice, has_header=True, first="", where=file.where)
        table = pl.read_parquet(file.path, columns=[names[number] for number in columns.values()])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise cannot_read(file.where, error) from error
    texts = [
        _as_text(table[names[number]], role, file.where).alias(role)
        for role, number in columns.items()
    ]
    fields = pl.DataFrame(
        [*texts, pl.Series(EXTRA, [""], dtype=pl.String).new_from_index(0, table.height)]
    )

    def locate(rows: Sequence[int]) -> list[Line]:
        found = fields[list(rows)].drop(EXTRA)
        return [
            Line(row + 1, "\t".join(values), len(names))
            for row, values in zip(rows, found.iter_rows(), strict=True)
        ]

    return _parse(fields, file, names, columns, on_bad_row, locate)


def _as_text(column: pl.Series, role: str, where: str) -> pl.Series:
    """A typed column as text that reads back to the same values; nulls become ""."""
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise KgrecError(f"{where}: column '{column.name}' holds {column.dtype}, expected {role}s")
    if column.dtype.is_temporal():
        moments = column.cast(pl.Datetime("us"))
        if (moments.dt.microsecond() == 0).all():
            column = moments.dt.epoch("s")
        else:
            column = moments.dt.epoch("us") / 1e6
    elif column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)  # ids that pandas made floats: 7.0 is 7
        if (whole.cast(pl.Float64) == column).all() and whole.null_count() == column.null_count():
            column = whole
    return column.cast(pl.String).fill_null("")
