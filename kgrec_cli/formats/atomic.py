"""RecBole's atomic files: tab-separated UTF-8 with a header of `name:type`.

Types are `token`, `token_seq`, `float` and `float_seq`; sequences are separated by spaces.
A whole-number `float` column (a timestamp) is read as integers, so that its order is exact.
A file that ends in `.parquet` holds the same columns under the same names; see `atomic_parquet`.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.errors import KgrecError, cannot_read, shorten
from kgrec_cli.formats import atomic_parquet
from kgrec_cli.formats.files import writing

TYPES = ("token", "token_seq", "float", "float_seq")
PART_BYTES = 2**20
MAX_HEADER_BYTES = 2**16


def read_header(path: Path, separator: str = "\t") -> dict[str, str]:
    """The columns of an atomic file, name to type, in the file's order.

    Raises:
        KgrecError: It cannot be read, is not UTF-8 or empty, has no line ends, or a header without
            types.
    """
    if is_parquet(path):
        return _typed(str(path), atomic_parquet.read_names(path))
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_HEADER_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise KgrecError(f"{path}, line 1: not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise cannot_read(path, error) from error
    if len(line) > MAX_HEADER_BYTES:
        raise KgrecError(f"{path}, line 1: over {MAX_HEADER_BYTES:,} bytes, expected a header")
    line = line.rstrip("\r\n")
    if "\r" in line:
        raise KgrecError(
            f"{path}, line 1: a carriage return within the line; save the file with LF line ends"
        )
    if not line:
        raise KgrecError(f"{path}: empty, expected a header such as user_id:token")
    return _typed(f"{path}, line 1", line.split(separator), separator)


def _typed(where: str, fields: Sequence[str], separator: str = "") -> dict[str, str]:
    """The columns of a header, name to type."""
    columns: dict[str, str] = {}
    for field in fields:
        name, colon, kind = field.rpartition(":")
        # What should be one name is `name:type` and more.
        if separator and (match := re.search(rf":(?:{'|'.join(TYPES)})([^A-Za-z0-9_:])", name)):
            real = match[1]
            found, given = (SEPARATORS.get(each, repr(each)) for each in (real, separator))
            raise KgrecError(
                f"{where}: fields are separated by {found}s, but field_separator is a "
                f"{given}: set field_separator to a {found} ({real!r})"
            )
        if not colon or kind not in TYPES:
            raise KgrecError(
                f"{where}: column '{shorten(field)}' has no type; "
                f"expected name:type with type one of {', '.join(TYPES)}"
            )
        if name in columns:
            raise KgrecError(f"{where}: column '{shorten(name)}' stands twice")
        columns[name] = kind
    return columns


def is_parquet(path: Path) -> bool:
    """Whether an atomic file is one of Parquet, by its name."""
    return path.suffix == atomic_parquet.SUFFIX


def place(path: Path, row: int) -> str:
    """Where a row (from 0) of a file stands, for errors."""
    return f"{path}, row {row + 1}" if is_parquet(path) else f"{path}, line {row + 2}"


SEPARATORS = {"\t": "tab", " ": "space", ",": "comma", ";": "semicolon", "|": "bar"}


def read_atomic(
    path: Path, columns: Sequence[str] | None = None, separator: str = "\t"
) -> pl.DataFrame:
    """The table in an atomic file; see `read_parts`."""
    return pl.concat(read_parts(path, columns, separator), how="vertical_relaxed")


def read_parts(
    path: Path, columns: Sequence[str] | None = None, separator: str = "\t"
) -> Iterator[pl.DataFrame]:
    """The table in an atomic file, a few megabytes at a time: at least one part.

    Without `columns` all are read; `separator` is RecBole's field_separator.

    Returns:
        token: String. token_seq: String, spaces kept. float: Int64 where every value is a whole
        number written without a point, else Float64. float_seq: String (see
        `read_entity_features`). Empty fields are null. Rows keep the file's order.
        A float column may be Int64 in one part and Float64 in another.

    Raises:
        KgrecError: A missing column, a row with too few or too many fields, a value that is no
            number; each with file and line.
    """
    header = read_header(path, separator)
    wanted = list(header) if columns is None else list(columns)
    for name in wanted:
        if name not in header:
            found = shorten(", ".join(header), 120)
            raise KgrecError(f"{path}: no column '{shorten(name)}'; its header has {found}")
    if is_parquet(path):
        yield from atomic_parquet.read_parts(path, {name: header[name] for name in wanted})
        return
    with path.open("rb") as file:
        file.readline()
        first_line, more = 2, True
        while more:
            text = file.read(PART_BYTES) + file.readline()
            more = bool(file.peek(1))
            yield _parse(path, text, first_line, header, wanted, separator)
            first_line += text.count(b"\n")


def _parse(
    path: Path,
    text: bytes,
    first_line: int,
    header: Mapping[str, str],
    wanted: Sequence[str],
    separator: str,
) -> pl.DataFrame:
    """The wanted columns of some lines of a file, the first of them line `first_line`."""
    try:
        table = pl.read_csv(
            text,
            separator=separator,
            has_header=False,
            new_columns=list(header),
            schema=dict.fromkeys(header, pl.String),
            quote_char=None,
            columns=[list(header).index(name) for name in wanted],
            truncate_ragged_lines=False,
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError as error:
        bad_line = _find_bad_line(path, text, first_line, len(header), separator)
        reason = f"{path}, from line {first_line} on: cannot be read ({shorten(str(error), 120)})"
        raise KgrecError(bad_line or reason) from error
    table = table.select(wanted)
    if any(column.null_count() for column in table):
        bad_line = _find_bad_line(path, text, first_line, len(header), separator)
        if bad_line:
            raise KgrecError(bad_line)
    return table.with_columns(
        _numbers(path, first_line, table[name]) for name in wanted if header[name] == "float"
    )


def _numbers(path: Path, first_line: int, column: pl.Series) -> pl.Series:
    """A text column as Int64 where that is exact, else finite Float64."""
    column = column.str.strip_chars()
    whole = column.cast(pl.Int64, strict=False)
    if whole.null_count() == column.null_count():
        return whole
    numbers = column.cast(pl.Float64, strict=False)
    is_bad = column.is_not_null() & ~numbers.is_finite().fill_null(False)
    if is_bad.any():
        row = int(is_bad.arg_max() or 0)
        raise KgrecError(
            f"{path}, line {row + first_line}, column {shorten(column.name)}: "
            f"found '{shorten(column[row])}', expected a number"
        )
    return numbers


def _find_bad_line(
    path: Path, text: bytes, first_line: int, n_columns: int, separator: str
) -> str | None:
    """One line that names the first row of `text` whose number of fields is wrong."""
    for number, line in enumerate(io.BytesIO(text), start=first_line):
        try:
            row = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            return f"{path}, line {number}: not UTF-8; atomic files are UTF-8"
        n_fields = row.count(separator) + 1
        if row and n_fields != n_columns:
            return f"{path}, line {number}: {n_fields} columns, expected {n_columns}"
    return None


def write_atomic(
    path: Path, table: pl.DataFrame | Iterable[pl.DataFrame], types: Mapping[str, str]
) -> None:
    """Writes `table`, or one that comes in parts, as an atomic file, whole or not at all.

    Tabs and line ends inside a text become spaces. Nulls become empty fields. The same table gives
    the same bytes.

    Args:
        path: Where to.
        table: The columns named in `types`; sequences as text joined by spaces. Of parts there is
            at least one, and all have numbers of the same kind.
        types: Column name to atomic type, in the order of the file.
    """
    if is_parquet(path):
        atomic_parquet.write(path, table, types)
        return
    header = "\t".join(f"{name}:{kind}" for name, kind in types.items())
    with writing(path) as temporary_path, temporary_path.open("wb") as file:
        file.write(header.encode() + b"\n")
        for part in [table] if isinstance(table, pl.DataFrame) else table:
            part.select(
                pl.col(name).str.replace_all(r"[\t\r\n]+", " ")
                if part.schema[name] == pl.String
                else pl.col(name)
                for name in types
            ).write_csv(
                file,
                separator="\t",
                include_header=False,
                quote_style="never",
                line_terminator="\n",
            )


VECTOR_TYPES = {"ent_id": "token", "ent_vec": "float_seq"}
RELATION_TYPES = {"rel_id": "token", "rel_vec": "float_seq"}


def write_entity_features(
    path: Path,
    entity_ids: Sequence[str],
    vectors: NDArray[np.float32],
    types: Mapping[str, str] = VECTOR_TYPES,
) -> None:
    """Writes one line an entity (or relation), whole or not at all.

    The same vectors give the same bytes.

    Args:
        path: Where to.
        entity_ids: Tokens of the n entities, each once, without tabs and line ends.
        vectors: float32 (n, D), finite.
        types: The header: the columns of ids and of vectors.

    Raises:
        KgrecError: The file cannot be written.
    """
    n, width = vectors.shape
    if len(entity_ids) != n:
        raise ValueError(f"{len(entity_ids)} entity ids for {n} vectors")
    numbers = pl.Series(np.ascontiguousarray(vectors, dtype=np.float32).ravel()).cast(pl.String)
    texts = numbers.reshape((n, width)).arr.join(" ")
    columns = dict(zip(types, (entity_ids, texts), strict=True))
    write_atomic(path, pl.DataFrame(columns), types)


def read_entity_features(
    path: Path,
    *,
    expected_width: int | None = None,
    id_field: str = "ent_id",
    vec_field: str = "ent_vec",
    field_separator: str = "\t",
    seq_separator: str = " ",
) -> tuple[list[str], NDArray[np.float32]]:
    """The entities of an `.ent_feature` file and their vectors.

    Columns other than `id_field` and `vec_field` are not read. `expected_width` is D, when no
    other width will do.

    Returns:
        The n entity tokens, and float32 (n, D); rows keep the file's order.

    Raises:
        KgrecError: A header without types, no row, an entity that is empty or stands twice, a
            value that is no finite float32, rows of unequal width, another width than
            `expected_width`. The line names the file, the line and the entity.
    """
    header = read_header(path, field_separator)
    for name, kind in ((id_field, "token"), (vec_field, "float_seq")):
        if header.get(name) != kind:
            found = shorten(" ".join(f"{column}:{its_kind}" for column, its_kind in header.items()))
            raise KgrecError(f"{path}, line 1: found '{found}', expected a column {name}:{kind}")
    table = read_atomic(path, [id_field, vec_field], field_separator)
    if table.is_empty():
        raise KgrecError(f"{path}: no vectors, only a header; run `kgrec pretrain-kg` again")
    entities, texts = table[id_field], table[vec_field]
    if entities.null_count():
        raise KgrecError(f"{path}, line {_line(entities.is_null())}, column {id_field}: empty")
    if entities.n_unique() < len(entities):
        entity = entities.filter(entities.is_duplicated())[0]
        first, second = (entities == entity).arg_true()[:2]
        raise KgrecError(
            f"{path}, lines {first + 2} and {second + 2}: entity '{shorten(entity)}' stands twice, "
            "expected one vector each"
        )
    if seq_separator != " ":
        texts = texts.str.replace_all(seq_separator, " ", literal=True)
    words = texts.fill_null("").str.strip_chars(" ").str.replace_all(r" {2,}", " ").str.split(" ")
    vectors = _as_numbers(path, entities, words)
    if expected_width is not None and vectors.shape[1] != expected_width:
        raise KgrecError(
            f"{path}: vectors of width {vectors.shape[1]}, expected {expected_width} "
            f"(embedding_size); run `kgrec pretrain-kg --embedding-size {expected_width}`, "
            f"set embedding_size to {vectors.shape[1]}, or leave out recbole_compat"
        )
    return entities.to_list(), vectors


def _as_numbers(path: Path, entities: pl.Series, words: pl.Series) -> NDArray[np.float32]:
    """The words of each row as float32 (n, D)."""
    widths = words.list.len()
    flat = words.explode()
    numbers = flat.cast(pl.Float32, strict=False)
    bad = ~numbers.is_finite().fill_null(False)
    if bad.any():
        at = int(bad.arg_max() or 0)
        row = int(np.searchsorted(np.cumsum(widths.to_numpy()), at, side="right"))
        expected = "a finite number" if numbers[at] is not None else "a number"
        raise KgrecError(
            f"{path}, line {row + 2}, entity '{shorten(entities[row])}': "
            f"found '{shorten(flat[at])}', expected {expected}"
        )
    uneven = widths != widths[0]
    if uneven.any():
        row = int(uneven.arg_max() or 0)
        raise KgrecError(
            f"{path}, line {row + 2}, entity '{shorten(entities[row])}': {widths[row]} numbers, "
            f"expected {widths[0]} as in line 2"
        )
    return numbers.to_numpy().reshape(len(words), -1)


def _line(is_bad: pl.Series) -> int:
    """The line in the file of the first True."""
    return int(is_bad.arg_max() or 0) + 2
