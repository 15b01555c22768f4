"""Delimited text to columns of text: CSV, TSV, `::` files; UTF-8, else latin-1; any line ends.

Nothing is judged here except that the file can be split at all. `interaction_rows` finds the bad
rows in what comes out, and `find_lines` tells where in the file they stand.
"""

import csv
import io
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.files import RawFile, content, to_text

SEPARATORS = ("\t", ",", ";", "|", " ")
EXTRA = "_extra"


@dataclass(frozen=True)
class Form:
    """How the fields of a file are laid out.

    Attributes:
        separator: Between two fields: one character, or "::".
        n_columns: Fields of a row.
        has_header: Whether the first line names the columns.
        quoted: Whether a field may stand in double quotes (and then hold separators).
    """

    separator: str
    n_columns: int
    has_header: bool
    quoted: bool


class Line(NamedTuple):
    """A row where it stands: the number of its (first) line, from 1, its text, its fields."""

    number: int
    text: str
    n_fields: int


def find_separator(line: str) -> str:
    """The separator of a file, from its first line: "::", else the most frequent candidate.

    Returns "" when there is none.
    """
    if line.count("::") >= 2:
        return "::"
    counts = {separator: line.count(separator) for separator in SEPARATORS}
    if any(counts[separator] for separator in SEPARATORS if separator != " "):
        counts[" "] = 0  # a space separates only where nothing else does
    best = max(SEPARATORS, key=lambda separator: counts[separator])
    return best if counts[best] else ""


def split_line(line: str, separator: str, quoted: bool) -> list[str]:
    """The fields of one line, spaces around them removed."""
    if quoted and len(separator) == 1:
        return [field.strip() for field in next(csv.reader([line], delimiter=separator), [])]
    return [field.strip() for field in line.split(separator)]


def read_fields(file: RawFile, form: Form, columns: Mapping[str, int]) -> pl.DataFrame:
    """The wanted columns of every row.

    Args:
        file: The file.
        form: How it is laid out.
        columns: Name to give -> number of the column, from 0.

    Returns:
        A String column for each name, and `_extra`: text that stands in no column (of a row with
        too many fields), else "". What a short row lacks is "". One row for each line after the
        header, blank ones included.

    Raises:
        KgrecError: The file cannot be read or split.
    """
    source = content(file)
    try:
        return _read_columns(source, form, columns)
    except pl.exceptions.PolarsError as error:
        failure = error
    if "utf-8" in str(failure):
        raw = source.read_bytes() if isinstance(source, Path) else source
        source = to_text(raw).encode()
        try:
            return _read_columns(source, form, columns)
        except pl.exceptions.PolarsError as error:
            failure = error
    reason = str(failure).splitlines()[0]
    raise KgrecError(f"{file.where}: cannot be split at '{_shown(form.separator)}' ({reason})")


def _read_columns(source: Path | bytes, form: Form, columns: Mapping[str, int]) -> pl.DataFrame:
    # Polars splits at one character: "1::2" is read as the three fields "1", "" and "2".
    step = len(form.separator)
    n_physical = (form.n_columns - 1) * step + 1
    wanted = {name: number * step for name, number in columns.items()}
    between = [number for number in range(n_physical) if number % step]
    beyond = [n_physical, n_physical + 1]  # of a row with too many fields
    names = [f"c{number}" for number in range(n_physical + 2)]
    if isinstance(source, bytes) and not source:
        return pl.DataFrame(schema=dict.fromkeys([*columns, EXTRA], pl.String))
    table = pl.read_csv(
        source,
        separator=form.separator[0],
        has_header=False,
        skip_lines=int(form.has_header),
        schema=dict.fromkeys(names, pl.String),
        columns=sorted({*wanted.values(), *between, *beyond}),
        quote_char='"' if form.quoted else None,
        empty_string_is_null=False,
        truncate_ragged_lines=True,
        missing_columns="insert",
        raise_if_empty=False,
        glob=False,
    )
    return table.select(
        *(pl.col(f"c{number}").alias(name) for name, number in wanted.items()),
        pl.concat_str(f"c{number}" for number in (*between, *beyond)).alias(EXTRA),
    )


def find_lines(file: RawFile, form: Form, rows: Sequence[int]) -> list[Line]:
    """Where rows of `read_fields` stand in their file.

    Args:
        file: The file.
        form: How it is laid out.
        rows: Row numbers from 0, ascending.
    """
    source = content(file)
    stream: io.BufferedIOBase = (
        source.open("rb") if isinstance(source, Path) else io.BytesIO(source)
    )
    with stream:
        quoted = form.quoted and _has_quotes(source)
        records = _quoted_records(stream, form) if quoted else _plain_records(stream)
        if form.has_header:
            next(records, None)
        wanted = set(rows)
        last = max(rows, default=-1)
        found = []
        with suppress(csv.Error):  # a quote that is never closed: what was found will do
            for index, record in enumerate(records):
                if index > last:
                    break
                if index in wanted:
                    found.append(_line(record, form))
    offset = 1 + form.has_header
    return found + [Line(row + offset, "", form.n_columns) for row in rows[len(found) :]]


class _Record(NamedTuple):
    """A row as read: number of its first line, its bytes, its fields if they had to be parsed."""

    number: int
    raw: bytes
    fields: list[str] | None = None


def _plain_records(stream: io.BufferedIOBase) -> Iterator[_Record]:
    for number, raw in enumerate(stream, start=1):
        yield _Record(number, raw)


def _quoted_records(stream: io.BufferedIOBase, form: Form) -> Iterator[_Record]:
    consumed: list[bytes] = []

    def lines() -> Iterator[str]:
        for raw in stream:
            consumed.append(raw)
            yield to_text(raw)

    number = 1
    for fields in csv.reader(lines(), delimiter=form.separator[0]):
        yield _Record(number, b"".join(consumed), fields)
        number += len(consumed)
        consumed.clear()


def _line(record: _Record, form: Form) -> Line:
    text = to_text(record.raw).rstrip("\r\n")
    fields = text.split(form.separator) if record.fields is None else record.fields
    return Line(record.number, text, len(fields))


def _has_quotes(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return b'"' in source
    with source.open("rb") as file:
        if not source.stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return view.find(b'"') >= 0


def _shown(separator: str) -> str:
    return {"\t": "TAB", " ": "SPACE"}.get(separator, separator)
