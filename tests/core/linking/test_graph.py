import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.linking.graph import add_metadata, build_metadata_kg, is_metadata, select_links

ITEMS = pl.DataFrame(
    {
        "item_id": ["2", "1", "3"],
        "movie_title": ["Heat (1995)", "Alien (1979)", "unknown"],
        "release_year": [1995.0, 1979.0, None],
        "genre": ["Action Crime", "Sci-Fi", "(no genres listed)"],
    }
)


def test_known_answer() -> None:
    triples, links = build_metadata_kg(ITEMS)
    assert triples.columns == ["head_id", "relation_id", "tail_id"]
    assert triples.rows() == [
        ("item:2", "has_genre", "genre:Action"),
        ("item:2", "has_genre", "genre:Crime"),
        ("item:1", "has_genre", "genre:Sci-Fi"),
        ("item:2", "released_in", "year:1995"),
        ("item:1", "released_in", "year:1979"),
        ("item:2", "released_in_decade", "decade:1990s"),
        ("item:1", "released_in_decade", "decade:1970s"),
    ]
    assert links.columns == ["item_id", "entity_id"]
    assert links.rows() == [("2", "item:2"), ("1", "item:1")]  # nothing is known of item 3


def test_added_to_a_graph_it_hangs_on_the_items_own_entities() -> None:
    graph = [("e2", "directed_by", "p1"), ("p1", "has_genre", "drama")]
    columns = ["head_id", "relation_id", "tail_id"]
    triples = pl.DataFrame(graph, schema=columns, orient="row")
    links = pl.DataFrame({"item_id": ["2", "3"], "entity_id": ["e2", "e3"]})
    links, triples = add_metadata(links, triples, ITEMS)
    assert links.rows() == [("2", "e2"), ("3", "e3"), ("1", "item:1")]
    assert triples.rows() == [
        *graph,
        ("e2", "has_genre", "genre:Action"),
        ("e2", "has_genre", "genre:Crime"),
        ("item:1", "has_genre", "genre:Sci-Fi"),
        ("e2", "released_in", "year:1995"),
        ("item:1", "released_in", "year:1979"),
        ("e2", "released_in_decade", "decade:1990s"),
        ("item:1", "released_in_decade", "decade:1970s"),
    ]
    assert triples.filter(~is_metadata()).rows() == graph


def tags(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["item_id", "tag"], orient="row")


def test_tags_need_support_by_items_not_by_how_often_they_were_given() -> None:
    given_tags = tags(
        ("1", "Dark  Hero"), ("2", " dark hero "), ("1", "dark hero"),
        ("1", "space"), ("1", "space"), ("1", "space"),
        ("9", "space"), ("2", ""),
    )  # fmt: skip
    triples, _ = build_metadata_kg(ITEMS, given_tags, min_tag_support=2)
    assert triples.filter(pl.col("relation_id") == "has_tag").rows() == [
        ("item:2", "has_tag", "tag:dark hero"),
        ("item:1", "has_tag", "tag:dark hero"),
    ]
    triples, _ = build_metadata_kg(ITEMS, given_tags, min_tag_support=1)
    assert triples.filter(pl.col("relation_id") == "has_tag").rows() == [
        ("item:2", "has_tag", "tag:dark hero"),
        ("item:1", "has_tag", "tag:dark hero"),
        ("item:1", "has_tag", "tag:space"),
    ]


def test_an_item_known_by_a_tag_alone_is_linked() -> None:
    _, links = build_metadata_kg(ITEMS, tags(("3", "x")), min_tag_support=1)
    assert links["item_id"].to_list() == ["2", "1", "3"]


def test_a_genre_repeated_counts_once_and_unknown_not_at_all() -> None:
    items = pl.DataFrame({"item_id": ["1", "2"], "genre": ["Drama Drama unknown", None]})
    triples, links = build_metadata_kg(items)
    assert triples.rows() == [("item:1", "has_genre", "genre:Drama")]
    assert links.rows() == [("1", "item:1")]


@pytest.mark.parametrize("years", [[1995, 2000], ["1995", "2000"], [1995.0, 2000.0]])
def test_years_in_any_type(years: list[object]) -> None:
    items = pl.DataFrame({"item_id": ["1", "2"], "release_year": years})
    triples, _ = build_metadata_kg(items)
    assert triples["tail_id"].to_list() == [
        "year:1995", "year:2000", "decade:1990s", "decade:2000s",
    ]  # fmt: skip


def test_items_of_which_nothing_is_known_give_empty_tables() -> None:
    triples, links = build_metadata_kg(pl.DataFrame({"item_id": ["1"]}), tags(("1", "x")))
    assert triples.rows() == []
    assert triples.dtypes == [pl.String] * 3
    assert links.rows() == []
    assert links.dtypes == [pl.String] * 2


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(["x", "y", "Y", "z z"])), max_size=30
    ),
    st.integers(1, 4),
)
def test_support_equals_a_plain_count(rows: list[tuple[str, str]], support: int) -> None:
    items = pl.DataFrame({"item_id": list("abcd")})
    table = pl.DataFrame(rows, schema={"item_id": pl.String, "tag": pl.String}, orient="row")
    triples, links = build_metadata_kg(items, table, min_tag_support=support)
    holders: dict[str, set[str]] = {}
    for item, tag in rows:
        if item in "abcd":
            holders.setdefault(tag.lower(), set()).add(item)
    expected = {
        (f"item:{item}", "has_tag", f"tag:{tag}")
        for tag, held_by in holders.items()
        if len(held_by) >= support
        for item in held_by
    }
    assert set(triples.rows()) == expected
    assert triples.height == len(expected)
    assert {f"item:{item}" for item in links["item_id"]} == {head for head, _, _ in expected}


def link_table(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema=dict.fromkeys(("item_id", "entity_id"), pl.String), orient="row"
    )


def triple_table(*rows: tuple[str, str, str]) -> pl.DataFrame:
    schema = dict.fromkeys(("head_id", "relation_id", "tail_id"), pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")


ALL_ITEMS = pl.Series("item_id", ["1", "2", "3", "4"])
COUNTS = pl.DataFrame({"item_id": ["1", "2", "3"], "n": [10, 5, 1]})


def test_everything_that_goes_is_counted():
    kept = select_links(
        link_table(("2", "e2"), ("9", "e9"), ("1", "e1"), ("1", "e1"), ("1", "e8"), ("4", "e2")),
        triple_table(("e1", "r", "t"), ("e1", "r", "t"), ("t", "s", "e1")),
        ALL_ITEMS,
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
        "entities_of_several_items": 0,  # 4 shares e2
        "items_sharing_an_entity": 0,
    }
    assert kept.kg_report == {
        "read": 3, "repeated": 1, "self_loops": 0, "triples": 2, "entities": 2, "relations": 2
    }  # fmt: skip


def test_an_entity_counts_when_it_is_only_a_tail():
    kept = select_links(link_table(("1", "e1")), triple_table(("t", "r", "e1")), ALL_ITEMS, COUNTS)
    assert kept.links_report["items_with_triples"] == 1
    assert kept.links_report["entities_without_triple"] == 0


def test_no_links_and_no_triples():
    kept = select_links(link_table(), triple_table(), ALL_ITEMS, COUNTS)
    assert kept.links.is_empty()
    assert kept.triples.is_empty()
    assert kept.links_report["interactions_linked"] == 0
    assert kept.kg_report["entities"] == 0
