"""Any table that a user brings, delimited text or Parquet: how it is laid out, its columns as text.

`detect_table` finds separator, quotes and header in a file's first lines; what it guessed stands in
the `RawTable`. `read_columns` reads any of its columns, `find_lines` tells where rows stand.
The values are not checked here.
"""

import csv
import io
import mmap
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.columns import has_header
from kgrec_cli.formats.raw.files import (
    RawFile,
    cannot_read,
    content,
    first_lines,
    is_parquet,
    to_text,
)

EXTRA = "_extra"
BAD_ROW_SCHEMA = {
    "file": pl.String,
    "line": pl.Int64,
    "column": pl.String,
    "found": pl.String,
    "expected": pl.String,
    "row": pl.String,
}
SAMPLE_LINES = 200
SHOWN_CHARS = 60
_ENCLOSED = r'(?s)^"((?:[^"]|"")*)"$'
NO_CHAR = "\x01"  # stands in no text
Quotes = Literal["none", "enclose", "text"]
SEPARATORS = (("\t",), (",", ";", "|", "::"), (" ",))
"""A tab goes before the others, for texts hold none; a space is tried where none of them fits."""


class Line(NamedTuple):
    """A row where it stands: the number of its (first) line, from 1, its text, its fields."""

    number: int
    text: str
    n_fields: int


NO_LINE = Line(1, "", 0)


@dataclass(frozen=True)
class RawTable:
    """A file that holds a table, and how it is laid out.

    Attributes:
        file: The file.
        names: The columns, as the header has them; "1", "2", ... without one.
        separator: Between two fields: one character, or "::"; "" where there is one column; None
            for Parquet.
        has_header: Whether the file names the columns.
        quotes: What double quotes are: there are none, they enclose fields, or they are text.
        n_skipped: Lines before the first row: blank ones and the header.
        first: The first line that is not blank, as text has one.
        sample: The fields of the first rows that have one for each column.
    """

    file: RawFile
    names: tuple[str, ...]
    separator: str | None
    has_header: bool = False
    quotes: Quotes = "none"
    n_skipped: int = 0
    first: Line = NO_LINE
    sample: Sequence[Sequence[str]] = field(default=(), repr=False)


def detect_table(file: RawFile, what: str, kinds: Sequence[str], *, if_unsure: bool) -> RawTable:
    """How a file is laid out, as its first lines and its quotes show.

    Args:
        file: Text, gzipped or not, or Parquet; the content tells which.
        what: What the file should hold, for the error when it is empty.
        kinds: Columns that are looked for, keys of `columns.COLUMN_NAMES`: they tell a header.
        if_unsure: Whether a first line is a header that might as well be data.

    Raises:
        KgrecError: The file cannot be read, is empty, or is neither text nor Parquet.
    """
    if is_parquet(file):
        start = _read_parquet(file, n_rows=SAMPLE_LINES)
        sample = [["" if value is None else str(value) for value in row] for row in start.rows()]
        return RawTable(file, tuple(start.columns), None, has_header=True, sample=sample)
    numbered = [(n, line) for n, line in enumerate(first_lines(file), start=1) if line.strip()]
    if not numbered:
        raise KgrecError(f"{file.where}: empty, expected {what}")
    number, first = numbered[0]
    lines = [line for _, line in numbered[:SAMPLE_LINES]]
    separator = find_separator(lines)
    quotes = find_quotes(file, separator)
    if quotes == "text" and len(separator) == 1 and _quotes_hide(lines, separator):
        quotes = "enclose"
    rows = [_split(line, separator, quotes) for line in lines]
    header = has_header(rows, kinds, if_unsure=if_unsure)
    width = len(rows[0]) if header else Counter(map(len, rows)).most_common(1)[0][0]
    return RawTable(
        file,
        tuple(rows[0] if header else map(str, range(1, width + 1))),
        separator,
        header,
        quotes,
        n_skipped=number - 1 + header,
        first=Line(number, first, len(rows[0])),
        sample=[row for row in rows[header:] if len(row) == width],
    )


def find_separator(lines: Sequence[str]) -> str:
    """The separator of a text, from its first lines; "" when there is none.

    It splits the first line and most others into equally many fields; of several that do so, the
    one that gives the most. Where none does so, the first line decides alone.
    """
    for sample in (lines, lines[:1]):
        for group in SEPARATORS:
            widths = {separator: _usual_width(sample, separator) for separator in group}
            best = max(group, key=lambda separator: widths[separator])
            if widths[best] > 1:
                return best
    return ""


