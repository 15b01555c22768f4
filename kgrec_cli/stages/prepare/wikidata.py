"""`--kg wikidata`: items find their entities, and the graph around these is asked for.

`query_service` asks and keeps the answers, `core/linking/wikidata` knows the queries.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.core.linking import wikidata as wd
from kgrec_cli.core.linking.relations import Selection, choose_relations, label_table
from kgrec_cli.core.linking.titles import match_titles, spoken_titles
from kgrec_cli.errors import KgrecError, UsageError, shorten
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.external_ids import IdTables
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links
from kgrec_cli.query_service import QueryService, Row
from kgrec_cli.stages.prepare.around import TRIPLE
from kgrec_cli.stages.prepare.by_ids import Found, Ids, link_ids, read_ids
from kgrec_cli.stages.prepare.graph import KGRequest
from kgrec_cli.stages.prepare.links import KnowledgeGraph, count_matches
from kgrec_cli.stages.prepare.metadata import Metadata

ENDPOINT = "https://query.wikidata.org/sparql"
N_IDS, N_TITLES, N_HEADS, N_LABELS = 400, 100, 200, 300
"""Values in one query."""
MANY = 0.5
"""A relation that so large a share of the entities has is named when it is left out."""
N_ROWS = 100_000
"""Rows of answers that are put into a table at once."""
_IS_EXTERNAL, _IS_ENTITY = "ExternalId", "WikibaseItem"


def load_wikidata(
    request: KGRequest,
    metadata: Metadata,
    tables: IdTables,
    item_ids: pl.Series,
    *,
    cache_dir: Path | None,
    on_event: OnEvent,
) -> KnowledgeGraph:
    """The graph of Wikidata around the items of the data set.

    `tables` may have a column of external identifiers; `item_ids` has every item of the data set.

    Raises:
        KgrecError: No network, a service that does not answer as one, or nothing found.
        UsageError: A property that does not do.
    """
    service = QueryService(request.endpoint or ENDPOINT, on_event, cache_dir)
    titles: dict[str, int] | None = None
    if request.links_path is not None:
        links = read_raw_links(request.links_path, on_event).select("item_id", "entity_id")
        entities = [wd.short_id(token) for token in links["entity_id"]]
        links = links.with_columns(entity_id=pl.Series(entities, dtype=pl.String))
        links = links.filter(pl.col("item_id").is_in(item_ids.implode()))
        if not links["entity_id"].str.contains(r"^Q\d+$").any():
            example = entities[0] if links.is_empty() else links["entity_id"][0]
            raise KgrecError(
                f"{request.links_path}: found '{shorten(example)}', expected entities of Wikidata "
                f"(Q...) for items of the data set (such as '{item_ids[0]}')"
            )
        found = Found(
            links.filter(pl.col("entity_id").str.contains(r"^Q\d+$")), "links", len(entities)
        )
    else:
        by_title = (request.link_by or "").partition("=")[0] == "title"
        ids = None if by_title else read_ids(request.link_by, tables, item_ids)
        if ids is None:
            found, titles = find_by_title(service, request, metadata.items, on_event=on_event)
        else:
            option = f"--link-by {request.link_by or ids.name}"
            found = _look_up(service, ids, option, on_event=on_event)
    selected = select_around(
        service,
        found.links,
        relations=request.relations,
        hops=request.hops or 1,
        languages=request.languages,
        on_event=on_event,
    )
    return KnowledgeGraph(
        selected.triples,
        selected.links,
        found.n_ids,
        paths=() if request.links_path is None else (request.links_path,),
        titles=titles,
        labels=selected.labels,
        selection={"linked_by": found.by, **selected.report},
    )


def _look_up(service: QueryService, ids: Ids, option: str, *, on_event: OnEvent) -> Found:
    """Items and entities by an external identifier."""
    _check_properties(service, ids.properties, _IS_EXTERNAL, option)
    entities: dict[str, set[str]] = defaultdict(set)
    task = f"Wikidata: entities by {ids.name}"
    for row in service.ask_all(task, ids.values, partial(wd.id_query, ids.properties), N_IDS):
        entity = wd.short_id(row.get("work") or row.get("item", ""))
        if "id" in row and wd.ENTITY_ID.fullmatch(entity):
            entities[row["id"]].add(entity)
    return link_ids(ids, entities, "Wikidata", on_event=on_event)


def find_by_title(
    service: QueryService, request: KGRequest, items: pl.DataFrame | None, *, on_event: OnEvent
) -> tuple[Found, dict[str, int]]:
    """Items and entities by title and year, and how many of each match."""
    if items is None:
        raise KgrecError(
            "--kg wikidata: the raw data has neither ids nor titles of its items; give a table by "
            "--items FILE, and the column of ids by --link-by imdb=COLUMN or P345=COLUMN"
        )
    type_id = (request.link_by or "").partition("=")[2] or None
    if type_id is None and "movie_title" in items.columns:
        type_id = wd.FILM
    items = items.select("item_id", "title", "release_year")
    if request.link_by is None:
        text = "Wikidata: no column of ids is known, so items are matched by title and year"
        on_event(Note(text))
    known = find_titles(service, type_id, items, request.languages, on_event=on_event)
    matches = match_titles(items, known)
    links = matches.drop_nulls("catalog_id").select("item_id", entity_id="catalog_id")
    if links.is_empty():
        example = shorten(items["title"][0] or "")
        raise KgrecError(
            f"{service.endpoint}: no title there is one of the data set's (such as '{example}')"
        )
    return Found(links, "title", items.height), count_matches(matches)


def find_titles(
    service: QueryService,
    type_id: str | None,
    items: pl.DataFrame,
    languages: Sequence[str],
    *,
    on_event: OnEvent,
) -> pl.DataFrame:
    """Entities that bear a title of the items: String columns item_id, title, release_year.

    The item_id is the entity's. Without `type_id` those types are taken that many titles lead to.
    """
    spoken = [title for text in items["title"] for title in spoken_titles(text or "")]
    titles = list(dict.fromkeys(spoken))
    query = partial(wd.title_query, type_id, languages)
    rows: list[Row] = list(service.ask_all("Wikidata: entities by title", titles, query, N_TITLES))
    rows = [row for row in rows if "title" in row and wd.short_id(row.get("item", ""))[:1] == "Q"]
    if type_id is None and rows:
        rows = _of_likely_types(service, rows, languages, on_event)
    years: dict[str, str] = {}
    for row in rows:
        if year := row.get("date", "")[:4]:
            years[row["item"]] = min(year, years.get(row["item"], year))
    found = {(wd.short_id(row["item"]), row["title"], years.get(row["item"])) for row in rows}
    columns = dict.fromkeys(("item_id", "title", "release_year"), pl.String)
    return pl.DataFrame(sorted(found, key=str), columns, orient="row")


def _of_likely_types(
    service: QueryService, rows: list[Row], languages: Sequence[str], on_event: OnEvent
) -> list[Row]:
    """The rows of the types that a quarter as many titles lead to as to the commonest, or more."""
    n_titles = Counter(type_id for _, type_id in {(r["title"], r.get("type", "")) for r in rows})
    n_titles.pop("", None)
    most = max(n_titles.values(), default=0)
    likely = {type_id for type_id, n in n_titles.items() if 4 * n >= most}
    ids = [wd.short_id(type_id) for type_id, _ in n_titles.most_common() if type_id in likely]
    names, _ = names_of(service, ids, languages)
    shown = ", ".join(f"{names.get(each, each)} ({each})" for each in ids[:5])
    text = f"Wikidata: titles are taken for those of: {shown}; others: --link-by title=Q..."
    on_event(Warn(text))
    return [row for row in rows if row.get("type") in likely] if likely else rows


def select_around(
    service: QueryService,
    links: pl.DataFrame,
    *,
    relations: Sequence[str],
    hops: int,
    languages: Sequence[str],
    on_event: OnEvent,
) -> Selection:
    """The graph within the hops of linked entities, with names.

    `relations` are properties to take; ("all",) takes all, and none those that `choose_relations`
    keeps. Redirects of merged entities are followed.

    Raises:
        KgrecError: Not one triple.
        UsageError: A property whose values are no entities.
    """
    wanted = None if not relations or "all" in relations else list(relations)
    if wanted is not None:
        _check_properties(service, wanted, _IS_ENTITY, "--relations")
    linked = links["entity_id"].unique(maintain_order=True)
    names, redirects = names_of(service, linked.to_list(), languages)
    links = links.with_columns(pl.col("entity_id").replace(redirects))
    n_redirects = len(redirects)
    heads = links["entity_id"].unique(maintain_order=True)
    parts, chosen, asked = [], [], set[str]()
    for hop in range(1, hops + 1):
        asked |= set(heads)
        task, query = f"Wikidata: triples, hop {hop}", partial(wd.triple_query, wanted)
        triples = _triples(service.ask_all(task, heads.to_list(), query, N_HEADS))
        if wanted is None:
            choice = choose_relations(triples, heads)
            chosen += [{"hop": hop, **row} for row in choice.table.iter_rows(named=True)]
            if not relations:
                triples = triples.filter(pl.col("relation_id").is_in(choice.names))
        parts.append(triples)
        tails = triples["tail_id"].unique(maintain_order=True)
        heads = tails.filter(~tails.is_in(list(asked)))
    triples = pl.concat(parts)
    if triples.is_empty():
        which = f" by {', '.join(relations)}" if wanted else ""
        raise KgrecError(
            f"{service.endpoint}: has no triple of the {len(linked):,} linked entities{which}; try "
            "--relations all"
        )
    frequent = [row["relation_id"] for row in chosen if row["coverage"] >= MANY]
    others = pl.concat(
        [triples["tail_id"], triples["relation_id"], pl.Series(frequent, dtype=pl.String)]
    ).unique(maintain_order=True)
    more, moved = names_of(service, [each for each in others if each not in names], languages)
    names |= more
    triples = triples.with_columns(pl.col("tail_id").replace(moved)).unique(maintain_order=True)
    report = {
        "hops": hops,
        "languages": list(languages),
        "asked_relations": list(relations) or "chosen",
        "candidates": chosen,
        "redirects": n_redirects + len(moved),
        "service": service.report(),
    }
    _tell(triples, names, chosen if not relations else [], on_event)
    on_event(Note(service.summary()))
    return Selection(links, triples, label_table(names, links, triples), report)


def _tell(
    triples: pl.DataFrame, names: dict[str, str], chosen: list[dict[str, Any]], on_event: OnEvent
) -> None:
    """Names the relations that were taken, and those that were not though many have them."""
    counts = triples["relation_id"].value_counts(sort=True)["relation_id"]

    def named(relation: str) -> str:
        return f"{names[relation]} ({relation})" if relation in names else relation

    more = f" and {len(counts) - 12:,} more" if len(counts) > 12 else ""
    on_event(Note(f"relations: {', '.join(map(named, counts[:12]))}{more}"))
    others = [row for row in chosen if row["verdict"] != "kept" and row["coverage"] >= MANY]
    if others:
        shown = "; ".join(f"{named(row['relation_id'])}: {row['verdict']}" for row in others[:5])
        on_event(Note(f"left out, though half of the entities have them: {shown}"))


def names_of(
    service: QueryService, entities: Iterable[str], languages: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The names of entities in the first language that has one; and where redirects lead."""
    names: dict[str, str] = {}
    ranks: dict[str, int] = {}
    targets: dict[str, str] = {}
    waiting = list(dict.fromkeys(entities))
    all_asked = set(waiting)
    while waiting:
        query = partial(wd.label_query, languages)
        for row in service.ask_all("Wikidata: names", waiting, query, N_LABELS):
            entity = wd.short_id(row.get("entity", ""))
            if "target" in row:
                targets[entity] = wd.short_id(row["target"])
                continue
            code = row.get("language", "")
            rank = languages.index(code) if code in languages else len(languages)
            if "label" in row and rank < ranks.get(entity, len(languages) + 1):
                names[entity], ranks[entity] = " ".join(row["label"].split()), rank
        waiting = [target for target in dict.fromkeys(targets.values()) if target not in all_asked]
        all_asked |= set(waiting)
    redirects = {}
    for entity in targets:
        seen, last = {entity}, entity
        while (last := targets.get(last, "")) and last not in seen:
            seen.add(last)
            redirects[entity] = last
    return names, redirects


