"""From atomic files to what the core works on: vocabularies, histories, the split.

Every command after `pretrain-kg` starts here. Filters, field names and separators are RecBole's;
`features.py` reads the vectors, `samples.py` the files of ready-made samples.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import (
    Histories,
    Vocabulary,
    build_histories_in_parts,
    build_vocabulary,
)
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.memory import check_memory
from kgrec_cli.dataset import files
from kgrec_cli.dataset.checks import check_times, doubts, time_field
from kgrec_cli.dataset.filtering import (
    ITEM,
    TIME,
    UNKNOWN_TO_RUN,
    USER,
    filter_interactions,
    keeps_all,
    report_dropped,
    value_column,
)
from kgrec_cli.dataset.mapped import Mapped, map_histories
from kgrec_cli.errors import KgrecError, unknown_name
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.atomic import is_parquet, place, read_atomic, read_header, read_parts
from kgrec_cli.formats.atomic_parquet import count_rows
from kgrec_cli.formats.files import sha256_of
from kgrec_cli.settings import Settings

PART = "part"
ROW_BYTES = 64
"""What an interaction is taken to need at most while it is read: an estimate."""
ReadRows = Callable[[Path, Settings, OnEvent], pl.DataFrame]
BuildHistories = Callable[[pl.DataFrame], tuple[Histories, Split]]


@dataclass(frozen=True)
class Dataset:
    """One data set, ready to train on or to rank with.

    Attributes:
        name: Its name.
        file_digests: SHA-256 in hex of each `.inter` file, one for each of `benchmark_filename`; of
            a file that was converted, of the one that was there first.
        users: User tokens.
        items: Item tokens; N ids, padding included.
        histories: All interactions in time order.
        catalogue: The table of `read_items`.
        links: The table of `read_links`.
        split: The split of `benchmark_filename`; None when the files are not split.
        n_users: Those of all shards, where `users` and `histories` are one's.
        n_interactions: As `n_users`.
    """

    name: str
    file_digests: tuple[str, ...]
    users: Vocabulary
    items: Vocabulary
    histories: Histories
    catalogue: pl.DataFrame
    links: pl.DataFrame
    split: Split | None
    n_users: int
    n_interactions: int

    @property
    def inter_sha256(self) -> str:
        """The SHA-256 of the `.inter`; of several files that of their digests, in order."""
        if len(self.file_digests) == 1:
            return self.file_digests[0]
        return hashlib.sha256("".join(self.file_digests).encode()).hexdigest()

    @cached_property
    def titles(self) -> dict[str, str]:
        """Title by item token; empty where `.item` has none."""
        return dict(self.catalogue.select("item_id", "title").drop_nulls().iter_rows())

    @cached_property
    def entities(self) -> dict[str, str]:
        """Entity token by item token. Of an item's several links the last counts, as in RecBole."""
        return dict(self.links.iter_rows())

    def matches(self, inter_sha256: str, on_event: OnEvent) -> bool:
        """Whether these are the interactions that a run or a study recorded by `inter_sha256`.

        Earlier versions recorded the first of several files alone. True with a note, if that one is
        the same.
        """
        if inter_sha256 == self.inter_sha256:
            return True
        if inter_sha256 != self.file_digests[0]:
            return False
        text = "only the first file could be checked for changes: an earlier kgrec recorded no more"
        on_event(Note(f"{self.name}: {text}"))
        return True


