"""The graph card of a graph that is known by heart."""

import numpy as np
import polars as pl

from kgrec_cli.core.linking.card import Hub, graph_card
from kgrec_cli.core.linking.lift import consumption

TRIPLES = [
    ("f0", "by", "ann"), ("f1", "by", "ann"), ("f2", "by", "bob"), ("f2", "by", "bob"),
    ("ann", "made", "f0"), ("ann", "made", "f1"), ("bob", "made", "f2"),
    ("f0", "in", "it"), ("f1", "in", "it"), ("f2", "in", "it"), ("f0", "from", "it"),
    ("f1", "from", "it"), ("f0", "sequel", "f1"), ("x", "of", "y"), ("f0", "label", "Zero"),
]  # fmt: skip


def test_a_small_graph():
    """Items 0 to 4; 0 to 2 in the graph, 3 linked to nothing there, 4 not linked."""
    triples = pl.DataFrame(TRIPLES, ["head_id", "relation_id", "tail_id"], orient="row")
    links = pl.DataFrame({"item": [0, 1, 2, 3], "entity_id": ["f0", "f1", "f2", "f9"]})
    users = np.array([0, 0, 1, 1, 2, 2, 2])
    card = graph_card(triples, links, consumption(np.array([0, 1, 0, 1, 2, 3, 4]), users, 5))
    assert (card.items, card.linked, card.reached, card.alone) == (5, 4, 3, 0)
    assert card.interactions_reached == 5 / 7
    assert (card.triples, card.entities, card.repeated) == (13, 8, 1)
    assert card.degrees == (3, 5, 5)
    assert (card.components, card.in_largest) == (2, 1.0)
    by_name = {each.relation: each for each in card.relations}
    assert by_name.keys() == {"by", "made", "in", "from", "sequel", "of"}
    assert by_name["by"][1:5] == (3, 3, 2, 1)
    assert by_name["made"][1:5] == (3, 3, 2, 1)
    assert by_name["of"][1:5] == (1, 0, 0, 0)
    assert by_name["sequel"].lift.n_pairs == 1  # the two items themselves
    assert by_name["in"].lift.n_pairs == 3
    assert card.inverse == (("by", "made"),)
    assert card.same == (("from", "in"),)
    assert card.hubs[0] == Hub("it", 5, 3)


def test_nothing_linked_is_no_error():
    triples = pl.DataFrame(TRIPLES, ["head_id", "relation_id", "tail_id"], orient="row")
    links = pl.DataFrame(schema={"item": pl.Int64, "entity_id": pl.String})
    card = graph_card(triples, links, consumption(np.array([0, 1]), np.array([0, 0]), 2))
    assert (card.reached, card.alone, card.degrees, card.in_largest) == (0, 0, (0, 0.0, 0), 0.0)
