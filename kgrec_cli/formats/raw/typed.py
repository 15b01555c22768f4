"""Tables whose columns have names and values that have types: Parquet and JSON lines, as text.

A damaged Parquet file can end the process that reads it (Rust code that panics, or asks for more
memory than there is), so `check_parquet` has another process read it first.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.core.linking.item_columns import LIST_END
from kgrec_cli.errors import KgrecError, cannot_read, reason, shorten
from kgrec_cli.formats.raw.files import MAX_RATIO, RawFile, content

EXTRA = "_extra"
_CHUNK = 100_000
_TRIAL_MIB = 256
_TRIAL_ROWS = 1_000_000
_TRIAL_S = 30
_FAILED = 3
_TRIAL = """
import io, os, sys, threading, time
import polars as pl
try:
    import resource
    unit = 1 if sys.platform == "darwin" else 1024
    def used():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    limit = used() + int(sys.argv[1])
    def watch():
        while used() < limit:
            time.sleep(0.01)
        os._exit(4)
    threading.Thread(target=watch, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limit + 2**33, limit + 2**33))
except (ImportError, OSError, ValueError):
    pass  # a system without these limits
n_left = int(sys.argv[2])
def count(rows):
    global n_left
    n_left -= rows.height
    if n_left < 0:
        os._exit(4)
for path in sys.argv[3:] or [io.BytesIO(sys.stdin.buffer.read())]:
    try:
        pl.scan_parquet(path, glob=False).sink_batches(count, chunk_size=100_000)
    except BaseException as error:
        text = str(error) if isinstance(error, pl.exceptions.PolarsError) else "damaged"
        print(path if isinstance(path, str) else "", text, sep="\\n", flush=True)
        os._exit(3)