def load_dataset(
    settings: Settings, folder: Path, on_event: OnEvent, items: Vocabulary | None = None
) -> Dataset:
    """The data set that `settings` names, its items numbered as `items` or, without them, anew.

    With `items`, the vocabulary of a trained run, interactions of other items are dropped, with a
    note. What results rest on (a doubtful time order, missing ids) is told in warnings: those of
    `prepare`, or of the same checks where it did not make the files.

    Raises:
        KgrecError: A missing or malformed file; the line names it.
    """
    for line in files.changed_files(settings, folder):
        on_event(Warn(line))
    _check_load_col(settings, folder)
    names = settings.benchmark_filename
    suffixes = [f"{name}.inter" for name in names] if names else ["inter"]
    paths = [files.atomic_path(settings, folder, suffix) for suffix in suffixes]
    for path in paths:
        if not path.is_file():
            prepare = f"`kgrec prepare {settings.dataset}` makes it"
            raise KgrecError(
                f"{path}: no such file; {'benchmark_filename names it' if names else prepare}"
            )
    file_digests = tuple(sha256_of(path) for path in paths)
    _check_parquet(paths, file_digests)
    if mapped := _map(paths[0], file_digests[0], settings, items, on_event):
        return Dataset(
            name=str(settings.dataset),
            file_digests=(files.origin_sha256(paths[0], file_digests[0]),),
            **mapped._asdict(),
            catalogue=files.read_items(settings, folder),
            links=files.read_links(settings, folder),
            split=None,
            n_users=len(mapped.users) - 1,
            n_interactions=len(mapped.histories.items),
        )
    read_rows, build_histories = _readers(paths, settings)
    table = pl.concat(
        [
            read_rows(path, settings, on_event).with_columns(pl.lit(part, pl.Int8).alias(PART))
            for part, path in enumerate(paths)
        ],
        how="vertical_relaxed",  # whole times in one file, fractions in the other
    )
    if TIME in table.columns:  # not of samples, which have an order and no times
        for line in doubts(table, paths, file_digests, settings):
            on_event(Warn(line))
    links = files.read_links(settings, folder)
    known_items = None if items is None else items.tokens
    if known_items and not table[ITEM].unique().cast(pl.String).is_in(list(known_items)).any():
        raise KgrecError(
            f"{paths[0]}: none of its items is known to the run: is it another data set?"
        )
    if not names:  # as in RecBole: split files are taken as they are
        table = filter_interactions(table, settings, folder, on_event, known_items)
    if not names and settings.recbole_compat and settings.model == "GRU4RecKG":
        table = _keep_linked(table, dict(links.iter_rows()), settings, folder, on_event)
    items = items or build_vocabulary(table[ITEM])
    users = build_vocabulary(table[USER])
    table = table.with_columns(
        pl.Series("user", users.encode(table[USER])), pl.Series("item", items.encode(table[ITEM]))
    ).drop(USER, ITEM)
    n_unknown = int((table["item"] == 0).sum())
    if n_unknown:
        on_event(Note(f"{n_unknown:,} {UNKNOWN_TO_RUN}"))
    if n_unknown == table.height:
        raise KgrecError(f"{paths[0]}: the filters leave no item that the run knows")
    histories, split = build_histories(table)
    return Dataset(
        name=str(settings.dataset),
        file_digests=tuple(map(files.origin_sha256, paths, file_digests)),
        users=users,
        items=items,
        histories=histories,
        catalogue=files.read_items(settings, folder),
        links=links,
        split=split if names else None,
        n_users=len(users) - 1,
        n_interactions=len(histories.items),
    )


def _map(
    path: Path,
    digest: str,
    settings: Settings,
    items: Vocabulary | None,
    on_event: OnEvent,
) -> Mapped | None:
    """The histories of a Parquet file that `prepare` wrote, where all its rows are asked for.

    None where rows may have to be looked at one by one: the settings filter them, or the items are
    those of another data set.
    """
    warnings = files.recorded_warnings(path, digest) if is_parquet(path) else None
    if warnings is None or not keeps_all(settings):
        return None
    fields = {settings.USER_ID_FIELD: USER, settings.ITEM_ID_FIELD: ITEM}
    if (time := time_field(path, read_header(path), settings)) is None:
        return None
    try:
        mapped = map_histories(path, digest, {**fields, time: TIME})
    except KgrecError as error:
        on_event(Warn(f"{error}; so the interactions are read into memory"))
        return None
    if mapped is None or (items is not None and items.tokens != mapped.items.tokens):
        return None
    for line in warnings:
        on_event(Warn(line))
    return mapped


def _check_parquet(paths: Sequence[Path], digests: Sequence[str]) -> None:
    """Checks in another process that Parquet files of other programs can be read."""
    unknown = [
        path
        for path, digest in zip(paths, digests, strict=True)
        if is_parquet(path) and files.read_report(path).files.get(path.name) != digest
    ]
    if unknown:
        from kgrec_cli.formats.raw.files import RawFile  # files of others only
        from kgrec_cli.formats.raw.typed import check_parquet

        check_parquet(list(map(RawFile, unknown)))


def _readers(paths: Sequence[Path], settings: Settings) -> tuple[ReadRows, BuildHistories]:
    """How to read the files, and what to make of their rows: interactions, or samples."""
    if not settings.benchmark_filename:
        return _read_interactions, _build_histories
    column = f"{settings.ITEM_ID_FIELD}_list"
    has_column = [column in read_header(path, settings.field_separator) for path in paths]
    if not any(has_column):
        return _read_interactions, _build_histories
    if not all(has_column):
        raise KgrecError(
            f"{paths[has_column.index(False)]}: no column '{column}', "
            f"though {paths[has_column.index(True)].name} has one"
        )
    from kgrec_cli.dataset.samples import build_sample_histories, read_samples

    return read_samples, build_sample_histories


def _build_histories(table: pl.DataFrame) -> tuple[Histories, Split]:
    """The histories of encoded interactions, and their split by part."""
    known = table.filter(pl.col("item") > 0)
    histories, parts = build_histories_in_parts(
        *(known[name].to_numpy() for name in ("user", "item", TIME, PART))
    )
    return histories, splits.split_by_parts(histories, parts)


