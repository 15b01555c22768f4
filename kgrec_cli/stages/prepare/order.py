"""What all results rest on: an order in time that is one, no user or item with most events."""

from typing import Any

from kgrec_cli.core.data.sanity import (
    are_mostly_tied,
    concentration_warnings,
    count_ties,
    order_warnings,
)
from kgrec_cli.events import OnEvent, Warn
from kgrec_cli.formats.raw.choice import ColumnChoice
from kgrec_cli.formats.raw.movielens import RawData
from kgrec_cli.stages.prepare.write import Kept


def check_order(
    raw: RawData, kept: Kept, choice: ColumnChoice, on_event: OnEvent
) -> dict[str, Any]:
    """Warns of a time order that is none, and of a user or item with most of the interactions.

    Of a log in files the order of the first share of the users is looked at, which the lines say.

    Returns:
        For the report: the column of times (None without), and how many interactions have the
        time of their user's previous one.
    """
    rows, where = raw.rows, raw.files[0].where
    has_times = raw.layout != "table" or "timestamp" in rows.columns
    shares, n_shares = kept.rows.shares(), kept.rows.n_shares
    table = next(shares)
    n_ties = count_ties(table) + sum(map(count_ties, shares)) if has_times else None
    lines = order_warnings(table, has_times=has_times)
    if n_shares > 1:
        lines = [f"{line} (one of {n_shares} users was looked at)" for line in lines]
    lines += concentration_warnings({"user": kept.users, "item": kept.items})
    if not has_times:
        lines.insert(0, "no time column: the file's order is taken for the order in time")
    columns = " or ".join(f"'{name}'" for name in rows.time_like[:3])
    if columns and (n_ties is None or are_mostly_tied(table, count_ties(table))):
        offset = "" if n_ties is None else ", or the time of day (--offset-col)"
        lines[0] += f"; is {columns} the time (--time-col){offset}?"
    elif columns and choice.time is None:
        taken = rows.columns["timestamp"]
        on_event(Warn(f"{where}: the time is '{taken}', by its name; --time-col takes {columns}"))
    for line in lines:
        on_event(Warn(f"{where}: {line}", on_results=True))
    return {"column": rows.columns.get("timestamp"), "same_as_previous": n_ties}
