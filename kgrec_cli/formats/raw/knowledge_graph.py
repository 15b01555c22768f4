"""Triples of a knowledge graph and links of items to its entities, from whatever file they come in.

`prepare --kg FILE --links FILE` reads them here and writes them as `.kg` and `.link`. Tables go
through `tables`; N-Triples are read here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_cli.core.data.sanity import MISSING_MARKS
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent, ignore_event
from kgrec_cli.formats.raw.columns import known_columns, plain_name
from kgrec_cli.formats.raw.files import RawFile, first_lines, is_parquet
from kgrec_cli.formats.raw.id_files import (
    ITEM_LIST,
    TRAIN,
    is_train2id,
    named,
    read_id_lists,
    read_train2id,
)
from kgrec_cli.formats.raw.layout import detect_table, without_header
from kgrec_cli.formats.raw.tables import (
    SAMPLE_LINES,
    RawTable,
    find_lines,
    read_columns,
    read_lines,
)
from kgrec_cli.formats.raw.typed import EXTRA

GRAPH_FILES = ("kg.txt", "kg_final.txt", TRAIN)
"""The triples in a data folder of KGCN, MKR, RippleNet, KGAT or OpenKE; the first there counts."""
LINK_FILES = ("item_index2entity_id.txt", ITEM_LIST)
"""The links in such a folder."""

_TRIPLE = {"head_id": "a head entity", "relation_id": "a relation", "tail_id": "a tail entity"}
_LINK = {"item_id": "an item", "entity_id": "an entity"}
_KINDS = {
    "head_id": "head",
    "relation_id": "relation",
    "tail_id": "tail",
    "item_id": "id",
    "entity_id": "entity",
    "title": "title",
}
"""Column of a result -> its key in `columns.COLUMN_NAMES`."""

_ENTITY = re.compile(r"<?https?://\S+|/?[mg][./][0-9a-z_]+|Q\d+|<.*>", re.IGNORECASE)
IRI = r"<([^<>]*)>"
_BLANK = r"(_:[^\s<>\"]*[^\s<>\".])"
LITERAL = r'"((?:[^"\\]|\\.)*)"(?:@[A-Za-z0-9-]+|\^\^<[^<>]*>)?'
_STATEMENT = rf"^(?:{IRI}|{_BLANK})\s*{IRI}\s*(?:{IRI}|{_BLANK}|{LITERAL})\s*"
N_TRIPLE = rf"{_STATEMENT}\.\s*(?:#.*)?$"
_OTHER_RDF = {
    "Turtle or TriG": re.compile(r"@?(prefix|base)\s.*<", re.IGNORECASE),
    "N-Quads": re.compile(rf"{_STATEMENT}(?:{IRI}|{_BLANK})\s*\.\s*$"),
    "RDF/XML": re.compile(r"<\?xml|<rdf:"),
}
"""Other formats of triples, by the first line that is not blank."""
_RDF_SUFFIXES = {"Turtle or TriG": ".ttl", "N-Quads": ".nq", "RDF/XML": ".rdf"}
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_PLAIN_ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f"}

RELATED = "related_to"
"""The relation of pairs: of a table of two items, or two entities, a row, perhaps with a weight."""
_WEIGHT = re.compile(r"weights?|score|sim(ilarity)?|count|strength|confidence|frequency", re.I)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def read_raw_triples(
    path: Path, *, of_items: bool = False, on_event: OnEvent = ignore_event
) -> pl.DataFrame:
    """The triples in a file, in its order, exact duplicates kept.

    Reads RecBole's `.kg`; TSV, CSV, Parquet with or without a header; `kg.txt` of KGCN, MKR and
    RippleNet, `kg_final.txt` of KGAT, `train2id.txt` of OpenKE, with names for numbers where lists
    of these lie beside (also when `path` is the folder that holds it); N-Triples (IRIs without
    their angle brackets, literals as their text without language and datatype, blank nodes as
    `_:name`). Text may be packed (gzip, bzip2). The content decides, not the file's name. A column
    of weights is not read, and columns named head and tail without a relation are pairs: their
    relation is `RELATED`.

    Args:
        path: The file, or the folder that holds it.
        of_items: Whether the entities are items: then two columns without names are pairs, too.
        on_event: Is told how a graph of numbers was read.

    Returns:
        String columns head_id, relation_id, tail_id; none null or empty.

    Raises:
        KgrecError: No such file, no triples in it, or a line that is none; with file and line.
    """
    file = RawFile(file_in(path, GRAPH_FILES))
    if not is_parquet(file):
        lines = first_lines(file)
        if is_n_triples(lines):
            return read_n_triples(file)
        if is_train2id(lines) or file.name == TRAIN:
            lists = read_id_lists(file.path)
            triples, order = read_train2id(file, read_lines(file), lists)
            on_event(Note(f"{file.where}: OpenKE's numbers, read as {order}"))
            return named(triples, lists, file.where)
        first = next((line.strip() for line in lines if line.strip()), "")
        for other, look in _OTHER_RDF.items():
            if look.match(first[:9999]):
                raise KgrecError(
                    f"{file.where}: {other}; convert it to N-Triples (.nt), or call it "
                    f"{_RDF_SUFFIXES[other]} and install kgrec[rdf]"
                )
    what = "triples (head, relation, tail)"
    names = tuple(_TRIPLE)
    table = _detect(file, what, names, on_event, also=["id"] if of_items else [])
    columns = _find_columns(table, names, _TRIPLE, _triple_layout(table, of_items=of_items))
    required = {name: text for name, text in _TRIPLE.items() if name in columns}
    triples = _read_ids(table, what, columns, required)
    if "relation_id" not in columns:
        triples = triples.with_columns(pl.lit(RELATED).alias("relation_id"))
    triples = triples.select(*_TRIPLE)
    lists = read_id_lists(file.path)
    return named(triples, lists, file.where) if lists.paths else triples


def read_raw_links(path: Path, on_event: OnEvent = ignore_event) -> pl.DataFrame:
    """The links in a file, in its order, duplicates kept.

    Reads RecBole's `.link`; two columns (item, entity: KB4Rec's `ml2fb.txt`); three columns (item,
    title, entity: the DBpedia mapping of MovieLens, or with the last two exchanged);
    `item_index2entity_id.txt` of KGCN, MKR and RippleNet (also when `path` is the folder that holds
    it); TSV, CSV, Parquet with or without a header. Text may be packed (gzip, bzip2). The
    content decides, not the file's name. `item_list.txt` of KGAT goes by its name, see
    `id_files.read_kgat_links`.

    Returns:
        String columns item_id, entity_id (none null or empty, IRIs without angle brackets) and,
        where the file has them, title.

    Raises:
        KgrecError: No such file, no links in it, or a line that is none; with file and line.
    """
    what, names = "links (item, entity)", (*_LINK, "title")
    table = _detect(RawFile(file_in(path, LINK_FILES)), what, names, on_event)
    columns = _find_columns(table, names, _LINK, _link_layout(table))
    return _read_ids(table, what, columns, _LINK)


def is_n_triples(lines: Sequence[str]) -> bool:
    """True when most of the first statements are N-Triples; comments do not count."""
    texts = [text for text in map(str.strip, lines) if text and not text.startswith("#")]
    statements = pl.Series(texts[:SAMPLE_LINES], dtype=pl.String)
    return 2 * int(statements.str.contains(N_TRIPLE).sum()) > len(statements)


def file_in(path: Path, names: Sequence[str]) -> Path:
    """The file itself, or the first of `names` in a folder.

    Raises:
        KgrecError: A folder that holds none of them.
    """
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise KgrecError(f"{path}: a folder without {' or '.join(names)}; give the file itself")


def _detect(
    file: RawFile, what: str, names: Sequence[str], on_event: OnEvent, *, also: Sequence[str] = ()
) -> RawTable:
    """How a file is laid out. What its columns hold corrects what was taken for a header.

    A first line of which a field stands below again, or which is the only one, is a row ("e1 knows
    e2", "e1 knows e3"), unless it names all columns; a name of weights above numbers makes a header
    ("item1,item2,weight").
    `also` has further keys of `columns.COLUMN_NAMES` that tell a header.
    """
    kinds = [_KINDS[name] for name in names]
    table = detect_table(file, what, [*kinds, *also], if_unsure=False, on_event=on_event)
    if table.separator is None:
        return table
    if table.has_header:
        columns = zip(table.names, zip(*table.sample, strict=True), strict=False)
        is_named = len(known_columns(kinds, table.names)) >= min(len(kinds), len(table.names))
        is_alone = not table.sample and "\r" not in table.first.text  # else of mixed line ends
        is_row = is_alone or any(name in values for name, values in columns)
        return without_header(table) if is_row and not is_named else table
    if not table.sample:
        return table
    first, *rest = table.sample
    below = zip(*rest, strict=True)
    if any(_WEIGHT.fullmatch(t) and _are_numbers(v) for t, v in zip(first, below, strict=False)):
        n_skipped = table.n_skipped + 1
        return replace(table, names=tuple(first), has_header=True, n_skipped=n_skipped, sample=rest)
    return table


def _are_numbers(values: Sequence[str]) -> bool:
    """Whether all values are numbers or missing."""
    return all(_NUMBER.fullmatch(text) or text.lower() in ("", *MISSING_MARKS) for text in values)


def _holds_weights(table: RawTable, number: int, *, is_named: bool = False) -> bool:
    """Whether a column has a name of weights; without `is_named`, or numbers that are no ids."""
    if table.has_header and _WEIGHT.fullmatch(plain_name(table.names[number])):
        return True
    values = [row[number] for row in table.sample]
    return not is_named and _are_numbers(values) and not all(map(str.isdecimal, values))


def _read_ids(
    table: RawTable, what: str, columns: Mapping[str, int], required: Mapping[str, str]
) -> pl.DataFrame:
    """String columns, the required ones first; in these no empty field, IRIs without brackets.

    `required` maps the name of a column to what errors call a value of it.
    """
    rows = read_columns(table, columns, ids=tuple(required)).with_row_index("row")
    rows = rows.filter(pl.any_horizontal(pl.col(pl.String) != ""))
    bad = rows.filter(pl.any_horizontal(pl.col(*required) == "", pl.col(EXTRA) != ""))
    if bad.height:
        raise KgrecError(_bad_row(table, columns, bad.row(0, named=True), required))
    if not rows.height:
        raise KgrecError(f"{table.file.where}: holds no {what}")
    others = [name for name in columns if name not in required]
    return rows.select(pl.col(*required).str.replace(f"^{IRI}$", "$1"), *others)


def _find_columns(
    table: RawTable, names: Sequence[str], required: Mapping[str, str], layout: Sequence[str] | None
) -> dict[str, int]:
    """Name -> number of its column: by the header as far as it is known, else by the layout.

    Beside known names a column may go by any other where it is clear what it is: one is left, or
    those that are left stand in their order. No column of relations is needed beside named heads
    and tails and at most a weight.
    """
    where, expected = table.file.where, ", ".join(required)
    place, shown = f"{where}, line {table.first.number}", shorten(table.first.text)
    n_columns = len(table.names)
    kinds = {_KINDS[name]: name for name in names}
    known = known_columns(list(kinds), table.names) if table.has_header else {}
    columns = {kinds[kind]: number for kind, number in known.items()}
    missing = [name for name in required if name not in columns]
    rest = [number for number in range(n_columns) if number not in columns.values()]
    others = [number for number in rest if not _holds_weights(table, number)]
    if missing == ["relation_id"] and not others and len(rest) < 2:
        return columns
    if not columns and layout is not None:
        return {name: number for number, name in enumerate(layout)}
    if n_columns < len(required) and table.separator is not None:
        pairs = "; pairs of items are read with --link-by id" if n_columns == 2 else ""
        raise KgrecError(
            f"{place}: found '{shown}', expected {len(required)} columns ({expected}) separated by "
            f"TAB, comma, semicolon, | or space{pairs}"
        )
    if not columns:
        if table.separator is None:
            found = f"columns {shorten(', '.join(table.names))}"
            raise KgrecError(f"{where}: found {found}, expected {expected}")
        found = f"{n_columns} columns without known names ('{shown}')"
        raise KgrecError(f"{place}: found {found}, expected {expected}")
    is_relation = list(columns) == ["relation_id"]
    in_place = all(names[number : number + 1] == (name,) for name, number in columns.items())
    are_clear = in_place or is_relation
    if len(missing) == len(rest) == 1:
        columns[missing[0]] = rest[0]
    elif len(missing) == len(others) and are_clear:
        columns.update(zip(missing, others, strict=True))
    elif missing:
        raise KgrecError(
            f"{where}: found the columns {shorten(', '.join(table.names))}, but none that is "
            f"{required[missing[0]]}; expected one named {missing[0]}"
        )
    return columns


def _bad_row(
    table: RawTable, columns: Mapping[str, int], row: dict[str, str], required: Mapping[str, str]
) -> str:
    """One line for a row that has a field too few, too many or empty."""
    line = find_lines(table, [int(row["row"])])[0]
    n_columns, is_text = len(table.names), table.separator is not None
    place = f"{table.file.where}, {'line' if is_text else 'row'} {line.number}"
    shown = f" ('{shorten(line.text)}')" if is_text else ""
    if line.n_fields != n_columns:
        return f"{place}: found {line.n_fields} columns{shown}, expected {n_columns}"
    if row[EXTRA]:
        found = shorten(row[EXTRA])
        return f"{place}: found '{found}' between two columns{shown}, expected {n_columns}"
    name = next(name for name in required if not row[name])
    column = plain_name(table.names[columns[name]]) if table.has_header else name
    return f"{place}, column {column}: found nothing{shown}, expected {required[name]}"


def _triple_layout(table: RawTable, *, of_items: bool) -> Sequence[str] | None:
    """The columns of triples or pairs without known names; weights may stand behind them."""
    width = len(table.names)
    is_named = width == 3 and not of_items  # what a film is rated may stand in a triple
    has_weights = width > 2 and _holds_weights(table, width - 1, is_named=is_named)
    if width - has_weights == 2 and (of_items or has_weights):
        return ("head_id", "tail_id")
    return tuple(_TRIPLE) if width - has_weights == 3 else None


def _link_layout(table: RawTable) -> Sequence[str] | None:
    width = len(table.names)
    if width == 2 or (width == 3 and _holds_weights(table, 2)):
        return tuple(_LINK)
    if width != 3:
        return None
    rows = table.sample or [table.names]
    second, third = (sum(bool(_ENTITY.fullmatch(row[i])) for row in rows) for i in (1, 2))
    return (*_LINK, "title") if second > third else ("item_id", "title", "entity_id")


def read_n_triples(file: RawFile) -> pl.DataFrame:
    """The triples in a file of N-Triples, see `read_raw_triples`."""
    lines = read_lines(file)
    table = pl.DataFrame({"line": lines}).with_row_index("row")
    table = table.filter((pl.col("line") != "") & ~pl.col("line").str.starts_with("#"))
    parts = table.select("row", pl.col("line").str.extract_groups(N_TRIPLE)).unnest("line")
    head_iri, head_blank, relation, tail_iri, tail_blank, literal = parts.columns[1:]
    bad = parts.filter(pl.col(relation).is_null())
    if bad.height:
        raise KgrecError(_bad_statement(file, lines, bad["row"][0]))
    triples = parts.select(
        head_id=pl.coalesce(head_iri, head_blank),
        relation_id=pl.col(relation),
        # An empty literal keeps its quotes, for an empty field is no entity.
        tail_id=pl.coalesce(tail_iri, tail_blank, pl.col(literal).replace({"": '""'})),
    )
    empty = parts.filter(triples.select(pl.any_horizontal(pl.all() == "")).to_series())
    if empty.height:
        raise KgrecError(_bad_statement(file, lines, empty["row"][0]))
    return triples.with_columns(unescaped(triples[name]) for name in triples.columns)


def _bad_statement(file: RawFile, lines: pl.Series, row: int) -> str:
    return (
        f"{file.where}, line {row + 1}: found '{shorten(lines[row])}', expected an N-Triples "
        "statement: <head> <relation> <tail> ."
    )


def unescaped(column: pl.Series) -> pl.Series:
    """A column with the escapes of N-Triples (backslash and a letter or a code point) resolved."""
    if not column.str.contains("\\", literal=True).any():
        return column
    return pl.Series(column.name, [_unescape(text) for text in column], dtype=pl.String)


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code is None:
            return _PLAIN_ESCAPES.get(match[3], match[3])
        number = int(code, 16)
        # A code point that is no character (half a surrogate pair, or too large) stays as written.
        is_character = number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
        return chr(number) if is_character else match[0]

    return _ESCAPE.sub(character, text)
