"""Links of items to entities, from whatever file they come in, as one table.

`prepare --links FILE` reads them here and writes them as `.link`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.graph_tables import (
    Column,
    is_parquet,
    read_parquet_table,
    read_table,
    text_lines,
)

LINK_FILE = "item_index2entity_id.txt"
"""The links in a data folder of KGCN, MKR or RippleNet."""

COLUMNS = (
    Column(
        "item_id",
        "an item",
        frozenset(
            {
                "item",
                "itemid",
                "itemtoken",
                "movieid",
                "productid",
                "bookid",
                "trackid",
                "artistid",
                "songid",
                "asin",
                "isbn",
            }
        ),
        frozenset({"id", "movie", "product", "book", "track", "artist", "song", "iid"}),
    ),
    Column(
        "entity_id",
        "an entity",
        frozenset(
            {
                "entity",
                "entityid",
                "entityuri",
                "uri",
                "iri",
                "freebaseid",
                "fbid",
                "dbpediauri",
                "dbpediaid",
                "wikidataid",
                "qid",
                "kgid",
            }
        ),
        frozenset({"mid", "freebase", "dbpedia", "wikidata", "node", "nodeid", "url", "resource"}),
    ),
    Column(
        "title",
        "a title",
        frozenset({"title", "movietitle"}),
        frozenset({"name", "label"}),
        required=False,
    ),
)

_ENTITY = re.compile(r"<?https?://\S+|/?[mg][./][0-9a-z_]+|Q\d+|<.*>", re.IGNORECASE)


def read_links(path: Path) -> pl.DataFrame:
    """The links in a file, in its order, duplicates kept.

    Reads RecBole's `.link`; two columns (item, entity: KB4Rec's `ml2fb.txt`); three columns (item,
    title, entity: the DBpedia mapping of MovieLens, or with the last two exchanged);
    `item_index2entity_id.txt` of KGCN, MKR and RippleNet (also when `path` is the folder that holds
    it); TSV, CSV, Parquet with or without a header. Text may be gzipped. The content decides, not
    the file's name.

    Returns:
        String columns item_id, entity_id (none null or empty, IRIs without angle brackets) and,
        where the file has them, title.

    Raises:
        KgrecError: No such file, no links in it, or a line that is none; with file and line.
    """
    file = RawFile(_link_file(path))
    if is_parquet(file):
        links = read_parquet_table(file, COLUMNS, _layout)
    else:
        lines = text_lines(file)
        if not (lines != "").any():
            raise KgrecError(f"{file.where}: empty, expected links (item, entity)")
        links = read_table(file, lines, COLUMNS, _layout)
    if not links.height:
        raise KgrecError(f"{file.where}: holds no links (item, entity)")
    names = [column.name for column in COLUMNS if column.name in links.columns]
    return links.select(names).with_columns(pl.col("entity_id").str.replace("^<([^<>]*)>$", "$1"))


def _link_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / LINK_FILE).is_file():
        return path / LINK_FILE
    raise KgrecError(f"{path}: a folder without {LINK_FILE}; give the file itself")


def _layout(rows: Sequence[Sequence[str]]) -> Sequence[str] | None:
    if len(rows[0]) == 2:
        return ("item_id", "entity_id")
    if len(rows[0]) != 3:
        return None
    second, third = (sum(bool(_ENTITY.fullmatch(row[i])) for row in rows) for i in (1, 2))
    if second > third:
        return ("item_id", "entity_id", "title")
    return ("item_id", "title", "entity_id")