os._exit(0)
"""


def check_parquet(files: Sequence[RawFile]) -> None:
    """Checks that Parquet files can be read, in a process of its own, within bounded memory.

    Reading them may take 256 MiB and 100 times their size; they may have a million rows, and 100
    for each byte.

    Raises:
        KgrecError: One is damaged, or unpacks to far more than it takes.
    """
    on_disk = {str(s): file for file in files if isinstance(s := content(file), Path)}
    if on_disk:
        _try_parquet(on_disk, b"", sum(Path(path).stat().st_size for path in on_disk))
    for file in files:
        if isinstance(raw := content(file), bytes):
            _try_parquet({"": file}, raw, len(raw))


def _try_parquet(files: Mapping[str, RawFile], raw: bytes, n_bytes: int) -> None:
    """Reads files by their paths, or `raw` (path ""), in a process that may take some memory."""
    limit = (_TRIAL_MIB << 20) + MAX_RATIO * n_bytes
    n_rows = _TRIAL_ROWS + MAX_RATIO * n_bytes
    command = [sys.executable, "-c", _TRIAL, str(limit), str(n_rows), *filter(None, files)]
    environment = os.environ | {"RUST_BACKTRACE": "0", "POLARS_MAX_THREADS": "2"}
    seconds = _TRIAL_S + n_bytes / 1e6
    try:
        trial = subprocess.run(
            command, input=raw, env=environment, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        bad = next(iter(files.values()))
        raise cannot_read(bad.where, KgrecError("not a whole Parquet file: no end")) from error
    if trial.returncode:
        path, _, text = trial.stdout.decode(errors="replace").partition("\n")
        found = shorten(text.partition("\n")[0], 120)
        if trial.returncode != _FAILED:  # it was ended from outside its own code
            found = f"damaged, or it unpacks to more than {limit >> 20:,} MiB or {n_rows:,} rows"
        bad = files.get(path, next(iter(files.values())))
        raise cannot_read(bad.where, KgrecError(f"not a whole Parquet file: {found}"))


def read_parquet(
    file: RawFile,
    *,
    columns: list[str] | None = None,
    start: int = 0,
    n_rows: int | None = None,
) -> pl.DataFrame:
    """Columns of a Parquet file, as they are typed: `n_rows` from row `start` on.

    Raises:
        KgrecError: It cannot be read.
    """
    source = content(file)
    try:
        return scan(source).select(columns or pl.all()).slice(start, n_rows).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = KgrecError(f"not a whole Parquet file: {reason(error)}")
        raise cannot_read(file.where, problem) from error


def scan(source: Path | bytes) -> pl.LazyFrame:
    """A Parquet file that polars has yet to read."""
    return pl.scan_parquet(io.BytesIO(source) if isinstance(source, bytes) else source, glob=False)


def count_rows(file: RawFile) -> int:
    """The rows of a Parquet file."""
    n_rows: int = scan(content(file)).select(pl.len()).collect().item()
    return n_rows


def is_json_object(line: str) -> bool:
    """True when a line is a JSON object, as each of JSON lines is."""
    return line.lstrip().startswith("{") and isinstance(_parse(line), dict)


def json_names(lines: Sequence[str]) -> tuple[str, ...]:
    """The names that the objects of some JSON lines have, in the order of their appearance."""
    records = (record for line in lines if isinstance(record := _parse(line), dict))
    return tuple({name: None for record in records for name in record})


def json_texts(
    lines: pl.Series,
    columns: Mapping[str, str],
    where: str,
    *,
    lists: Collection[str] = (),
    may_nest: bool = False,
) -> Iterator[pl.DataFrame]:
    """The wanted fields of JSON lines as text, some rows at a time; "" where there is none.

    `columns` maps the name to give to that in the objects. Values of `lists` may be lists:
    `LIST_END` ends each element. With `may_nest` other lists and objects, and lists of objects,
    become their JSON, else they are an error.

    Returns:
        A String column for each name, and `_extra`: the line, where it is no JSON object.

    Raises:
        KgrecError: A value that is an object or a list where none is allowed.
    """
    schema = dict.fromkeys([*columns, EXTRA], pl.String)
    for start in range(0, max(len(lines), 1), _CHUNK):
        rows = []
        for number, line in enumerate(lines[start : start + _CHUNK], start=start + 1):
            record = _parse(line) if line else {}
            if not isinstance(record, dict):
                rows.append([""] * len(columns) + [line])
                continue
            values = []
            for name, key in columns.items():
                value = record.get(key)
                if isinstance(value, list) and name in lists:
                    elements = list(_flat(value))
                    plain = [each for each in elements if not isinstance(each, dict)]
                    if not may_nest or len(plain) == len(elements):
                        value = _ended(map(_as_json_text, plain))
                if isinstance(value, list | dict) and may_nest:
                    value = json.dumps(value)
                if isinstance(value, list | dict):
                    raise KgrecError(
                        f"{where}, line {number}: '{key}' holds {type(value).__name__}s, expected "
                        "text or numbers"
                    )
                values.append(_as_json_text(value))
            rows.append([*values, ""])
        yield pl.DataFrame(rows, schema=schema, orient="row")


def _parse(line: str) -> Any:
    """The value of a JSON text, numbers as their text; None for none, or half characters."""
    try:
        value = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        if "\\u" in line:
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError):
        return None


def _as_json_text(value: str | bool | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else value.strip()


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _ended(elements: Iterable[str]) -> str:
    """The text of a list, "" of one without elements."""
    return "".join(f"{each}{LIST_END}" for each in elements if each)


def as_text(column: pl.Series, where: str, *, is_time: bool, may_be_list: bool) -> pl.Series:
    """A typed column as text: a whole number without ".0" (7.0 is 7), nothing for null and nan.

    Raises:
        KgrecError: It is neither text nor numbers (nor a list of them, where that is allowed).
    """
    name, dtype = column.name, column.dtype
    if may_be_list and isinstance(dtype, pl.List | pl.Array):
        lists = column.arr.to_list() if isinstance(dtype, pl.Array) else column
        lengths = lists.list.len().fill_null(0)
        elements = lists.filter(lengths > 0).explode()
        texts = as_text(elements, where, is_time=False, may_be_list=True).to_list()
        ends = lengths.cum_sum()
        rows = (texts[end - length : end] for length, end in zip(lengths, ends, strict=True))
        return pl.Series(name, map(_ended, rows), dtype=pl.String)
    if is_time and column.dtype in (pl.Date, pl.Datetime):
        moments = column.cast(pl.Datetime("us"))
        is_whole = (moments.dt.microsecond() == 0).all()
        column = moments.dt.epoch("s") if is_whole else moments.dt.epoch("us") / 1e6
    elif column.dtype.is_float():
        column = column.fill_nan(None)  # pandas has no other mark for a missing number
        whole = column.cast(pl.Int64, strict=False)
        if (whole.cast(column.dtype) == column).all() and whole.null_count() == column.null_count():
            column = whole
    try:
        if dtype.is_nested():
            raise pl.exceptions.InvalidOperationError
        return column.cast(pl.String).fill_null("")
    except pl.exceptions.PolarsError as error:  # lengths of time, bytes that are no text
        raise KgrecError(
            f"{where}: column '{name}' holds {dtype}, expected text or numbers"
        ) from error
