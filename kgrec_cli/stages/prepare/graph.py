"""The knowledge graph of `prepare`: which one to take, and the links of the items to its entities.

`plan_kg` settles what can be settled before a large raw file is read; `load_kg` reads and links.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from kgrec_cli.core.linking.metadata import build_metadata_kg
from kgrec_cli.core.linking.titles import match_titles
from kgrec_cli.core.linking.verdict import entity_names
from kgrec_cli.download import fetch, is_available
from kgrec_cli.errors import KgrecError, UsageError, unknown_name
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.item_lists import find_catalog, read_catalog
from kgrec_cli.formats.raw.knowledge_graph import (
    GRAPH_FILES,
    LINK_FILE,
    read_raw_links,
    read_raw_triples,
)
from kgrec_cli.stages.prepare.sources import KGS, KGSource, kg_source, kgs_for

LinkBy = Literal["id", "title"]

BUILT_IN = ("auto", "metadata", "none")
MIN_TITLES_COMPARED = 20
MATCHES = (
    "exact",
    "other title",
    "near year",
    "part of title",
    "alike",
    "without year",
    "ambiguous",
    "not found",
)
"""How `match_titles` matched an item; all but the last two come with a catalogue id."""


@dataclass(frozen=True)
class KGRequest:
    """What the user said of the knowledge graph.

    Attributes:
        kg: "auto", "metadata", "none", a name of the registry, or a path.
        links_path: Links of ids to entities.
        link_by: How items find their links; None is "id", or "title" when there is a catalogue.
        catalog_path: Item list whose ids the links use.
        add_metadata: Put the items' genres, years and tags into the graph.
    """

    kg: str = "auto"
    links_path: Path | None = None
    link_by: LinkBy | None = None
    catalog_path: Path | None = None
    add_metadata: bool = False


@dataclass(frozen=True)
class KGPlan:
    """Where the graph comes from, once that is settled.

    Attributes:
        name: How to call it: a name of the registry, "metadata", "none" or the file's name.
        triples_path: None for "metadata" and "none".
        links_path: None for "metadata" and "none", and where titles are matched with the names of
            the graph's entities.
        link_by: How items find their links.
        catalog_paths: Item lists whose ids the links use; empty when the links carry titles
            themselves, or link by id.
        note: Which graph "auto" took and why; "" when the user chose.
    """

    name: str
    triples_path: Path | None = None
    links_path: Path | None = None
    link_by: LinkBy = "id"
    catalog_paths: tuple[Path, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class KnowledgeGraph:
    """A graph and the links to it.

    Attributes:
        triples: String columns head_id, relation_id, tail_id, as read.
        links: String columns item_id, entity_id, the ids of the data set.
        n_links_read: Rows of the file of links; without one, the links that were found.
        n_links_unused: Rows whose title is none of the data set's; 0 when ids were joined.
        paths: Files they were read from.
        titles: How many titles were matched and how, for `prepare.json`; None when ids were joined.
    """

    triples: pl.DataFrame
    links: pl.DataFrame
    n_links_read: int
    n_links_unused: int = 0
    paths: tuple[Path, ...] = ()
    titles: Mapping[str, int] | None = None


def plan_kg(
    request: KGRequest, dataset: str, *, on_event: OnEvent, cache_dir: Path | None = None
) -> KGPlan:
    """Settles which graph to take, downloading it when it comes from the registry.

    Raises:
        KgrecError: A download that fails.
    """
    if request.kg in ("metadata", "none"):
        return KGPlan(request.kg)
    if request.kg == "auto":
        return _plan_auto(dataset, on_event=on_event, cache_dir=cache_dir)
    if request.kg in KGS:
        return _plan_source(KGS[request.kg], request, on_event=on_event, cache_dir=cache_dir)
    return _plan_file(request)


def check_kg(request: KGRequest, dataset: str) -> None:
    """Checks what can be checked before anything is downloaded or read.

    Raises:
        UsageError: An unknown name, or options that do not go together.
        KgrecError: A file that is not there.
    """
    if request.kg in KGS:
        kg_source(request.kg, dataset)
    elif request.kg not in BUILT_IN:
        _plan_file(request)
    if request.kg in BUILT_IN:
        options = {
            "--links": request.links_path,
            "--link-by": request.link_by,
            "--catalog": request.catalog_path,
        }
        for option, value in options.items():
            if value is not None:
                but = "" if request.kg == "auto" else f", not with --kg {request.kg}"
                raise UsageError(f"{option} goes with --kg FILE{but}")
    if request.add_metadata and request.kg in ("metadata", "none"):
        raise UsageError(f"--add-metadata goes with a graph to add to, not with --kg {request.kg}")
    if request.link_by == "id" and request.catalog_path is not None:
        raise UsageError("--catalog goes with --link-by title, not with --link-by id")
    for path in (request.links_path, request.catalog_path):
        if path is not None and not path.exists():
            raise KgrecError(f"{path}: no such file")


def _plan_auto(dataset: str, *, on_event: OnEvent, cache_dir: Path | None) -> KGPlan:
    other = "another: --kg FILE --links FILE"
    reasons = []
    for source in kgs_for(dataset):
        try:
            if not all(is_available(file, cache_dir=cache_dir) for file in source.files):
                reason = "cannot be reached"
            else:
                plan = _plan_source(source, KGRequest(), on_event=on_event, cache_dir=cache_dir)
                taken = f"{source.name}, linked by {source.link_by} ({source.licence})"
                return replace(plan, note=f"knowledge graph: {taken}; {other}")
        except KgrecError as error:
            reason = f"failed ({error})"
        reasons.append(f"{source.name} {reason}")
    why = f", because {' and '.join(reasons)}" if reasons else ""
    note = f"knowledge graph: metadata (genres, years and tags of the raw set){why}; {other}"
    return KGPlan("metadata", note=note)


def without_titles(plan: KGPlan) -> KGPlan:
    """The plan when no titles are known: "auto" then takes no graph that is linked by them."""
    return KGPlan("metadata") if plan.note and plan.link_by == "title" else plan


def _plan_source(
    source: KGSource, request: KGRequest, *, on_event: OnEvent, cache_dir: Path | None
) -> KGPlan:
    triples_path = fetch(source.triples, on_event=on_event, cache_dir=cache_dir)
    if request.links_path is not None:
        return _plan_links(source.name, triples_path, request.links_path, request)
    links_path = fetch(source.links, on_event=on_event, cache_dir=cache_dir)
    if request.catalog_path is not None:
        catalog_paths: tuple[Path, ...] = (request.catalog_path,)
    else:
        catalog_paths = tuple(
            fetch(titles, on_event=on_event, cache_dir=cache_dir) for titles in source.titles
        )
    link_by = request.link_by or source.link_by
    return KGPlan(source.name, triples_path, links_path, link_by, catalog_paths)


def _plan_file(request: KGRequest) -> KGPlan:
    path = Path(request.kg)
    if not path.exists():
        if "/" in request.kg or "\\" in request.kg or path.suffix:
            raise KgrecError(f"--kg {request.kg}: no such file")
        raise UsageError(unknown_name("knowledge graph", request.kg, [*KGS, *BUILT_IN]))
    links_path = request.links_path or _links_beside(path)
    if links_path is None:
        if request.link_by == "title" and request.catalog_path is None:
            return KGPlan(path.name, path, link_by="title")
        raise UsageError(
            f"--kg {path}: nothing says which item is which entity; give --links FILE with two "
            "columns, item and entity (or item, title, entity), or --link-by title alone where "
            "the entities have names"
        )
    return _plan_links(path.name, path, links_path, request)


def _plan_links(name: str, triples_path: Path, links_path: Path, request: KGRequest) -> KGPlan:
    catalog_paths = () if request.catalog_path is None else (request.catalog_path,)
    link_by: LinkBy = request.link_by or ("title" if catalog_paths else "id")
    return KGPlan(name, triples_path, links_path, link_by, catalog_paths)


def _links_beside(path: Path) -> Path | None:
    """The links that lie beside a graph: `X.link` beside `X.kg`, or in the folder of `kg.txt`."""
    if path.is_dir():
        return path if (path / LINK_FILE).is_file() else None
    stem = path.with_suffix("") if path.suffix == ".gz" else path
    candidates = [stem.with_suffix(".link")] if stem.suffix == ".kg" else []
    if stem.name in GRAPH_FILES:
        candidates.append(path.with_name(LINK_FILE))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def load_kg(
    plan: KGPlan,
    items: pl.DataFrame | None,
    tags: pl.DataFrame | None,
    *,
    on_event: OnEvent,
) -> KnowledgeGraph:
    """Reads the graph and gives the data set's items their entities.

    Args:
        plan: What `plan_kg` settled.
        items: Columns of `item_lists.ITEM_SCHEMA`, as far as anything is known of the items.
        tags: Columns user_id, item_id, tag.
        on_event: Hears warnings.

    Raises:
        KgrecError: Files that cannot be read, or titles that are needed and not there.
    """
    if plan.triples_path is None:
        return _metadata_or_none(plan, items, tags, on_event)
    if plan.note:
        on_event(Note(plan.note))
    triples = read_raw_triples(plan.triples_path)
    if plan.links_path is None:
        return _link_by_names(plan, items, triples, _files_of(plan.triples_path, GRAPH_FILES))
    links = read_raw_links(plan.links_path)
    paths = (*_files_of(plan.triples_path, GRAPH_FILES), *_files_of(plan.links_path, (LINK_FILE,)))
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
            titles=_count_matches(matches),
        )
    _warn_of_foreign_ids(plan, items, links, on_event)
    by_id = links.select("item_id", "entity_id")
    return KnowledgeGraph(triples, by_id, links.height, paths=paths)


def _link_by_names(
    plan: KGPlan, items: pl.DataFrame | None, triples: pl.DataFrame, paths: tuple[Path, ...]
) -> KnowledgeGraph:
    """The graph, and the links that the names of its entities give."""
    names = entity_names(triples, pl.concat([triples["head_id"], triples["tail_id"]]))
    if names.is_empty():
        raise KgrecError(
            f"{plan.triples_path}: its entities (such as '{triples['head_id'][0]}') have no names "
            "to match titles with (rdfs:label, or IRIs of DBpedia); give --links FILE"
        )
    matches = _match_titles(plan, items, names.select(item_id="entity_id", title="name"))
    links = matches.drop_nulls("catalog_id").select("item_id", entity_id="catalog_id")
    return KnowledgeGraph(triples, links, links.height, paths=paths, titles=_count_matches(matches))


def _metadata_or_none(
    plan: KGPlan, items: pl.DataFrame | None, tags: pl.DataFrame | None, on_event: OnEvent
) -> KnowledgeGraph:
    empty = KnowledgeGraph(
        pl.DataFrame(schema=dict.fromkeys(("head_id", "relation_id", "tail_id"), pl.String)),
        pl.DataFrame(schema=dict.fromkeys(("item_id", "entity_id"), pl.String)),
        n_links_read=0,
    )
    if plan.name == "none":
        return empty
    if items is not None:
        triples, links = build_metadata_kg(items, tags)
        if triples.height:
            if plan.note:
                on_event(Note(plan.note))
            return KnowledgeGraph(triples, links, links.height)
    on_event(
        Warn(
            "no knowledge graph: the raw data says nothing of its items (genres, years, tags); "
            "give one by --kg FILE --links FILE, or an item list by --items FILE"
        )
    )
    return empty


def _files_of(path: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    """The file itself, or the first of `names` in a folder."""
    if not path.is_dir():
        return (path,)
    return tuple(path / name for name in names if (path / name).is_file())[:1]


def _read_catalogs(plan: KGPlan, links: pl.DataFrame) -> pl.DataFrame:
    """Titles with the ids of the links: item_id, title, release_year."""
    if plan.catalog_paths:
        catalogs = [read_catalog(path) for path in plan.catalog_paths]
        return pl.concat(catalogs).select("item_id", "title", "release_year")
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
    """What `match_titles` says of the data set's items."""
    if items is None:
        raise KgrecError(
            "--link-by title: the raw data holds no titles; give its item list by --items FILE"
        )
    matches = match_titles(items.select("item_id", "title", "release_year"), catalog, linked)
    if matches["catalog_id"].null_count() == matches.height:
        where = ", ".join(path.name for path in plan.catalog_paths)
        where = where or str(plan.links_path or plan.triples_path)
        title = items["title"][0]
        raise KgrecError(f"{where}: no title there is one of the data set's (such as '{title}')")
    return matches


def _count_matches(matches: pl.DataFrame) -> dict[str, int]:
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
        on_event(
            Warn(
                f"{plan.links_path}: the links are wrong: only {n_agreeing:,} of {both.height:,} "
                "titles agree, so its ids are another catalogue's; use --link-by title"
            )
        )
