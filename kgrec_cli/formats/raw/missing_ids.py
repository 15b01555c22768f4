r"""Ids that stand for a missing value: `NA`, `NULL`, `None`, `nan`, `\N`. None is dropped unasked.

A field in the quotes of CSV is an id whatever it says: who writes `"NA"` means a name.
"""

import re
from collections.abc import Mapping
from typing import Literal

import polars as pl

from kgrec_cli.core.data.sanity import KEPT_MARK, count_marks, missing_marks
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import OnEvent, Warn
from kgrec_cli.formats.raw.columns import known_names, plain_name
from kgrec_cli.formats.raw.tables import RawTable, find_lines

OnMissingId = Literal["error", "skip", "keep"]


def settle_missing_ids(
    source: RawTable,
    columns: Mapping[str, int],
    ids: pl.DataFrame,
    n_rows: int,
    on_missing_id: OnMissingId,
    on_event: OnEvent,
) -> pl.Series | None:
    """The rows to drop because their user or item is missing, as a mask; None for none.

    `ids` are Categorical user_id and item_id of all rows, `n_rows` counts those that are not blank.
    "error" stops; "skip" drops the rows and "keep" takes the texts for ids, with a warning.

    Raises:
        KgrecError: A text that stands for a missing value, if it is to stop; names it, its count
            and share, and another column of users where one is there.
    """
    dropped: pl.Series | None = None
    for name, role in (("user_id", "user"), ("item_id", "item")):
        is_missing = _find(source, columns[name], ids[name])
        if is_missing is None:
            continue
        found = count_marks(ids[name].filter(is_missing).cast(pl.String), n_rows)
        column = shorten(plain_name(source.names[columns[name]]))
        place = f"{source.file.where}, column {column}: {found}"
        if on_missing_id == "error":
            question = ask_for_other_column(source, columns, role)
            raise KgrecError(
                f"{place} stands for a missing value; {question}{' else ' if question else ''}"
                f"--missing-ids skip drops these rows, keep takes it for the {role}'s id"
            )
        if on_missing_id == "keep":
            on_event(Warn(f"{place} {KEPT_MARK}", on_results=True))
            continue
        on_event(Warn(f"{place} stands for a missing value: dropped, as --missing-ids says"))
        dropped = is_missing if dropped is None else dropped | is_missing
    return dropped


def _find(source: RawTable, number: int, tokens: pl.Series) -> pl.Series | None:
    """Where a column has a text for a missing value outside of quotes; None for nowhere."""
    marks = missing_marks(tokens)
    if not marks:
        return None
    is_missing = tokens.cast(pl.String).is_in(marks)
    if source.quotes != "none" and source.separator:
        rows = is_missing.arg_true()
        is_quoted = [
            _is_quoted(line.text, source.separator, number)
            for line in find_lines(source, rows.to_list())
        ]
        is_missing[rows.filter(pl.Series(is_quoted, dtype=pl.Boolean))] = False
    return is_missing if is_missing.any() else None


def _is_quoted(line: str, separator: str, number: int) -> bool:
    """Whether a field of a row stands in quotes. Quotes within a text may hide separators."""
    enclosed = r'\s*"(?:[^"]|"")*"\s*'
    fields = re.finditer(rf"({enclosed}|.*?)(?:{re.escape(separator)}|\Z)", line, re.DOTALL)
    for place, match in enumerate(fields):
        if place == number:
            return re.fullmatch(enclosed, match[1]) is not None
    return False


def ask_for_other_column(source: RawTable, columns: Mapping[str, int], role: str) -> str:
    """A question where another column, one without gaps, may be that of users or items; else ""."""
    if not source.has_header:
        return ""
    names = [plain_name(name) for name in source.names]
    sessions = [
        n for n, name in enumerate(names) if re.search("session|visitor|cookie", name, re.I)
    ]
    candidates = [*known_names(role, names), *(sessions if role == "user" else ())]
    for number in candidates:
        values = pl.Series([row[number] for row in source.sample], dtype=pl.String)
        is_empty = (values == "") | values.is_in(missing_marks(values))
        if number not in columns.values() and not is_empty.any():
            return f"is '{shorten(names[number])}' the {role} (--{role}-col)?"
    return ""
