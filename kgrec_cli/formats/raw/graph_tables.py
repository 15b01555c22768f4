"""Tables of ids in whatever layout they come: what `triples` and `links` have in common.

Separator, header and the meaning of the columns are found in the content (its first lines), not in
the file's name. Text goes through `delimited`; Parquet is read here.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.delimited import EXTRA, Form, find_lines, read_fields, split_line
from kgrec_cli.formats.raw.files import RawFile, first_line, head

SAMPLE_LINES = 200
_SEPARATORS = ("\t", ",", ";", "|", "::", " ")
_LINES = Form(separator="\x01", n_columns=1, has_header=False, quoted=False)
_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Column:
    """A column that a reader looks for.

    Attributes:
        name: What it is called in the result.
        what: What errors call a value of it.
        sure_names: Header names that no data row would hold, folded: lower case letters and digits.
        likely_names: Header names that count only beside another known one.
        required: Whether a file without it is refused.
    """

    name: str
    what: str
    sure_names: frozenset[str]
    likely_names: frozenset[str] = frozenset()
    required: bool = True


Layout = Callable[[Sequence[Sequence[str]]], Sequence[str] | None]
"""The names of the columns of rows without known header names; None when they fit no layout."""


def text_lines(file: RawFile) -> pl.Series:
    """All lines of a text as String, blanks around them removed; blank lines are "".

    Raises:
        KgrecError: The file cannot be read, or is no text.
    """
    if head(file, 4) == b"PK\x03\x04":
        raise KgrecError(f"{file.where}: a zip archive; unpack it and give the file in it")
    first_line(file)  # raises for what is no text
    return read_fields(file, _LINES, {"line": 0})["line"].fill_null("").str.strip_chars()


def is_parquet(file: RawFile) -> bool:
    """True when the file begins as Parquet does."""
    return head(file, 4) == b"PAR1"


def read_table(
    file: RawFile, lines: pl.Series, columns: Sequence[Column], layout: Layout
) -> pl.DataFrame:
    """The wanted columns of a delimited text, as String columns in the file's order.

    Args:
        file: The file.
        lines: Its `text_lines`.
        columns: What to look for.
        layout: Names the columns of a file that does not name them itself.

    Raises:
        KgrecError: No separator fits, no layout fits, or a row has too few or too many fields or
            an empty one; with file and line.
    """
    form, positions = _find_form(file, lines, columns, layout)
    every_column = {str(number): number for number in range(form.n_columns)}
    # Read with its header, if any, so that row numbers lead back to lines.
    plain_form = replace(form, has_header=False)
    table = read_fields(file, plain_form, every_column).with_row_index("row")
    table = table.with_columns(pl.col(pl.String).fill_null("").str.strip_chars())
    filled = pl.any_horizontal(pl.col(pl.String) != "")
    table = table.filter(filled)[int(form.has_header) :]
    wanted = table.select("row", EXTRA, **{n: pl.col(str(p)) for n, p in positions.items()})
    required = [column.name for column in columns if column.required]
    bad = wanted.filter(pl.any_horizontal(pl.col(*required) == "", pl.col(EXTRA) != ""))
    if bad.height:
        raise KgrecError(_bad_row(file, plain_form, bad.row(0, named=True), columns))
    return wanted.select(*positions)


def _find_form(
    file: RawFile, lines: pl.Series, columns: Sequence[Column], layout: Layout
) -> tuple[Form, dict[str, int]]:
    """How a text is laid out, from its first lines, and column name -> position."""
    sample = lines.filter(lines != "").head(SAMPLE_LINES).to_list()
    where = f"{file.where}, line {_line_number(lines)}"
    required = [column.name for column in columns if column.required]
    separator = _find_separator(sample, len(required))
    if not separator:
        raise KgrecError(
            f"{where}: found '{_shown(sample[0])}', expected {len(required)} columns "
            f"({', '.join(required)}) separated by TAB, comma, semicolon, | or space"
        )
    quoted = _is_quoted(sample, separator)
    rows = [_fields(line, separator, quoted) for line in sample]
    positions = find_header(file.where, rows[0], columns)
    if positions is not None:
        return Form(separator, len(rows[0]), has_header=True, quoted=quoted), positions
    has_header = _is_other_header(rows)
    data = rows[1:] if has_header and len(rows) > 1 else rows
    n_columns = Counter(map(len, data)).most_common(1)[0][0]
    names = layout([row for row in data if len(row) == n_columns])
    if names is None:
        raise KgrecError(
            f"{where}: found {len(rows[0])} columns without known names ('{_shown(sample[0])}'), "
            f"expected {', '.join(required)}"
        )
    form = Form(separator, n_columns, has_header, quoted)
    return form, {name: number for number, name in enumerate(names)}


def read_parquet_table(file: RawFile, columns: Sequence[Column], layout: Layout) -> pl.DataFrame:
    """The wanted columns of a Parquet file, as String columns; numbers as their shortest text.

    Raises:
        KgrecError: Not a whole Parquet file, no layout fits, or a value is missing.
    """
    try:
        table = pl.read_parquet(file.path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise KgrecError(f"{file.where}: not a whole Parquet file ({reason})") from error
    positions = find_header(file.where, table.columns, columns)
    try:
        texts = table.select(_as_text(column) for column in table.get_columns())
    except pl.exceptions.PolarsError as error:
        raise KgrecError(
            f"{file.where}: found columns {_schema(table)}, expected text or numbers"
        ) from error
    if positions is None:
        names = layout([list(map(str, row)) for row in texts.head(SAMPLE_LINES).rows()])
        if names is None:
            expected = ", ".join(column.name for column in columns if column.required)
            raise KgrecError(f"{file.where}: found columns {_schema(table)}, expected {expected}")
        positions = {name: number for number, name in enumerate(names)}
    wanted = texts.select(
        texts.to_series(number).str.strip_chars().fill_null("").alias(name)
        for name, number in positions.items()
    )
    for column in columns:
        if column.required and (wanted[column.name] == "").any():
            row = (wanted[column.name] == "").arg_max() or 0
            raise KgrecError(
                f"{file.where}, row {row + 1}, column {texts.columns[positions[column.name]]}: "
                f"found nothing, expected {column.what}"
            )
    return wanted


def find_header(
    where: str, fields: Sequence[str], columns: Sequence[Column]
) -> dict[str, int] | None:
    """Column name -> position, when `fields` are the names of columns; else None.

    One sure name or two known ones make a header. The rest may go by any name where it is clear
    what they are: one column is left, or the file has the required ones only, in their order.

    Raises:
        KgrecError: A header that names some columns but not all that are required.
    """
    names = [_fold_name(field) for field in fields]
    positions: dict[str, int] = {}
    sure = 0
    for column in columns:
        for number, name in enumerate(names):
            if number in positions.values():
                continue
            if name in column.sure_names or name in column.likely_names:
                positions[column.name] = number
                sure += name in column.sure_names
                break
    if not sure and len(positions) < 2:
        return None
    missing = [column for column in columns if column.required and column.name not in positions]
    rest = [number for number in range(len(fields)) if number not in positions.values()]
    order = [column.name for column in columns]
    in_order = all(order[number : number + 1] == [name] for name, number in positions.items())
    if len(missing) == len(rest) and (len(rest) == 1 or in_order):
        positions.update(zip((column.name for column in missing), rest, strict=True))
    elif missing:
        raise KgrecError(
            f"{where}: found the columns {', '.join(fields)}, but none that is "
            f"{missing[0].what}; expected one named {missing[0].name}"
        )
    return {c.name: positions[c.name] for c in columns if c.name in positions}


def _fold_name(field: str) -> str:
    """A header name without its RecBole type, case and marks: "Head_ID:token" gives "headid"."""
    name = re.sub(r":(token|float)(_seq)?$", "", field.strip())
    return re.sub(r"[\W_]+", "", name.casefold())


def _is_other_header(rows: Sequence[Sequence[str]]) -> bool:
    """True for a typed header of unknown names, and where a column is whole numbers but for it."""
    first, rest = rows[0], rows[1:]
    if all(re.search(r":(token|float)(_seq)?$", field) for field in first):
        return True
    same = [row for row in rest if len(row) == len(first)]
    return len(same) >= 2 and any(
        not first[number].isdecimal() and all(row[number].isdecimal() for row in same)
        for number in range(len(first))
    )


def _find_separator(sample: Sequence[str], n_required: int) -> str:
    """The first separator that gives most lines the same, sufficient number of fields; else ""."""
    best, best_share = "", 0.0
    for separator in _SEPARATORS:
        widths = Counter(len(_fields(line, separator, separator in ",;|")) for line in sample)
        n_lines = max((n for width, n in widths.items() if width >= n_required), default=0)
        share = n_lines / len(sample)
        if share > 0.5:
            return separator
        if share > best_share:
            best, best_share = separator, share
    return best


def _fields(line: str, separator: str, quoted: bool) -> list[str]:
    return split_line(line, separator, quoted) if separator else [line.strip()]


def _is_quoted(sample: Sequence[str], separator: str) -> bool:
    """True where double quotes enclose fields: in CSV, or around a whole column of a TSV."""
    if not separator or not any('"' in line for line in sample):
        return False
    if separator in ",;|":
        return True
    rows = [_fields(line, separator, quoted=False) for line in sample]
    return len(separator) == 1 and all(
        len(row[0]) > 1 and row[0][0] == row[0][-1] == '"' for row in rows
    )


def _bad_row(file: RawFile, form: Form, row: dict[str, str], columns: Sequence[Column]) -> str:
    """One line for a row that has a field too few, too many or empty."""
    line = find_lines(file, form, [int(row["row"])])[0]
    if line.n_fields != form.n_columns:
        return (
            f"{file.where}, line {line.number}: found {line.n_fields} columns "
            f"('{_shown(line.text)}'), expected {form.n_columns}"
        )
    column = next(column for column in columns if column.required and not row[column.name])
    return (
        f"{file.where}, line {line.number}, column {column.name}: found nothing "
        f"('{_shown(line.text)}'), expected {column.what}"
    )


def _line_number(lines: pl.Series) -> int:
    """The number of the first line that is not blank."""
    return int((lines != "").arg_max() or 0) + 1


def _shown(text: str) -> str:
    """A line, cut where it would fill the screen, its tabs visible."""
    text = text.replace("\t", "<TAB>").replace("\n", " ")
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _as_text(column: pl.Series) -> pl.Series:
    """A column as String; whole floats (ids beside a missing one) without their ".0"."""
    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        if (whole.cast(column.dtype) == column).all():
            column = whole
    return column.cast(pl.String)


def _schema(table: pl.DataFrame) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in table.schema.items())
