"""How a table is laid out: separator, quotes, header, by its first lines; its parts.

`detect_table` is the one place where these are guessed; what it found stands in the `RawTable`.
"""

import csv
import io
import mmap
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

import polars as pl

from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent, Warn, ignore_event
from kgrec_cli.formats.raw.columns import header_sign, is_numbered, known_columns
from kgrec_cli.formats.raw.files import RawFile, content, first_lines, is_parquet
from kgrec_cli.formats.raw.tables import (
    ENCLOSED,
    SAMPLE_LINES,
    Line,
    Quotes,
    RawTable,
    show_separator,
)
from kgrec_cli.formats.raw.typed import EXTRA, check_parquet, json_names, json_texts, read_parquet

SEPARATORS = (("\t",), (",", ";", "|", "::"), (" ",))
"""A tab goes before the others, for texts hold none; a space is tried where none of them fits."""
_NO_SEPARATOR = frozenset("\"'_.-/@()[]")


_EXCEL = re.compile(r'"?sep=(.)"?\s*$', re.IGNORECASE)
"""Excel's line above a table, which names the separator."""
_COMMENT = re.compile(r"\s*[#%]")


def detect_table(
    file: RawFile,
    what: str,
    kinds: Sequence[str],
    *,
    if_unsure: bool,
    parts: Sequence[RawFile] = (),
    on_event: OnEvent = ignore_event,
) -> RawTable:
    """How a file is laid out, as its first lines and its quotes show.

    The content tells text (gzipped or not), JSON lines and Parquet apart. `kinds`, keys of
    `columns.COLUMN_NAMES`, tell a header; `if_unsure` says whether a first line is one that might
    as well be data. `parts` go on where the first file ends; empty ones do not count.

    Raises:
        KgrecError: The file cannot be read, is empty, or is neither text nor Parquet; its parts do
            not have the same columns.
    """
    files = [file, *parts]
    check_parquet([each for each in files if is_parquet(each)])
    tables: list[RawTable] = []
    for each in files:
        separator = tables[0].separator if tables else None
        if table := _detect(each, kinds, separator, if_unsure=if_unsure, on_event=on_event):
            tables.append(table)
    if not tables:
        raise KgrecError(f"{file.where}: empty, expected {what}")
    table, *others = tables
    folders = sorted({PurePath(each.folder).name for each in files})
    if len(folders) > 1 and all("=" in name for name in folders):
        text = f"{file.where}: the folders name a column ('{shorten(folders[0])}') that is not read"
        on_event(Warn(text))
    if others:
        table = _join_parts(table, others)
    is_guess = not table.is_sure or is_numbered(table.names)
    if table.has_header and table.separator is not None and is_guess:
        shown = shorten(" ".join(table.names))
        text = f"{table.file.where}, line {table.first.number}: '{shown}' is read as the header"
        on_event(Note(text) if table.is_sure else Warn(f"{text}; or is it the first row?"))
    return table


def _detect(
    file: RawFile,
    kinds: Sequence[str],
    separator: str | None,
    *,
    if_unsure: bool,
    on_event: OnEvent,
) -> RawTable | None:
    """The layout of one file, by its own `separator` if that is None; None when it is empty."""
    if is_parquet(file):
        start = read_parquet(file, n_rows=SAMPLE_LINES)
        sample = [["" if value is None else str(value) for value in row] for row in start.rows()]
        return RawTable(file, tuple(start.columns), None, has_header=True, sample=sample)
    numbered = [(n, line) for n, line in enumerate(first_lines(file), start=1) if line.strip()]
    if numbered and (match := _EXCEL.match(numbered[0][1])):
        separator = match[1]
        numbered = numbered[1:]
    numbered = _skip_comments(numbered, kinds, file.where, on_event)
    if not numbered:
        return None
    number, first = numbered[0]
    lines = [line for _, line in numbered[:SAMPLE_LINES]]
    if re.match(r'\s*\{\s*"', first):
        return _detect_json(file, number, lines)
    separator = separator or find_separator(lines)
    quotes = find_quotes(file, separator)
    if quotes == "text" and len(separator) == 1 and quotes_hide(lines, separator):
        quotes = "enclose"
    rows = [split_line(line, separator, quotes) for line in lines]
    _check_separator(file, number, separator, lines, rows)
    sign = header_sign(rows, kinds)
    header = if_unsure if sign is None else sign
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
        is_sure=sign is not None,
    )