def _usual_width(lines: Sequence[str], separator: str) -> int:
    """The number of fields of the first line, if more than half of the lines have as many."""
    widths = [len(_split(line, separator, "enclose")) for line in lines]
    return widths[0] if 2 * widths.count(widths[0]) > len(widths) else 0


def _split(line: str, separator: str, quotes: Quotes) -> list[str]:
    """The fields of one line, spaces around them removed."""
    fields = [text.strip() for text in line.split(separator or None, -1 if separator else 0)]
    if quotes == "enclose" and len(separator) == 1:
        with suppress(csv.Error):  # a line end within the line
            fields = [text.strip() for text in next(csv.reader([line], delimiter=separator))]
    elif quotes == "text":
        enclosed = [re.match(_ENCLOSED, text) for text in fields]
        fields = [
            m[1].replace('""', '"') if m else t for m, t in zip(enclosed, fields, strict=True)
        ]
    return fields


def find_quotes(file: RawFile, separator: str) -> Quotes:
    """What the double quotes of a file are.

    A field is enclosed when it begins and ends with a quote and all quotes inside are doubled.
    Where every quote belongs to an enclosed field, these may hold separators and line ends. Where
    some do not, quotes are text, and only a whole enclosed field between two separators loses its.
    """
    source = content(file)
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as stream:
        if not stream.read(1):
            return "none"
        text = (
            source
            if isinstance(source, bytes)
            else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        )
        if text.find(b'"') < 0:
            return "none"
        edge = re.escape(f"\n{separator}".encode())
        begin = rb"(?:\A|(?<=[" + edge + rb"])|(?<=\xef\xbb\xbf))"
        enclosed = begin + rb'"(?:[^"]++|"")*+"(?=[\r' + edge + rb"]|\Z)"
        is_csv = len(separator) == 1 and re.match(rb'(?:[^"]++|' + enclosed + rb")*+\Z", text)
        return "enclose" if is_csv else "text"


def _quotes_hide(lines: Sequence[str], separator: str) -> bool:
    """True when a line has as many fields as the first only if its quotes hide separators."""
    visible = [re.sub('"[^"]*"', "", line).count(separator) for line in lines]
    return any(
        line.count(separator) > count == visible[0]
        for line, count in zip(lines, visible, strict=True)
    )


def read_columns(
    table: RawTable, columns: Mapping[str, int], *, times: Collection[str] = ()
) -> pl.DataFrame:
    """The wanted columns of every row.

    Args:
        table: The table.
        columns: Name to give -> number of the column, from 0.
        times: Names of columns whose dates and times, if Parquet has them as such, are wanted as
            seconds since 1970.

    Returns:
        A String column for each name, without blanks around, and `_extra`: text that stands in no
        column (of a row with too many fields), else "". What is missing is "". One row for each
        line after the header, blank ones included.

    Raises:
        KgrecError: The file cannot be read or split, or a column is neither text nor numbers.
    """
    if table.separator is None:
        values = _read_parquet(table.file, columns=[table.names[i] for i in columns.values()])
        texts = [
            _as_text(values[table.names[number]], table.file.where, is_time=name in times)
            .str.strip_chars()
            .alias(name)
            for name, number in columns.items()
        ]
        return pl.DataFrame(texts).with_columns(pl.lit("").alias(EXTRA))
    source = content(table.file)
    try:
        try:
            return _read_text(source, table.separator, table, columns)
        except pl.exceptions.PolarsError as error:
            if "utf-8" not in str(error):
                raise
            raw = source.read_bytes() if isinstance(source, Path) else source
            return _read_text(to_text(raw).encode(), table.separator, table, columns)
    except pl.exceptions.PolarsError as error:
        shown = {"\t": "TAB", " ": "SPACE"}.get(table.separator, table.separator)
        reason = str(error).splitlines()[0]
        raise KgrecError(f"{table.file.where}: cannot be split at '{shown}' ({reason})") from error


