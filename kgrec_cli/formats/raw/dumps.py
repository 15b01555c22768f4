"""Dumps of large graphs in N-Triples, read as a stream: a block of lines at a time.

A dump may be packed by gzip or bzip2, or lie in a zip. Other formats of RDF become N-Triples first,
by pyoxigraph. What is parsed is what a caller picks by head, tail or relation: the rest is passed
over as text.
"""

import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

import polars as pl

from kgrec_cli.errors import KgrecError, cannot_read, reason, shorten
from kgrec_cli.events import OnEvent, Progress
from kgrec_cli.formats.raw.files import (
    DAMAGED,
    RawFile,
    head,
    is_packed,
    is_parquet,
    unpacking,
)
from kgrec_cli.formats.raw.knowledge_graph import N_TRIPLE, is_n_triples

BLOCK_BYTES = 1 << 25
_RDF = {
    ".ttl": "TURTLE", ".n3": "N3", ".trig": "TRIG", ".nq": "N_QUADS", ".rdf": "RDF_XML",
    ".xml": "RDF_XML", ".owl": "RDF_XML", ".jsonld": "JSON_LD",
}  # fmt: skip
"""By suffix, what pyoxigraph calls a format."""
_TAIL = r'(<[^<>]*>|_:[^\s<>"]*[^\s<>".]|"(?:[^"\\]|\\.)*"(?:@[A-Za-z0-9-]+|\^\^<[^<>]*>)?)'


def parse_tails(statements: pl.DataFrame) -> pl.DataFrame:
    """Some rows of `read_statements`, as String columns head, relation, tail, language.

    Terms stay as they are in the file; `tail` is a literal's text in its quotes, `language` its
    language in lower case, or null.
    """
    lines = statements.with_columns(pl.col("rest").str.strip_chars())
    tail = pl.col("rest").str.extract(f"^{_TAIL}")
    return (
        lines.with_columns(
            tail=tail.str.replace(r'^("(?:[^"\\]|\\.)*").*$', "$1"),
            language=tail.str.extract(r'^"(?:[^"\\]|\\.)*"@([A-Za-z0-9-]+)$').str.to_lowercase(),
        )
        .drop("rest")
        .drop_nulls("tail")
    )


def is_dump(file: RawFile) -> bool:
    """Whether a file holds N-Triples, packed or not, or RDF by its suffix.

    Raises:
        KgrecError: It cannot be read, or its first bytes are damaged: nobody can say what it is.
    """
    return not is_parquet(file) and (rdf_format(file) is not None or is_n_triples(_start(file)))


def rdf_format(file: RawFile) -> str | None:
    """What pyoxigraph calls the format of a file that is no N-Triples; None for N-Triples.

    DBpedia's `.ttl` files are N-Triples: the content decides.
    """
    suffix = "." + file.name.rpartition(".")[2]
    if suffix not in _RDF:
        return None
    return None if is_n_triples(_start(file)) else _RDF[suffix]


def _start(file: RawFile) -> list[str]:
    """The first whole lines of a file, unpacked."""
    start = b""
    with _open(file) as (stream, packed):
        try:
            while len(start) < 1 << 16 and (chunk := cast(BufferedReader, stream).read1(1 << 12)):
                start += chunk
        except (*DAMAGED, OSError) as error:
            raise _damaged(file, packed, error) from error
    text = start.decode("utf-8", errors="replace")
    return text.split("\n")[:-1] or [text]


def read_statements(file: RawFile, task: str, on_event: OnEvent) -> Iterator[pl.DataFrame]:
    """All statements of a dump, a block at a time; the next block is unpacked meanwhile.

    Yields:
        String columns head, relation (terms as they stand in the file: `<...>`, `_:name`) and rest:
        the tail and the point behind it, not parsed.

    Raises:
        KgrecError: A file that is cut off or damaged, or a line that is no statement.
    """
    n_lines, separator = 0, ""
    total = file.path.stat().st_size if file.member is None else None
    with ExitStack() as stack:
        stream, packed = stack.enter_context(_open(file))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        rest = b""
        pending = pool.submit(stream.read, BLOCK_BYTES)
        while True:
            try:
                chunk = pending.result()
            except (*DAMAGED, OSError) as error:
                raise _damaged(file, packed, error) from error
            if chunk:
                pending = pool.submit(stream.read, BLOCK_BYTES)
            cut = chunk.rfind(b"\n") + 1 if chunk else 0
            if chunk and not cut:
                rest += chunk
                continue
            block, rest = rest + chunk[:cut], chunk[cut:]
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n")
            if block.strip(b"\n"):
                separator = separator or ("\t" if b"\t" in block[: block.find(b"\n")] else " ")
                yield _split(file, block, n_lines, separator)
                n_lines += block.count(b"\n")
            on_event(Progress(task, packed.tell(), total, "bytes", passing=True))
            if not chunk:
                return


