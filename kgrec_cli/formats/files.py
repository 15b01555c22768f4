"""Whole files or none: every file that kgrec writes goes through `writing`."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from kgrec_cli.errors import KgrecError, UsageError, cannot_read, reason, shorten
from kgrec_cli.formats.locks import TEMPORARY, in_use, remove_leftovers, staging_path

if TYPE_CHECKING:  # loaded when a table is written
    import polars as pl

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")
UNFINISHED = ".unfinished-"


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes the place of `path`.

    The file appears whole or not at all: written under a temporary name, synced, renamed.
    What stood at `path` before is untouched until then.

    Raises:
        KgrecError: The folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        handle, name = tempfile.mkstemp(TEMPORARY, f".{path.name}.", path.parent)
        os.close(handle)
        temporary_path = Path(name)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        with in_use(temporary_path):
            yield temporary_path
            temporary_path.chmod(0o666 & ~_umask())  # now: safetensors puts a file of its own there
            with temporary_path.open("rb+") as file:
                os.fsync(file.fileno())
            temporary_path.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary_path.unlink(missing_ok=True)


class CannotWrite(KgrecError):
    """A file could not be written: a full disk, a folder that is read-only, ..."""


def cannot_write(path: Path, error: OSError) -> CannotWrite:
    """The one-line error for a file that could not be written."""
    return CannotWrite(
        f"{path}: cannot write ({reason(error)}); nothing that was there has changed"
    )


def _umask() -> int:
    """The permissions that the user's umask takes from new files. Only setting it tells it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with writing(path) as temporary_path:
        temporary_path.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all. NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file. What `write_json` refuses is refused: NaN, Infinity and 1e999.

    Raises:
        KgrecError: The file is missing, cannot be read or is not JSON.
    """
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise KgrecError(f"{path}: not a JSON file ({shorten(str(error), 80)})") from error


def parse_json(text: str) -> Any:
    """The value of a JSON text; see `read_json`.

    Raises:
        ValueError: The text is no JSON.
    """
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite)
        if "\\u" in text:  # half of a character, which no file can hold
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shorten(text)} is no finite number")
    return number


def check_export_path(path: Path) -> None:
    """Refuses a file name before any work is done for it.

    Raises:
        UsageError: Its suffix is none of `TABLE_SUFFIXES`.
    """
    if path.suffix not in TABLE_SUFFIXES:
        raise UsageError(f"{path}: the name must end in one of {', '.join(TABLE_SUFFIXES)}")


IDS = ("user", "item")
FORMULA = r"^'*[=+\-@\t\r]"
NUMBER = r"^[+-]?[0-9]+([.,][0-9]+)?$"
PLAIN_ID = r"^[+\-@][\w.:/@+-]*$"


def write_table(path: Path, table: "pl.DataFrame") -> None:
    """Writes a table as Parquet, CSV, TSV (both with a header) or JSON lines, by the suffix.

    A text that a spreadsheet would run as a formula gets a ' in front in CSV and TSV: one that
    begins with = + - @, a tab or a return, unless it is a number. An id (`IDS`) that begins with
    + - @ and holds letters, digits and _ . : / @ + - alone stays as it is. Who reads the file by a
    program takes one ' off where one of these characters follows. Parquet and JSON lines hold every
    text as it is.

    Raises:
        UsageError: Another suffix.
        KgrecError: The file cannot be written.
    """
    check_export_path(path)
    with writing(path) as temporary_path:
        _sink(table.lazy(), temporary_path, path.suffix)


def write_chunks(
    path: Path, chunks: "Iterable[pl.DataFrame]", schema: "Mapping[str, pl.DataType]"
) -> None:
    """As `write_table`, of a table that comes in chunks; two of them are in memory at most.

    `schema` has the columns of each chunk, of which there may be none.
    """
    from polars.io.plugins import register_io_source

    check_export_path(path)
    queue: Queue[pl.DataFrame | None] = Queue(maxsize=1)

    def take(*_: object) -> "Iterator[pl.DataFrame]":
        while (chunk := queue.get()) is not None:
            yield chunk

    frame = register_io_source(take, schema=schema)
    with writing(path) as temporary_path, ThreadPoolExecutor(1) as pool:
        written = pool.submit(_sink, frame, temporary_path, path.suffix)

        def put(chunk: "pl.DataFrame | None") -> None:
            while not written.done():  # it is, where the disk is full
                with suppress(Full):
                    queue.put(chunk, timeout=0.1)
                    break

        try:
            for chunk in chunks:  # in this thread, which Ctrl-C stops
                put(chunk)
                if written.done():
                    break
        finally:
            put(None)
        written.result()


def _sink(frame: "pl.LazyFrame", path: Path, suffix: str) -> None:
    """Writes a frame as `write_table` says.

    Raises:
        OSError: Also where Polars says by an error of its own that the disk is full.
    """
    import polars as pl

    try:
        match suffix:
            case ".parquet":
                frame.sink_parquet(path)
            case ".jsonl":
                frame.sink_ndjson(path)
            case ".csv":
                _without_formulas(frame).sink_csv(path)
            case ".tsv":
                _without_formulas(frame).sink_csv(path, separator="\t")
    except pl.exceptions.PolarsError as error:
        raise OSError(str(error)) from error


def _without_formulas(table: "pl.LazyFrame") -> "pl.LazyFrame":
    """The table with a ' in front of each text that is a formula; see `write_table`."""
    import polars as pl

    columns = []
    for name, kind in table.collect_schema().items():
        if kind == pl.String:
            text = pl.col(name)
            is_formula = text.str.contains(FORMULA) & ~text.str.contains(NUMBER)
            if name in IDS:
                is_formula &= ~text.str.contains(PLAIN_ID)
            columns.append(pl.when(is_formula).then("'" + text).otherwise(text).alias(name))
    return table.with_columns(columns)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    return digest_of(path, "sha256")


