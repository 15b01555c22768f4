"""Triples of a knowledge graph, from whatever file they come in, as one table.

`prepare --kg FILE` reads them here and writes them as `.kg`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.graph_tables import (
    SAMPLE_LINES,
    Column,
    is_parquet,
    read_parquet_table,
    read_table,
    text_lines,
)

GRAPH_FILES = ("kg.txt", "kg_final.txt")
"""The triples in a data folder of KGCN, MKR or RippleNet; the first that is there counts."""

COLUMNS = (
    Column(
        "head_id",
        "a head entity",
        frozenset({"head", "headid", "headentity", "subject", "subj"}),
        frozenset({"h", "s", "source", "src", "from", "entity1", "e1"}),
    ),
    Column(
        "relation_id",
        "a relation",
        frozenset({"relation", "relationid", "predicate", "pred", "rel", "relationtype"}),
        frozenset({"r", "p", "property", "edge", "edgetype", "label", "type"}),
    ),
    Column(
        "tail_id",
        "a tail entity",
        frozenset({"tail", "tailid", "tailentity", "object", "obj"}),
        frozenset({"t", "o", "target", "dst", "dest", "to", "entity2", "e2"}),
    ),
)

_IRI = r"<([^<>]*)>"
_BLANK = r"(_:[^\s<>\"]*[^\s<>\".])"
_LITERAL = r'"((?:[^"\\]|\\.)*)"(?:@[A-Za-z0-9-]+|\^\^<[^<>]*>)?'
N_TRIPLE = rf"^(?:{_IRI}|{_BLANK})\s*{_IRI}\s*(?:{_IRI}|{_BLANK}|{_LITERAL})\s*\.\s*(?:#.*)?$"
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_PLAIN_ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f"}


def read_triples(path: Path) -> pl.DataFrame:
    """The triples in a file, in its order, exact duplicates kept.

    Reads RecBole's `.kg`; TSV, CSV, Parquet with or without a header; `kg.txt` of KGCN, MKR and
    RippleNet (also when `path` is the folder that holds it); N-Triples (IRIs without their angle
    brackets, literals as their text without language and datatype, blank nodes as `_:name`). Text
    may be gzipped. The content decides, not the file's name.

    Returns:
        String columns head_id, relation_id, tail_id; none null or empty.

    Raises:
        KgrecError: No such file, no triples in it, or a line that is none; with file and line.
    """
    file = RawFile(_graph_file(path))
    if is_parquet(file):
        triples = read_parquet_table(file, COLUMNS, _layout)
    else:
        lines = text_lines(file)
        if not (lines != "").any():
            raise KgrecError(f"{file.where}: empty, expected triples (head, relation, tail)")
        if is_n_triples(lines):
            triples = _parse_n_triples(file, lines)
        else:
            triples = read_table(file, lines, COLUMNS, _layout)
            triples = triples.with_columns(pl.all().str.replace(f"^{_IRI}$", "$1"))
    if not triples.height:
        raise KgrecError(f"{file.where}: holds no triples (head, relation, tail)")
    return triples


def is_n_triples(lines: pl.Series) -> bool:
    """True when most of the first statements are N-Triples.

    Args:
        lines: String, stripped; blank lines and comments do not count.
    """
    statements = lines.filter((lines != "") & ~lines.str.starts_with("#")).head(SAMPLE_LINES)
    n_matches = int(statements.str.contains(N_TRIPLE).sum())
    return 2 * n_matches > len(statements)


def _graph_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in GRAPH_FILES:
        if (path / name).is_file():
            return path / name
    raise KgrecError(f"{path}: a folder without {' or '.join(GRAPH_FILES)}; give the file itself")


def _layout(rows: Sequence[Sequence[str]]) -> Sequence[str] | None:
    names = [column.name for column in COLUMNS]
    return names if len(rows[0]) == len(names) else None


def _parse_n_triples(file: RawFile, lines: pl.Series) -> pl.DataFrame:
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
    return triples.with_columns(_unescaped(triples[name]) for name in triples.columns)


def _bad_statement(file: RawFile, lines: pl.Series, row: int) -> str:
    text = lines[row]
    shown = text if len(text) <= 60 else f"{text[:60]}..."
    return (
        f"{file.where}, line {row + 1}: found '{shown}', expected an N-Triples statement: "
        "<head> <relation> <tail> ."
    )


def _unescaped(column: pl.Series) -> pl.Series:
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
