"""What is odd about graphs and links, counted by hand."""

import polars as pl
import pytest

from kgrec_cli.core.linking.oddities import LinkFit, fit_links, graph_oddities, turned_text

TRIPLE = ["head_id", "relation_id", "tail_id"]
FACTS = [(f"m{n}", f"r{n % 5}", f"t{n}") for n in range(20)]
"""Twenty heads, five relations, twenty tails."""


def oddities(rows: list[tuple[str, str, str]], order: tuple[int, int, int] = (0, 1, 2)) -> str:
    turned = [tuple(row[i] for i in order) for row in rows]
    return "\n".join(graph_oddities(pl.DataFrame(turned, schema=TRIPLE, orient="row")))


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ((0, 1, 2), ""),
        ((2, 1, 0), ""),
        ((0, 2, 1), "20 relations, but only 5 different tails (25 entities): are the columns head"),
        ((1, 0, 2), "20 relations, but only 5 different heads (25 entities): are the columns rela"),
    ],
)
def test_columns_in_another_order(order: tuple[int, int, int], found: str) -> None:
    said = oddities(FACTS, order)
    assert said.startswith(found) if found else said == ""


def test_more_relations_than_entities() -> None:
    said = oddities([("a", f"r{n}", "b") for n in range(6)])
    assert said.startswith("6 relations, but only 1 different tails (2 entities)")
    assert oddities([("a", "r1", "b"), ("a", "r2", "b")]) == ""  # too few to tell


@pytest.mark.parametrize(("n_loops", "is_said"), [(0, False), (1, False), (2, True)])
def test_self_loops_from_one_in_a_hundred_on(n_loops: int, is_said: bool) -> None:
    rows = [(f"a{n}", "r", f"a{n if n < n_loops else n + 1}") for n in range(200)]
    said = oddities(rows)
    assert (f"{n_loops} of 200 triples lead from an entity to itself" in said) == is_said


def test_missing_values_as_entities() -> None:
    rows = [*FACTS, ("m1", "by", "NULL"), ("m2", "by", "NULL")]
    assert "2 of 22 triples have the tail 'NULL': if that stands for" in oddities(rows)


def links(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["item_id", "entity_id"], orient="row")


NUMBERED = pl.DataFrame([("0", "r", "7"), ("1", "r", "8"), ("2", "s", "7")], TRIPLE, orient="row")


def test_fit_by_hand() -> None:
    """0 and 1 are heads of r, 2 is not; 7 is a tail of r, 9 is none; 5 is no entity."""
    read, turned = fit_links(links(("7", "0"), ("9", "1"), ("5", "2")), NUMBERED, pl.Series(["7"]))
    assert read == LinkFit(items_linked=1, at_one_place=pytest.approx(2 / 3))
    assert turned == LinkFit(items_linked=0, at_one_place=pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("read", "turned", "expected"),
    [
        (LinkFit(23, 0.99), LinkFit(73, 0.59), False),  # more items linked is no sign
        (LinkFit(73, 0.59), LinkFit(23, 0.99), True),
        (LinkFit(0, 0.0), LinkFit(10, 0.9), True),
        (LinkFit(0, 0.0), LinkFit(10, 0.0), False),  # the graph is another one's
        (LinkFit(10, 0.3), LinkFit(0, 0.9), False),
        (LinkFit(10, 0.9), LinkFit(10, 0.95), False),
    ],
)
def test_which_way_round(read: LinkFit, turned: LinkFit, expected: bool) -> None:
    assert bool(turned_text(read, turned, 100)) == expected