def digest_of(path: Path, algorithm: str) -> str:
    """The digest of a file's bytes in hex, by an algorithm that hashlib names."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


WriteFile = Callable[[Path], object]


def write_together(
    folder: Path, files: Mapping[str, WriteFile], remove: Iterable[str] = (), *, by: str
) -> None:
    """Writes several files into `folder`, or leaves it as it was.

    All are written into a new folder beside it first, then renamed one after the other. As long as
    that lasts a mark stands in the folder, so that `check_whole` knows of a command that was killed
    in between. The caller is the `only_writer` of the folder.

    `files` has what writes each file at a path, by its name; those in `remove` must not be there
    afterwards. `by` is the command, for instance "prepare".

    Raises:
        KgrecError: The disk is full, or the folder cannot be written to.
    """
    if folder.parent.exists() and not folder.parent.is_dir():
        raise KgrecError(f"{folder.parent}: a file, expected a folder to write {folder.name}/ into")
    mark_path = folder / f"{UNFINISHED}{by}"

    def put_in_place() -> None:
        for name in files:
            if (staging_dir / name).exists():
                (staging_dir / name).replace(folder / name)
        for name in remove:
            (folder / name).unlink(missing_ok=True)
        mark_path.unlink(missing_ok=True)

    with staging(folder) as staging_dir:
        for name, write in files.items():
            write(staging_dir / name)
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
        mark_path.touch()
        try:
            put_in_place()
        except KeyboardInterrupt:
            put_in_place()
            raise


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to write into; it is gone afterwards, and errors name `folder`.

    Raises:
        KgrecError: The disk is full, or nothing can be written there.
    """
    staging_dir = staging_path(folder)
    try:
        shutil.rmtree(staging_dir, ignore_errors=True)
        staging_dir.mkdir(parents=True)
        yield staging_dir
    except OSError as error:
        raise cannot_write(folder, error) from error
    except KgrecError as error:
        raise KgrecError(str(error).replace(str(staging_dir), str(folder))) from error
    finally:
        shutil.rmtree(staging_dir, ignore_errors=True)


def check_whole(folder: Path, *, but: str = "") -> None:
    """Checks that no command was killed while it put its files into `folder`.

    Removes what killed commands left there and beside it. The command `but` is about to write its
    files anew.

    Raises:
        KgrecError: One was; the line says to run it again.
    """
    remove_leftovers(folder)
    remove_leftovers(folder.parent)
    for mark_path in folder.glob(f"{UNFINISHED}*"):
        command = mark_path.name.removeprefix(UNFINISHED)
        if command != but:
            raise KgrecError(
                f"{folder}: `kgrec {command}` was stopped while it replaced these files, so they "
                "do not belong together; run it again"
            )