def _skip_comments(
    numbered: list[tuple[int, str]], kinds: Sequence[str], where: str, on_event: OnEvent
) -> list[tuple[int, str]]:
    """The lines after those at the head that begin with # or %, as KONECT's and SNAP's files do.

    One that has as many fields as a row, the mark itself no field, may be a row or a header: it and
    what follows stay. So does the last comment, without its mark, if it names the columns.
    """
    lines = [line for _, line in numbered]
    end = next((n for n, line in enumerate(lines) if not _COMMENT.match(line)), 0)
    if not end:
        return numbered
    separator = find_separator(lines[end : end + SAMPLE_LINES])
    width = len(split_line(lines[end], separator, "enclose"))
    for number, line in enumerate(lines[:end]):
        fields = split_line(line, separator, "enclose")
        if len(fields) == width and (separator != " " or fields[0].strip("#%")):
            end = number
            break
    else:
        bare = lines[end - 1].lstrip("#% \t")
        names = split_line(bare, separator, "enclose")
        if len(names) == width and known_columns(kinds, names):
            end -= 1
            numbered[end] = (numbered[end][0], bare)
    if end:
        words = (
            "the first line is a comment" if end == 1 else f"{end} lines at its head are comments"
        )
        on_event(Note(f"{where}: {words} ('{shorten(lines[0])}')"))
    return numbered[end:]


def _detect_json(file: RawFile, number: int, lines: Sequence[str]) -> RawTable:
    names = json_names(lines)
    if not names:
        raise KgrecError(
            f"{file.where}, line {number}: found '{shorten(lines[0])}', expected JSON lines: an "
            "object with names in each line"
        )
    texts = pl.Series(lines, dtype=pl.String)
    everything = {name: name for name in names}
    rows = pl.concat(json_texts(texts, everything, file.where, may_nest=True)).drop(EXTRA).rows()
    return RawTable(file, names, None, has_header=True, sample=rows)


