"""The data card: what a data set holds, what `prepare` guessed, are its links right."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kgrec_cli.core.linking.names import entity_names, is_label
from kgrec_cli.dataset.files import REPORT_NAME, atomic_path, read_named_kg, recorded_verdict
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import read_json
from kgrec_cli.settings import Settings
from kgrec_cli.stages.report.charts import count_histogram
from kgrec_cli.stages.report.page import Block, Chart, Lines, Section, Table

N_EXAMPLES = 8
UNIX_TIMES = (100_000_000, 4_000_000_000)
"""Times of events in this range are shown as dates, as seconds since 1970."""


def build_data_card(
    settings: Settings, folder: Path, dataset: Dataset, warnings: list[str]
) -> Section:
    """The section on a data set.

    Args:
        settings: Those that it was read with.
        folder: The working folder.
        dataset: As it was read, filters of the settings applied.
        warnings: What reading it warned of.

    Raises:
        KgrecError: A damaged `.kg`.
    """
    histories = dataset.histories
    per_user = np.diff(histories.offsets)
    per_item = np.bincount(histories.items, minlength=len(dataset.items))[1:]
    report = _read_report(settings, folder)
    blocks: list[Block] = [
        Table("Sizes", ("measure", "value"), _sizes(dataset, per_user, per_item)),
        Chart(
            "users",
            f"Events per user: median {np.median(per_user):.0f}, most {per_user.max():,}.",
            count_histogram(per_user, "users", "events of a user"),
            height=300,
        ),
        Chart(
            "items",
            f"Events per item: median {np.median(per_item):.0f}, most {per_item.max():,}.",
            count_histogram(per_item[per_item > 0], "items", "events of an item"),
            height=300,
        ),
    ]
    rows = _prepared(report)
    if rows:
        blocks.append(Table("How the files were read (prepare.json)", ("measure", "value"), rows))
    recorded = report.get("warnings")
    lines = [str(line) for line in recorded] if isinstance(recorded, list) else []
    lines += [line for line in warnings if line not in lines]
    if not report:
        blocks.append(
            Lines(["kgrec prepare did not make these files: nothing on guesses is known."])
        )
    elif not lines:
        blocks.append(Lines(["prepare warned of nothing: no doubtful guess is on record."]))
    else:
        blocks += [Lines(["What was guessed, and what is doubtful:"]), Lines(lines, is_list=True)]
    return Section("data", f"Data: {dataset.name}", [*blocks, *_links(settings, folder, dataset)])


def _sizes(dataset: Dataset, per_user: Any, per_item: Any) -> list[list[Any]]:
    n_events, n_users, n_items = len(dataset.histories.items), len(per_user), len(per_item)
    rows: list[list[Any]] = [
        ["users", f"{n_users:,}"],
        ["items", f"{n_items:,}"],
        ["events", f"{n_events:,}"],
        ["density", f"{100 * n_events / (n_users * n_items):.2f}%"],
        ["events per user", f"{per_user.mean():.1f} (median {np.median(per_user):.0f})"],
        ["events per item", f"{per_item.mean():.1f} (median {np.median(per_item):.0f})"],
    ]
    times = dataset.histories.times
    first, last = float(times.min()), float(times.max())
    if UNIX_TIMES[0] <= first and last <= UNIX_TIMES[1]:
        dates = [f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}" for time in (first, last)]
        rows.append(["time", " to ".join(dates)])
    return rows


def _read_report(settings: Settings, folder: Path) -> Mapping[str, Any]:
    """The value of `prepare.json`; empty where it is missing or of another shape."""
    with suppress(KgrecError):
        report = read_json(atomic_path(settings, folder, "inter").with_name(REPORT_NAME))
        if isinstance(report, dict):
            return report
    return {}


def _prepared(report: Mapping[str, Any]) -> list[list[Any]]:
    """What `prepare` recorded: layout, columns, rows read and dropped, the graph."""
    options, kept, graph = (report.get(name) for name in ("options", "interactions", "kg"))
    rows = [["layout", report.get("layout")]]
    if isinstance(options, dict):
        columns = options.get("columns")
        if isinstance(columns, dict):
            rows += [[f"column of {name}", found] for name, found in columns.items() if found]
    if isinstance(kept, dict):
        rows += [["rows read", kept.get("read")], ["rows kept", kept.get("kept")]]
        rows.append(["repeated pairs of user and item", kept.get("repeated_pairs")])
    if isinstance(graph, dict):
        rows += [["graph", graph.get("name")], ["triples", graph.get("triples")]]
        rows += [[name, graph.get(name)] for name in ("entities", "relations")]
    return [
        [name, f"{value:,}" if isinstance(value, int) else str(value)]
        for name, value in rows
        if value is not None
    ]


def _links(settings: Settings, folder: Path, dataset: Dataset) -> list[Block]:
    """The verdict on the links, and examples: the most popular linked and unlinked items."""
    if not dataset.entities:
        return [Lines(["No item is linked to a knowledge graph."])]
    counts = np.bincount(dataset.histories.items, minlength=len(dataset.items))
    order = [dataset.items.tokens[n] for n in 1 + np.argsort(-counts[1:], kind="stable")]
    linked = [item for item in order if item in dataset.entities]
    unlinked = [item for item in order if item not in dataset.entities]
    verdict = recorded_verdict(settings, folder)
    share = f"{len(linked):,} of {len(order):,} items are linked to an entity"
    said = verdict[1] if verdict else "no verdict on the links is on record; kgrec doctor gives one"
    shown = linked[:N_EXAMPLES]
    names, n_triples = _facts(settings, folder, [dataset.entities[item] for item in shown])
    examples = [
        [
            *(dataset.titles.get(item, item), entity),
            *([names.get(entity)] if names else []),
            n_triples.get(entity, 0),
        ]
        for item in shown
        for entity in (dataset.entities[item],)
    ]
    columns = ("item", "entity", *(["name in the graph"] if names else []), "triples")
    blocks: list[Block] = [
        Lines([f"Links: {said}. {share}."]),
        Table("The most popular linked items", columns, examples),
    ]
    if unlinked:
        titles = [dataset.titles.get(item, item) for item in unlinked[:N_EXAMPLES]]
        blocks.append(Lines([f"The most popular items without a link: {'; '.join(titles)}."]))
    return blocks


def _facts(
    settings: Settings, folder: Path, entities: list[str]
) -> tuple[dict[str, str], dict[str, int]]:
    """By entity its name, where the graph has one, and how many triples it is in."""
    if not atomic_path(settings, folder, "kg").is_file():
        return {}, {}
    triples, chosen = read_named_kg(settings, folder), pl.Series(entities, dtype=pl.String)
    facts = triples.filter(~is_label())
    ends = pl.concat([facts["head_id"], facts["tail_id"]])
    counts = ends.filter(ends.is_in(chosen.implode())).value_counts(name="n")
    return dict(entity_names(triples, chosen).iter_rows()), dict(counts.iter_rows())
