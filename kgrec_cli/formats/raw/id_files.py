"""Graphs of numbers with lists of what the numbers stand for, as OpenKE and KGAT keep them.

OpenKE: `train2id.txt` (a line with the count, then head, tail, relation), `entity2id.txt` and
`relation2id.txt` (a line with the count, then name and number). KGAT: `kg_final.txt` (head,
relation, tail), `entity_list.txt`, `relation_list.txt` and `item_list.txt` (a header, then the
original id and the number; an item's number is that of its entity). Numbers become names where a
list has them, so that such a graph can be joined with another and its paths can be read.
"""

import re
from pathlib import Path
from typing import NamedTuple

import polars as pl

from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.tables import read_lines

TRAIN = "train2id.txt"
ITEM_LIST = "item_list.txt"
_LISTS = {
    "entity": ("entity2id.txt", "entity_list.txt"),
    "relation": ("relation2id.txt", "relation_list.txt"),
}


class IdLists(NamedTuple):
    """The lists beside a graph of numbers.

    Attributes:
        entities: Name of each entity by its number; empty without a list.
        relations: The same of relations.
        paths: The files that were read.
    """

    entities: dict[str, str]
    relations: dict[str, str]
    paths: tuple[Path, ...]


def read_id_lists(graph_path: Path) -> IdLists:
    """The lists that lie beside a graph's file.

    Raises:
        KgrecError: A line that is none of a name and a number, a number twice, or a wrong count.
    """
    read, paths = {}, []
    for kind, names in _LISTS.items():
        found = [path for name in names if (path := graph_path.with_name(name)).is_file()]
        read[kind] = _read_list(found[0]) if found else {}
        paths += found[:1]
    return IdLists(read["entity"], read["relation"], tuple(paths))


def read_train2id(file: RawFile, lines: pl.Series, lists: IdLists) -> tuple[pl.DataFrame, str]:
    """The triples of a `train2id.txt`, columns head_id, relation_id, tail_id, and their order.

    Some programs write head, relation, tail: taken so where the list of relations shows it.

    Raises:
        KgrecError: A row that is none of three numbers, no count in the first line, or another one.
    """
    filled = pl.DataFrame({"line": lines}).with_row_index("row").filter(pl.col("line") != "")
    if filled.is_empty() or not re.fullmatch(r"\d+", filled["line"][0]):
        found = f"found '{shorten(filled['line'][0])}'" if filled.height else "found nothing"
        raise KgrecError(
            f"{file.where}, line 1: {found}, expected the count of triples alone, as OpenKE writes "
            "it; name triples without it otherwise, with head, relation, tail in the first line"
        )
    count, rows = int(filled["line"][0]), filled[1:]
    parts = rows["line"].str.extract_groups(r"^(\d+)\s+(\d+)\s+(\d+)$").struct.unnest()
    bad = parts["1"].is_null()
    if bad.any():
        row = rows.row(int(bad.arg_max() or 0), named=True)
        found = f"{file.where}, line {row['row'] + 1}: found '{shorten(row['line'])}'"
        raise KgrecError(f"{found}, expected three numbers (head, tail, relation)")
    if rows.height != count:
        raise KgrecError(
            f"{file.where}: the first line says {count:,} triples, found {rows.height:,}; is the "
            "file cut off?"
        )
    if rows.is_empty():
        raise KgrecError(f"{file.where}: holds no triples")
    order = "head, tail, relation"
    names = ["head_id", "tail_id", "relation_id"]
    if lists.relations:
        second, third = (parts[n].is_in(list(lists.relations)).all() for n in ("2", "3"))
        if second and not third:
            order, names = "head, relation, tail", ["head_id", "relation_id", "tail_id"]
    parts.columns = names
    return parts.select("head_id", "relation_id", "tail_id"), order


