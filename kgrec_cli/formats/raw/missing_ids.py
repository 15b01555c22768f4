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


def find_missing_ids(
    source: RawTable, columns: Mapping[str, int], ids: Mapping[str, pl.Series]
) -> dict[str, pl.Series]:
    """Where users and items are missing: a mask by user_id and item_id, none where all are there.

    `ids` are Categorical user_id and item_id of all rows.
    """
    found = {name: _find(source, columns[name], ids[name]) for name in ("user_id", "item_id")}
    return {name: mask for name, mask in found.items() if mask is not None}


def settle_missing_ids(
    source: RawTable,
    columns: Mapping[str, int],
    missing: Mapping[str, pl.Series],
    n_rows: int,
    on_missing_id: OnMissingId,
    on_event: OnEvent,
) -> None:
    """Stops at missing users and items, or warns of those that are dropped or taken for ids.

    `missing` has their texts by user_id and item_id, `n_rows` counts rows that are not blank.

    Raises:
        KgrecError: A text that stands for a missing value, if it is to stop; names it, its count
            and share, and another column of users where one is there.
    """
    for name, texts in missing.items():
        role = name.removesuffix("_id")
        found = count_marks(texts, n_rows)
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
        else:
            on_event(Warn(f"{place} stands for a missing value: dropped, as --missing-ids says"))


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
