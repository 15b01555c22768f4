"""From atomic files to what the core works on: vocabularies, histories, the split.

Every command after `pretrain-kg` starts here. RecBole's own filters, field names and separators are
followed; `stages/features.py` reads the vectors.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kgrec_cli.core.data import filters, splits
from kgrec_cli.core.data.filters import parse_intervals
from kgrec_cli.core.data.histories import Histories, build_histories_in_parts
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.data.vocabulary import Vocabulary, build_vocabulary
from kgrec_cli.dataset.files import atomic_path, find_features
from kgrec_cli.dataset.samples import are_samples, read_samples, sample_histories
from kgrec_cli.errors import KgrecError, unknown_name
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.atomic import read_atomic, read_header, read_parts
from kgrec_cli.formats.files import sha256_of
from kgrec_cli.settings import Settings

USER, ITEM, TIME, PART = "user_id", "item_id", "timestamp", "part"


@dataclass(frozen=True)
class Dataset:
    """One data set, ready to train on or to rank with.

    Attributes:
        name: Its name.
        inter_sha256: Which `.inter` file it came from.
        users: User tokens.
        items: Item tokens; N ids, padding included.
        histories: All interactions in time order.
        titles: Title by item token; empty without a `.item` file.
        entities: Entity token by item token; empty without a `.link` file.
        split: The parts, when the files come split (`benchmark_filename`).
    """

    name: str
    inter_sha256: str
    users: Vocabulary
    items: Vocabulary
    histories: Histories
    titles: dict[str, str]
    entities: dict[str, str]
    split: Split | None = None


def load_dataset(
    settings: Settings, folder: Path, on_event: OnEvent, items: Vocabulary | None = None
) -> Dataset:
    """The data set that `settings` names.

    Args:
        settings: dataset, data_path and RecBole's data settings.
        folder: The working folder.
        on_event: Hears what is worth knowing.
        items: The vocabulary of a trained run; interactions of other items are left out, with a
            note. None makes the vocabulary from the data.

    Raises:
        KgrecError: A missing or malformed file; the line names it.
    """
    _check_load_col(settings, folder)
    names = settings.benchmark_filename
    suffixes = [f"{name}.inter" for name in names] if names else ["inter"]
    paths = [atomic_path(settings, folder, suffix) for suffix in suffixes]
    for path in paths:
        if not path.is_file():
            makes = f"`kgrec prepare {settings.dataset}` makes it"
            cure = "benchmark_filename names it as a part that comes split" if names else makes
            raise KgrecError(f"{path}: no such file; {cure}")
    of_samples = bool(names) and are_samples(paths, settings)
    read = read_samples if of_samples else _read_interactions
    table = pl.concat(
        [
            read(path, settings, on_event).with_columns(pl.lit(part, pl.Int8).alias(PART))
            for part, path in enumerate(paths)
        ]
    )
    entities = read_entities(atomic_path(settings, folder, "link"), settings)
    if not names:  # as in RecBole: parts that come split are taken as they are
        table = _filter(table, settings, on_event)
    if not names and settings.recbole_compat and settings.model == "GRU4RecKG":
        table = _keep_linked(table, entities, settings, folder, on_event)
    items = items or build_vocabulary(table[ITEM])
    users = build_vocabulary(table[USER])
    table = table.with_columns(
        pl.Series("user", users.encode(table[USER])), pl.Series("item", items.encode(table[ITEM]))
    ).drop(USER, ITEM)
    n_unknown = int((table["item"] == 0).sum())
    if n_unknown:
        on_event(
            Note(f"{n_unknown:,} interactions of items that the run does not know are left out")
        )
    if n_unknown == table.height:
        raise KgrecError(
            f"{paths[0]}: none of its items is known to the run: is it another data set?"
        )
    histories, split = (sample_histories if of_samples else _build_histories)(table)
    return Dataset(
        name=str(settings.dataset),
        inter_sha256=sha256_of(paths[0]),
        users=users,
        items=items,
        histories=histories,
        titles=_read_titles(atomic_path(settings, folder, "item"), settings),
        entities=entities,
        split=split if names else None,
    )


def _build_histories(table: pl.DataFrame) -> tuple[Histories, Split]:
    """The histories of encoded interactions, and the split that their parts make."""
    known = table.filter(pl.col("item") > 0)
    histories, parts = build_histories_in_parts(
        *(known[name].to_numpy() for name in ("user", "item", TIME, PART))
    )
    return histories, splits.split_by_parts(histories, parts)


def _read_interactions(path: Path, settings: Settings, on_event: OnEvent) -> pl.DataFrame:
    """Columns user_id, item_id (Categorical), timestamp, and the fields that val_interval names."""
    header = read_header(path, settings.field_separator)
    fields = {settings.USER_ID_FIELD: USER, settings.ITEM_ID_FIELD: ITEM}
    if settings.TIME_FIELD in header:
        fields[settings.TIME_FIELD] = TIME
    extra = [name for name in settings.val_interval or {} if name not in fields]
    parts = read_parts(path, [*fields, *extra], settings.field_separator)
    table = pl.concat(
        (part.rename(fields).cast({USER: pl.Categorical, ITEM: pl.Categorical}) for part in parts),
        how="vertical_relaxed",
    )
    if table.is_empty():
        raise KgrecError(f"{path}: no interactions")
    for field, name in fields.items():
        if table[name].null_count():
            row = int(table[name].is_null().arg_max() or 0)
            raise KgrecError(f"{path}, line {row + 2}, column {field}: empty")
    if TIME not in table.columns:
        on_event(
            Note(
                f"{path.name} has no {settings.TIME_FIELD} column: "
                "its row order is taken as time order"
            )
        )
        return table.with_columns(pl.int_range(pl.len()).alias(TIME))
    chosen = (settings.load_col or {}).get("inter")
    if chosen not in (None, "*") and settings.TIME_FIELD not in (chosen or ()):
        on_event(
            Note(
                f"load_col leaves out {settings.TIME_FIELD}; it is read anyway, "
                "since without it there is no order"
            )
        )
    return table


def _check_load_col(settings: Settings, folder: Path) -> None:
    """Refuses columns that the files do not have; which of them are read is kgrec's own choice."""
    for suffix, columns in {**(settings.load_col or {}), **(settings.unload_col or {})}.items():
        path = atomic_path(settings, folder, suffix)
        if columns == "*" or not path.is_file():
            continue
        header = read_header(path, settings.field_separator)
        for column in columns:
            if column not in header:
                raise KgrecError(f"{path}: {unknown_name('column', column, header)} (load_col)")


