"""The `.ent_feature` file: one vector an entity, `ent_id:token<TAB>ent_vec:float_seq`.

`pretrain-kg` writes it, training reads it. Numbers are the shortest text that reads back to the
same float32 bits, so a file of 35,000 vectors of 64 numbers is 25 MB instead of 46.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.atomic import read_atomic, read_header, write_atomic

TYPES = {"ent_id": "token", "ent_vec": "float_seq"}


def write_entity_features(
    path: Path, entity_ids: Sequence[str], vectors: NDArray[np.float32]
) -> None:
    """Writes one line an entity, whole or not at all; the same vectors give the same bytes.

    Args:
        path: Where to.
        entity_ids: Tokens of the n entities, each once, without tabs and line ends.
        vectors: float32 (n, D), finite.

    Raises:
        KgrecError: The file cannot be written.
    """
    n, width = vectors.shape
    if len(entity_ids) != n:
        raise ValueError(f"{len(entity_ids)} entity ids for {n} vectors")
    numbers = pl.Series(np.ascontiguousarray(vectors, dtype=np.float32).ravel()).cast(pl.String)
    texts = numbers.reshape((n, width)).arr.join(" ")
    write_atomic(path, pl.DataFrame({"ent_id": entity_ids, "ent_vec": texts}), TYPES)


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

    Args:
        path: The file; other columns than the two named are not read.
        expected_width: D, when only that width will do.
        id_field: The column of tokens.
        vec_field: The column of vectors.
        field_separator: Between two fields.
        seq_separator: Between two numbers.

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
            found = "\t".join(f"{column}:{its_kind}" for column, its_kind in header.items())
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
            f"{path}, lines {first + 2} and {second + 2}: entity '{entity}' stands twice, "
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
            f"{path}, line {row + 2}, entity '{entities[row]}': found '{flat[at]}', "
            f"expected {expected}"
        )
    uneven = widths != widths[0]
    if uneven.any():
        row = int(uneven.arg_max() or 0)
        raise KgrecError(
            f"{path}, line {row + 2}, entity '{entities[row]}': {widths[row]} numbers, "
            f"expected {widths[0]} as in line 2"
        )
    return numbers.to_numpy().reshape(len(words), -1)


def _line(is_bad: pl.Series) -> int:
    """The line in the file of the first True."""
    return int(is_bad.arg_max() or 0) + 2
