"""The graph and its links: read, tied to the items of the data set, checked for errors.

`load_kg` reads what `graph.plan_kg` chose; `settle_links` says what of it is written.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.core.linking.graph import ItemLinks, select_links
from kgrec_cli.core.linking.names import entities_of, entity_names, labels_of, with_names
from kgrec_cli.core.linking.oddities import fit_links, graph_oddities, turned_text
from kgrec_cli.core.linking.titles import MATCHES, match_titles
from kgrec_cli.core.linking.verdict import LinkVerdict, link_verdict
from kgrec_cli.dataset.features import CURE
from kgrec_cli.errors import KgrecError, UsageError, shorten
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.id_files import ITEM_LIST, read_id_lists, read_kgat_links
from kgrec_cli.formats.raw.item_lists import find_catalog, read_catalog
from kgrec_cli.formats.raw.knowledge_graph import (
    GRAPH_FILES,
    LINK_FILES,
    RELATED,
    file_in,
    read_raw_links,
    read_raw_triples,
)
from kgrec_cli.stages.prepare.graph import KGPlan, KGRequest
from kgrec_cli.stages.prepare.metadata import Metadata, add_to, metadata_kg
from kgrec_cli.stages.prepare.prune import prune_graph

MIN_TITLES_COMPARED = 20


@dataclass(frozen=True)
class KnowledgeGraph:
    """A graph and the links to it.

    Attributes:
        triples: String columns head_id, relation_id, tail_id, as read.
        links: String columns item_id, entity_id, the ids of the data set.
        n_links_read: Rows of the file of links; without a file, all links.
        n_links_unused: Rows whose title is none of the data set's; 0 when ids were joined.
        paths: Files they were read from.
        titles: How many titles were matched and how, for `prepare.json`; None when ids were joined.
        in_file: The links as the file has them, columns item_id, entity_id; None without a file.
        labels: Names of entities and relations, columns of `dataset.files.LABEL_TYPES`; None where
            the graph has no others than its own.
        selection: How it was chosen from a larger graph, for `prepare.json`; None for a whole one.
        catalog_ids: The item ids that links in the file should have where titles were matched; None
            where these are the data set's.
    """

    triples: pl.DataFrame
    links: pl.DataFrame
    n_links_read: int
    n_links_unused: int = 0
    paths: tuple[Path, ...] = ()
    titles: Mapping[str, int] | None = None
    in_file: pl.DataFrame | None = None
    catalog_ids: pl.Series | None = None
    labels: pl.DataFrame | None = None
    selection: Mapping[str, Any] | None = None


def load_kg(
    plan: KGPlan,
    metadata: Metadata,
    item_ids: pl.Series,
    *,
    triples: pl.DataFrame | None = None,
    names: pl.DataFrame | None = None,
    on_event: OnEvent,
) -> KnowledgeGraph:
    """Reads the graph and links the data set's items to its entities.

    `item_ids` has every item of the data set; `triples` are those of the graph if they are read;
    `names` (token, label) are names of entities that the graph does not have itself.

    Raises:
        KgrecError: Files that cannot be read, or titles that are needed and not there.
    """
    if plan.triples_path is None:
        triples, links = metadata_kg(plan, metadata, on_event)
        return KnowledgeGraph(triples, links, links.height)
    items = metadata.items
    if plan.note:
        on_event(Note(plan.note))
    is_of_items = plan.links_path is None and plan.link_by == "id" and not plan.is_joined
    triples_path = plan.triples_path
    if triples is None:
        triples_path = file_in(plan.triples_path, GRAPH_FILES)
        triples = read_raw_triples(plan.triples_path, of_items=is_of_items, on_event=on_event)
    if triples.height and (triples["relation_id"] == RELATED).all():
        on_event(Note(f"{plan.triples_path}: pairs; the relation of all is called {RELATED}"))
    if plan.is_joined:
        none = pl.DataFrame(schema={"item_id": pl.String, "entity_id": pl.String})
        return KnowledgeGraph(triples, none, 0, paths=(triples_path,))
    if is_of_items:
        return _link_to_themselves(triples, triples_path, item_ids)
    if plan.links_path is None:
        return _link_by_names(plan, items, triples, names, triples_path)
    links_path = file_in(plan.links_path, LINK_FILES)
    lists = read_id_lists(triples_path)
    paths = (triples_path, links_path, *lists.paths)
    if links_path.name == ITEM_LIST:
        links = read_kgat_links(links_path, item_ids, on_event)
    else:
        links = _with_names(read_raw_links(links_path, on_event), lists.entities)
    if plan.link_by == "title":
        catalog = _read_catalogs(plan, links)
        matches = _match_titles(plan, items, catalog, set(links["item_id"]))
        with_id = matches.drop_nulls("catalog_id").select("item_id", "catalog_id")
        by_catalog_id = links.select(pl.col("item_id").alias("catalog_id"), "entity_id")
        linked = with_id.join(by_catalog_id, on="catalog_id", maintain_order="left_right")
        return KnowledgeGraph(
            triples,
            linked.select("item_id", "entity_id"),
            n_links_read=links.height,
            n_links_unused=by_catalog_id.join(with_id, on="catalog_id", how="anti").height,
            paths=(*paths, *(find_catalog(path).path for path in plan.catalog_paths)),
            titles=count_matches(matches),
            in_file=links.select("item_id", "entity_id"),
            catalog_ids=with_id["catalog_id"].unique(),
        )
    links = _in_order(links, triples, item_ids, links_path, on_event)
    _warn_of_foreign_ids(plan, items, links, on_event)
    by_id = links.select("item_id", "entity_id")
    return KnowledgeGraph(triples, by_id, links.height, paths=paths, in_file=by_id)


def _link_to_themselves(triples: pl.DataFrame, path: Path, item_ids: pl.Series) -> KnowledgeGraph:
    """The graph, and a link to itself of each item that is an entity of it."""
    entities = entities_of(triples)
    ids = item_ids.filter(item_ids.is_in(entities.implode()))
    if ids.is_empty():
        raise KgrecError(
            f"{path}: none of its entities (such as '{triples['head_id'][0]}') is an item of the "
            f"data set (such as '{item_ids[0]}'); give --links FILE"
        )
    links = pl.DataFrame({"item_id": ids, "entity_id": ids})
    return KnowledgeGraph(triples, links, links.height, paths=(path,))


def _link_by_names(
    plan: KGPlan,
    items: pl.DataFrame | None,
    triples: pl.DataFrame,
    labels: pl.DataFrame | None,
    path: Path,
) -> KnowledgeGraph:
    """The graph, and the links that the names of its entities give."""
    named = triples if labels is None else with_names(triples, labels_of(labels, triples))
    names = entity_names(named, entities_of(triples))
    if names.is_empty():
        raise KgrecError(
            f"{plan.triples_path}: its entities (such as '{triples['head_id'][0]}') have no names "
            "to match titles with (rdfs:label, or IRIs of DBpedia); give --links FILE"
        )
    matches = _match_titles(plan, items, names.select(item_id="entity_id", title="name"))
    links = matches.drop_nulls("catalog_id").select("item_id", entity_id="catalog_id")
    counts = count_matches(matches)
    return KnowledgeGraph(triples, links, links.height, paths=(path,), titles=counts)


def _in_order(
    links: pl.DataFrame, triples: pl.DataFrame, item_ids: pl.Series, path: Path, on_event: OnEvent
) -> pl.DataFrame:
    """The links, turned round with a warning where only so they link anything."""
    read, turned = fit_links(links, triples, item_ids)
    text = turned_text(read, turned, len(item_ids))
    if not text or (read.items_linked and read.at_one_place):
        return links
    on_event(Warn(f"{path}: {text.partition(';')[0]}; read so"))
    return links.rename({"item_id": "entity_id", "entity_id": "item_id"})


def _with_names(links: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """The links, to the names of entities where the graph's numbers have some and links do not."""
    entities = links["entity_id"]
    if not names or 2 * int(entities.is_in(list(names)).sum()) < len(entities):
        return links
    return links.with_columns(pl.col("entity_id").replace(names))


