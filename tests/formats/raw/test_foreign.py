"""What is no table is named for what it is, in every reader and under any name."""

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.interactions import ColumnChoice, read_raw_interactions
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples

READERS: tuple[Callable[[Path], object], ...] = (
    lambda path: read_raw_interactions(path, ColumnChoice("user_id", "item_id")),
    read_raw_triples,
    read_raw_links,
    read_catalog,
)


def zip_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "<x/>")
    return buffer.getvalue()


FOREIGN = [
    (b'[{"user_id": 1, "item_id": 2}]', "a JSON array; give JSON lines"),
    (b'\xef\xbb\xbf [\n  {"user_id": 1}\n]\n', "a JSON array; give JSON lines"),
    (b"[[1, 2], [3, 4]]", "a JSON array; give JSON lines"),
    (b'{\n  "user_id": 1,\n  "item_id": 2\n}\n', "JSON over several lines; give JSON lines"),
    (b'{"user_id": 1,\n "item_id": 2}\n', "JSON over several lines; give JSON lines"),
    (b"{'user_id': 1, 'item_id': 2}\n", "lines of Python dicts, not of JSON"),
    (zip_of("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook; save its sheet as CSV"),
    (zip_of("mimetype", "content.xml", "META-INF/manifest.xml"), "an OpenDocument spreadsheet"),
    (zip_of("[Content_Types].xml", "word/document.xml"), "an Office document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an old Excel workbook (.xls); save it as"),
    (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page (HTML); download the data"),
    (b"\r\n<HTML lang='en'>", "a web page (HTML); download the data"),
    (b"<?xml version='1.0'?><rdf/>", "an XML file"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 3\n", "a git-lfs pointer"),
    (b"%PDF-1.7\n", "a PDF"),
    (b"\xfd7zXZ\0rest", "an xz archive; unpack it"),
    (b"SQLite format 3\0", "an SQLite database; write the table as CSV"),
    (b"ARROW1\0\0rest", "an Arrow (Feather) file; write the table as CSV"),
    (b"\x80\x04\x95rest", "a Python pickle; write the table as CSV"),
    (b"x" * 257 + b"ustar\0" + bytes(99), "a tar archive; unpack it"),
    ("user,item\n".encode("utf-16"), "UTF-16 text; save it as UTF-8"),
    ("user,item\n".encode("utf-16-le"), "UTF-16 text; save it as UTF-8"),
    ("user,item\n".encode("utf-16-be"), "UTF-16 text; save it as UTF-8"),
    ("user,item\n".encode("utf-32"), "UTF-32 text; save it as UTF-8"),
    (b"user,item\n\0,b\n", "not a text file"),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("content", "message"), FOREIGN)
def test_it_is_named(
    tmp_path: Path, reader: Callable[[Path], object], content: bytes, message: str
):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(KgrecError) as caught:
        reader(path)
    text = str(caught.value)
    assert f"{path}: {message}" in text
    assert "\n" not in text
    assert len(text) < 300 + len(str(path))


@pytest.mark.parametrize(("content", "message"), FOREIGN[:6] + FOREIGN[10:14])
def test_it_is_named_when_it_is_gzipped(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(KgrecError) as caught:
        read_raw_triples(path)
    assert message in str(caught.value)


def test_texts_that_look_alike_are_read(tmp_path: Path):
    path = tmp_path / "log.csv"
    for user in ("[PAD]", "{x}", "ORC1", "version 2", "<html-user>", "BZhang", "FEA1"):
        path.write_text(f"{user},1\n{user},2\n")
        rows = read_raw_interactions(path, ColumnChoice("1", "2")).table.rows()
        assert rows == [(user, "1", 0), (user, "2", 1)]
