"""Interactions out of any table: which column is which, numbers, bad rows, missing ids.

`tables` reads them: CSV, TSV, other separators, `::`, Parquet, RecBole's `.inter`, gzip.
`movielens` knows its columns, and hands its table to `parse_interactions` as well.
`times` reads the times, `missing_ids` finds ids such as "NA".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import polars as pl

from kgrec_cli.core.data.sanity import LARGEST_FLOAT_TIME
from kgrec_cli.core.memory import check_memory
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent, ignore_event
from kgrec_cli.formats.raw.choice import KINDS, ColumnChoice, choose_columns, time_like_columns
from kgrec_cli.formats.raw.columns import plain_name
from kgrec_cli.formats.raw.layout import detect_table
from kgrec_cli.formats.raw.logs import find_log
from kgrec_cli.formats.raw.missing_ids import (
    OnMissingId,
    ask_for_other_column,
    find_missing_ids,
    settle_missing_ids,
)
from kgrec_cli.formats.raw.rows import Rows, rows_of, write_rows
from kgrec_cli.formats.raw.tables import (
    BAD_ROW_SCHEMA,
    RawTable,
    chunks,
    find_lines,
    read_columns,
    row_place,
    widths,
)
from kgrec_cli.formats.raw.times import FORMAT_HINT, add_offsets, parse_times
from kgrec_cli.formats.raw.typed import EXTRA, count_rows

OnBadRow = Literal["error", "skip"]

ROW_BYTES = 100
"""What a row of a log takes at most while it is parsed."""
CHECK_COLUMNS = ", so check which column is which"


@dataclass(frozen=True)
class RawInteractions:
    """What a file of interactions holds.

    Attributes:
        table: The good rows in the file's order: user_id, item_id (Categorical), rating (Int64 when
            all are whole, else Float64; absent when the file has none), timestamp (Int64, exact;
            Float64 when some have fractions; the row's number when the file has none).
        bad_rows: The others, columns of BAD_ROW_SCHEMA; `line` counts from 1, header included.
        n_rows: Good, bad and dropped rows together; lines of nothing but separators are none.
        columns: user_id, item_id, rating, timestamp, offset -> what the file calls that column.
        n_missing: Rows dropped because an id stands for a missing value.
        missing: By user_id and item_id the texts that stand for one, of those rows or of kept ones.
        time_like: Columns that look like times and are not read.
        stored: The good rows of a large log, in files; `table` is then empty.
    """

    table: pl.DataFrame
    bad_rows: pl.DataFrame
    n_rows: int
    columns: dict[str, str]
    n_missing: int = 0
    missing: Mapping[str, pl.Series] = field(default_factory=dict)
    time_like: tuple[str, ...] = ()
    stored: Rows | None = None

    @property
    def rows(self) -> Rows:
        """The good rows, wherever they are."""
        return rows_of(self.table) if self.stored is None else self.stored


def read_raw_interactions(
    path: Path,
    choice: ColumnChoice,
    *,
    on_bad_row: OnBadRow = "error",
    on_missing_id: OnMissingId = "error",
    new_folder: Callable[[], Path] | None = None,
    on_event: OnEvent = ignore_event,
) -> RawInteractions:
    """The interactions in a table; see `parse_interactions`.

    `path` is the file, or a folder, zip or pattern, see `logs.find_log`. `new_folder` makes the
    folder in which the rows of a large log (`tables.chunks`) may be kept; they are parsed a chunk
    at a time.

    Raises:
        KgrecError: The file cannot be read, is empty, has no columns that could be users and items,
            or a bad row or missing id if these are to stop it.
        UsageError: A column named by the user is not there.
    """
    file, *parts = find_log(path).files
    what = "a table of interactions"
    table = detect_table(file, what, KINDS, if_unsure=True, parts=parts, on_event=on_event)
    if table.separator == "":
        raise KgrecError(
            f"{file.where}, line {table.first.number}: found '{shorten(table.first.text)}', "
            "expected columns separated by tab, comma, semicolon, '|' or '::'"
        )
    columns = choose_columns(table, choice, on_event)
    parse = partial(
        parse_interactions,
        columns=columns,
        on_bad_row=on_bad_row,
        on_missing_id=on_missing_id,
        time_format=choice.time_format,
        on_event=on_event,
    )
    if new_folder and choice.time_format is None and (found := chunks(table, columns)):
        settle = partial(
            settle_missing_ids, table, columns, on_missing_id=on_missing_id, on_event=on_event
        )
        return _store(found, parse, settle, new_folder())
    if table.kind == "Parquet":
        n_rows = sum(count_rows(part.file) for part in (table, *table.parts))
        what = f"{file.where}: {n_rows:,} rows, read whole (docs/scaling.md says when)"
        check_memory(ROW_BYTES * n_rows, what)
    return parse(table)


def _store(
    parts: Sequence[RawTable],
    parse: Callable[[RawTable], RawInteractions],
    settle: Callable[..., None],
    folder: Path,
) -> RawInteractions:
    """The interactions of all chunks of a log, stored in a folder; `settle` is told what lacks."""
    read: list[RawInteractions] = []
    paths: list[Path] = []
    n_rows = 0
    for number, part in enumerate(parts):
        chunk = parse(part)
        table = chunk.table
        if "timestamp" not in chunk.columns:
            table = table.with_columns(pl.col("timestamp") + n_rows)
        n_rows += table.height
        paths.append(write_rows(folder / f"{number}.parquet", table))
        read.append(replace(chunk, table=table.clear()))
    kinds = pl.concat([chunk.table for chunk in read], how="vertical_relaxed")
    bad_rows = pl.concat([chunk.bad_rows for chunk in read])
    n_read, n_missing = (
        sum(getattr(chunk, name) for chunk in read) for name in ("n_rows", "n_missing")
    )
    missing = {
        name: pl.concat([chunk.missing[name] for chunk in read if name in chunk.missing])
        for name in ("user_id", "item_id")
        if any(name in chunk.missing for chunk in read)
    }
    settle(missing=missing, n_rows=n_read)
    if n_read and bad_rows.height == n_read:
        raise first_bad_row(bad_rows, n_read, n_read)
    _check_some_are_left(parts[0], n_read, n_missing)
    return RawInteractions(
        table=kinds,
        bad_rows=bad_rows,
        n_rows=n_read,
        columns=read[0].columns,
        n_missing=n_missing,
        missing=missing,
        time_like=read[0].time_like,
        stored=Rows(tuple(paths), n_rows, kinds),
    )


def parse_interactions(
    source: RawTable,
    columns: Mapping[str, int],
    *,
    on_bad_row: OnBadRow,
    on_missing_id: OnMissingId = "error",
    time_format: str | None = None,
    on_event: OnEvent = ignore_event,
) -> RawInteractions:
    """The interactions in a table whose columns are known.

    A row is bad when it has too many or too few fields, no user, no item, a rating that is no
    finite number, or a time that is neither a number in range nor a date as in the other rows.

    `columns` maps user_id, item_id and perhaps rating, timestamp, offset to numbers from 0. "error"
    stops at the first bad row, "skip" sets bad rows aside. `time_format` is as for `strptime`; None
    goes by what the times look like. A chunk of a log may have no good row, and who puts the chunks
    together settles the missing ids.

    Raises:
        KgrecError: The first bad row, if `on_bad_row` is "error"; ids that stand for a missing
            value, if these are to stop it; dates that can be read in two ways; no good row.
    """
    where, is_chunk = source.file.where, source.rows is not None
    names = {role: plain_name(source.names[number]) for role, number in columns.items()}
    ids = ("user_id", "item_id")
    fields = read_columns(source, columns, times=("timestamp",), ids=ids, on_event=on_event)
    blank = fields.select(pl.all_horizontal(pl.all() == "")).to_series()
    n_rows = fields.height - int(blank.sum())
    if not is_chunk:
        _check_some_are_left(source, n_rows, 0)
    parsed = {name: _as_tokens(fields[name]) for name in ("user_id", "item_id")}
    masks = find_missing_ids(source, columns, parsed)
    missing = {name: parsed[name].filter(mask).cast(pl.String) for name, mask in masks.items()}
    if not is_chunk:
        settle_missing_ids(source, columns, missing, n_rows, on_missing_id, on_event)
    ignored = blank
    for mask in masks.values() if on_missing_id == "skip" else ():
        ignored = ignored | mask
    bad = fields.select(
        (pl.col("user_id") == "") | (pl.col("item_id") == "") | (pl.col(EXTRA) != "")
    ).to_series()
    if "rating" in columns:
        parsed["rating"] = parse_ratings(fields["rating"])
        bad |= parsed["rating"].is_null()
    if "timestamp" in columns:
        place = f"{where}, column {names['timestamp']}"
        times = parse_times(fields["timestamp"], place, time_format)
        if "offset" in columns:
            times, unit = add_offsets(times, fields["offset"], place)
            on_event(Note(f"{where}: {names['offset']} counts as {unit} of the day"))
        parsed["timestamp"] = times
        bad |= times.is_null()
    bad &= ~ignored
    bad_rows = pl.DataFrame(schema=BAD_ROW_SCHEMA)
    n_bad = int(bad.sum())
    if n_bad:
        is_fatal = on_bad_row == "error" or (n_bad == n_rows and not is_chunk)
        rows = bad.arg_true()[: 1 if is_fatal else None]
        bad_rows = _describe(source, fields[rows], rows.to_list(), names)
        if is_fatal:
            question = cure = ""
            for role in ("user", "item"):
                if fields[f"{role}_id"][rows[0]] == "":
                    question = question or ask_for_other_column(source, columns, role)
            if bad_rows["column"][0] == names.get("timestamp"):
                cure = FORMAT_HINT if time_format is None else f"--time-format is '{time_format}'"
            raise first_bad_row(bad_rows, n_bad, n_rows, question or cure, question, is_chunk)
    good = ~(bad | ignored)
    n_missing = int((ignored & ~blank).sum())
    if not is_chunk:
        _check_some_are_left(source, n_rows, n_missing)
    del fields, bad, blank, ignored, masks
    table = pl.DataFrame(parsed)
    table = table if good.all() else table.filter(good)
    table = table.with_columns(
        _whole_if_exact(table[name]) for name in ("rating",) if name in table
    )
    if "timestamp" not in columns:
        table = table.with_columns(timestamp=pl.int_range(pl.len(), dtype=pl.Int64))
    time_like = tuple(time_like_columns(source, columns))
    return RawInteractions(table, bad_rows, n_rows, names, n_missing, missing, time_like)


def _check_some_are_left(source: RawTable, n_rows: int, n_missing: int) -> None:
    if not n_rows:
        raise KgrecError(f"{source.file.where}: holds no rows, expected interactions")
    if n_missing == n_rows:
        raise KgrecError(f"{source.file.where}: --missing-ids skip leaves no row")


def first_bad_row(
    bad_rows: pl.DataFrame,
    n_bad: int,
    n_rows: int,
    cure: str = "",
    question: str = "",
    is_chunk: bool = False,
) -> KgrecError:
    """The one-line error for the first of `bad_rows`; says how many there are in all.

    `cure` is what helps when all are bad; by default to look at which column is which. `question`
    comes before what else helps when some are. Of a chunk it is not known how many are bad.
    """
    row = bad_rows.row(0, named=True)
    place = row_place(row)
    if row["column"]:
        place += f", column {row['column']}"
    if n_bad == n_rows and not is_chunk:
        rest = f"all {n_rows:,} rows are bad{f'; {cure}' if cure else CHECK_COLUMNS}"
        rest = (cure or "the file has no other row") if n_rows == 1 else rest
    else:
        place_of = "in this part of the log" if is_chunk else "in all"
        others = f"{n_bad:,} bad rows {place_of}; " if n_bad > 1 else ""
        others += f"{question} else " if question else ""
        rest = f"{others}--on-bad-row skip sets bad rows aside"
    return KgrecError(f"{place}: found {row['found']}, expected {row['expected']} ({rest})")


def parse_ratings(text: pl.Series) -> pl.Series:
    """Ratings as Float64; null where there is no finite number."""
    numbers = text.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(False), None)


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
        problem = _problem(values, line.n_fields, names, source)
        described.append((line.where or source.file.where, line.number, *problem, line.text))
    return pl.DataFrame(described, schema=BAD_ROW_SCHEMA, orient="row")


def _problem(
    values: dict[str, str], n_fields: int, names: dict[str, str], source: RawTable
) -> tuple[str, str, str]:
    """The column, what was found and what was expected of the first thing wrong with a row."""
    n_found, n_expected = widths(source, n_fields)
    if n_fields != len(source.names):
        return "", n_found, n_expected
    if values[EXTRA]:
        return "", f"{_quoted(values[EXTRA])} between two columns", n_expected
    for name in ("user_id", "item_id"):
        if values[name] == "":
            return names[name], "nothing", f"the {name.removesuffix('_id')}'s id"
    if "rating" in values:
        number = parse_ratings(pl.Series([values["rating"]])).item()
        if number is None:
            return names["rating"], _quoted(values["rating"]), "a number"
    text = values["timestamp"]
    if (
        "offset" in values
        and add_offsets(pl.Series([0]), pl.Series([values["offset"]]), "")[0][0] is None
    ):
        return names["offset"], _quoted(values["offset"]), "HH:MM:SS or a number from 0"
    number = pl.Series([text]).cast(pl.Float64, strict=False).item()
    expected = "a time in range, written as in the other rows"
    if number is None:
        expected = "a number that grows, or a date as in the other rows"
    elif not abs(number) < 2.0**63:
        expected = "a time in range: a finite number of 64 bits"
    elif abs(number) < LARGEST_FLOAT_TIME:
        expected = "a date as in the other rows"
    return names["timestamp"], _quoted(text), expected


def _quoted(text: str) -> str:
    return f"'{shorten(text)}'" if text else "nothing"