def _read_catalogs(plan: KGPlan, links: pl.DataFrame) -> pl.DataFrame:
    """Titles with the ids of the links: item_id, title, release_year."""
    if plan.catalog_paths:
        columns = ("item_id", "title", "release_year")
        return pl.concat(read_catalog(path).select(columns) for path in plan.catalog_paths)
    if "title" in links.columns:
        return links.select("item_id", "title", pl.lit(None, pl.String).alias("release_year"))
    raise UsageError(
        f"--link-by title: {plan.links_path} holds no titles; give the item list whose ids it uses "
        "by --catalog FILE"
    )


def _match_titles(
    plan: KGPlan,
    items: pl.DataFrame | None,
    catalog: pl.DataFrame,
    linked: Collection[str] = frozenset(),
) -> pl.DataFrame:
    """The matches of the data set's items; at least one has a match."""
    if items is None:
        raise KgrecError(
            "--link-by title: the raw data holds no titles; give its item list by --items FILE"
        )
    matches = match_titles(items.select("item_id", "title", "release_year"), catalog, linked)
    if matches["catalog_id"].null_count() == matches.height:
        where = ", ".join(path.name for path in plan.catalog_paths)
        raise KgrecError(
            f"{where or plan.links_path or plan.triples_path}: no title there is one of the data "
            f"set's (such as '{items['title'][0]}')"
        )
    return matches


