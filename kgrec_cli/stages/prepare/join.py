"""Graphs joined: `--kg A --kg B`. Each is read with its own links, then they become one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.core.linking.join import Graph, join_graphs
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.stages.prepare.graph import KGPlan
from kgrec_cli.stages.prepare.links import KnowledgeGraph


def join_further(
    kg: KnowledgeGraph,
    plans: Sequence[KGPlan],
    load: Callable[[KGPlan], KnowledgeGraph],
    item_ids: pl.Series,
    *,
    on_event: OnEvent,
) -> tuple[KnowledgeGraph, dict[str, Any] | None]:
    """The graph with those of further plans, and by what they were joined, for `prepare.json`.

    None where there is no further plan.

    Raises:
        KgrecError: A file that cannot be read, or a graph that nothing ties to the others.
    """
    if not plans:
        return kg, None
    graphs = [kg, *map(load, plans)]
    _check_ties(graphs, [plan.triples_path or plan.name for plan in plans], item_ids)
    joined = join_graphs([Graph(graph.triples, graph.links) for graph in graphs])
    report = {
        "graphs": [
            {"triples": graph.triples.height, "links": graph.links.height} for graph in graphs
        ],
        "entities_in_several": joined.n_shared,
        "same_as": joined.n_same_as,
        "same_by_an_item": joined.n_through_items,
        "items_with_entities_apart": joined.n_kept_apart,
    }
    text = f"joined {len(graphs)} graphs: {joined.n_shared:,} entities are in several of them, "
    text += f"{joined.n_same_as:,} pairs are one by sameAs, {joined.n_through_items:,} by an item"
    if joined.n_kept_apart:
        text += f"; {joined.n_kept_apart:,} items keep the entity of the first graph alone, for "
        text += "other items share one of their entities"
    on_event(Note(text))
    labels = [graph.labels for graph in graphs if graph.labels is not None]
    whole = replace(
        kg,
        labels=joined.renamed(pl.concat(labels), "token") if labels else None,
        selection=next((graph.selection for graph in graphs if graph.selection), None),
        triples=joined.triples,
        links=joined.links,
        n_links_read=sum(graph.n_links_read for graph in graphs),
        n_links_unused=sum(graph.n_links_unused for graph in graphs),
        paths=tuple(dict.fromkeys(path for graph in graphs for path in graph.paths)),
        in_file=None,
    )
    return whole, report


def _check_ties(
    graphs: Sequence[KnowledgeGraph], where: Sequence[Path | str], item_ids: pl.Series
) -> None:
    """Each graph needs linked items, or an entity of a graph that has some, whatever their order.

    Raises:
        KgrecError: A graph that nothing ties to the others; `where` names those after the first.
    """
    apart, known = dict(enumerate(map(_tokens, graphs[1:]))), _tokens(graphs[0])
    first = known[0]
    while apart:
        tied = [
            number
            for number, tokens in apart.items()
            if graphs[number + 1].links["item_id"].is_in(item_ids.implode()).any()
            or tokens.is_in(known.implode()).any()
        ]
        if not tied:
            number = min(apart)
            raise KgrecError(
                f"{where[number]}: none of its entities (such as '{shorten(apart[number][0])}') is "
                f"one of the other graphs (such as '{shorten(first)}'), and no item is linked to "
                "it; give its links by another --links FILE"
            )
        known = pl.concat([known, *(apart.pop(number) for number in tied)]).unique()


def _tokens(graph: KnowledgeGraph) -> pl.Series:
    """The entities of a graph, those of its links and of its triples."""
    columns = [graph.triples["head_id"], graph.triples["tail_id"], graph.links["entity_id"]]
    return pl.concat(columns).unique(maintain_order=True)
