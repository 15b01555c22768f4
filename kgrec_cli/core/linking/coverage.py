"""The links and triples that a data set keeps, and the account of what they cover.

Two items may share an entity; an item has one entity. Links whose entity has no triple stay:
they cost nothing, and another graph may know the entity.
"""

from typing import Any, NamedTuple

import polars as pl


class ItemLinks(NamedTuple):
    """What `select_links` leaves.

    Attributes:
        links: String columns item_id, entity_id; each item once, items of the data set only.
        triples: String columns head_id, relation_id, tail_id; none twice.
        links_report: Counts of links, items and interactions.
        kg_report: Counts of triples, entities and relations.
    """

    links: pl.DataFrame
    triples: pl.DataFrame
    links_report: dict[str, Any]
    kg_report: dict[str, Any]


def select_links(
    links: pl.DataFrame, triples: pl.DataFrame, items: pl.Series, n_interactions: pl.DataFrame
) -> ItemLinks:
    """The links of a data set's items and its triples, each once, with counts of all that went.

    Args:
        links: String columns item_id, entity_id. Of an item's several entities the first is taken.
        triples: String columns head_id, relation_id, tail_id.
        items: String; every item of the data set, rated or not.
        n_interactions: item_id (String) and n: the interactions of each item that has some.
    """
    of_items = links.join(
        pl.DataFrame({"item_id": items}), on="item_id", how="semi", maintain_order="left"
    )
    distinct = of_items.unique(maintain_order=True)
    chosen = distinct.unique("item_id", keep="first", maintain_order=True)
    unique_triples = triples.unique(maintain_order=True)
    entities = pl.concat([unique_triples["head_id"], unique_triples["tail_id"]]).unique()
    known = chosen.filter(pl.col("entity_id").is_in(entities.implode()))
    shared = chosen.filter(pl.col("entity_id").is_duplicated())
    linked = n_interactions.join(chosen, on="item_id", how="semi")
    with_triples = n_interactions.join(known, on="item_id", how="semi")
    links_report = {
        "of_other_items": links.height - of_items.height,
        "repeated": of_items.height - distinct.height,
        "further_entities_of_an_item": distinct.height - chosen.height,
        "kept": chosen.height,
        "items": n_interactions.height,
        "items_linked": linked.height,
        "items_with_triples": with_triples.height,
        "interactions_linked": int(linked["n"].sum()),
        "interactions_with_triples": int(with_triples["n"].sum()),
        "entities": chosen["entity_id"].n_unique(),
        "entities_without_triple": (chosen["entity_id"].n_unique() - known["entity_id"].n_unique()),
        "entities_of_several_items": shared["entity_id"].n_unique(),
        "items_sharing_an_entity": shared.height,
    }
    kg_report = {
        "read": triples.height,
        "repeated": triples.height - unique_triples.height,
        "triples": unique_triples.height,
        "entities": len(entities),
        "relations": unique_triples["relation_id"].n_unique(),
    }
    return ItemLinks(chosen, unique_triples, links_report, kg_report)