def _split(file: RawFile, block: bytes, n_before: int, separator: str) -> pl.DataFrame:
    """The lines of a block that are no comments, split; each must be a statement."""
    try:
        lines = pl.read_csv(
            block,
            has_header=False,
            separator="\x01",
            quote_char=None,
            schema={"line": pl.String},
            truncate_ragged_lines=True,
        )["line"].drop_nulls()
    except pl.exceptions.PolarsError as error:
        last = n_before + block.count(b"\n")
        text = f"{file.where}: not UTF-8 within lines {n_before + 1:,} to {last:,}; convert it"
        raise KgrecError(text) from error
    names = ["head", "relation", "rest"]
    parts = lines.str.splitn(separator, 3).struct.rename_fields(names).struct.unnest()
    head, relation, rest = (pl.col(name) for name in names)
    is_subject = head.str.starts_with("<") | head.str.starts_with("_:")
    is_plain = is_subject & relation.str.starts_with("<") & rest.str.ends_with(f"{separator}.")
    is_plain &= rest.str.contains(r'^[<_"].*[^ \t][ \t]\.$')
    plain = parts.select(is_plain.fill_null(False)).to_series()
    if separator == "\t":
        parts = parts.with_columns(rest.str.replace(r"\t\.$", " ."))
    if plain.all():
        return parts
    odd = lines.filter(~plain).str.strip_chars()
    odd = odd.filter((odd != "") & ~odd.str.starts_with("#"))
    bad = odd.filter(~odd.str.contains(N_TRIPLE))
    if len(bad):
        raise KgrecError(_bad_line(file, block, n_before, bad[0]))
    split = odd.str.extract_groups(rf"^(<[^<>]*>|_:[^\s<>]*)\s*(<[^<>]*>)\s*{_TAIL}")
    others = split.struct.rename_fields(names).struct.unnest()
    return pl.concat([parts.filter(plain), others.with_columns(pl.col("rest") + " .")])


def _bad_line(file: RawFile, block: bytes, n_before: int, text: str) -> str:
    """One line for the first line of a block that is `text`."""
    wanted = text.encode()
    numbered = enumerate(block.split(b"\n"), start=n_before + 1)
    number = next((number for number, line in numbered if line.strip() == wanted), n_before + 1)
    is_last = block.rstrip().endswith(wanted) and not block.endswith(b"\n")
    what = "the file is cut off: fetch it again" if is_last else "expected an N-Triples statement: "
    what += "" if is_last else "<head> <relation> <tail> ."
    return f"{file.where}, line {number:,}: found '{shorten(text)}', {what}"


def to_n_triples(file: RawFile, kind: str, path: Path) -> None:
    """Writes a file of another format of RDF as N-Triples; named graphs lose their names.

    Raises:
        KgrecError: pyoxigraph is not installed, or the file is not of that format.
    """
    try:
        import pyoxigraph as rdf
    except ModuleNotFoundError as error:
        raise KgrecError(
            f"{file.where}: RDF that is no N-Triples needs pyoxigraph: pip install 'kgrec[rdf]'; "
            "or convert it to N-Triples (.nt)"
        ) from error
    form = getattr(rdf.RdfFormat, kind)
    try:
        with _open(file) as (stream, _), path.open("wb") as out:
            triples = (quad.triple for quad in rdf.parse(stream, form, base_iri="file:///"))
            rdf.serialize(triples, out, rdf.RdfFormat.N_TRIPLES)
    except (SyntaxError, *DAMAGED, OSError) as error:
        raise KgrecError(f"{file.where}: not whole {kind} ({reason(error)})") from error


def _damaged(file: RawFile, packed: IO[bytes], error: Exception) -> KgrecError:
    """The error for a file whose next bytes cannot be unpacked."""
    place = f"damaged or cut short, seen at about byte {packed.tell():,}"
    return KgrecError(f"{file.where}: {place} ({reason(error)}); fetch it again")


@contextmanager
def _open(file: RawFile) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The unpacked bytes of a file (gzip, bzip2, out of a zip, or as they are), and the packed."""
    with ExitStack() as stack:
        try:
            start = head(file, 10)
            raw: IO[bytes] = (
                stack.enter_context(file.path.open("rb"))
                if file.member is None
                else stack.enter_context(
                    stack.enter_context(zipfile.ZipFile(file.path)).open(file.member)
                )
            )
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise cannot_read(file.where, error) from error
        yield stack.enter_context(unpacking(raw, start)) if is_packed(start) else raw, raw
