"""Names of entities and relations in a file of their own: a token and its name a line."""

from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.formats.raw.columns import guess_columns
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.knowledge_graph import IRI, LITERAL
from kgrec_cli.formats.raw.layout import detect_table
from kgrec_cli.formats.raw.tables import read_columns


def read_raw_labels(path: Path) -> pl.DataFrame:
    """The names in a table of token and name, by its header or in that order; the first counts.

    Returns:
        String columns token, label; no token twice, none without a name.

    Raises:
        KgrecError: No such file, or no line with a token and a name.
    """
    what = "names (token, name)"
    kinds = ["title", "entity", "relation", "id"]  # a column "label" has names, no relations
    table = detect_table(RawFile(path), what, kinds, if_unsure=False)
    columns = {"token": 0, "label": 1}
    if table.has_header:
        known = guess_columns(kinds, table.names)
        label = known.pop("title", None)
        others = (n for n in range(len(table.names)) if n != label)
        token = min(known.values(), default=next(others, 0))
        columns = {"token": token, "label": label if label is not None else 1 - min(token, 1)}
    if len(table.names) < 2:
        raise KgrecError(
            f"{path}, line {table.first.number}: found '{shorten(table.first.text)}', expected two "
            "columns (token, name)"
        )
    rows = read_columns(table, columns, ids=("token",))
    rows = rows.filter((pl.col("token") != "") & (pl.col("label") != ""))
    if rows.is_empty():
        raise KgrecError(f"{path}: holds no {what}")
    tokens = pl.col("token").str.replace(f"^{IRI}$", "$1")
    rows = rows.select(tokens, pl.col("label").str.replace(f"^{LITERAL}$", "$1"))
    return rows.unique("token", keep="first", maintain_order=True)
