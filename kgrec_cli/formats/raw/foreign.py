"""What is no table, by its first bytes: named for what it is, with what to give instead."""

import re
from collections.abc import Collection

from kgrec_cli.errors import KgrecError

_AS_CSV = "save it as CSV"
_UNPACK = "unpack it and give the file in it"
_WRITE = "write the table as CSV or Parquet"
_MAGICS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", _AS_CSV),
    (b"%PDF", "a PDF", "give the table itself as CSV"),
    (b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "an lz4 archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (b"\x1f\x8b", "gzip within gzip", "unpack it once"),
    (b"SQLite format 3\0", "an SQLite database", _WRITE),
    (b"\x89HDF", "an HDF5 file", _WRITE),
    (b"ARROW1\0\0", "an Arrow (Feather) file", _WRITE),
    (b"FEA1", "a Feather file", _WRITE),
    (b"\x93NUMPY", "a NumPy array", _WRITE),
    *((b"\x80" + bytes([protocol]), "a Python pickle", _WRITE) for protocol in range(2, 6)),
    (b"Obj\x01", "an Avro file", _WRITE),
    (b"ORC", "an ORC file", _WRITE),
)
"""First bytes, what a file is that begins so, and what to do."""
_ALSO_TEXT = (b"ORC", b"FEA1")  # unless a zero follows

_TEXTS = (
    (
        rb"version https://git-lfs\.github\.com/spec/",
        "a git-lfs pointer, not the data",
        "fetch the file itself by `git lfs pull`",
    ),
    (rb"(?i)<!doctype html|<(?:html|head)[\s>]", "a web page (HTML)", "download the data itself"),
    (rb"<\?xml\b", "an XML file", _WRITE),
    (
        rb"\[\s*(?:[\[{]|$)",
        "a JSON array",
        "give JSON lines, one object a line (jq -c '.[]' FILE > FILE.jsonl)",
    ),
    (
        rb"\{\s*'",
        "lines of Python dicts, not of JSON",
        "write them as JSON lines (json.dumps(ast.literal_eval(line)))",
    ),
    (
        rb"\{\s*(?:\r?\n|$)|\{(?:[^\n]*[^\n\s}])?[{\[,:]\s*\n",
        "JSON over several lines",
        "give JSON lines, one object a line (jq -c . FILE > FILE.jsonl)",
    ),
    (rb"\{\\rtf", "an RTF document", "save it as plain text"),
    (rb"%%MatrixMarket", "a Matrix Market file", "write the table as CSV"),
)
"""Patterns of the first characters, blanks and a byte order mark aside."""


def check_start(start: bytes, where: str) -> None:
    """Checks that a file may be a table in text, by its first bytes.

    Raises:
        KgrecError: It is none; the line says what it is, and what to give instead.
    """
    for magic, what, cure in _MAGICS:
        if start.startswith(magic) and (magic not in _ALSO_TEXT or b"\0" in start):
            raise KgrecError(f"{where}: {what}; {cure}")
    if start[257:262] == b"ustar":
        raise KgrecError(f"{where}: a tar archive; {_UNPACK}")
    if encoding := _encoding(start):
        raise KgrecError(f"{where}: {encoding} text; save it as UTF-8")
    if b"\0" in start:
        raise KgrecError(
            f"{where}: not a text file; expected CSV, TSV, JSON lines, Parquet or MovieLens"
        )
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, what, cure in _TEXTS:
        if re.match(pattern, text):
            raise KgrecError(f"{where}: {what}; {cure}")


def check_members(members: Collection[str], where: str) -> None:
    """Checks that a zip is an archive of files, not a document.

    Raises:
        KgrecError: It is an Excel workbook or another office document.
    """
    if "xl/workbook.xml" in members or "xl/workbook.bin" in members:
        raise KgrecError(f"{where}: an Excel workbook; save its sheet as CSV and give that")
    if "META-INF/manifest.xml" in members and "content.xml" in members:
        raise KgrecError(f"{where}: an OpenDocument spreadsheet; save its sheet as CSV")
    if "[Content_Types].xml" in members:
        raise KgrecError(f"{where}: an Office document; save its table as CSV and give that")


def _encoding(start: bytes) -> str | None:
    """UTF-16 or UTF-32, with a byte order mark or by the zeros beside Latin letters; else None."""
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    sample = start[:1024]
    for zeros, letters in ((sample[1::2], sample[::2]), (sample[::2], sample[1::2])):
        if len(zeros) > 3 and 10 * zeros.count(0) > 9 * len(zeros) and not letters.count(0):
            return "UTF-16"
    return None
