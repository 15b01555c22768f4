"""`kgrec prepare`: raw interactions, a knowledge graph and links become RecBole's atomic files.

Every row that was read is accounted for in `prepare.json`. All files are put in place together at
the end, so an error leaves an older data set as it was.
"""

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from kgrec_cli import __version__
from kgrec_cli.core.data import filters
from kgrec_cli.errors import KgrecError, UsageError, shorten, unknown_name
from kgrec_cli.events import Event, Note, OnEvent, Warn
from kgrec_cli.formats.files import staging
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.formats.raw.choice import ColumnChoice
from kgrec_cli.formats.raw.external_ids import LINKS_NAMES, IdTables
from kgrec_cli.formats.raw.files import RawFile, describe_sources, is_pattern, is_there
from kgrec_cli.formats.raw.interactions import OnBadRow, read_raw_interactions
from kgrec_cli.formats.raw.item_columns import read_item_columns
from kgrec_cli.formats.raw.item_lists import ListColumns, find_catalog, read_items
from kgrec_cli.formats.raw.logs import find_log
from kgrec_cli.formats.raw.missing_ids import OnMissingId
from kgrec_cli.formats.raw.movielens import RawData, find_movielens, read_movielens
from kgrec_cli.stages.prepare.graph import KGPlan, KGRequest, check_kg, plan_kg
from kgrec_cli.stages.prepare.join import join_further
from kgrec_cli.stages.prepare.links import settle_links
from kgrec_cli.stages.prepare.load import load_graph
from kgrec_cli.stages.prepare.metadata import read_metadata
from kgrec_cli.stages.prepare.order import check_order
from kgrec_cli.stages.prepare.starter_files import StarterFiles, leave_starter_files
from kgrec_cli.stages.prepare.write import InterFormat, Kept, all_items, has_vectors, write_dataset

REPORTED_OPTIONS = (
    "min_rating",
    "min_user_inter",
    "min_item_inter",
    "duplicates",
    "on_bad_row",
    "on_missing_id",
)


@dataclass(frozen=True)
class PrepareRequest:
    """What to prepare; `kgrec prepare --help` describes the options.

    Attributes:
        name: Name of the data set; of a registered one when `raw_path` is None.
        raw_path: MovieLens folder or zip, or a table of interactions (a folder or pattern of its
            parts); None downloads.
        data_path: Folder of the data sets, below `folder` unless absolute.
        cache_dir: Folder of downloads; None is the usual one.
        dry_run: Write no data set (what is downloaded stays in the cache).
        inter_format: That of the interactions: text, or Parquet (`NAME.inter.parquet`).
    """

    name: str
    raw_path: Path | None = None
    folder: Path = Path()
    data_path: str = "dataset"
    kg: KGRequest = field(default_factory=KGRequest)
    items_path: Path | None = None
    list_columns: ListColumns = field(default_factory=ListColumns)
    columns: ColumnChoice = field(default_factory=ColumnChoice)
    min_rating: float | None = None
    min_user_inter: int = 0
    min_item_inter: int = 0
    duplicates: filters.Keep = "all"
    on_bad_row: OnBadRow = "error"
    on_missing_id: OnMissingId = "error"
    cache_dir: Path | None = None
    dry_run: bool = False
    inter_format: InterFormat = "atomic"


@dataclass(frozen=True)
class PrepareResult:
    """The folder of the atomic files, and what `prepare.json` holds (`report`).

    `bad_rows_path` is None when there are no bad rows. `has_vectors` says whether entity vectors of
    the same graph are there already.
    """

    dataset_dir: Path
    report: dict[str, Any]
    bad_rows_path: Path | None = None
    starter_files: StarterFiles = field(default_factory=StarterFiles)
    has_vectors: bool = False


def run_prepare(request: PrepareRequest, *, on_event: OnEvent) -> PrepareResult:
    """Writes `NAME.{inter,item,user,kg,link}` and `prepare.json`, and the starter files.

    With `dry_run` everything is read, counted and checked, and nothing written.

    Raises:
        UsageError: A name that nobody knows, or options that do not go together.
        KgrecError: Files that cannot be read, linked or written; a data set with nothing left.
    """
    check_name(request)
    check_kg(request.kg, request.name)
    dataset_dir = request.folder / request.data_path / request.name
    with only_writer(dataset_dir), ExitStack() as stack:

        def new_folder() -> Path:
            rows_dir = dataset_dir.with_name(f"{request.name}.rows")
            stack.enter_context(only_writer(rows_dir))
            return stack.enter_context(staging(rows_dir))

        return _prepare(request, new_folder, on_event)


