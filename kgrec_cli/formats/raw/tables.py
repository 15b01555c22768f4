"""Any table that a user brings, delimited text, JSON lines or Parquet: its columns as text.

`layout.detect_table` says how a file is laid out, a `RawTable`. `read_columns` reads any of its
columns, `find_lines` tells where rows stand. The values are not checked here.
"""

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from kgrec_cli.errors import KgrecError, reason, shorten
from kgrec_cli.events import Note, OnEvent, ignore_event
from kgrec_cli.formats.raw.files import RawFile, content, first_lines, is_parquet, to_text
from kgrec_cli.formats.raw.typed import (
    EXTRA,
    as_text,
    count_rows,
    is_json_object,
    json_texts,
    read_parquet,
    scan,
)

BAD_ROW_SCHEMA = {
    "file": pl.String,
    "line": pl.Int64,
    "column": pl.String,
    "found": pl.String,
    "expected": pl.String,
    "row": pl.String,
}
SAMPLE_LINES = 200
CHUNK_ROWS = 2**21
ENCLOSED = r'(?s)^"((?:[^"]|"")*)"$'
Quotes = Literal["none", "enclose", "text"]
_SHOWN = {"\t": "TAB", " ": "a space", "\\t": "a backslash and a t", "||": "'||'"}
NO_CHAR = "\x01"  # stands in no text
_WHOLE = r"^-?\d+\.0+$"


class Line(NamedTuple):
    """A row where it stands: the number of its (first) line, from 1, its text, its fields.

    `where` is the file, where a table has several.
    """

    number: int
    text: str
    n_fields: int
    where: str = ""


NO_LINE = Line(1, "", 0)


@dataclass(frozen=True)
class RawTable:
    """A file that holds a table, and how it is laid out.

    Attributes:
        file: The file; the first one of a table in parts.
        names: The columns, as the header has them; "1", "2", ... without one.
        separator: Between two fields: one character, or "::"; "" where there is one column; None
            for Parquet and JSON lines.
        has_header: Whether the file names the columns.
        is_sure: Whether something shows that the first line is a header, or that it is none.
        quotes: What double quotes are: there are none, they enclose fields, or they are text.
        n_skipped: Lines before the first row: blank ones and the header.
        first: The first line that is not blank, as text has one.
        sample: The fields of the first rows that have one for each column.
        parts: The files that go on where `file` ends, each with its own layout, the same columns.
        rows: Of a chunk of a Parquet file, its first row and how many it has.
    """

    file: RawFile
    names: tuple[str, ...]
    separator: str | None
    has_header: bool = False
    quotes: Quotes = "none"
    n_skipped: int = 0
    first: Line = NO_LINE
    sample: Sequence[Sequence[str]] = field(default=(), repr=False)
    is_sure: bool = True
    parts: tuple["RawTable", ...] = ()
    rows: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """What the columns are read from, where that is no delimited text; else ""."""
        if self.separator is not None:
            return ""
        return "Parquet" if is_parquet(self.file) else "JSON lines"


def chunks(table: RawTable, columns: Mapping[str, int]) -> list[RawTable]:
    """A large table of Parquet files in chunks of `CHUNK_ROWS`; none of any other table.

    Only of columns whose type says what they hold: ids that are whole numbers or text, `rating` and
    `timestamp` that are numbers, dates or times. What other texts mean shows in all of them only,
    as it does of ids like "18.0".
    """
    parts = (table, *table.parts)
    if not all(is_parquet(part.file) for part in parts):
        return []
    found: list[RawTable] = []
    for part in parts:
        source = content(part.file)
        if not isinstance(source, Path):
            return []
        schema = scan(source).collect_schema()
        for name, number in columns.items():
            kind = schema[table.names[number]]
            sample = pl.Series([row[number] for row in table.sample], dtype=pl.String)
            if len(sample) and sample.str.contains(_WHOLE).all():
                return []
            is_text = kind in (pl.String, pl.Categorical, pl.Enum) and name in (
                "user_id",
                "item_id",
            )
            is_number = kind.is_numeric() if name == "rating" else kind.is_integer()
            is_time = name == "timestamp" and (kind.is_float() or kind in (pl.Date, pl.Datetime))
            if name == "offset" or not (is_text or is_number or is_time):
                return []
        n_rows = count_rows(part.file)
        part = replace(part, parts=())
        found += [
            replace(part, rows=(start, min(CHUNK_ROWS, n_rows - start)))
            for start in range(0, n_rows, CHUNK_ROWS)
        ]
    n_rows = sum(n_rows for part in found if part.rows for n_rows in part.rows[1:])
    return found if n_rows > CHUNK_ROWS else []


