"""RecBole's filters of interactions, in RecBole's order, each with a line on what it dropped.

Repeated pairs, values of a column, users and items that `.user` and `.item` do not have, numbers
of interactions. A filter on a column of `.user` or `.item` drops its rows there, and then their
interactions. Source: `_data_filtering` in RecBole's `data/dataset/dataset.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from kgrec_cli.core.data import filters
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.errors import KgrecError, unknown_name
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.atomic import read_atomic, read_header
from kgrec_cli.intervals import parse_intervals
from kgrec_cli.settings import Settings

UNKNOWN_TO_RUN = "interactions of items that the run does not know: dropped"
USER, ITEM, TIME = "user_id", "item_id", "timestamp"


def filter_interactions(
    table: pl.DataFrame,
    settings: Settings,
    folder: Path,
    on_event: OnEvent,
    known_items: Sequence[str] | None = None,
) -> pl.DataFrame:
    """The interactions that the filters of the settings leave.

    The table has user_id, item_id (String or Categorical), timestamp, and those columns of `.inter`
    that `val_interval` names, each as `value_column` of it. `known_items` are those of a trained
    run, if it is to read these interactions.

    Raises:
        KgrecError: A column that no file has, a filter that does not fit it, no interaction left.
    """
    if settings.rm_dup_inter:
        table, n_dropped = filters.drop_duplicates(table, settings.rm_dup_inter)
        report_dropped("rm_dup_inter", n_dropped, on_event)
    sides = {
        suffix: side
        for suffix in ("user", "item")
        if (side := _read_side(suffix, settings, folder))
    }
    table = _filter_values(table, sides, settings, folder, on_event)
    for side in sides.values():
        if side.decides(settings):
            table = side.keep_listed(table, on_event, known_items)
        elif settings.filter_inter_by_user_or_item is None and not known_items:
            side.tell_unlisted(table, on_event)
    counts = {
        name: parse_intervals(text)
        for name in ("user_inter_num_interval", "item_inter_num_interval")
        if (text := getattr(settings, name))
    }
    if counts:
        table, n_dropped = filters.keep_counts_in_intervals(
            table,
            counts.get("user_inter_num_interval", ()),
            counts.get("item_inter_num_interval", ()),
        )
        report_dropped(" and ".join(counts), n_dropped, on_event)
    if table.is_empty():
        raise KgrecError(f"{settings.dataset}: the filters leave no interaction")
    return table


def keeps_all(settings: Settings) -> bool:
    """Whether the settings ask for every interaction of one file."""
    filters = (
        settings.rm_dup_inter,
        settings.val_interval,
        settings.user_inter_num_interval,
        settings.item_inter_num_interval,
        settings.drops_unlisted,
        settings.recbole_compat,
        settings.load_col,
        settings.benchmark_filename,
    )
    return not any(filters)


def value_column(field: str) -> str:
    """The name in the table of a column of `.inter` that `val_interval` names."""
    return f"value:{field}"


def report_dropped(rule: str, n_dropped: int, on_event: OnEvent) -> None:
    """Tells how many interactions a rule dropped, if any."""
    if n_dropped:
        on_event(Note(f"{rule}: {n_dropped:,} interactions dropped"))


def deciding_columns(settings: Settings, folder: Path) -> dict[str, list[str]]:
    """The columns of `.user` and `.item` that decide which interactions are kept, by suffix.

    A file that has a row of everything and no column of `val_interval` decides nothing.
    """
    if settings.benchmark_filename:
        return {}
    found = {}
    for suffix, field in (("user", settings.USER_ID_FIELD), ("item", settings.ITEM_ID_FIELD)):
        side = _read_side(suffix, settings, folder)
        if side is not None and side.decides(settings):
            path = atomic_path(settings, folder, "inter")
            ids = read_atomic(path, [field], settings.field_separator).to_series().drop_nulls()
            lacks = not ids.cast(pl.String).is_in(side.listed.implode()).all()
            if lacks or len(side.header) > 1:
                found[suffix] = list(side.header)
    return found


class _Side:
    """The rows of `.user` or `.item`: what is filtered there takes its interactions along."""

    def __init__(self, path: Path, column: str, header: Mapping[str, str], rows: pl.DataFrame):
        self.path, self.column, self.header, self.rows = path, column, header, rows
        self.listed = rows[column]

    def decides(self, settings: Settings) -> bool:
        """Whether interactions of others go: asked for, or by a filter on a column of the file."""
        is_filtered = len(self.header) > 1 and settings.filter_inter_by_user_or_item is None
        return settings.drops_unlisted or is_filtered

    def tell_unlisted(self, table: pl.DataFrame, on_event: OnEvent) -> None:
        """Tells what RecBole would drop."""
        n, lacking = self.count_unlisted(table)
        if n:
            text = f"RecBole would drop their {n:,} interactions, kgrec keeps them"
            on_event(Note(f"{lacking}: {text} (filter_inter_by_user_or_item: true)"))

    def count_unlisted(self, table: pl.DataFrame) -> tuple[int, str]:
        """The interactions of users or items without a row, and how many of these there are."""
        tokens = table[self.column].unique().cast(pl.String)
        unlisted = tokens.filter(~tokens.is_in(self.listed.implode())).to_list()
        what = f"{len(unlisted):,} of {len(tokens):,} {self.column.removesuffix('_id')}s"
        n = table.filter(pl.col(self.column).is_in(unlisted)).height
        return n, f"{self.path.name} lacks {what}"

    def keep_listed(
        self, table: pl.DataFrame, on_event: OnEvent, known_items: Sequence[str] | None
    ) -> pl.DataFrame:
        """The interactions whose user or item has a row left; tells of the others."""
        tokens = table[self.column].unique().cast(pl.String)
        gone = tokens.filter(~tokens.is_in(self.rows[self.column].implode()))
        if gone.is_empty():
            return table
        rest = table.filter(~pl.col(self.column).is_in(gone.to_list()))
        n_dropped = table.height - rest.height
        if self.column == ITEM and known_items and not gone.is_in(list(known_items)).any():
            on_event(Note(f"{n_dropped:,} {UNKNOWN_TO_RUN}"))
            return rest
        n_unlisted, lacking = self.count_unlisted(table)
        if n_unlisted:
            text = f"{n_unlisted:,} interactions dropped, as in RecBole"
            on_event(Warn(f"{lacking}: {text} (filter_inter_by_user_or_item: false keeps them)"))
        n_filtered = int(gone.is_in(self.listed.implode()).sum())
        what = f"{n_filtered:,} {self.column.removesuffix('_id')}s"
        rule = f"{what} that val_interval drops from {self.path.name}"
        report_dropped(rule, n_dropped - n_unlisted, on_event)
        return rest


def _read_side(suffix: str, settings: Settings, folder: Path) -> _Side | None:
    """`.user` or `.item`, each token once; None where RecBole would not read the file."""
    path = atomic_path(settings, folder, suffix)
    field = settings.USER_ID_FIELD if suffix == "user" else settings.ITEM_ID_FIELD
    if not path.is_file() or not _is_loaded(suffix, field, settings):
        return None
    header = read_header(path, settings.field_separator)
    if field not in header:
        return None
    chosen = [name for name in settings.val_interval or {} if _is_loaded(suffix, name, settings)]
    wanted = dict.fromkeys([field, *(name for name in chosen if name in header)])
    rows = read_atomic(path, list(wanted), settings.field_separator)
    column = USER if suffix == "user" else ITEM
    rows = rows.with_columns(pl.col(field).cast(pl.String).alias(column)).drop_nulls(column)
    rows = rows.unique(column, keep="first", maintain_order=True)
    return _Side(path, column, {name: header[name] for name in wanted}, rows)


def _is_loaded(suffix: str, field: str, settings: Settings) -> bool:
    """Whether `load_col` and `unload_col` let RecBole read a column."""
    chosen = "*" if settings.load_col is None else settings.load_col.get(suffix, ())
    skipped = (settings.unload_col or {}).get(suffix, ())
    return (chosen == "*" or field in chosen) and skipped != "*" and field not in skipped


def _filter_values(
    table: pl.DataFrame,
    sides: Mapping[str, _Side],
    settings: Settings,
    folder: Path,
    on_event: OnEvent,
) -> pl.DataFrame:
    """The interactions left by `val_interval`; rows of the sides are dropped there."""
    ours = {settings.USER_ID_FIELD: USER, settings.ITEM_ID_FIELD: ITEM}
    names = {**ours, **({settings.TIME_FIELD: TIME} if settings.TIME_FIELD else {})}
    kinds = {settings.USER_ID_FIELD: "token", settings.ITEM_ID_FIELD: "token"}
    for field, rule in (settings.val_interval or {}).items():
        owner = None  # as in RecBole the last of .inter, .user and .item that has the column
        for side in sides.values():
            if field in side.header:
                owner = side
                side.rows = side.rows.filter(_matches(field, field, side.header[field], rule))
        column = names.get(field, value_column(field))
        if owner is not None and field not in ours:
            continue
        if column not in table.columns:
            raise KgrecError(_no_such_column(field, settings, folder))
        kind = kinds.get(field, "token" if table[column].dtype == pl.String else "float")
        rest = table.filter(_matches(column, field, kind, rule))
        report_dropped(f"val_interval of {field}", table.height - rest.height, on_event)
        table = rest
    return table


def _matches(column: str, field: str, kind: str, rule: str | tuple[str, ...]) -> pl.Expr:
    """A mask of the rows that one filter keeps: numbers in an interval, or tokens of a list."""
    if kind == "float":
        try:
            text = rule if isinstance(rule, str) else f"[{','.join(rule)}]"
            intervals = parse_intervals(text)
        except ValueError as error:
            raise KgrecError(f"val_interval: {field}: {error}") from error
        return pl.any_horizontal(each.contains(pl.col(column)) for each in intervals)
    if kind != "token" or isinstance(rule, str):
        raise KgrecError(
            f"val_interval: {field} is a {kind} column: "
            + ("give the tokens to keep, such as [a, b]" if kind == "token" else "not supported")
        )
    return pl.col(column).is_in(list(rule))


def _no_such_column(field: str, settings: Settings, folder: Path) -> str:
    """One line on a column that no file has, or that `load_col` leaves out."""
    known: list[str] = []
    for suffix in ("inter", "user", "item"):
        path = atomic_path(settings, folder, suffix)
        header = read_header(path, settings.field_separator) if path.is_file() else {}
        if field in header:
            return f"val_interval: {field} is a column of {path.name}: name it in load_col"
        known += header
    return f"val_interval: {unknown_name('column', field, set(known))}"
