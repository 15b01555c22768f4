"""Pruning: what goes, what stays, and that nothing is lost unsaid."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.linking.prune import Pruning, degrees, prune

NAMES = ("head_id", "relation_id", "tail_id")
TRIPLES = [
    ("i1", "genre", "drama"), ("i2", "genre", "drama"), ("i3", "genre", "drama"),
    ("i1", "by", "p1"), ("i2", "by", "p1"), ("i3", "by", "p2"), ("p2", "born", "rome"),
    ("p1", "label", "Ann"), ("p2", "label", "Bob"),
]  # fmt: skip
LINKS = [("1", "i1"), ("2", "i2"), ("3", "i3")]


def pruned(*, triples=TRIPLES, links=LINKS, **options):
    left, report = prune(
        pl.DataFrame(triples, dict.fromkeys(NAMES, pl.String), orient="row"),
        pl.DataFrame(links, {"item_id": pl.String, "entity_id": pl.String}, orient="row"),
        Pruning(**options),
    )
    return left.rows(), report


def test_relations_are_dropped_with_the_entities_that_only_they_name():
    left, report = pruned(drop_relations=("genre",))
    assert [row for row in TRIPLES if row[1] != "genre"] == left
    assert (report["triples"], report["triples_of_relations"], report["entities"]) == (3, 3, 1)
    assert report["entities_of_items"] == 0


def test_values_that_nobody_shares_go_until_none_is_left():
    """Rome has one triple; without it p2 has one; names are not counted and go along."""
    left, report = pruned(min_degree=2)
    assert left == [*TRIPLES[:5], TRIPLES[7]]
    assert report["triples_of_rare_entities"] == 2
    assert (report["triples"], report["entities"]) == (3, 3)  # p2, rome, "Bob"


def test_hubs_go_and_an_item_may_lose_its_last_triple():
    left, report = pruned(max_degree=2, drop_relations=("by",))
    assert left == [("p2", "born", "rome"), TRIPLES[8]]
    assert report["triples_of_hubs"] == 3
    assert report["entities_of_items"] == 3


def test_entities_of_items_stay_whatever_their_degree():
    left, _ = pruned(links=[*LINKS, ("4", "drama")], max_degree=2)
    assert left == TRIPLES


@given(
    st.sets(st.tuples(*map(st.sampled_from, ("abcdefgh", "rs", "abcdefgh")))),
    st.integers(0, 4),
    st.integers(1, 6),
)
def test_no_entity_is_left_outside_the_bounds(triples, least, most):
    left, report = pruned(
        triples=sorted(triples), links=[("1", "a")], min_degree=least, max_degree=most
    )
    assert len(triples) - len(left) == report["triples"]
    table = degrees(pl.DataFrame(left, dict.fromkeys(NAMES, pl.String), orient="row"))
    for entity, degree in table.iter_rows():
        assert entity == "a" or least <= degree <= most