def _read_text(
    source: Path | bytes, separator: str, table: RawTable, columns: Mapping[str, int]
) -> pl.DataFrame:
    # Polars splits at one character: "1::2" is read as the three fields "1", "" and "2".
    step = len(separator)
    n_physical = (len(table.names) - 1) * step + 1
    wanted = {name: number * step for name, number in columns.items()}
    nowhere = [number for number in range(n_physical) if number % step]  # within a separator
    nowhere += [n_physical, n_physical + 1]  # of a row with too many fields
    if isinstance(source, bytes) and not source:
        return pl.DataFrame(schema=dict.fromkeys([*columns, EXTRA], pl.String))
    fields = pl.read_csv(
        source,
        separator=separator[0],
        has_header=False,
        skip_lines=table.n_skipped,
        schema={f"c{number}": pl.String for number in range(n_physical + 2)},
        columns=sorted({*wanted.values(), *nowhere}),
        quote_char='"' if table.quotes == "enclose" else None,
        empty_string_is_null=False,
        truncate_ragged_lines=True,
        missing_columns="insert",
        extra_columns="ignore",
        raise_if_empty=False,
        glob=False,
    )
    texts = {name: pl.col(f"c{number}").str.strip_chars() for name, number in wanted.items()}
    if table.quotes == "text":
        texts = {
            name: pl.coalesce(
                text.str.extract(_ENCLOSED).str.replace_all('""', '"', literal=True), text
            )
            for name, text in texts.items()
        }
    return fields.select(
        *(text.alias(name) for name, text in texts.items()),
        pl.concat_str(f"c{number}" for number in nowhere).str.strip_chars().alias(EXTRA),
    )


def _read_parquet(
    file: RawFile, *, columns: list[str] | None = None, n_rows: int | None = None
) -> pl.DataFrame:
    source = content(file)
    try:
        return pl.read_parquet(source, columns=columns, n_rows=n_rows, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = KgrecError(f"not a whole Parquet file: {str(error).splitlines()[0]}")
        raise cannot_read(file.where, problem) from error


def _as_text(column: pl.Series, where: str, *, is_time: bool) -> pl.Series:
    """A typed column as text: a whole number without ".0" (7.0 is 7), nothing for null and nan."""
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise KgrecError(
            f"{where}: column '{column.name}' holds {column.dtype}, expected text or numbers"
        )
    if is_time and column.dtype in (pl.Date, pl.Datetime):
        moments = column.cast(pl.Datetime("us"))
        is_whole = (moments.dt.microsecond() == 0).all()
        column = moments.dt.epoch("s") if is_whole else moments.dt.epoch("us") / 1e6
    elif column.dtype.is_float():
        column = column.fill_nan(None)  # pandas has no other mark for a missing number
        whole = column.cast(pl.Int64, strict=False)
        if (whole.cast(column.dtype) == column).all() and whole.null_count() == column.null_count():
            column = whole
    return column.cast(pl.String).fill_null("")


def read_lines(file: RawFile) -> pl.Series:
    """All lines of a text as String, blanks around them removed.

    Raises:
        KgrecError: The file cannot be read, or is no text.
    """
    first_lines(file)  # raises for what is no text
    return read_columns(RawTable(file, ("line",), NO_CHAR), {"line": 0})["line"]


def find_lines(table: RawTable, rows: Sequence[int]) -> list[Line]:
    """The lines of some `rows` of `read_columns` (ascending, from 0); of Parquet, row numbers."""
    n_columns = len(table.names)
    if table.separator is None:
        values = _read_parquet(table.file)[list(rows)].rows()
        texts = ["\t".join("" if v is None else str(v) for v in row) for row in values]
        return [Line(row + 1, text, n_columns) for row, text in zip(rows, texts, strict=True)]
    source = content(table.file)
    stream: io.BufferedIOBase = (
        source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    )
    wanted = set(rows)
    last = max(rows, default=-1)
    lines: list[Line] = []
    with stream, suppress(csv.Error):  # a quote that is never closed: the lines before it will do
        for row, (number, raw, fields) in enumerate(_records(stream, table)):
            if row > last:
                break
            if row in wanted:
                text = to_text(raw).rstrip("\r\n")
                n_fields = len(text.split(table.separator) if fields is None else fields)
                lines.append(Line(number, text, n_fields))
    offset = 1 + table.n_skipped
    return lines + [Line(row + offset, "", n_columns) for row in rows[len(lines) :]]


def _records(
    stream: io.BufferedIOBase, table: RawTable
) -> Iterator[tuple[int, bytes, list[str] | None]]:
    """Each row: the number of its first line, its bytes, its fields if they had to be parsed."""
    for _ in range(table.n_skipped):
        stream.readline()
    number = table.n_skipped + 1
    if table.quotes != "enclose":
        yield from ((n, raw, None) for n, raw in enumerate(stream, start=number))
        return
    consumed: list[bytes] = []

    def lines() -> Iterator[str]:
        for raw in stream:
            consumed.append(raw)
            yield to_text(raw)

    for fields in csv.reader(lines(), delimiter=(table.separator or ",")[0]):
        yield number, b"".join(consumed), fields
        number += len(consumed)
        consumed.clear()


def shorten(text: str) -> str:
    """A line for an error: cut where it would fill the screen, its tabs visible."""
    text = text.replace("\t", "<TAB>").replace("\n", " ")
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