def read_columns(
    table: RawTable,
    columns: Mapping[str, int],
    *,
    times: Collection[str] = (),
    ids: Collection[str] = (),
    lists: Collection[str] = (),
    on_event: OnEvent = ignore_event,
) -> pl.DataFrame:
    """The wanted columns of every row.

    Args:
        table: The table.
        columns: Name to give -> number of the column, from 0.
        times: Names of columns whose dates and times, if Parquet has them as such, are wanted as
            seconds since 1970.
        ids: Names of columns of ids: where all are like "18.0", which is how pandas writes whole
            numbers beside a gap, they are read as "18", as from Parquet.
        lists: Names of columns in which Parquet and JSON may have lists: each of their elements
            ends with `LIST_END`.
        on_event: Is told what was guessed of the values.

    Returns:
        A String column for each name, without blanks around, and `_extra`: text that stands in no
        column (of a row with too many fields), else "". What is missing is "". One row for each
        line after the header, blank ones included; the parts of a table one after the other.

    Raises:
        KgrecError: The file cannot be read or split, or a column is neither text nor numbers.
    """
    parts = [_read_part(part, columns, times, lists, on_event) for part in (table, *table.parts)]
    rows = parts[0] if len(parts) == 1 else pl.concat(parts)
    for name in ids if table.rows is None else ():
        texts = rows[name] if name in columns else pl.Series([""])
        whole = whole_numbers(texts)
        if (is_changed := whole != texts).any():
            rows = rows.with_columns(whole)
            shown = table.names[columns[name]]
            example = texts.filter(is_changed)[0]
            text = f"{table.file.where}, column {shorten(shown)}: {shorten(example)} is read as "
            on_event(Note(f"{text}{shorten(example.partition('.')[0])}, for all are whole numbers"))
    return rows


def whole_numbers(texts: pl.Series) -> pl.Series:
    """The texts, without ".0" where all of them (but "") are like "18.0"."""
    is_whole = texts.str.contains(_WHOLE)
    are_all = is_whole.any() and (is_whole | (texts == "")).all()
    return texts.str.replace(r"\.0+$", "") if are_all else texts


def _read_part(
    table: RawTable,
    columns: Mapping[str, int],
    times: Collection[str],
    lists: Collection[str],
    on_event: OnEvent,
) -> pl.DataFrame:
    """As `read_columns`, of one file."""
    if table.separator is None:
        wanted = {name: table.names[number] for name, number in columns.items()}
        where = table.file.where
        if not is_parquet(table.file):
            lines = read_lines(table.file)
            return pl.concat(json_texts(lines, wanted, where, lists=lists))
        start, n_rows = table.rows or (0, None)
        values = read_parquet(table.file, columns=[*wanted.values()], start=start, n_rows=n_rows)
        texts = [
            as_text(values[column], where, is_time=name in times, may_be_list=name in lists)
            .str.strip_chars()
            .alias(name)
            for name, column in wanted.items()
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
            on_event(Note(f"{table.file.where}: not UTF-8, read as latin-1"))
            return _read_text(to_text(raw).encode(), table.separator, table, columns)
    except pl.exceptions.PolarsError as error:
        shown = f"{show_separator(table.separator)} ({reason(error)})"
        raise KgrecError(f"{table.file.where}: cannot be split at {shown}") from error


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
                text.str.extract(ENCLOSED).str.replace_all('""', '"', literal=True), text
            )
            for name, text in texts.items()
        }
    return fields.select(
        *(text.alias(name) for name, text in texts.items()),
        pl.concat_str(f"c{number}" for number in nowhere).str.strip_chars().alias(EXTRA),
    )


def read_lines(file: RawFile) -> pl.Series:
    """All lines of a text as String, blanks around them removed.

    Raises:
        KgrecError: The file cannot be read, or is no text.
    """
    first_lines(file)  # raises for what is no text
    return read_columns(RawTable(file, ("line",), NO_CHAR), {"line": 0})["line"]


def row_place(row: Mapping[str, Any]) -> str:
    """Where a row of BAD_ROW_SCHEMA stands, for errors: "x.csv, line 3", "x.parquet, row 3"."""
    what = "row" if str(row["file"]).endswith(".parquet") else "line"
    return f"{row['file']}, {what} {row['line']}"


def find_lines(table: RawTable, rows: Sequence[int]) -> list[Line]:
    """The lines of some `rows` of `read_columns` (ascending, from 0); of Parquet, row numbers."""
    if table.parts:
        lines: list[Line] = []
        start = 0
        for part in (table, *table.parts):
            part = replace(part, parts=())
            n_rows = read_columns(part, {"_first": 0}).height
            inside = [row - start for row in rows if 0 <= row - start < n_rows]
            lines += [line._replace(where=part.file.where) for line in find_lines(part, inside)]
            start += n_rows
        return lines
    n_columns, first = len(table.names), 0
    if table.separator is None:
        if is_parquet(table.file):
            first = table.rows[0] if table.rows else 0
            values = read_parquet(table.file, start=first)[list(rows)].rows()
            texts = ["\t".join("" if v is None else str(v) for v in row) for row in values]
            widths = [n_columns] * len(texts)
        else:
            texts = read_lines(table.file)[list(rows)].to_list()
            widths = [n_columns if is_json_object(text) else 1 for text in texts]
        found = zip(rows, texts, widths, strict=True)
        return [Line(first + row + 1, text, width) for row, text, width in found]
    source = content(table.file)
    stream: io.BufferedIOBase = (
        source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    )
    wanted = set(rows)
    last = max(rows, default=-1)
    lines = []
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


def widths(table: RawTable, n_fields: int) -> tuple[str, str]:
    """How wide a row is and how wide it should be, in words: found, expected."""
    if table.separator is None:
        return "no JSON object", "one in each line"
    found, expected = (
        "1 column" if n == 1 else f"{n} columns" for n in (n_fields, len(table.names))
    )
    return found, expected


def show_separator(separator: str) -> str:
    """A separator for an error: in words where it is a blank or cannot be seen."""
    if len(separator) == 1 and not separator.isprintable() and separator not in _SHOWN:
        return f"the character U+{ord(separator):04X}"
    return _SHOWN.get(separator, f"'{separator}'")
