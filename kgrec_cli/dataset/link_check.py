"""The check of a data set's links, as `train`, `tune` and `doctor` make it."""

from pathlib import Path

import polars as pl

from kgrec_cli.core.linking.verdict import LinkCheck, check_links, explain
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.events import OnEvent, Warn
from kgrec_cli.formats.atomic import read_atomic, read_header
from kgrec_cli.formats.raw.columns import guess_column
from kgrec_cli.settings import Settings

CURE = "are they another catalogue's? `kgrec prepare --link-by title --catalog FILE` joins by title"


def read_catalogue(settings: Settings, folder: Path) -> pl.DataFrame:
    """What `.item` says: String columns item_id and, where it has them, title, genre.

    Empty when there is no `.item`, or when it does not name its items.
    """
    path = atomic_path(settings, folder, "item")
    names = list(read_header(path, settings.field_separator)) if path.is_file() else []
    if settings.ITEM_ID_FIELD not in names:
        return pl.DataFrame(schema={"item_id": pl.String})
    columns = {settings.ITEM_ID_FIELD: "item_id"}
    for role in ("title", "genre"):
        number = guess_column(role, names)
        if number is not None:
            columns[names[number]] = role
    table = read_atomic(path, list(columns), settings.field_separator).rename(columns)
    if "genre" in table.columns and settings.seq_separator != " ":
        genre = pl.col("genre").str.replace_all(settings.seq_separator, " ", literal=True)
        table = table.with_columns(genre)
    return table.with_columns(pl.all().cast(pl.String)).unique("item_id", maintain_order=True)


def read_links(settings: Settings, folder: Path) -> pl.DataFrame:
    """The rows of `.link`: String columns item_id, entity_id."""
    fields = [settings.ITEM_ID_FIELD, settings.ENTITY_ID_FIELD]
    path = atomic_path(settings, folder, "link")
    table = read_atomic(path, fields, settings.field_separator)
    return table.rename(dict(zip(fields, ("item_id", "entity_id"), strict=True)))


def read_triples(settings: Settings, folder: Path) -> pl.DataFrame:
    """The rows of `.kg`: String columns head_id, relation_id, tail_id."""
    fields = [
        settings.HEAD_ENTITY_ID_FIELD,
        settings.RELATION_ID_FIELD,
        settings.TAIL_ENTITY_ID_FIELD,
    ]
    path = atomic_path(settings, folder, "kg")
    table = read_atomic(path, fields, settings.field_separator)
    return table.rename(dict(zip(fields, ("head_id", "relation_id", "tail_id"), strict=True)))


def check_dataset_links(settings: Settings, folder: Path) -> LinkCheck | None:
    """The verdict on a data set's links; None when it has no `.link` or no `.kg`.

    Raises:
        KgrecError: A malformed file.
    """
    if not all(atomic_path(settings, folder, suffix).is_file() for suffix in ("link", "kg")):
        return None
    return check_links(
        read_catalogue(settings, folder),
        read_links(settings, folder).drop_nulls(),
        read_triples(settings, folder).drop_nulls(),
    )


def warn_of_broken_links(settings: Settings, folder: Path, on_event: OnEvent) -> None:
    """Warns when a model is about to learn from the vectors of other items' entities."""
    if settings.model == "GRU4Rec":
        return
    check = check_dataset_links(settings, folder)
    if check is not None and check.verdict == "broken":
        on_event(Warn(f"{explain(check)}; {CURE}"))