def is_train2id(lines: list[str]) -> bool:
    """Whether a file begins with a lone number and goes on with a row of three numbers."""
    filled = [line.split() for line in lines if line.strip()]
    begins = len(filled) > 1 and len(filled[0]) == 1 and len(filled[1]) == 3
    return begins and all(each.isdecimal() for row in filled[:2] for each in row)


def named(triples: pl.DataFrame, lists: IdLists, where: str) -> pl.DataFrame:
    """The triples with names for numbers.

    Raises:
        KgrecError: A number that a list does not have.
    """
    for column, names in (
        ("head_id", lists.entities),
        ("tail_id", lists.entities),
        ("relation_id", lists.relations),
    ):
        unknown = triples[column].unique() if names else pl.Series([], dtype=pl.String)
        unknown = unknown.filter(~unknown.is_in(list(names)))
        if len(unknown):
            kind = "relation" if column == "relation_id" else "entity"
            beside = next(p.name for p in lists.paths if p.name in _LISTS[kind])
            raise KgrecError(f"{where}: {kind} {unknown.sort()[0]} is not in {beside} beside it")
        if names:
            triples = triples.with_columns(pl.col(column).replace_strict(names))
    return triples


def read_kgat_links(path: Path, items: pl.Series, on_event: OnEvent) -> pl.DataFrame:
    """The links of KGAT's `item_list.txt`: String columns item_id, entity_id.

    An item's entity has its number (`remap_id`). Which of the two ids are the data set's is what
    links more of `items`: the original one when both link as many.

    Raises:
        KgrecError: No such columns, or a line without them.
    """
    lines = read_lines(RawFile(path))
    header = (lines[0] if len(lines) else "").split()
    if not {"org_id", "remap_id"} <= set(header):
        found = f"found '{shorten(' '.join(header))}', expected org_id remap_id"
        raise KgrecError(f"{path}, line 1: {found}")
    ids: dict[str, list[str]] = {"org_id": [], "remap_id": []}
    for number, line in enumerate(lines[1:], start=2):
        row = dict(zip(header, line.split(), strict=False))
        if line and not ids.keys() <= row.keys():
            raise KgrecError(f"{path}, line {number}: found '{shorten(line)}', expected two ids")
        for name, column in ids.items() if line else ():
            column.append(row[name])
    table = pl.DataFrame(ids, schema=dict.fromkeys(ids, pl.String))
    n_linked = {name: int(table[name].is_in(items.implode()).sum()) for name in ids}
    of_items = max(n_linked, key=n_linked.__getitem__)
    on_event(Note(f"{path}: items are linked by their {of_items}"))
    links = table.select(item_id=of_items, entity_id="remap_id")
    return links.with_columns(pl.col("entity_id").replace(read_id_lists(path).entities))


def _read_list(path: Path) -> dict[str, str]:
    """Number -> name. A name that two numbers have gets the number, so that they stay apart."""
    names: dict[str, str] = {}
    lines = [(n, line) for n, line in enumerate(read_lines(RawFile(path)), start=1) if line]
    first = lines[0][1].split() if lines else [""]
    has_header = len(first) == 1 or first[-1] == "remap_id"
    if len(first) == 1 and first[0].isdecimal() and int(first[0]) != len(lines) - 1:
        raise KgrecError(
            f"{path}: the first line says {int(first[0]):,} names, found {len(lines) - 1:,}; is "
            "the file cut off?"
        )
    for number, line in lines[has_header:]:
        name, _, token = line.replace("\t", " ").rpartition(" ")
        name = name.strip()
        if not name or not token.isdecimal():
            found = f"found '{shorten(line)}', expected a name and a number"
            raise KgrecError(f"{path}, line {number}: {found}")
        if token in names:
            raise KgrecError(f"{path}, line {number}: number {token} stands twice")
        names[token] = name
    counts = pl.Series(list(names.values()), dtype=pl.String).value_counts()
    twice = set(counts.filter(pl.col("count") > 1).to_series().to_list())
    return {token: f"{name} ({token})" if name in twice else name for token, name in names.items()}