def count_matches(matches: pl.DataFrame) -> dict[str, int]:
    """How many matches of `match_titles` are of each kind."""
    counts = dict(matches["match"].value_counts().iter_rows())
    return {"items": len(matches), **{m.replace(" ", "_"): counts.get(m, 0) for m in MATCHES}}


def _warn_of_foreign_ids(
    plan: KGPlan, items: pl.DataFrame | None, links: pl.DataFrame, on_event: OnEvent
) -> None:
    """Warns when links that carry titles give them to other ids than the data set does."""
    if items is None or "title" not in links.columns:
        return
    titled = links.select("item_id", "title").unique("item_id", maintain_order=True)
    matches = match_titles(items.select("item_id", "title", "release_year"), titled)
    both = matches.drop_nulls("catalog_id").join(titled, on="item_id", how="semi")
    n_agreeing = both.filter(pl.col("item_id") == pl.col("catalog_id")).height
    if both.height >= MIN_TITLES_COMPARED and 2 * n_agreeing < both.height:
        text = f"the links are wrong: only {n_agreeing:,} of {both.height:,} titles agree, so its "
        text += "ids are another catalogue's; use --link-by title"
        on_event(Warn(f"{plan.links_path}: {text}"))


def settle_links(
    request: KGRequest,
    plan: KGPlan,
    kg: KnowledgeGraph,
    metadata: Metadata,
    items: pl.DataFrame,
    n_interactions: pl.DataFrame,
    *,
    on_event: OnEvent,
) -> tuple[ItemLinks, LinkVerdict]:
    """The links and triples to write, and whether the links are right.

    The verdict is on the graph as it was read, without metadata: these are attached to the entities
    by the same links that the verdict is on. `items` has every item of the data set as in `.item`,
    `n_interactions` item_id (String) and n of each item with interactions.

    Raises:
        KgrecError: No link leads from an item of the data set to an entity of the graph.
    """
    linked = select_links(kg.links, kg.triples, items["item_id"], n_interactions)
    name, n_read = plan.name, linked.triples.height
    if plan.is_of_metadata:
        verdict = LinkVerdict("sound" if n_read else "unknown", "construction", None, 0)
        if n_read and not linked.links_report["items_linked"]:
            raise KgrecError(
                f"{metadata.where}: none of its {kg.links.height:,} items (such as "
                f"'{shorten(kg.links['item_id'][0])}') has an interaction (items there are like "
                f"'{shorten(n_interactions['item_id'][0])}'); name its column of ids by --id-col"
            )
    else:
        _check_coverage(request, plan, kg, linked, items, n_interactions, on_event)
        catalogue = items.rename({"movie_title": "title"}, strict=False)
        named = linked.triples if kg.labels is None else with_names(linked.triples, kg.labels)
        verdict = link_verdict(catalogue, linked.links, named)
        if verdict.verdict == "broken":
            where = plan.links_path or plan.triples_path or plan.name
            on_event(Warn(f"{where}: {verdict.summary}; {CURE}"))
        if request.add_metadata:
            linked = add_to(linked, metadata, items, n_interactions, on_event)
            name += " and metadata" if linked.triples.height > n_read else ""
    if request.pruning:
        linked = prune_graph(request.pruning, linked, kg.labels, items, n_interactions, on_event)
    return linked._replace(kg_report={"name": name, **linked.kg_report}), verdict


