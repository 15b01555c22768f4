"""The files of a prepared data set, put in place together, and `prepare.json` beside them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from kgrec_cli.core.linking.graph import ItemLinks
from kgrec_cli.dataset.files import DEFAULT_SUFFIX, LABEL_TYPES, REPORT_NAME
from kgrec_cli.dataset.mapped import remove_mapped
from kgrec_cli.formats.atomic import write_atomic
from kgrec_cli.formats.atomic_parquet import SUFFIX
from kgrec_cli.formats.files import WriteFile, read_json, sha256_of, write_json, write_together
from kgrec_cli.formats.locks import remove_leftovers
from kgrec_cli.formats.raw.movielens import RawData
from kgrec_cli.formats.raw.rows import Rows

InterFormat = Literal["atomic", "parquet"]
INTER_TYPES = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float"}
ITEM_TYPES = {
    "item_id": "token",
    "title": "token_seq",
    "movie_title": "token_seq",
    "release_year": "token",
    "genre": "token_seq",
}
KG_TYPES = {"head_id": "token", "relation_id": "token", "tail_id": "token"}
LINK_TYPES = {"item_id": "token", "entity_id": "token"}


def inter_suffixes(inter_format: InterFormat) -> tuple[str, str]:
    """The suffix of interactions in a format, and that in the other one."""
    suffixes = ("inter", f"inter{SUFFIX}")
    return suffixes if inter_format == "atomic" else suffixes[::-1]


class Kept(NamedTuple):
    """The interactions of a data set; its users and its items (`Rows.counts`)."""

    rows: Rows
    users: pl.DataFrame
    items: pl.DataFrame


def all_items(raw: RawData, seen: pl.DataFrame) -> pl.DataFrame:
    """The raw catalogue, else the items of the interactions (item_id); then those that it lacks."""
    if raw.items is None:
        return seen
    if "movie_title" in raw.items.columns:
        catalogue = raw.items.drop("title")
    else:  # no films: a year or genres where the list has them
        texts = ("title", "release_year", "genre")
        unknown = [name for name in texts if raw.items[name].null_count() == raw.items.height]
        catalogue = raw.items.drop(unknown)
    lacking = seen.join(catalogue, on="item_id", how="anti", maintain_order="left")
    return pl.concat([catalogue, lacking], how="diagonal")


def write_dataset(
    dataset_dir: Path,
    name: str,
    raw: RawData,
    kept: Kept,
    items: pl.DataFrame,
    linked: ItemLinks,
    labels: pl.DataFrame | None,
    report: dict[str, Any],
    inter_format: InterFormat = "atomic",
) -> Path | None:
    """Writes everything; returns the path of the bad rows, if there are any.

    Of `labels` (columns of `LABEL_TYPES`; None for none) those are written whose tokens are. The
    report gets the SHA-256 of each file, by which `train` sees whether its verdict still holds.

    Raises:
        KgrecError: A file that cannot be written.
    """
    if labels is not None:
        tokens = pl.concat(
            [*(linked.triples[name] for name in KG_TYPES), linked.links["entity_id"]]
        )
        labels = labels.filter(pl.col("token").is_in(tokens.unique().implode()))
    users = raw.users
    if users is None:
        users = kept.users.select("user_id")
    inter, other = inter_suffixes(inter_format)
    tables: dict[str, tuple[pl.DataFrame | Iterable[pl.DataFrame], dict[str, str]]] = {
        inter: (
            kept.rows.tables(),
            {key: kind for key, kind in INTER_TYPES.items() if key in kept.rows.kinds.columns},
        ),
        "item": (items, {key: kind for key, kind in ITEM_TYPES.items() if key in items.columns}),
        "user": (users, dict.fromkeys(users.columns, "token")),
        "kg": (linked.triples, KG_TYPES),
        "link": (linked.links, LINK_TYPES),
        **({} if labels is None else {"label": (labels, LABEL_TYPES)}),
    }
    files: dict[str, WriteFile] = {
        f"{name}.{suffix}": partial(write_atomic, table=content, types=types)
        for suffix, (content, types) in tables.items()
    }
    bad_rows_name = f"{name}.bad_rows.tsv"
    if raw.bad_rows.height:
        files[bad_rows_name] = partial(raw.bad_rows.write_csv, separator="\t")
    data_names = list(files)

    def write_report(path: Path) -> None:
        report["files"] = {name: sha256_of(path.with_name(name)) for name in data_names}
        write_json(path, report)

    files[REPORT_NAME] = write_report  # last, when the others lie beside it
    optional = (bad_rows_name, f"{name}.label", f"{name}.{other}")
    remove = [name for name in optional if name not in files]
    remove_leftovers(dataset_dir.parent)
    write_together(dataset_dir, files, remove, by="prepare")
    if inter_format == "atomic":
        remove_mapped(dataset_dir)
    return dataset_dir / bad_rows_name if raw.bad_rows.height else None


def has_vectors(dataset_dir: Path, name: str) -> bool:
    """Whether the entity vectors that lie there are those of the `.kg` that was written."""
    sidecar_path = dataset_dir / f"{name}.{DEFAULT_SUFFIX}.json"
    if not sidecar_path.is_file() or not sidecar_path.with_suffix("").is_file():
        return False
    of_kg = sha256_of(dataset_dir / f"{name}.kg")
    return bool(read_json(sidecar_path).get("kg_sha256") == of_kg)
