"""Which reader a graph needs: of Wikidata's query service, of dumps, or of any other file."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_cli.core.linking.names import labels_of
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.raw.external_ids import IdTables
from kgrec_cli.formats.raw.files import is_pattern
from kgrec_cli.formats.raw.labels import read_raw_labels
from kgrec_cli.stages.prepare.dump import find_dumps, load_dump
from kgrec_cli.stages.prepare.graph import WIKIDATA, KGPlan, KGRequest, check_whole_graph
from kgrec_cli.stages.prepare.links import KnowledgeGraph, load_kg
from kgrec_cli.stages.prepare.metadata import Metadata


def load_graph(
    request: KGRequest,
    metadata: Metadata,
    tables: IdTables,
    item_ids: pl.Series,
    plan: KGPlan,
    *,
    cache_dir: Path | None,
    on_event: OnEvent,
) -> KnowledgeGraph:
    """The graph of a plan, linked to the data set's items; `item_ids` has every one of these.

    Raises:
        KgrecError: Files that cannot be read, a service that does not answer, or nothing found.
        UsageError: An option that does not go with this graph.
    """
    path = request.labels_path
    names = None if path is None else read_raw_labels(path)
    kg = _load(
        request, metadata, tables, item_ids, plan, names, cache_dir=cache_dir, on_event=on_event
    )
    if path is None or names is None:
        return kg
    if kg.triples.is_empty():
        raise KgrecError(f"{path}: there is no graph to give names to; leave out --kg-labels")
    labels = labels_of(names, kg.triples)
    if labels.is_empty() and request.further:  # they may be of one of the others
        return kg
    if labels.is_empty():
        token, entity = shorten(names["token"][0]), shorten(kg.triples["head_id"][0])
        raise KgrecError(
            f"{path}: none of its tokens (such as '{token}') is an entity or relation of the graph "
            f"(such as '{entity}')"
        )
    counts = dict(labels["kind"].value_counts().iter_rows())
    text = f"names of {counts.get('entity', 0):,} entities and {counts.get('relation', 0):,} "
    on_event(Note(f"{path}: {text}relations"))
    known = [labels] if kg.labels is None else [labels, kg.labels]
    labels = pl.concat(known).unique(["token", "kind"], keep="first", maintain_order=True)
    return replace(kg, labels=labels, paths=(*kg.paths, path))


def _load(
    request: KGRequest,
    metadata: Metadata,
    tables: IdTables,
    item_ids: pl.Series,
    plan: KGPlan,
    names: pl.DataFrame | None,
    *,
    cache_dir: Path | None,
    on_event: OnEvent,
) -> KnowledgeGraph:
    if plan.name == WIKIDATA:
        from kgrec_cli.stages.prepare.wikidata import load_wikidata

        request = replace(request, links_path=plan.links_path)  # not those of the first graph
        return load_wikidata(
            request, metadata, tables, item_ids, cache_dir=cache_dir, on_event=on_event
        )
    if plan.triples_path is not None and (dumps := find_dumps(plan.triples_path)):
        return load_dump(request, plan, dumps, metadata, tables, item_ids, on_event=on_event)
    kgs = [request.kg, *(other.kg for other in request.further)]
    paths = [Path(kg) for kg in kgs if Path(kg).exists() or is_pattern(Path(kg))]
    if WIKIDATA not in kgs and not any(map(find_dumps, paths)):
        check_whole_graph(request)
    return load_kg(plan, metadata, item_ids, names=names, on_event=on_event)
