"""Which links and triples a data set keeps, and what is counted, by hand."""

import polars as pl

from kgrec_cli.core.linking.graph import select_links


def links(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=dict.fromkeys(("item_id", "entity_id"), pl.String), orient="row"
    )


def triples(*rows: tuple[str, str, str]) -> pl.DataFrame:
    schema = dict.fromkeys(("head_id", "relation_id", "tail_id"), pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")


ITEMS = pl.Series("item_id", ["1", "2", "3", "4"])
COUNTS = pl.DataFrame({"item_id": ["1", "2", "3"], "n": [10, 5, 1]})


def test_everything_that_goes_is_counted():
    kept = select_links(
        links(("2", "e2"), ("9", "e9"), ("1", "e1"), ("1", "e1"), ("1", "e8"), ("4", "e2")),
        triples(("e1", "r", "t"), ("e1", "r", "t"), ("t", "s", "e1")),
        ITEMS,
        COUNTS,
    )
    assert kept.links.rows() == [("2", "e2"), ("1", "e1"), ("4", "e2")]
    assert kept.triples.rows() == [("e1", "r", "t"), ("t", "s", "e1")]
    assert kept.links_report == {
        "of_other_items": 1,  # 9
        "repeated": 1,  # the second ("1", "e1")
        "further_entities_of_an_item": 1,  # e8
        "kept": 3,
        "items": 3,
        "items_linked": 2,  # 1 and 2; nobody rated 4
        "items_with_triples": 1,
        "interactions_linked": 15,
        "interactions_with_triples": 10,
        "entities": 2,
        "entities_without_triple": 1,
        "entities_of_several_items": 1,
        "items_sharing_an_entity": 2,
    }
    assert kept.kg_report == {
        "read": 3, "repeated": 1, "triples": 2, "entities": 2, "relations": 2
    }  # fmt: skip


def test_an_entity_counts_when_it_is_only_a_tail():
    kept = select_links(links(("1", "e1")), triples(("t", "r", "e1")), ITEMS, COUNTS)
    assert kept.links_report["items_with_triples"] == 1
    assert kept.links_report["entities_without_triple"] == 0


def test_no_links_and_no_triples():
    kept = select_links(links(), triples(), ITEMS, COUNTS)
    assert kept.links.is_empty()
    assert kept.triples.is_empty()
    assert kept.links_report["interactions_linked"] == 0
    assert kept.kg_report["entities"] == 0
