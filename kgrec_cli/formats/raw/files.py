"""Raw files as they lie: on disk or inside a zip, gzipped or not, in a folder or one below.

Members of a zip are read in place; nothing is unpacked. What a file is, its content tells. All
readers take a `RawFile` and name it by `where` in their errors.
"""

import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import sha256_of

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
PARQUET_MAGIC = b"PAR1"
_START_BYTES = 1 << 18
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class RawFile:
    """One raw file.

    Attributes:
        path: The file on disk; the zip when `member` is set.
        member: Its name inside the zip, else None.
    """

    path: Path
    member: str | None = None

    @property
    def where(self) -> str:
        """What errors call it."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    @property
    def name(self) -> str:
        """Its name in lower case, without folders and without `.gz`."""
        name = self.path.name if self.member is None else PurePosixPath(self.member).name
        return name.lower().removesuffix(".gz")

    @property
    def folder(self) -> str:
        """The folder it lies in, on disk or inside the zip."""
        if self.member is None:
            return str(self.path.parent)
        return str(PurePosixPath(self.member).parent)


def list_raw_files(path: Path) -> list[RawFile]:
    """The files in a folder and in the folders one below, or all in a zip, in order of name.

    Raises:
        KgrecError: No such path, or a file that is no zip.
    """
    try:
        if path.is_dir():
            entries = sorted(path.iterdir())
            below = [
                file for entry in entries if entry.is_dir() for file in sorted(entry.iterdir())
            ]
            return [RawFile(entry) for entry in [*entries, *below] if entry.is_file()]
        with zipfile.ZipFile(path) as archive:
            members = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    except FileNotFoundError as error:
        raise KgrecError(f"{path}: no such file or folder") from error
    except zipfile.BadZipFile as error:
        raise KgrecError(f"{path}: not a whole zip file ({error}); download it again") from error
    except OSError as error:
        raise cannot_read(str(path), error) from error
    return [RawFile(path, member) for member in members if not member.startswith("__MACOSX/")]


def is_zip(file: RawFile) -> bool:
    """True when the file begins as a zip does."""
    return head(file, 4) in ZIP_MAGICS


def is_parquet(file: RawFile) -> bool:
    """True when the file begins as Parquet does."""
    return head(file, 4) == PARQUET_MAGIC


def content(file: RawFile) -> Path | bytes:
    """What polars can read: the path of a plain file on disk, else the unpacked bytes.

    Raises:
        KgrecError: The file cannot be read, or is damaged.
    """
    if file.member is None and head(file, 2) != GZIP_MAGIC:
        return file.path
    return _read(file)


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
        raise KgrecError(f"{file.where}: a zip archive; unpack it and give the file in it")
    if start.startswith(_UTF16_MARKS):
        raise KgrecError(f"{file.where}: UTF-16 text; save it as UTF-8")
    if b"\0" in start:
        raise KgrecError(f"{file.where}: not a text file; expected CSV, TSV, Parquet or MovieLens")
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


def cannot_read(where: str, error: Exception) -> KgrecError:
    """The one-line error for a file that could not be read."""
    if isinstance(error, FileNotFoundError):
        return KgrecError(f"{where}: no such file")
    if isinstance(error, IsADirectoryError):
        return KgrecError(f"{where}: a folder, expected a file")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return KgrecError(f"{where}: cannot be read ({reason})")


def _read(file: RawFile, n_bytes: int = -1) -> bytes:
    """The first bytes (-1: all) of a file, out of its zip and its gzip."""
    with _reading(file):
        raw = _stored(file, n_bytes)
        if not raw.startswith(GZIP_MAGIC):
            return raw
        if n_bytes >= 0:
            start = zlib.decompressobj(wbits=31).decompress(raw, n_bytes)
            if not start and len(raw) < n_bytes:
                gzip.decompress(raw)  # raises unless it is whole and empty
            return start
        return gzip.decompress(raw)


def _stored(file: RawFile, n_bytes: int) -> bytes:
    """The first bytes (-1: all) of a file, out of its zip."""
    if file.member is None:
        with file.path.open("rb") as stream:
            return stream.read(n_bytes)
    with zipfile.ZipFile(file.path) as archive, archive.open(file.member) as member:
        return member.read(n_bytes)


@contextmanager
def _reading(file: RawFile) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise KgrecError(f"{file.where}: damaged or cut short ({error})") from error
    except (OSError, RuntimeError, NotImplementedError) as error:
        raise cannot_read(file.where, error) from error