def _check_separator(
    file: RawFile, number: int, separator: str, lines: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Checks that the lines are separated by what kgrec knows, and all by the same."""
    if separator == "|" and not any("|" in line.replace("||", "") for line in lines):
        separator = ""
    if not separator and (other := foreign_separator(lines)):
        raise KgrecError(
            f"{file.where}: its fields are separated by {show_separator(other)}, expected TAB, "
            "comma, semicolon, '|', '::' or space; replace it by one of them"
        )
    if len(rows[0]) > 1 and len(rows) > 1 and all(len(row) == 1 for row in rows[1:]):
        other = find_separator(lines[1:])
        if other and len(split_line(lines[1], other, "enclose")) == len(rows[0]):
            raise KgrecError(
                f"{file.where}: line {number} is separated by {show_separator(separator)}, the "
                f"lines after it by {show_separator(other)}; write all with one separator"
            )


def _join_parts(table: RawTable, others: Sequence[RawTable]) -> RawTable:
    """The table that several files hold, one after the other.

    Text has its header in every part, or in the first one, or in none.
    """
    if table.separator is None:
        names = {name: None for each in (table, *others) for name in each.names}
        for other in others:
            if other.kind != table.kind or (
                table.kind == "Parquet" and len(names) > len(other.names)
            ):
                raise _several(table, other)
        typed = tuple(replace(other, names=tuple(names)) for other in others)
        n_lacking = len(names) - len(table.names)
        sample = [[*row, *[""] * n_lacking] for row in table.sample]
        return replace(table, names=tuple(names), sample=sample, parts=typed)
    first = table.first.text.strip()
    again = [other.first.text.strip() == first for other in others]
    if table.has_header and not table.is_sure and not all(again):
        table = without_header(table)  # parts of one table have one header
    parts: list[RawTable] = []
    for other, is_again in zip(others, again, strict=True):
        has_own = other.has_header and other.is_sure and table.has_header
        if other.separator != table.separator or (has_own and not is_again):
            raise _several(table, other)
        if other.has_header and not (table.has_header and is_again):
            other = without_header(other)
        if len(other.names) != len(table.names):
            raise _several(table, other)
        parts.append(replace(other, names=table.names))
    return replace(table, parts=tuple(parts))


def without_header(table: RawTable) -> RawTable:
    """The table, its first line a row of data."""
    names = tuple(map(str, range(1, len(table.names) + 1)))
    sample = [table.names, *table.sample]
    n_skipped = table.n_skipped - 1
    return replace(table, names=names, has_header=False, n_skipped=n_skipped, sample=sample)


def _several(table: RawTable, other: RawTable) -> KgrecError:
    def show(one: RawTable) -> str:
        return f"{one.file.where} ({shorten(', '.join(one.names))})"

    return KgrecError(f"{show(table)} and {show(other)} are different tables; give one of them")


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
    widths = [len(split_line(line, separator, "enclose")) for line in lines]
    return widths[0] if 2 * widths.count(widths[0]) > len(widths) else 0


def split_line(line: str, separator: str, quotes: Quotes) -> list[str]:
    """The fields of one line, spaces around them removed."""
    fields = [text.strip() for text in line.split(separator or None, -1 if separator else 0)]
    if quotes == "enclose" and len(separator) == 1:
        with suppress(csv.Error):  # a line end within the line
            fields = [text.strip() for text in next(csv.reader([line], delimiter=separator))]
    elif quotes == "text":
        enclosed = [re.match(ENCLOSED, text) for text in fields]
        fields = [
            m[1].replace('""', '"') if m else t for m, t in zip(enclosed, fields, strict=True)
        ]
    return fields


def find_quotes(file: RawFile, separator: str) -> Quotes:
    """What the double quotes of a file are.

    A field is enclosed when it begins and ends with a quote and all quotes inside are doubled.
    Where every quote belongs to an enclosed field, these may hold separators and line ends. Where
    some do not, quotes are text, and only a whole enclosed field between two separators loses its.

    Raises:
        KgrecError: The file holds a zero byte, which no text does.
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
        if text.find(b"\0") >= 0:
            raise KgrecError(f"{file.where}: not a text file, for it holds a zero byte")
        if text.find(b'"') < 0:
            return "none"
        edge = re.escape(f"\n{separator}".encode())
        begin = rb"(?:\A|(?<=[" + edge + rb"])|(?<=\xef\xbb\xbf))"
        enclosed = begin + rb'"(?:[^"]++|"")*+"(?=[\r' + edge + rb"]|\Z)"
        is_csv = len(separator) == 1 and re.match(rb'(?:[^"]++|' + enclosed + rb")*+\Z", text)
        return "enclose" if is_csv else "text"


def quotes_hide(lines: Sequence[str], separator: str) -> bool:
    """True when a line has as many fields as the first only if its quotes hide separators."""
    visible = [re.sub('"[^"]*"', "", line).count(separator) for line in lines]
    return any(
        line.count(separator) > count == visible[0]
        for line, count in zip(lines, visible, strict=True)
    )


def foreign_separator(lines: Sequence[str]) -> str | None:
    """What seems to separate the fields of lines that no separator of kgrec's splits; else None.

    It stands in every line, as often in each, and there are at least two lines.
    """
    first = lines[0]
    chars = (c for c in first if not (c.isalnum() or c.isspace() or c in _NO_SEPARATOR))
    for separator in dict.fromkeys(("\\t", "||", *chars)):
        count = first.count(separator)
        if count and len(lines) > 1 and all(line.count(separator) == count for line in lines):
            return separator
    return None
