"""`--drop-relation`, `--kg-min-degree`, `--kg-max-degree`: a graph without some of its triples."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from kgrec_cli.core.linking.graph import ItemLinks, select_links
from kgrec_cli.core.linking.names import short_iri
from kgrec_cli.core.linking.prune import Pruning, prune
from kgrec_cli.errors import KgrecError, UsageError, unknown_name
from kgrec_cli.events import Note, OnEvent


def prune_graph(
    pruning: Pruning,
    linked: ItemLinks,
    labels: pl.DataFrame | None,
    items: pl.DataFrame,
    n_interactions: pl.DataFrame,
    on_event: OnEvent,
) -> ItemLinks:
    """The graph without what is to be dropped, and how much that was.

    Raises:
        UsageError: A relation that the graph does not have.
        KgrecError: Nothing is left.
    """
    if linked.triples.is_empty():
        raise KgrecError(
            "there is no graph to prune; leave out --drop-relation, --kg-min-degree and "
            "--kg-max-degree"
        )
    relations = linked.triples["relation_id"].unique()
    dropped = tuple(_named_relation(name, relations, labels) for name in pruning.drop_relations)
    pruning = pruning._replace(drop_relations=dropped)
    triples, lost = prune(linked.triples, linked.links, pruning)
    n_lost, n_all = lost["triples"], linked.triples.height
    if triples.is_empty():
        raise KgrecError(f"nothing is left of {n_all:,} triples: {_why(lost)}; drop less")
    pruned = select_links(linked.links, triples, items["item_id"], n_interactions)
    before, after = (each.links_report["items_with_triples"] for each in (linked, pruned))
    lost |= {"items": before - after}
    text = f"pruned {n_lost:,} of {n_all:,} triples ({_why(lost)}), {lost['entities']:,} entities"
    on_event(Note(f"{text}; {lost['items']:,} of {before:,} items lost their last triple"))
    links_report = linked.links_report | {
        name: pruned.links_report[name]
        for name in ("items_with_triples", "interactions_with_triples", "entities_without_triple")
    }
    counts = ("self_loops", "triples", "entities", "relations")
    kg_report = linked.kg_report | {name: pruned.kg_report[name] for name in counts}
    return ItemLinks(pruned.links, triples, links_report, kg_report | {"pruned": lost})


def _named_relation(name: str, relations: pl.Series, labels: pl.DataFrame | None) -> str:
    """The relation that `kgrec graph` shows by a name: its token, the end of its IRI, its label.

    Raises:
        UsageError: None, or several.
    """
    if name in relations:
        return name
    shown: dict[str, set[str]] = {relation: {short_iri(relation)} for relation in relations}
    for token, kind, label in () if labels is None else labels.iter_rows():
        if kind == "relation" and token in shown:
            shown[token].add(label)
    found = [relation for relation, names in shown.items() if name in names]
    if len(found) > 1:
        raise UsageError(f"--drop-relation {name}: which one? {', '.join(sorted(found))}")
    if not found:
        known = [*relations, *(each for names in shown.values() for each in names)]
        raise UsageError(f"--drop-relation: {unknown_name('relation', name, set(known))}")
    return found[0]


def _why(lost: Mapping[str, Any]) -> str:
    causes = {
        "dropped relations": lost["triples_of_relations"],
        "hubs": lost["triples_of_hubs"],
        "rare entities": lost["triples_of_rare_entities"],
    }
    return ", ".join(f"{count:,} of {cause}" for cause, count in causes.items() if count) or "none"
