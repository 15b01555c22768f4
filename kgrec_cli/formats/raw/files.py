"""Raw files as they lie: on disk or in a zip, packed (gzip, bzip2) or not, in a folder or below.

Members of a zip are read in place; nothing is unpacked. What a file is, its content tells. All
readers take a `RawFile` and name it by `where` in their errors.
"""

import bz2
import glob
import gzip
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from kgrec_cli.errors import KgrecError, cannot_read, reason
from kgrec_cli.formats.files import sha256_of
from kgrec_cli.formats.raw.foreign import check_members, check_start

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
PARQUET_MAGIC = b"PAR1"
_BZIP2 = re.compile(rb"BZh[1-9]1AY&SY")
_START_BYTES = 1 << 18
_BZIP2_BLOCK_BYTES = 1 << 20
"""More than a packed block of bzip2 takes: of less than a block nothing can be unpacked."""
MAX_UNPACKED_BYTES = 1 << 26
MAX_RATIO = 100
"""What is packed may unpack to 64 MiB, or to 100 times what it takes on disk, and no further."""
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class RawFile:
    """One raw file: on disk, or the `member` of that name inside the zip at `path`."""

    path: Path
    member: str | None = None

    @property
    def where(self) -> str:
        """What errors call it."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    @property
    def name(self) -> str:
        """Its name in lower case, without folders and without `.gz` or `.bz2`."""
        name = self.path.name if self.member is None else PurePosixPath(self.member).name
        return name.lower().removesuffix(".gz").removesuffix(".bz2")

    @property
    def folder(self) -> str:
        """The folder it lies in, on disk or inside the zip."""
        if self.member is None:
            return str(self.path.parent)
        return str(PurePosixPath(self.member).parent)


def list_raw_files(path: Path) -> list[RawFile]:
    """The files in a folder and in the folders one below, or all in a zip, in order of name.

    `path` may also hold `*`, `?` and `[...]`: the files that match. Numbers in names count as such:
    "part-2" comes before "part-10".

    Raises:
        KgrecError: No such path, a pattern that matches no file, or a file that is no zip.
    """
    try:
        if path.is_dir():
            entries = sorted(path.iterdir(), key=_in_order)
            below = [
                file
                for entry in entries
                if entry.is_dir()
                for file in sorted(entry.iterdir(), key=_in_order)
            ]
            return [RawFile(entry) for entry in [*entries, *below] if entry.is_file()]
        if is_pattern(path):
            matches = sorted(map(Path, glob.glob(str(path))), key=_in_order)  # noqa: PTH207
            if files := [RawFile(match) for match in matches if match.is_file()]:
                return files
            raise KgrecError(f"{path}: no file matches this pattern")
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
    except FileNotFoundError as error:
        raise KgrecError(f"{path}: no such file or folder") from error
    except OSError as error:
        raise cannot_read(path, error) from error
    except (*DAMAGED, RuntimeError) as error:
        found = reason(error)
        raise KgrecError(f"{path}: not a whole zip file ({found}); download it again") from error
    check_members(members, str(path))
    members.sort(key=_in_order)
    return [RawFile(path, member) for member in members if not member.startswith("__MACOSX/")]


def is_there(path: Path) -> bool:
    """Whether something lies at a path; a path that the system refuses has nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or not to be looked into
        return False


def is_pattern(path: Path) -> bool:
    """True for a path with `*`, `?` or `[...]` in it that is not itself a file or folder."""
    return bool(_GLOB.search(str(path))) and not is_there(path)


def _in_order(path: Path | str) -> list[tuple[int, str, str]]:
    """A key that sorts names by their text, and the numbers in them by size."""
    parts = re.findall(r"0*(\d*)(\D*)", str(path))
    return [(len(digits), digits, text) for digits, text in parts]


def is_zip(file: RawFile) -> bool:
    """True when the file begins as a zip does."""
    return head(file, 4) in ZIP_MAGICS


def is_parquet(file: RawFile) -> bool:
    """True when the file begins as Parquet does."""
    return head(file, 4) == PARQUET_MAGIC


def content(file: RawFile) -> Path | bytes:
    """What polars can read: the path of a plain file on disk, else the unpacked bytes.

    Lines that end with a bare CR, as on old Macs, end with LF in the bytes.

    Raises:
        KgrecError: The file cannot be read, is damaged, or unpacks to far more than it takes.
    """
    is_plain = file.member is None and not is_packed(head(file, 10))
    start = _read(file, _START_BYTES)
    has_bare_cr = b"\r" in start and b"\n" not in start and not start.startswith(PARQUET_MAGIC)
    if is_plain and not has_bare_cr:
        return file.path
    raw = _read(file)
    return raw.replace(b"\r", b"\n") if has_bare_cr and b"\n" not in raw else raw


