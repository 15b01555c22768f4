"""The graph of the items' own metadata: of `--kg metadata`, or added to another one.

Films have relations of their own (genres, years, decades, tags); the other columns of an item table
are relations by their names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from kgrec_cli.core.linking.graph import ItemLinks, add_metadata, build_metadata_kg, select_links
from kgrec_cli.core.linking.item_columns import EMPTY, NO_FACTS, ColumnUse, column_facts
from kgrec_cli.errors import KgrecError, UsageError, shorten
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.item_columns import OPTION, choose_columns
from kgrec_cli.formats.raw.movielens import RawData
from kgrec_cli.stages.prepare.graph import KGPlan, KGRequest

_FILM_FACTS = ("item_id", "release_year", "genre")
MAX_NAMED = 6
_UNREAD = "it holds neither text nor numbers"


@dataclass(frozen=True, eq=False)
class Metadata:
    """What is known of the items.

    Attributes:
        items: As of `RawData`; None when nothing is known.
        films: item_id and, of films, release_year and genre; what `build_metadata_kg` reads.
        tags: user_id, item_id, tag; None without tags.
        facts: Facts of the columns of an item table: item_id, relation_id, tail_id.
        columns: What was made of each column, for `prepare.json`; empty without a table.
        where: What errors call the list.
    """

    items: pl.DataFrame | None
    films: pl.DataFrame
    tags: pl.DataFrame | None
    facts: pl.DataFrame
    columns: tuple[dict[str, Any], ...] = ()
    where: str = "the item list"


def metadata_of_list(items: pl.DataFrame | None, tags: pl.DataFrame | None) -> Metadata:
    """What a list of films, as MovieLens packs it, says of its items."""
    films = pl.DataFrame(schema={"item_id": pl.String})
    if items is not None:
        films = items.select(name for name in _FILM_FACTS if name in items.columns)
    return Metadata(items, films, tags, NO_FACTS)


def read_metadata(raw: RawData, request: KGRequest, on_event: OnEvent) -> Metadata:
    """What `--kg metadata` or `--add-metadata` makes of the items, and what it leaves.

    Raises:
        UsageError: `--kg-columns` names a column that is not there, or there is no table.
        KgrecError: A named column is of no use.
    """
    of_list = metadata_of_list(raw.items, raw.tags)
    table = raw.item_columns
    if table is None:
        if request.kg_columns:
            raise UsageError(f"{OPTION} names columns of an item table: give it by --items FILE")
        return of_list
    ids = table.texts[table.ids].alias("item_id")
    if ids.is_empty():
        raise KgrecError(f"{table.where}: holds no items")
    uses: list[dict[str, Any]] = []
    facts, missing = [NO_FACTS], []
    for number, (column, kind, n_bins) in choose_columns(table, request.kg_columns):
        use = ColumnUse(column, "unused", _UNREAD, NO_FACTS)
        if number in table.texts:
            cells = pl.DataFrame([ids, table.texts[number].alias("text")])
            spaced = number in table.spaced
            use = column_facts(cells, column, ids, kind, n_bins, spaced=spaced)
        facts.append(use.facts)
        missing += [f"{shorten(column, 30)}: {use.missing}"] if use.missing else []
        if request.kg_columns and use.kind == "unused":
            as_it_is = f"; {column}:value takes it as it is"
            cure = "" if kind or use.how in (EMPTY, _UNREAD) else as_it_is
            raise KgrecError(f"{table.where}, column {shorten(column)}: {use.how}{cure}")
        counts = {
            "relations": use.facts["relation_id"].unique(maintain_order=True).to_list(),
            "items": use.facts["item_id"].n_unique(),
            "values": use.facts["tail_id"].n_unique(),
            "triples": use.facts.height,
        }
        uses.append({"column": column, "kind": use.kind, "how": use.how, **counts})
    unused = [f"{shorten(u['column'], 30)}: {u['how']}" for u in uses if u["kind"] == "unused"]
    if unused:
        on_event(Note(f"{table.where}: columns of no use as relations: {_listed(unused)}"))
    if missing:
        text = f"{table.where}: taken for missing (NAME:value keeps them): {_listed(missing)}"
        on_event(Note(text))
    has_films = table.of_films and not request.kg_columns
    tags = None if request.kg_columns else raw.tags
    films = of_list.films if has_films else ids.to_frame()
    return Metadata(raw.items, films, tags, pl.concat(facts), tuple(uses), table.where)


def _listed(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - MAX_NAMED} more" if len(lines) > MAX_NAMED else ""
    return "; ".join(lines[:MAX_NAMED]) + more


def metadata_kg(
    plan: KGPlan, metadata: Metadata, on_event: OnEvent
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Triples and links of the metadata; none, with a warning unless that was asked for."""
    is_none = plan.name == "none"
    films = metadata.films.clear() if is_none else metadata.films
    tags, facts = (None, NO_FACTS) if is_none else (metadata.tags, metadata.facts)
    triples, links = build_metadata_kg(films, tags, more=facts)
    if triples.height and plan.note:
        on_event(Note(plan.note))
    if triples.is_empty() and not is_none:
        is_unlisted = metadata.items is None
        text = f"no knowledge graph: the {'raw data' if is_unlisted else 'item list'} says nothing "
        text += "of its items (genres, years, tags); give one by --kg FILE --links FILE"
        on_event(Warn(text + (", or an item list by --items FILE" if is_unlisted else "")))
    return triples, links


def add_to(
    linked: ItemLinks,
    metadata: Metadata,
    items: pl.DataFrame,
    n_interactions: pl.DataFrame,
    on_event: OnEvent,
) -> ItemLinks:
    """The links and triples with the items' metadata, and how many of each that added."""
    links, triples = linked.links, linked.triples
    if metadata.items is not None:
        links, triples = add_metadata(links, triples, metadata.films, metadata.tags, metadata.facts)
    if triples.height == linked.triples.height:
        on_event(Warn("--add-metadata: the raw data says nothing of its items"))
    merged = select_links(links, triples, items["item_id"], n_interactions)
    read = ("of_other_items", "repeated", "further_entities_of_an_item")
    links_report = merged.links_report | {name: linked.links_report[name] for name in read}
    links_report["of_metadata"] = merged.links.height - linked.links.height
    kg_report = merged.kg_report | {name: linked.kg_report[name] for name in ("read", "repeated")}
    kg_report["of_metadata"] = merged.triples.height - linked.triples.height
    return ItemLinks(merged.links, merged.triples, links_report, kg_report)
