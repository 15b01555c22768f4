"""Raw files as they lie: archives that unpack without end, pipes, line ends, patterns."""

import gzip
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.files import RawFile, content, list_raw_files
from kgrec_cli.formats.raw.interactions import ColumnChoice, read_raw_interactions
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples
from kgrec_cli.formats.raw.movielens import find_movielens, read_movielens

Reader = Callable[[Path], list[tuple[object, ...]]]


def interactions(path: Path) -> list[tuple[object, ...]]:
    return read_raw_interactions(path, ColumnChoice()).table.rows()


READERS: tuple[tuple[Reader, str, list[tuple[object, ...]]], ...] = (
    (interactions, "user,item,time\na,b,1\nc,d,2\n", [("a", "b", 1), ("c", "d", 2)]),
    (lambda p: read_raw_triples(p).rows(), "head,relation,tail\na,r,b\n", [("a", "r", "b")]),
    (lambda p: read_raw_links(p).rows(), "item,entity\n1,m.1\n", [("1", "m.1")]),
    (
        lambda p: read_catalog(p).select("item_id", "title").rows(),
        "id,title\n1,Heat\n",
        [("1", "Heat")],
    ),
)


@pytest.mark.parametrize(("reader", "text", "rows"), READERS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_that_end_with_a_bare_cr(
    tmp_path: Path,
    reader: Reader,
    text: str,
    rows: list[tuple[object, ...]],
    pack: Callable[[bytes], bytes],
):
    path = tmp_path / "mac.csv"
    path.write_bytes(pack(text.replace("\n", "\r").encode()))
    assert reader(path) == rows
    path.write_bytes(pack(("\n" + text.replace("\n", "\r")).encode()))  # CR in line 1, LF once
    with pytest.raises(KgrecError, match=r"mac\.csv"):
        reader(path)


def test_tags_and_ratings_that_end_with_a_bare_cr(tmp_path: Path):
    texts = {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,2,3,4\n",
        "tags.csv": 'userId,movieId,tag,timestamp\n1,2,"a, b",3\n',
        "movies.csv": "movieId,title,genres\n2,Heat (1995),Drama\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.replace("\n", "\r").encode())
    files = find_movielens(tmp_path)
    assert files is not None
    raw = read_movielens(files, with_tags=True)
    assert raw.rows.table.rows() == [("1", "2", 3, 4)]
    assert raw.tags is not None
    assert raw.tags.rows() == [("1", "2", "a, b")]
    assert raw.items is not None
    assert raw.items["movie_title"].to_list() == ["Heat"]


def test_gzip_and_zip_that_unpack_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tight = tmp_path / "y.gz"  # at most 64 MiB, however well it packs
    tight.write_bytes(gzip.compress(b"u" * (1 << 26), 1))
    assert len(content(RawFile(tight))) == 1 << 26  # type: ignore[arg-type]
    tight.write_bytes(gzip.compress(b"u" * (1 << 26) + b"u", 1))
    with pytest.raises(KgrecError, match=r"y\.gz: unpacks to more than 64 MiB, over 100 times"):
        content(RawFile(tight))

    monkeypatch.setattr("kgrec_cli.formats.raw.files.MAX_UNPACKED_BYTES", 1 << 20)
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n" * 200_000))
    message = r"x\.csv\.gz: unpacks to more than 1 MiB, over 100 times its size; unpack it"
    for reader, _, _ in READERS:
        with pytest.raises(KgrecError, match=message):
            reader(path)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", b"user,item\n" * 200_000)
    with pytest.raises(KgrecError, match=r"x\.zip:x\.csv: unpacks to more than 1 MiB"):
        interactions(tmp_path / "x.zip")
    path.write_bytes(
        gzip.compress(b"user,item\n" + b"".join(b"%d,item\n" % n for n in range(200_000)))
    )
    assert len(interactions(path)) == 200_000  # 2.3 MB that pack to a seventh: no bomb


@pytest.mark.parametrize(("reader", "text", "rows"), READERS)
def test_what_is_no_file(tmp_path: Path, reader: Reader, text: str, rows: list[tuple[object, ...]]):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KgrecError, match="pipe: a pipe or a device; write it to a file"):
        reader(tmp_path / "pipe")
    with pytest.raises(KgrecError, match="/dev/zero: a pipe or a device"):
        reader(Path("/dev/zero"))
    with pytest.raises(KgrecError, match="none: no such file"):
        reader(tmp_path / "none")
    (tmp_path / "folder").mkdir()
    with pytest.raises(KgrecError, match=r"folder: (a folder|holds no)"):
        reader(tmp_path / "folder")


@pytest.mark.parametrize(("reader", "text", "rows"), READERS)
def test_a_field_of_ten_megabytes(
    tmp_path: Path, reader: Reader, text: str, rows: list[tuple[object, ...]]
):
    path = tmp_path / "wide.csv"
    path.write_text(text + "x" * 10**7 + "\n")
    with pytest.raises(KgrecError, match=r"wide\.csv, line \d+") as caught:
        reader(path)
    assert len(str(caught.value)) < 300 + len(str(path))
    path.write_text("x" * 10**7)
    with pytest.raises(KgrecError, match=r"wide\.csv") as caught:
        reader(path)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_pattern_lists_what_matches_in_the_order_of_numbers(tmp_path: Path):
    for name in ("part-10.csv", "part-2.csv", "part-1.csv", "other.csv"):
        (tmp_path / name).write_text("")
    (tmp_path / "part-3.csv").mkdir()
    found = list_raw_files(tmp_path / "part-*.csv")
    assert [file.name for file in found] == ["part-1.csv", "part-2.csv", "part-10.csv"]
    with pytest.raises(KgrecError, match=r"x\*: no file matches this pattern"):
        list_raw_files(tmp_path / "x*")


def test_a_zero_byte_far_down(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"user,item\n" + b"u,i\n" * 100_000 + b"u,\0\n")
    with pytest.raises(KgrecError, match=r"x\.csv: not a text file, for it holds a zero byte"):
        interactions(path)


def test_a_value_with_a_line_end_is_shown_on_one_line(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes(b"user,item,time\nu,i,1\nu,i,8\r9" + b"x" * 999 + b"\n")
    with pytest.raises(KgrecError) as caught:
        interactions(path)
    assert "found '8 9xxx" in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))