def head(file: RawFile, n_bytes: int) -> bytes:
    """The first bytes as they are stored (out of the zip, not out of a gzip)."""
    with _reading(file):
        return _stored(file, n_bytes)


def first_lines(file: RawFile) -> list[str]:
    """The whole lines of the first 256 KiB, without their ends; the first is there in any case.

    Raises:
        KgrecError: The file cannot be read, or is no text.
    """
    start = _read(file, _START_BYTES)
    if start.startswith(ZIP_MAGICS):
        if file.member is None:
            with suppress(*DAMAGED, OSError, RuntimeError), zipfile.ZipFile(file.path) as archive:
                check_members(archive.namelist(), file.where)
        raise KgrecError(f"{file.where}: a zip archive; unpack it and give the file in it")
    check_start(start, file.where)
    if b"\n" not in start:
        start = start.replace(b"\r", b"\n")  # as in `content`
    if len(start) == _START_BYTES and b"\n" in start:
        start = start[: start.rindex(b"\n")]  # what follows is cut, maybe within a character
    return [line.rstrip("\r") for line in to_text(start).split("\n")]


def to_text(raw: bytes) -> str:
    """Bytes as text: UTF-8 (without a byte order mark), else latin-1, which reads any byte."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def describe_sources(files: Sequence[RawFile]) -> list[dict[str, str]]:
    """Name and SHA-256 of the files on disk behind `files`, each once, in order of name."""
    described = sorted({(path.name, sha256_of(path)) for path in {file.path for file in files}})
    return [{"file": name, "sha256": digest} for name, digest in described]


def is_packed(start: bytes) -> bool:
    """True for the first bytes (10 at least) of gzip or bzip2."""
    return start.startswith(GZIP_MAGIC) or _BZIP2.match(start) is not None


def unpacking(stream: IO[bytes], start: bytes) -> IO[bytes]:
    """The bytes that are packed in a stream by gzip or bzip2; `start` has its first ones."""
    if start.startswith(GZIP_MAGIC):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    return bz2.BZ2File(stream)


def _read(file: RawFile, n_bytes: int | None = None) -> bytes:
    """The first bytes (None: all) of a file, out of its zip and its packing."""
    with _reading(file):
        n_packed = -1 if n_bytes is None else max(n_bytes, _BZIP2_BLOCK_BYTES)
        raw = _stored(file, n_packed)
        if not is_packed(raw):
            return raw[:n_bytes]
        if n_bytes is not None:
            is_gzip = raw.startswith(GZIP_MAGIC)
            packed = zlib.decompressobj(wbits=31) if is_gzip else bz2.BZ2Decompressor()
            start = packed.decompress(raw, n_bytes)
            if start or len(raw) == n_packed:
                return start
        # what has no start must be whole, or this raises
        with unpacking(io.BytesIO(raw), raw) as stream:
            return _unpack(file, stream, len(raw))[:n_bytes]


def _stored(file: RawFile, n_bytes: int) -> bytes:
    """The first bytes (-1: all) of a file, out of its zip."""
    if is_there(file.path) and not (file.path.is_file() or file.path.is_dir()):
        raise KgrecError(f"{file.where}: a pipe or a device; write it to a file and give that")
    if file.member is None:
        with file.path.open("rb") as stream:
            return stream.read(n_bytes)
    with zipfile.ZipFile(file.path) as archive, archive.open(file.member) as member:
        if n_bytes >= 0:
            return member.read(n_bytes)
        return _unpack(file, member, archive.getinfo(file.member).compress_size)


def _unpack(file: RawFile, stream: IO[bytes], n_packed: int) -> bytes:
    """All that a packed file of `n_packed` bytes holds, up to the limit."""
    limit = max(MAX_UNPACKED_BYTES, MAX_RATIO * n_packed)
    raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise KgrecError(
            f"{file.where}: unpacks to more than {limit >> 20:,} MiB, over {MAX_RATIO} times its "
            "size; unpack it yourself if it is what it should be"
        )
    return raw


DAMAGED = (
    EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, struct.error,
    KeyError, ValueError, IndexError,
)  # fmt: skip
"""What zipfile and gzip raise for damaged bytes."""


@contextmanager
def _reading(file: RawFile) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise KgrecError(f"{file.where}: damaged or cut short ({reason(error)})") from error
    except (OSError, RuntimeError, NotImplementedError) as error:
        raise cannot_read(file.where, error) from error
