"""Interactions out of any table: which column is which, numbers and times, bad rows.

`tables` reads them: CSV, TSV, other separators, `::`, Parquet, RecBole's `.inter`, gzip.
`movielens` knows its columns, and hands its table to `parse_interactions` as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import OnEvent, ignore_event
from kgrec_cli.formats.raw.columns import guess_columns, named_column, plain_name, show_names
from kgrec_cli.formats.raw.layout import detect_table
from kgrec_cli.formats.raw.logs import find_log
from kgrec_cli.formats.raw.tables import (
    BAD_ROW_SCHEMA,
    EXTRA,
    RawTable,
    find_lines,
    read_columns,
    shorten,
)

OnBadRow = Literal["error", "skip"]

NO_COLUMN = "none"
_OPTIONS = (
    ("user_id", "user", "--user-col"),
    ("item_id", "item", "--item-col"),
    ("rating", "rating", "--rating-col"),
    ("timestamp", "time", "--time-col"),
)
LARGEST_FLOAT_TIME = 2.0**53
"""From here on different whole numbers are one float, and their order is lost."""

_DATE = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(\.\d+)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$"


@dataclass(frozen=True)
class ColumnChoice:
    """The columns the user named: a name, or a number from 1. None: go by common names.

    True when any is named. `rating` "none" reads no ratings, `time` "none" takes the file's order.
    """

    user: str | None = None
    item: str | None = None
    rating: str | None = None
    time: str | None = None

    def __bool__(self) -> bool:
        return any((self.user, self.item, self.rating, self.time))


@dataclass(frozen=True)
class RawInteractions:
    """What a file of interactions holds.

    Attributes:
        table: The good rows in the file's order: user_id, item_id (Categorical), rating (Int64 when
            all are whole, else Float64; absent when the file has none), timestamp (Int64, exact;
            Float64 when some have fractions; the row's number when the file has none).
        bad_rows: The others, columns of BAD_ROW_SCHEMA; `line` counts from 1, header included.
        n_rows: Good and bad rows together; lines of nothing but separators are none.
        columns: user_id, item_id, rating, timestamp -> what the file calls that column.
    """

    table: pl.DataFrame
    bad_rows: pl.DataFrame
    n_rows: int
    columns: dict[str, str]


def read_raw_interactions(
    path: Path,
    choice: ColumnChoice,
    *,
    on_bad_row: OnBadRow = "error",
    on_event: OnEvent = ignore_event,
) -> RawInteractions:
    """The interactions in a table; "error" stops at the first bad row, "skip" sets it aside.

    `path` is the file, or a folder, zip or pattern, see `logs.find_log`.

    Raises:
        KgrecError: The file cannot be read, is empty, has no columns that could be users and items,
            or a bad row if `on_bad_row` is "error".
        UsageError: A column named by the user is not there.
    """
    file, *parts = find_log(path).files
    kinds = [kind for _, kind, _ in _OPTIONS]
    what = "a table of interactions"
    table = detect_table(file, what, kinds, if_unsure=True, parts=parts, on_event=on_event)
    if table.separator == "":
        raise KgrecError(
            f"{file.where}, line {table.first.number}: found '{shorten(table.first.text)}', "
            "expected columns separated by tab, comma, semicolon, '|' or '::'"
        )
    columns = choose_columns(table, choice)
    return parse_interactions(table, columns, on_bad_row=on_bad_row, on_event=on_event)


def choose_columns(table: RawTable, choice: ColumnChoice) -> dict[str, int]:
    """Which column is which: user_id, item_id, rating, timestamp -> number from 0.

    Raises:
        KgrecError: The header does not name users or items, and neither does the user.
        UsageError: A column named by the user is not there, or two roles for one column.
    """
    names = table.names
    where = f"{table.file.where} ({table.kind})" if table.kind else table.file.where
    guesses = guess_columns([kind for _, kind, _ in _OPTIONS], names) if table.has_header else {}
    columns: dict[str, int] = {}
    for role, kind, option in _OPTIONS:
        wanted = getattr(choice, kind)
        optional = role in ("rating", "timestamp")
        if wanted is not None and not (optional and wanted == NO_COLUMN):
            columns[role] = named_column(wanted, names, where=where, option=option)
        elif wanted is None and kind in guesses:
            columns[role] = guesses[kind]
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
    return columns


def parse_interactions(
    source: RawTable,
    columns: Mapping[str, int],
    *,
    on_bad_row: OnBadRow,
    on_event: OnEvent = ignore_event,
) -> RawInteractions:
    """The interactions in a table whose columns are known.

    A row is bad when it has too many or too few fields, no user, no item, a rating that is no
    finite number, or a time that is neither a number in range nor an ISO date.

    Args:
        source: The table.
        columns: user_id, item_id, rating (optional), timestamp (optional) -> number from 0.
        on_bad_row: "error" stops at the first bad row, "skip" sets bad rows aside.
        on_event: Is told what was guessed of the values.

    Raises:
        KgrecError: The first bad row, if `on_bad_row` is "error"; no row at all; no good row.
    """
    where = source.file.where
    names = {role: plain_name(source.names[number]) for role, number in columns.items()}
    ids = ("user_id", "item_id")
    fields = read_columns(source, columns, times=("timestamp",), ids=ids, on_event=on_event)
    blank = fields.select(pl.all_horizontal(pl.all() == "")).to_series()
    parsed = {name: fields[name] for name in ("user_id", "item_id")}
    bad = fields.select(
        (pl.col("user_id") == "") | (pl.col("item_id") == "") | (pl.col(EXTRA) != "")
    ).to_series()
    for role, parse in (("rating", parse_ratings), ("timestamp", parse_times)):
        if role in columns:
            parsed[role] = parse(fields[role])
            bad |= parsed[role].is_null()
    bad &= ~blank
    n_rows = fields.height - int(blank.sum())
    if not n_rows:
        raise KgrecError(f"{where}: holds no rows, expected interactions")
    bad_rows = pl.DataFrame(schema=BAD_ROW_SCHEMA)
    n_bad = int(bad.sum())
    if n_bad:
        is_fatal = on_bad_row == "error" or n_bad == n_rows
        rows = bad.arg_true()[: 1 if is_fatal else None]
        bad_rows = _describe(source, fields[rows], rows.to_list(), names)
        if is_fatal:
            raise first_bad_row(bad_rows, n_bad, n_rows)
    good = ~(bad | blank)
    del fields, bad, blank
    table = pl.DataFrame(parsed)
    table = table if good.all() else table.filter(good)
    table = table.with_columns(
        *(_as_tokens(table[name]) for name in ("user_id", "item_id")),
        *(_whole_if_exact(table[name]) for name in ("rating",) if name in table),
    )
    if "timestamp" not in columns:
        table = table.with_columns(timestamp=pl.int_range(pl.len(), dtype=pl.Int64))
    return RawInteractions(table, bad_rows, n_rows, names)


def first_bad_row(bad_rows: pl.DataFrame, n_bad: int, n_rows: int) -> KgrecError:
    """The one-line error for the first of `bad_rows`; says how many there are in all."""
    row = bad_rows.row(0, named=True)
    place = f"{row['file']}, line {row['line']}"
    if row["column"]:
        place += f", column {row['column']}"
    if n_bad == n_rows:
        rest = f"all {n_rows:,} rows are bad, so check which column is which"
        rest = "the file has no other row" if n_rows == 1 else rest
    else:
        others = f"{n_bad:,} bad rows in all; " if n_bad > 1 else ""
        rest = f"{others}--on-bad-row skip sets bad rows aside"
    return KgrecError(f"{place}: found {row['found']}, expected {row['expected']} ({rest})")


def parse_ratings(text: pl.Series) -> pl.Series:
    """Ratings as Float64; null where there is no finite number."""
    numbers = text.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(False), None)


def parse_times(text: pl.Series) -> pl.Series:
    """Times as numbers that keep their order exactly; null where there is none.

    Whole numbers (any unit, within 64 bits) become Int64. Where some have fractions, or are written
    like 1e9, all become Float64, and from 2**53 on they count as unreadable. ISO dates become
    seconds since 1970 (UTC unless they say otherwise).
    """
    whole = text.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return whole
    unread = text.filter(whole.is_null() & (text != ""))
    if len(unread) and unread.str.contains(r"^\d{4}-\d{2}-\d{2}").any():
        return _parse_dates(text)
    numbers = text.cast(pl.Float64, strict=False)
    in_range = (numbers.abs() < LARGEST_FLOAT_TIME).fill_null(False)
    numbers = numbers.set(~in_range, None)
    with_fraction = numbers.filter(whole.is_null())
    if (with_fraction == with_fraction.floor()).all():  # nulls do not count
        return whole.fill_null(numbers.cast(pl.Int64))
    return numbers


def _parse_dates(text: pl.Series) -> pl.Series:
    parts = pl.DataFrame({"text": text}).select(
        pl.col("text").str.extract_groups(_DATE).struct.unnest()
    )
    date, minutes, seconds, fraction, zone = (pl.col(name) for name in parts.columns)
    moment = pl.concat_str(
        date, pl.lit(" "), minutes.fill_null("00:00"), seconds.fill_null(":00")
    ).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    digits = zone.str.replace_all(r"[Z:UTC+-]", "")
    zone_s = digits.str.head(2).cast(pl.Int64, strict=False) * 3600
    zone_s += digits.str.tail(2).cast(pl.Int64, strict=False) * 60
    zone_s = pl.when(zone.str.starts_with("-")).then(-zone_s).otherwise(zone_s).fill_null(0)
    epoch_s = parts.select(moment.dt.epoch("s") - zone_s).to_series()
    fractions = parts.select(pl.concat_str(pl.lit("0"), fraction).cast(pl.Float64)).to_series()
    if (fractions.fill_null(0.0) == 0.0).all():
        return epoch_s
    return epoch_s.cast(pl.Float64) + fractions.fill_null(0.0)


def _as_tokens(text: pl.Series) -> pl.Series:
    """Categorical, with tabs and line ends inside (which no atomic file can hold) made spaces."""
    tokens = text.cast(pl.Categorical)
    if tokens.unique().cast(pl.String).str.contains(r"[\t\r\n]").any():
        return text.str.replace_all(r"[\t\r\n]+", " ").cast(pl.Categorical)
    return tokens


def _whole_if_exact(numbers: pl.Series) -> pl.Series:
    """Int64 when every number is whole, else as it is."""
    if (numbers == numbers.round()).all() and (numbers.abs() <= LARGEST_FLOAT_TIME).all():
        return numbers.cast(pl.Int64)
    return numbers


def _describe(
    source: RawTable, fields: pl.DataFrame, rows: Sequence[int], names: dict[str, str]
) -> pl.DataFrame:
    """What is wrong with `rows`, as a table of BAD_ROW_SCHEMA."""
    described = []
    lines = find_lines(source, rows)
    for line, values in zip(lines, fields.iter_rows(named=True), strict=True):
        problem = _problem(values, line.n_fields, names, len(source.names))
        described.append((line.where or source.file.where, line.number, *problem, line.text))
    return pl.DataFrame(described, schema=BAD_ROW_SCHEMA, orient="row")


def _problem(
    values: dict[str, str], n_fields: int, names: dict[str, str], n_columns: int
) -> tuple[str, str, str]:
    """The column, what was found and what was expected of the first thing wrong with a row."""
    if n_fields != n_columns:
        return "", _columns(n_fields), _columns(n_columns)
    if values[EXTRA]:
        return "", f"{_quoted(values[EXTRA])} between two columns", _columns(n_columns)
    for name in ("user_id", "item_id"):
        if values[name] == "":
            return names[name], "nothing", f"the {name.removesuffix('_id')}'s id"
    if "rating" in values:
        number = parse_ratings(pl.Series([values["rating"]])).item()
        if number is None:
            return names["rating"], _quoted(values["rating"]), "a number"
    text = values["timestamp"]
    if pl.Series([text]).cast(pl.Float64, strict=False).item() is None:
        return names["timestamp"], _quoted(text), "a number (any that grows) or an ISO date"
    return names["timestamp"], _quoted(text), "a time in range, written as in the other rows"


def _columns(number: int) -> str:
    return "1 column" if number == 1 else f"{number} columns"


def _quoted(text: str) -> str:
    return f"'{shorten(text)}'" if text else "nothing"
