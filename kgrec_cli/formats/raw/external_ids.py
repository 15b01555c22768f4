"""External identifiers of items (IMDb, ISBN, ...), from MovieLens' `links.csv` or any table."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from kgrec_cli.errors import UsageError
from kgrec_cli.formats.raw.columns import guess_column, named_column, plain_name
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.layout import detect_table
from kgrec_cli.formats.raw.tables import read_columns

LINKS_NAMES = ("links.csv", "link.csv")
"""MovieLens' list of IMDb and TMDB ids, and Kaggle's copy of it."""


class IdTables(NamedTuple):
    """Tables that may have a column of identifiers, and what their column of items may be called.

    The names go before the common ones.
    """

    files: Sequence[RawFile]
    item_columns: Sequence[str]


class IdColumn(NamedTuple):
    """A column of identifiers: its file and name, and String columns item_id, id; none empty."""

    file: RawFile
    column: str
    ids: pl.DataFrame


def read_id_column(tables: IdTables, wanted: str | None, known: Sequence[str]) -> IdColumn | None:
    """The first column of identifiers in some files.

    Args:
        tables: Where to look.
        wanted: The column that the user named; None for one that goes by a known name.
        known: Known names, in lower case, letters and digits only.

    Returns:
        None where no file has such a column.

    Raises:
        UsageError: No file has the column that the user named.
        KgrecError: A file that cannot be read.
    """
    refusal: UsageError | None = None
    for file in tables.files:
        table = detect_table(file, "a table of items and their ids", ["id"], if_unsure=True)
        names = [plain_name(name) for name in table.names]
        if not table.has_header:
            continue
        if wanted is not None:
            try:
                number: int | None = named_column(
                    wanted, names, where=file.where, option="--link-by"
                )
            except UsageError as error:
                refusal = refusal or error
                continue
        else:
            folded = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in names]
            number = next((folded.index(name) for name in known if name in folded), None)
        item = next((names.index(name) for name in tables.item_columns if name in names), None)
        item = guess_column("id", names) if item is None else item
        if number is None or item is None:
            continue
        rows = read_columns(table, {"item_id": item, "id": number}, ids=("item_id", "id"))
        ids = rows.select("item_id", "id").filter((pl.col("item_id") != "") & (pl.col("id") != ""))
        return IdColumn(file, names[number], ids.unique(maintain_order=True))
    if refusal is not None:
        raise refusal
    return None