def _read_interactions(path: Path, settings: Settings, on_event: OnEvent) -> pl.DataFrame:
    """Columns user_id, item_id (Categorical), timestamp, and the fields that val_interval names."""
    header = read_header(path, settings.field_separator)
    if is_parquet(path):
        n_rows = count_rows(path)
        what = f"{path}: {n_rows:,} interactions, read whole (docs/scaling.md says when)"
        check_memory(ROW_BYTES * n_rows, what)
    fields = {settings.USER_ID_FIELD: USER, settings.ITEM_ID_FIELD: ITEM}
    if (time := time_field(path, header, settings)) is not None:
        fields[time] = TIME
    extra = [name for name in settings.val_interval or {} if name in header and name not in fields]
    names = fields | {name: value_column(name) for name in extra}
    parts = read_parts(path, list(names), settings.field_separator)
    table = pl.concat(
        (part.rename(names).cast({USER: pl.Categorical, ITEM: pl.Categorical}) for part in parts),
        how="vertical_relaxed",
    )
    if table.is_empty():
        raise KgrecError(f"{path}: no interactions")
    if TIME in table.columns:
        check_times(table[TIME], path)
    if settings.benchmark_filename:
        files.check_filled(table, path, fields)
    else:
        table = _drop_unnamed(table, path, settings, on_event)
    if TIME not in table.columns:
        return table.with_columns(pl.int_range(pl.len()).alias(TIME))
    chosen = (settings.load_col or {}).get("inter")
    if chosen not in (None, "*") and settings.TIME_FIELD not in (chosen or ()):
        text = f"load_col does not name {settings.TIME_FIELD}; it is read anyway, for the order"
        on_event(Note(text))
    return table


def _drop_unnamed(
    table: pl.DataFrame, path: Path, settings: Settings, on_event: OnEvent
) -> pl.DataFrame:
    """As RecBole: only the rows that name a user and an item; a warning counts the others.

    Raises:
        KgrecError: No such row, or one without a time.
    """
    is_whole = table[USER].is_not_null() & table[ITEM].is_not_null()
    if TIME in table.columns:
        times = table.select(pl.when(is_whole).then(pl.col(TIME)).otherwise(0).alias(TIME))
        files.check_filled(times, path, {str(settings.TIME_FIELD): TIME})
    n_dropped = int((~is_whole).sum())
    if not n_dropped:
        return table
    if n_dropped == table.height:
        raise KgrecError(f"{path}: no row names both a user and an item")
    _, _, first = place(path, int((~is_whole).arg_max() or 0)).rpartition(", ")
    text = f"{n_dropped:,} of {table.height:,} rows have no user or no item (first: {first})"
    on_event(Warn(f"{path.name}: {text}; they are dropped, as in RecBole"))
    return table.filter(is_whole)


def _check_load_col(settings: Settings, folder: Path) -> None:
    """Refuses columns that the files do not have. Which ones are read, kgrec decides."""
    for suffix, columns in {**(settings.load_col or {}), **(settings.unload_col or {})}.items():
        path = files.atomic_path(settings, folder, suffix)
        if columns == "*" or not path.is_file():
            continue
        header = read_header(path, settings.field_separator)
        for column in columns:
            if column not in header:
                raise KgrecError(f"{path}: {unknown_name('column', column, header)} (load_col)")


def _keep_linked(
    table: pl.DataFrame,
    entities: dict[str, str],
    settings: Settings,
    folder: Path,
    on_event: OnEvent,
) -> pl.DataFrame:
    """As RecBole: only interactions of items whose entity it knows (`recbole_compat`)."""
    linked = table.filter(pl.col(ITEM).is_in(list(items_in_graph(settings, folder, entities))))
    n_dropped = table.height - linked.height
    report_dropped("recbole_compat, items without an entity in the graph", n_dropped, on_event)
    if linked.is_empty():
        raise KgrecError(f"{settings.dataset}: no item has an entity in the graph")
    return linked


def items_in_graph(settings: Settings, folder: Path, entities: dict[str, str]) -> set[str]:
    """The item tokens that RecBole keeps: their entity stands in a triple or has a vector."""
    triples = files.read_kg(settings, folder)
    known = set(triples["head_id"].to_list()) | set(triples["tail_id"].to_list())
    for feature in files.find_features(settings, folder):
        if not feature.of_items:
            table = read_atomic(feature.path, [feature.id_field], settings.field_separator)
            known |= set(table[feature.id_field].to_list())
    return {item for item, entity in entities.items() if entity in known}


def split_dataset(settings: Settings, dataset: Dataset) -> Split:
    """The parts that the files bring, else those that `eval_args` asks for."""
    if dataset.split is not None:
        return dataset.split
    (how,) = settings.eval_args.split.values()
    if isinstance(how, str):
        return splits.split_leave_one_out(dataset.histories, how)
    if settings.eval_args.group_by == "user":
        return splits.split_ratio(dataset.histories, how)
    return splits.split_temporal(dataset.histories, how)