def _check_coverage(
    request: KGRequest,
    plan: KGPlan,
    kg: KnowledgeGraph,
    linked: ItemLinks,
    items: pl.DataFrame,
    n_interactions: pl.DataFrame,
    on_event: OnEvent,
) -> None:
    """Refuses links that lead nowhere, and says what is odd about others and the graph."""
    report = linked.links_report
    where_kg = plan.triples_path or plan.name
    where = plan.links_path or where_kg
    for text in graph_oddities(linked.triples):
        on_event(Warn(f"{where_kg}: {text}"))
    _check_order(where, kg, n_interactions["item_id"], on_event)
    if not report["items_linked"]:
        example = kg.links["item_id"][0] if kg.links.height else "none"
        has_titles = not {"title", "movie_title"}.isdisjoint(items.columns)
        raise KgrecError(
            f"{where}: none of its item ids (such as '{shorten(example)}') is an item of the data "
            f"set (such as '{shorten(n_interactions['item_id'][0])}'): 0 of "
            f"{kg.links['item_id'].n_unique():,} match; are they another catalogue's? "
            f"{'' if has_titles else '--items FILE '}--link-by title --catalog FILE joins by title"
        )
    if report["entities_without_triple"] == report["entities"]:
        raise KgrecError(
            f"{where}: none of its entities (such as '{shorten(linked.links['entity_id'][0])}') "
            f"stands in a triple of {where_kg} (such as '{shorten(linked.triples['head_id'][0])}')"
            f": 0 of {report['entities']:,} match{_spelt_alike(linked)}"
        )
    n_entities, n_without = report["entities"], report["entities_without_triple"]
    if 2 * n_without > n_entities:
        text = f"{n_without:,} of {n_entities:,} linked entities stand in no triple of {plan.name}"
        on_event(Warn(text))
    n_items, n_known = report["items"], report["items_with_triples"]
    if 2 * n_known < n_items and _has_metadata(items) and not request.add_metadata:
        text = f"the graph knows {n_known:,} of {n_items:,} items; --add-metadata gives the others "
        on_event(Note(f"{text}their genres, years and tags"))
    if n_shared := report["entities_of_several_items"]:
        shared = "one entity" if n_shared == 1 else f"{n_shared:,} entities"
        on_event(Note(f"{report['items_sharing_an_entity']:,} items share {shared}"))


def _spelt_alike(linked: ItemLinks) -> str:
    """What to do where the graph has most linked entities by another spelling, else "".

    The last part of "/m/01", "m.01" and "http://.../ns/M.01" is "01"; a bare number has none.
    """

    def last_part(tokens: pl.Series) -> pl.Series:
        spelt = tokens.filter(~tokens.str.contains("^[0-9]+$"))
        return spelt.str.to_lowercase().str.extract("([^/#:.<>]+)[/>]*$")

    ours, theirs = linked.links["entity_id"].unique(), entities_of(linked.triples)
    n_alike = int(last_part(ours).is_in(last_part(theirs).implode()).sum())
    if 2 * n_alike < len(ours):
        return ""
    return f", but the last parts of {n_alike:,} do: write them alike in both files"


def _check_order(
    where: Path | str, kg: KnowledgeGraph, item_ids: pl.Series, on_event: OnEvent
) -> None:
    """Refuses a file of links that links only when turned round; warns when that fits better."""
    if kg.in_file is None:
        return
    item_ids = item_ids if kg.catalog_ids is None else kg.catalog_ids
    read, turned = fit_links(kg.in_file, kg.triples, item_ids)
    if text := turned_text(read, turned, len(item_ids)):
        if not (read.items_linked and read.at_one_place):
            raise KgrecError(f"{where}: {text}")
        on_event(Warn(f"{where}: {text}"))


def _has_metadata(items: pl.DataFrame) -> bool:
    """Whether anything is known of an item that `--add-metadata` could add."""
    names = [name for name in ("genre", "release_year") if name in items.columns]
    return any(items[name].null_count() < items.height for name in names)