def _prepare(
    request: PrepareRequest, new_folder: Callable[[], Path], on_event: OnEvent
) -> PrepareResult:
    warnings: list[Warn] = []

    def tell(event: Event) -> None:
        if isinstance(event, Warn):
            warnings.append(event)
        on_event(event)

    raw_path = _locate_raw(request, tell)
    plan = plan_kg(request.kg, request.name, on_event=tell, cache_dir=request.cache_dir)
    plan_further = partial(plan_kg, on_event=tell, cache_dir=request.cache_dir, is_further=True)
    plans = [plan_further(other, request.name) for other in request.kg.further]
    raw, columns = _read_raw(request, raw_path, plan, new_folder, tell)
    if raw.items is None and plan.note and plan.link_by == "title":
        plan = KGPlan("metadata")  # "auto" takes no graph whose links need titles
    kept, inter_report = _filter(raw, request)
    time_report = check_order(raw, kept, request.columns, tell)
    n_interactions = kept.items
    items = all_items(raw, n_interactions.select("item_id"))
    metadata = read_metadata(raw, request.kg, tell)
    load = partial(
        load_graph, request.kg, metadata, _id_tables(request, raw_path, raw, columns),
        items["item_id"], cache_dir=request.cache_dir, on_event=tell,
    )  # fmt: skip
    kg, joined = join_further(load(plan), plans, load, items["item_id"], on_event=tell)
    if (labels_path := request.kg.labels_path) and labels_path not in kg.paths:
        raise KgrecError(
            f"{labels_path}: none of its tokens is an entity or relation of the graphs"
        )
    linked, verdict = settle_links(
        request.kg, plan, kg, metadata, items, n_interactions, on_event=tell
    )
    files = [*raw.files, *map(RawFile, kg.paths)]
    recorded = {warning: warning.text for warning in warnings}
    for file in files:  # the same wherever the files lie
        recorded = {w: text.replace(file.where, file.name) for w, text in recorded.items()}
    in_catalogue = None if raw.items is None else raw.items.height
    report = {
        "dataset": request.name,
        "kgrec": __version__,
        "layout": raw.layout,
        "sources": describe_sources(files),
        "options": {
            "kg": "auto" if request.kg.kg == "auto" else plan.name,
            "link_by": plan.link_by,
            "add_metadata": request.kg.add_metadata,
            "columns": columns or None,
            **{name: getattr(request, name) for name in REPORTED_OPTIONS},
        },
        "interactions": inter_report,
        "time": time_report,
        "items": {
            "in_catalogue": in_catalogue,
            "not_in_catalogue": None if in_catalogue is None else items.height - in_catalogue,
            "without_interaction": items.height - n_interactions.height,
        },
        "links": {
            "read": kg.n_links_read,
            **linked.links_report,
            "of_other_items": kg.n_links_unused + linked.links_report["of_other_items"],
            "titles": None if kg.titles is None else dict(kg.titles),
            **verdict._asdict(),
            "summary": verdict.summary,
        },
        "kg": {
            **linked.kg_report,
            **({"selection": kg.selection} if kg.selection else {}),
            **({"joined": joined} if joined else {}),
            **({"columns": list(metadata.columns)} if metadata.columns else {}),
        },
        "warnings": [recorded[warning] for warning in warnings],
        "warnings_on_results": [recorded[warning] for warning in warnings if warning.on_results],
    }
    dataset_dir = request.folder / request.data_path / request.name
    if request.dry_run:
        return PrepareResult(dataset_dir, report)
    bad_rows_path = write_dataset(
        dataset_dir, request.name, raw, kept, items, linked, kg.labels, report,
        request.inter_format,
    )  # fmt: skip
    starter_files = leave_starter_files(request.folder, request.name, request.data_path)
    is_ready = has_vectors(dataset_dir, request.name)
    return PrepareResult(dataset_dir, report, bad_rows_path, starter_files, is_ready)


def _id_tables(
    request: PrepareRequest, raw_path: Path, raw: RawData, columns: dict[str, str]
) -> IdTables:
    """Where external identifiers may be: MovieLens' `links.csv`, the item list, the log."""
    movielens = find_movielens(raw_path) if raw.layout != "table" else None
    by_name = {} if movielens is None else movielens.by_name
    files = [by_name[name] for name in LINKS_NAMES if name in by_name]
    if request.items_path is not None:
        files.append(find_catalog(request.items_path))
    files += [] if movielens is not None else [file for file in raw.files if file not in files]
    return IdTables(files, list(filter(None, (request.list_columns.id, columns.get("item_id")))))


def check_name(request: PrepareRequest) -> None:
    """Checks the data set's name: a plain folder name, and a registered one without `raw_path`.

    Raises:
        UsageError: It is neither.
    """
    name = request.name
    if not re.fullmatch(r"[\w][\w.-]*", name):
        hint = f" (raw data goes by --raw {name})" if is_there(Path(name)) else ""
        raise UsageError(
            f"data set name '{name}': expected letters, digits, '.', '-' and '_' only{hint}"
        )
    if request.raw_path is None:
        from kgrec_cli.stages.prepare.sources import DATASETS

        if name not in DATASETS:
            message = unknown_name("data set", name, DATASETS)
            raise UsageError(f"{message} (your own data: kgrec prepare {name} --raw PATH)")