def _filter(table: pl.DataFrame, settings: Settings, on_event: OnEvent) -> pl.DataFrame:
    """RecBole's filters in RecBole's order, each with a note of what it dropped."""
    names = {settings.USER_ID_FIELD: USER, settings.ITEM_ID_FIELD: ITEM, settings.TIME_FIELD: TIME}
    kept = filters.drop_duplicates(table, settings.rm_dup_inter or "all")
    _tell("rm_dup_inter", kept.n_dropped, on_event)
    for field, text in (settings.val_interval or {}).items():
        kept = filters.keep_in_ranges(
            kept.table, names.get(field, field), _ranges(text, f"val_interval: {field}")
        )
        _tell(f"val_interval of {field}", kept.n_dropped, on_event)
    rules = {
        name: _ranges(text, name) if text else ()
        for name, text in (
            ("user_inter_num_interval", settings.user_inter_num_interval),
            ("item_inter_num_interval", settings.item_inter_num_interval),
        )
    }
    if any(rules.values()):
        kept = filters.keep_counts_in_ranges(kept.table, *rules.values())
        _tell(
            " and ".join(name for name, ranges in rules.items() if ranges), kept.n_dropped, on_event
        )
    if kept.table.is_empty():
        raise KgrecError(f"{settings.dataset}: the filters leave no interaction")
    return kept.table


def _ranges(text: str, where: str) -> tuple[filters.Range, ...]:
    return tuple(
        (each.low, each.high, each.has_low, each.has_high) for each in parse_intervals(text, where)
    )


def _tell(rule: str, n_dropped: int, on_event: OnEvent) -> None:
    if n_dropped:
        on_event(Note(f"{rule}: {n_dropped:,} interactions dropped"))


def _keep_linked(
    table: pl.DataFrame,
    entities: dict[str, str],
    settings: Settings,
    folder: Path,
    on_event: OnEvent,
) -> pl.DataFrame:
    """As RecBole: only interactions of items whose entity it knows (`recbole_compat`)."""
    kept = table.filter(pl.col(ITEM).is_in(list(items_in_graph(settings, folder, entities))))
    _tell("recbole_compat, items without an entity in the graph", len(table) - len(kept), on_event)
    if kept.is_empty():
        raise KgrecError(f"{settings.dataset}: no item has an entity in the graph")
    return kept


def items_in_graph(settings: Settings, folder: Path, entities: dict[str, str]) -> set[str]:
    """The item tokens that RecBole keeps: their entity stands in a triple or has a vector."""
    fields = [settings.HEAD_ENTITY_ID_FIELD, settings.TAIL_ENTITY_ID_FIELD]
    path = atomic_path(settings, folder, "kg")
    heads, tails = read_atomic(path, fields, settings.field_separator)
    known = set(heads.to_list()) | set(tails.to_list())
    for feature in find_features(settings, folder):
        if not feature.of_items:
            table = read_atomic(feature.path, [feature.id_field], settings.field_separator)
            known |= set(table[feature.id_field].to_list())
    return {item for item, entity in entities.items() if entity in known}


def _read_titles(path: Path, settings: Settings) -> dict[str, str]:
    if not path.is_file():
        return {}
    header = read_header(path, settings.field_separator)
    column = next((name for name in ("movie_title", "title", "name") if name in header), None)
    if column is None or settings.ITEM_ID_FIELD not in header:
        return {}
    table = read_atomic(path, [settings.ITEM_ID_FIELD, column], settings.field_separator)
    return dict(table.drop_nulls().iter_rows())


def read_entities(path: Path, settings: Settings) -> dict[str, str]:
    """Entity token by item token; empty when there is no `.link`."""
    if not path.is_file():
        return {}
    fields = [settings.ITEM_ID_FIELD, settings.ENTITY_ID_FIELD]
    return dict(read_atomic(path, fields, settings.field_separator).iter_rows())


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
