"""Columns of text to interactions: numbers and times are read, bad rows are found and named.

The end of the way for every raw layout: `movielens` and `tables` both hand their columns of text
to `parse_interactions`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.delimited import EXTRA, Line

OnBadRow = Literal["error", "skip"]
LocateRows = Callable[[Sequence[int]], list[Line]]

BAD_ROW_SCHEMA = {
    "file": pl.String,
    "line": pl.Int64,
    "column": pl.String,
    "found": pl.String,
    "expected": pl.String,
    "row": pl.String,
}
LARGEST_FLOAT_TIME = 2.0**53
"""From here on different whole numbers are one float, and their order is lost."""

_DATE = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(\.\d+)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$"


@dataclass(frozen=True)
class ParsedRows:
    """What a file of interactions holds.

    Attributes:
        table: The good rows in the file's order: user_id, item_id (Categorical), rating (Int64 when
            all are whole, else Float64; absent when the file has none), timestamp (Int64, exact;
            Float64 when some have fractions; the row's number when the file has none).
        bad_rows: The others, columns of BAD_ROW_SCHEMA; `line` counts from 1, header included.
        n_rows: Good and bad rows together; lines of nothing but separators are none.
    """

    table: pl.DataFrame
    bad_rows: pl.DataFrame
    n_rows: int


def parse_interactions(
    fields: pl.DataFrame,
    *,
    where: str,
    names: dict[str, str],
    n_columns: int,
    on_bad_row: OnBadRow,
    locate: LocateRows,
) -> ParsedRows:
    """Interactions from columns of text.

    A row is bad when it has too many or too few fields, no user, no item, a rating that is no
    finite number, or a time that is neither a number in range nor an ISO date.

    Args:
        fields: String columns user_id, item_id, rating (optional), timestamp (optional), `_extra`.
        where: The file, for errors.
        names: user_id, item_id, rating, timestamp -> what the file calls that column.
        n_columns: Fields that a row should have.
        on_bad_row: "error" stops at the first bad row, "skip" sets bad rows aside.
        locate: Line, text and number of fields of rows given by number.

    Raises:
        KgrecError: The first bad row, if `on_bad_row` is "error"; no row at all; no good row.
    """
    used = [name for name in ("user_id", "item_id", "rating", "timestamp") if name in fields]
    fields = fields.with_columns(pl.col(used).str.strip_chars())
    blank = fields.select(pl.all_horizontal(pl.all() == "")).to_series()
    columns = {name: fields[name] for name in ("user_id", "item_id")}
    bad = fields.select(
        (pl.col("user_id") == "") | (pl.col("item_id") == "") | (pl.col(EXTRA) != "")
    ).to_series()
    if "rating" in used:
        columns["rating"] = parse_ratings(fields["rating"])
        bad |= columns["rating"].is_null()
    if "timestamp" in used:
        columns["timestamp"] = parse_times(fields["timestamp"])
        bad |= columns["timestamp"].is_null()
    bad &= ~blank
    n_rows = fields.height - int(blank.sum())
    if not n_rows:
        raise KgrecError(f"{where}: holds no rows, expected interactions")
    bad_rows = pl.DataFrame(schema=BAD_ROW_SCHEMA)
    n_bad = int(bad.sum())
    if n_bad:
        rows = bad.arg_true()
        if on_bad_row == "error" or n_bad == n_rows:
            first = _describe(fields, rows[:1], where, names, n_columns, locate)
            raise first_bad_row(first, n_bad, n_rows)
        bad_rows = _describe(fields, rows, where, names, n_columns, locate)
    good = ~(bad | blank)
    del fields, bad, blank
    table = pl.DataFrame(columns)
    table = table if good.all() else table.filter(good)
    table = table.with_columns(
        *(_as_tokens(table[name]) for name in ("user_id", "item_id")),
        *(_whole_if_exact(table[name]) for name in ("rating",) if name in table),
    )
    if "timestamp" not in used:
        table = table.with_columns(timestamp=pl.int_range(pl.len(), dtype=pl.Int64))
    return ParsedRows(table, bad_rows, n_rows)


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
    fields: pl.DataFrame,
    rows: pl.Series,
    where: str,
    names: dict[str, str],
    n_columns: int,
    locate: LocateRows,
) -> pl.DataFrame:
    """What is wrong with each of `rows`, as a table of BAD_ROW_SCHEMA."""
    described = []
    lines = locate(rows.to_list())
    for line, values in zip(lines, fields[rows].iter_rows(named=True), strict=False):
        column, found, expected = _problem(values, line.n_fields, names, n_columns)
        described.append((where, line.number, column, found, expected, line.text))
    return pl.DataFrame(described, schema=BAD_ROW_SCHEMA, orient="row")


def _problem(
    values: dict[str, str], n_fields: int, names: dict[str, str], n_columns: int
) -> tuple[str, str, str]:
    """The column, what was found and what was expected of the first thing wrong with a row."""
    if n_fields != n_columns:
        return "", _columns(n_fields), _columns(n_columns)
    if values[EXTRA]:
        return "", f"'{values[EXTRA]}' between two columns", _columns(n_columns)
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
    return f"'{text}'" if text else "nothing"