def _locate_raw(request: PrepareRequest, on_event: OnEvent) -> Path:
    """The raw data that the user named, else downloaded."""
    for option, path in (("--raw", request.raw_path), ("--items", request.items_path)):
        if path is not None and not is_there(path) and not is_pattern(path):
            raise KgrecError(f"{option} {shorten(str(path), 200)}: no such file or folder")
    if request.raw_path is not None:
        return request.raw_path
    from kgrec_cli.download import fetch
    from kgrec_cli.stages.prepare.sources import DATASETS

    return fetch(DATASETS[request.name], on_event=on_event, cache_dir=request.cache_dir)


def _read_raw(
    request: PrepareRequest,
    path: Path,
    plan: KGPlan,
    new_folder: Callable[[], Path],
    on_event: OnEvent,
) -> tuple[RawData, dict[str, str]]:
    """The raw data, and the names of the columns when it is a table."""
    movielens = None if request.columns else find_movielens(path)
    item_list = None if request.items_path is None else find_catalog(request.items_path)
    with_metadata = request.kg.add_metadata or plan.name == "metadata"
    list_columns = replace(request.list_columns, needs_title=not with_metadata)
    if movielens is not None:
        on_event(Note(f"reading {movielens.ratings.where} (MovieLens, {movielens.layout.name})"))
        raw = read_movielens(
            movielens,
            request.on_bad_row,
            with_tags=with_metadata,
            item_list=item_list,
            list_columns=list_columns,
            on_missing_id=request.on_missing_id,
            on_event=on_event,
        )
        _check_list_columns(request, raw.items is not None)
        if with_metadata and item_list:
            raw = replace(raw, item_columns=read_item_columns(item_list, list_columns))
        return raw, {}
    log = find_log(path)
    rows = read_raw_interactions(
        path,
        request.columns,
        on_bad_row=request.on_bad_row,
        on_missing_id=request.on_missing_id,
        new_folder=new_folder,
        on_event=on_event,
    )
    shown = ", ".join(f"{role} = {name}" for role, name in rows.columns.items())
    first, n_more = log.files[0].where, len(log.files) - 1
    source = f"{first} and {n_more:,} more as one log" if n_more else first
    on_event(Note(f"reading {source} ({shown})"))
    items, files, table = None, list(log.files), None
    _check_list_columns(request, bool(item_list or log.item_list))
    if item_list := item_list or log.item_list:
        list_columns = replace(list_columns, item=rows.columns["item_id"])
        items = read_items(item_list, list_columns, on_event=on_event)
        if with_metadata:
            table = read_item_columns(item_list, list_columns)
        files.append(item_list)
    raw = RawData("table", rows, items, None, None, rows.bad_rows, tuple(files), table)
    return raw, rows.columns


def _check_list_columns(request: PrepareRequest, has_list: bool) -> None:
    if request.list_columns and not has_list:
        raise UsageError(
            "--id-col, --title-col, --year-col and --genre-col are columns of an item list: give "
            "it by --items FILE"
        )


def _filter(raw: RawData, request: PrepareRequest) -> tuple[Kept, dict[str, Any]]:
    """The interactions that pass all rules, and the account of those that do not."""
    rows = raw.rows.rows
    n_rows = rows.height
    if request.min_rating is not None and "rating" not in rows.kinds.columns:
        raise UsageError("--min-rating: the data has no ratings; leave it out or name --rating-col")
    repeated = sum(map(filters.count_repeats, rows.shares()))
    rows = rows.drop_duplicates(request.duplicates)
    by_duplicates = n_rows - rows.height
    by_rating = 0
    if request.min_rating is not None:
        least, n_rows = request.min_rating, rows.height
        rows = rows.filter(lambda table: filters.keep_min_rating(table, least).table)
        by_rating = n_rows - rows.height
    core = filters.k_core(
        lambda: rows.tables("user_id", "item_id"), request.min_user_inter, request.min_item_inter
    )
    if core.n_dropped_by_user + core.n_dropped_by_item:
        rows = rows.filter(core.keep)
    if not rows.height:
        raise KgrecError(
            f"no interaction is left of {raw.rows.n_rows:,}: {by_duplicates:,} dropped by "
            f"--duplicates, {by_rating:,} by --min-rating, {core.n_dropped_by_user:,} by "
            f"--min-user-inter, {core.n_dropped_by_item:,} by --min-item-inter; lower them"
        )
    kept = Kept(rows, rows.counts("user_id"), rows.counts("item_id"))
    report = {
        "read": raw.rows.n_rows,
        "bad": raw.rows.bad_rows.height,
        "bad_in_other_files": raw.bad_rows.height - raw.rows.bad_rows.height,
        "repeated_pairs": repeated,
        "dropped": {
            **({"missing_ids": raw.rows.n_missing} if raw.rows.n_missing else {}),
            "duplicates": by_duplicates,
            "min_rating": by_rating,
            "min_user_inter": core.n_dropped_by_user,
            "min_item_inter": core.n_dropped_by_item,
        },
        "kept": rows.height,
        "users": kept.users.height,
        "items": kept.items.height,
    }
    return kept, report
