"""Atomic files as Parquet: columns named `name:type`, as the header of the text has them.

`atomic` reads and writes them wherever it does the text; tables larger than the memory go through
in parts.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError, cannot_read, reason, shorten
from kgrec_cli.formats.files import write_chunks

SUFFIX = ".parquet"
PART_ROWS = 2**22


def read_names(path: Path) -> list[str]:
    """The names of the columns.

    Raises:
        KgrecError: The file cannot be read.
    """
    try:
        return pl.scan_parquet(path, glob=False).collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error


def count_rows(path: Path) -> int:
    """The number of rows; the file is one that `read_names` reads."""
    n_rows: int = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    return n_rows


def read_parts(path: Path, types: Mapping[str, str]) -> Iterator[pl.DataFrame]:
    """Some columns, `PART_ROWS` rows at a time; see `atomic.read_parts`.

    Args:
        path: The file.
        types: Column name to atomic type.

    Raises:
        KgrecError: The file cannot be read, or a column holds what its type does not allow.
    """
    try:
        frame = pl.scan_parquet(path, glob=False)
        schema = frame.collect_schema()
        columns = [
            _as_typed(path, name, kind, schema[f"{name}:{kind}"]) for name, kind in types.items()
        ]
        for start in range(0, max(count_rows(path), 1), PART_ROWS):
            part = frame.slice(start, PART_ROWS).select(columns).collect(engine="streaming")
            for name, kind in types.items():
                if kind == "float" and part[name].dtype == pl.Float64:
                    _check_finite(path, part[name], start)
            yield part
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error


def write(
    path: Path, tables: pl.DataFrame | Iterable[pl.DataFrame], types: Mapping[str, str]
) -> None:
    """Writes a table, or one that comes in parts, whole or not at all; see `atomic.write_atomic`.

    Numbers are Int64 or Float64 as in the first part, all others text.
    """
    parts = iter([tables] if isinstance(tables, pl.DataFrame) else tables)
    first = next(parts)
    kinds = {
        name: first.schema[name] if kind == "float" else pl.String() for name, kind in types.items()
    }
    columns = [
        pl.col(name).cast(dtype).alias(f"{name}:{types[name]}") for name, dtype in kinds.items()
    ]
    schema = {f"{name}:{types[name]}": dtype for name, dtype in kinds.items()}
    write_chunks(path, (part.select(columns) for part in chain([first], parts)), schema)


def _as_typed(path: Path, name: str, kind: str, dtype: pl.DataType) -> pl.Expr:
    """A column as `atomic.read_parts` gives it; an empty text is null, as an empty field is."""
    column = pl.col(f"{name}:{kind}")
    is_text = dtype in (pl.String, pl.Categorical, pl.Enum)
    if kind == "float" and (dtype.is_integer() or dtype.is_float()):
        return column.cast(pl.Int64 if dtype.is_integer() else pl.Float64).alias(name)
    if kind != "float" and (is_text or (kind == "token" and dtype.is_integer())):
        text = column.cast(pl.String)
        return pl.when(text != "").then(text).alias(name)
    expected = "numbers" if kind == "float" else "text"
    raise KgrecError(f"{path}: column {shorten(name)}:{kind} holds {dtype}, expected {expected}")


def _check_finite(path: Path, numbers: pl.Series, start: int) -> None:
    is_bad = ~numbers.is_finite().fill_null(True)
    if is_bad.any():
        row = int(is_bad.arg_max() or 0)
        raise KgrecError(
            f"{path}, row {start + row + 1}, column {shorten(numbers.name)}: "
            f"found '{numbers[row]}', expected a number"
        )


def _damaged(path: Path, error: Exception) -> KgrecError:
    return cannot_read(path, KgrecError(f"not a whole Parquet file: {reason(error)}"))
