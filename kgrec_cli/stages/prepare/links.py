"""The links and triples that `prepare` writes: checked, a verdict, metadata where asked for."""

import polars as pl

from kgrec_cli.core.linking.coverage import ItemLinks, select_links
from kgrec_cli.core.linking.metadata import add_metadata
from kgrec_cli.core.linking.verdict import LinkVerdict, link_verdict
from kgrec_cli.dataset.features import CURE
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.movielens import RawData
from kgrec_cli.stages.prepare.graph import KGPlan, KGRequest, KnowledgeGraph


def settle_links(
    request: KGRequest,
    plan: KGPlan,
    kg: KnowledgeGraph,
    raw: RawData,
    items: pl.DataFrame,
    n_interactions: pl.DataFrame,
    *,
    on_event: OnEvent,
) -> tuple[ItemLinks, LinkVerdict]:
    """The links and triples to write, and whether the links are right.

    The verdict is on the graph as it was read. Metadata come after it, for they hang on the
    entities by the very links that the verdict is on.

    Args:
        request: What the user said.
        plan: Where the graph comes from.
        kg: The graph as read.
        raw: The raw data; its items and tags are the metadata.
        items: Every item of the data set, as `.item` has them.
        n_interactions: item_id (String) and n: the interactions of each item that has some.
        on_event: Hears notes and warnings.

    Raises:
        KgrecError: Links that lead nowhere.
    """
    linked = select_links(kg.links, kg.triples, items["item_id"], n_interactions)
    name, n_read = plan.name, linked.triples.height
    if plan.triples_path is None:
        verdict = LinkVerdict("sound" if n_read else "unknown", "construction", None, 0)
    else:
        _check_coverage(request, plan, kg, linked, items, on_event)
        catalogue = items.rename({"movie_title": "title"}, strict=False)
        verdict = link_verdict(catalogue, linked.links, linked.triples)
        if verdict.verdict == "broken":
            on_event(Warn(f"{plan.links_path}: {verdict.summary}; {CURE}"))
        if request.add_metadata:
            linked = _add_metadata(linked, raw, items, n_interactions, on_event)
            name += " and metadata" if linked.triples.height > n_read else ""
    return linked._replace(kg_report={"name": name, **linked.kg_report}), verdict


def _check_coverage(
    request: KGRequest,
    plan: KGPlan,
    kg: KnowledgeGraph,
    linked: ItemLinks,
    items: pl.DataFrame,
    on_event: OnEvent,
) -> None:
    """Refuses links that lead nowhere, and says what is odd about others."""
    report = linked.links_report
    if not report["kept"]:
        example = kg.links["item_id"][0] if kg.links.height else "none"
        raise KgrecError(
            f"{plan.links_path}: none of its item ids (such as '{example}') is an item of the data "
            f"set (such as '{items['item_id'][0]}'); are they another catalogue's? "
            "--link-by title --catalog FILE joins by title"
        )
    if report["entities_without_triple"] == report["entities"]:
        raise KgrecError(
            f"{plan.links_path}: none of its entities (such as '{linked.links['entity_id'][0]}') "
            f"stands in a triple of {plan.triples_path} (such as '{linked.triples['head_id'][0]}')"
        )
    if 2 * report["entities_without_triple"] > report["entities"]:
        on_event(
            Warn(
                f"{report['entities_without_triple']:,} of {report['entities']:,} linked entities "
                f"stand in no triple of {plan.name}"
            )
        )
    n_items, n_known = report["items"], report["items_with_triples"]
    if 2 * n_known < n_items and "genre" in items.columns and not request.add_metadata:
        on_event(
            Note(
                f"the graph knows {n_known:,} of {n_items:,} items; --add-metadata gives the "
                "others their genres, years and tags"
            )
        )
    if report["entities_of_several_items"]:
        n_entities = report["entities_of_several_items"]
        shared = "one entity" if n_entities == 1 else f"{n_entities:,} entities"
        on_event(Note(f"{report['items_sharing_an_entity']:,} items share {shared}"))


def _add_metadata(
    linked: ItemLinks,
    raw: RawData,
    items: pl.DataFrame,
    n_interactions: pl.DataFrame,
    on_event: OnEvent,
) -> ItemLinks:
    """The links and triples with the items' metadata, and how many of each that added."""
    links, triples = linked.links, linked.triples
    if raw.items is not None:
        links, triples = add_metadata(links, triples, raw.items, raw.tags)
    if triples.height == linked.triples.height:
        on_event(Warn("--add-metadata: the raw data says nothing of its items"))
    merged = select_links(links, triples, items["item_id"], n_interactions)
    read = ("of_other_items", "repeated", "further_entities_of_an_item")
    links_report = merged.links_report | {name: linked.links_report[name] for name in read}
    links_report["of_metadata"] = merged.links.height - linked.links.height
    kg_report = merged.kg_report | {name: linked.kg_report[name] for name in ("read", "repeated")}
    kg_report["of_metadata"] = merged.triples.height - linked.triples.height
    return ItemLinks(merged.links, merged.triples, links_report, kg_report)
