"""What becomes of the columns of an item table: relations, or a reason why not."""

import polars as pl
import pytest

from kgrec_cli.core.linking.item_columns import ColumnUse, column_facts


def use(name: str, texts: list[str], kind: str | None = None, **options: int) -> ColumnUse:
    items = pl.Series([f"A{n}" for n in range(len(texts))])
    column = pl.DataFrame({"item_id": items, "text": texts})
    return column_facts(column, name, items, kind, **options)


def facts(made: ColumnUse) -> list[tuple[str, str, str]]:
    return made.facts.rows()


def test_values_are_tails_under_the_name_of_their_column():
    made = use("brand", ["Acme", "Blue  Sky", "Acme", "", "Blue Sky"])
    assert (made.kind, made.how) == ("value", "")
    assert facts(made) == [
        ("A0", "brand", "brand:Acme"), ("A1", "brand", "brand:Blue Sky"),
        ("A2", "brand", "brand:Acme"), ("A4", "brand", "brand:Blue Sky"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "how"),
    [
        (["x|y", "y | z", "x", "z|x|z"], "lists with '|'"),
        (["x;y", "y; z", "x", "z;x;z"], "lists with ';'"),
        (['["x", "y"]', '["y","z"]', '["x"]', '["z", ["x"], null]'], "lists in brackets"),
        (["['x', 'y']", "['y','z']", "['x']", "['z', 'x']"], "lists in brackets"),
    ],
)
def test_lists_become_a_triple_for_each_element(texts: list[str], how: str):
    made = use("tags", texts)
    assert (made.kind, made.how) == ("list", how)
    assert [(item, tail) for item, _, tail in facts(made)] == [
        ("A0", "tags:x"), ("A0", "tags:y"), ("A1", "tags:y"), ("A1", "tags:z"),
        ("A2", "tags:x"), ("A3", "tags:z"), ("A3", "tags:x"),
    ]  # fmt: skip


def test_spaces_separate_where_the_file_says_so_and_nothing_else_does():
    texts = ["c d", "d a", "c a", "b"]
    made = use("tags", texts, spaced=True)
    assert (made.kind, made.how) == ("list", "lists with spaces")
    assert [tail for _, _, tail in facts(made)] == [f"tags:{each}" for each in "cddacab"]
    assert use("tags", texts, "value", spaced=True).facts["tail_id"][0] == "tags:c d"
    assert use("tags", ["New York|Rome", "Rome"], spaced=True).how == "lists with '|'"
    prose = use("text", ["a film of a man who goes out to sea in a boat and comes home"] * 3,
                spaced=True)  # fmt: skip
    assert prose.how == "it is free text"


def test_what_is_left_out_is_said():
    years = use("year", ["1990", "in 1991", "new", "?"], "year")
    assert years.how == "years and decades; 2 cells hold no year"
    assert use("price", ["5", "5", "x"], "bins").how == "one quantile; 1 cells hold no number"
    assert use("genres", ['[{"id": 1, "name": "G"}]'] * 4).how == "it holds objects"
    made = use("next", ["A0", "A1", "A2"], "items")
    assert made.how == "no cell holds the id of another item (such as 'A0')"


def test_a_comma_within_names_separates_nothing():
    names = ["Eco, Umberto", "Levi, Primo", "Eco, Umberto", "Levi, Primo"]
    made = use("author", names)
    assert made.kind == "value"
    assert facts(made)[0] == ("A0", "author", "author:Eco, Umberto")
    split = use("author", names, "list")
    assert facts(split)[:2] == [("A0", "author", "author:Eco"), ("A0", "author", "author:Umberto")]
    mixed = ["a, b", "b, c", "a, c", "a, b, c", "c, a", "b, a"]
    assert use("kind", mixed).how == "lists with ','"


def test_quantiles_are_named_by_their_bounds_and_equal_numbers_stay_together():
    texts = ["$1.00", "2", "2.0", "2", "1,250.50", "7 EUR", "n/a"]
    made = use("price", texts, "bins", n_bins=3)
    assert [(item, tail) for item, _, tail in facts(made)] == [
        ("A0", "price:1"), ("A1", "price:2"), ("A2", "price:2"), ("A3", "price:2"),
        ("A4", "price:7 to 1250.5"), ("A5", "price:7 to 1250.5"),
    ]  # fmt: skip
    assert (made.how, made.missing) == ("3 quantiles", "'n/a' in 1 of 7 rows (14%)")


def test_years_have_their_decade_too():
    made = use("published", ["1999", "2004-05-06", "12 May 1994"])
    assert (made.kind, made.how) == ("year", "years and decades")
    assert facts(made)[1] == ("A1", "published", "published:2004")
    assert facts(made)[3:] == [
        ("A0", "published_decade", "published_decade:1990s"),
        ("A1", "published_decade", "published_decade:2000s"),
        ("A2", "published_decade", "published_decade:1990s"),
    ]


def test_ids_of_other_items_link_items():
    made = use("also_bought", ["['A1', 'A9']", "['A0', 'A1']", ""])
    assert (made.kind, made.how) == ("items", "links to other items; 2 of 4 ids are other items")
    assert facts(made) == [
        ("A0", "item.also_bought", "item:A1"), ("A1", "item.also_bought", "item:A0"),
    ]  # fmt: skip
    assert use("series", ["A1", "A2 A0", ""], "items").facts["tail_id"].to_list() == [
        "item:A1", "item:A2", "item:A0"
    ]  # fmt: skip


def test_numbers_that_happen_to_be_ids_are_no_links():
    """Of items that are numbers themselves only a name shows it."""
    items = pl.Series([str(n) for n in range(40)])
    column = pl.DataFrame({"item_id": items, "text": [str(n % 5) for n in range(40)]})
    assert column_facts(column, "size", items).kind == "value"
    assert column_facts(column, "similar", items).kind == "items"


@pytest.mark.parametrize(
    ("name", "texts", "why"),
    [
        ("x", [""] * 30, "it is empty"),
        ("sku", [f"S{n}" for n in range(30)], "it holds identifiers: 100% of the items share no"),
        ("ean", [str(40_000 + 7 * n) for n in range(30)], "it holds identifiers: each item has"),
        ("weight", [f"{n}.5" for n in range(30)], "it holds numbers: weight:bins makes quantiles"),
        ("stock", ["yes"] * 30, "it is 'yes' for all"),
        ("about", [f"A word {n} " * 9 for n in range(30)], "it is free text"),
        ("spec", ['{"a": 1}'] * 30, "it holds objects"),
    ],
)
def test_what_is_of_no_use_is_named(name: str, texts: list[str], why: str):
    made = use(name, texts)
    assert made.kind == "unused"
    assert made.how.startswith(why)
    assert made.facts.is_empty()


def test_a_kind_that_no_cell_is_of():
    made = use("brand", ["Acme", "Blue"], "bins")
    assert (made.kind, made.how) == ("unused", "no cell holds a number (such as 'Acme')")


def test_quantiles_of_long_numbers_stay_apart():
    made = use("day", [str(20240101 + n) for n in range(4)], "bins", n_bins=2)
    assert made.facts["tail_id"].unique(maintain_order=True).to_list() == [
        "day:20240101 to 20240102", "day:20240103 to 20240104",
    ]  # fmt: skip


def test_deep_lists_are_read():
    for depth in (900, 50_000):
        made = use("tag", ["[" * depth + "1" + "]" * depth, "[1]", "[1]"], "list")
        assert made.facts["tail_id"].to_list()[-2:] == ["tag:1", "tag:1"]