def _check_properties(
    service: QueryService, properties: Sequence[str], expected: str, option: str
) -> None:
    """Checks that properties are there, and have values of the type that is expected."""
    rows = service.ask_all("Wikidata: properties", properties, wd.property_query, N_LABELS)
    types = {
        wd.short_id(row.get("property", "")): row.get("type", "").rpartition("#")[2] for row in rows
    }
    for name in properties:
        if name not in types:
            raise UsageError(f"{option}: {service.endpoint} knows no property {name}")
        if types[name] != expected:
            what = "external identifiers" if expected == _IS_EXTERNAL else "entities"
            raise UsageError(f"{option}: {name} has values of {types[name]}, expected {what}")


def _triples(rows: Iterable[Row]) -> pl.DataFrame:
    """The rows whose three parts are ids of Wikidata: an unknown value is a blank node."""
    is_id = pl.all_horizontal(pl.col(name).str.contains(r"^[QP]\d+$") for name in TRIPLE)
    parts = [pl.DataFrame(schema=TRIPLE)]
    waiting = iter(rows)
    while some := [
        tuple(wd.short_id(row.get(name, "")) for name in ("head", "relation", "tail"))
        for row in islice(waiting, N_ROWS)
    ]:
        parts.append(pl.DataFrame(some, TRIPLE, orient="row").filter(is_id))
    return pl.concat(parts).unique(maintain_order=True)
