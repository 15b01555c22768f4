"""Which reader a graph needs: of Wikidata's query service, of dumps, or of any other file."""

from pathlib import Path

import polars as pl

from kgrec_cli.events import OnEvent
from kgrec_cli.formats.raw.external_ids import IdTables
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
    if plan.name == WIKIDATA:
        from kgrec_cli.stages.prepare.wikidata import load_wikidata

        return load_wikidata(
            request, metadata, tables, item_ids, cache_dir=cache_dir, on_event=on_event
        )
    if plan.triples_path is not None and (dumps := find_dumps(plan.triples_path)):
        return load_dump(request, plan, dumps, metadata, tables, item_ids, on_event=on_event)
    check_whole_graph(request)
    return load_kg(plan, metadata, item_ids, on_event=on_event)
