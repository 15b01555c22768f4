"""Several graphs as one: what is the same gets one token."""

import polars as pl

from kgrec_cli.core.linking.join import Graph, join_graphs


def graph(triples: list[tuple[str, str, str]], links: list[tuple[str, str]]) -> Graph:
    names = ("head_id", "relation_id", "tail_id")
    return Graph(
        pl.DataFrame(triples, dict.fromkeys(names, pl.String), orient="row"),
        pl.DataFrame(links, {"item_id": pl.String, "entity_id": pl.String}, orient="row"),
    )


def test_entities_are_one_by_token_by_same_as_and_by_an_item():
    a = graph([("a1", "by", "p"), ("a2", "by", "p")], [("1", "a1"), ("2", "a2")])
    b = graph(
        [("b1", "in", "c"), ("b2", "in", "c"), ("q", "owl:sameAs", "p"), ("q", "of", "c")],
        [("1", "b1"), ("2", "b2"), ("3", "b3")],
    )
    joined = join_graphs([a, b])
    assert joined.triples.rows() == [
        ("a1", "by", "p"), ("a2", "by", "p"),
        ("a1", "in", "c"), ("a2", "in", "c"), ("p", "of", "c"),
    ]  # fmt: skip
    assert joined.links.unique(maintain_order=True).rows() == [
        ("1", "a1"),
        ("2", "a2"),
        ("3", "b3"),
    ]
    assert joined[2:6] == (1, 1, 2, 0)  # p in both; q is p; a1 is b1 and a2 is b2


def test_an_entity_that_items_share_is_made_no_other():
    """Item 1 and 2 share an entity of the second graph: that they are one film, it cannot know."""
    a = graph([("a1", "by", "p"), ("a2", "by", "p")], [("1", "a1"), ("2", "a2")])
    b = graph([("b", "in", "c")], [("1", "b"), ("2", "b")])
    joined = join_graphs([a, b])
    assert joined.triples["head_id"].to_list() == ["a1", "a2", "b"]
    assert joined.n_kept_apart == 2


def test_chains_of_same_as_have_one_name_that_of_a_link_first():
    a = graph([("x", "sameAs", "y"), ("y", "sameAs", "z"), ("y", "r", "v")], [("1", "z")])
    joined = join_graphs([a])
    assert joined.triples.rows() == [("z", "r", "v")]
    assert joined.links.rows() == [("1", "z")]
