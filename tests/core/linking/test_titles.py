import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.linking.titles import fold_title, match_titles, parse_title


def titles(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["item_id", "title"], orient="row")


def matched_ids(items: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """item_id and catalog_id of the items that are found."""
    return match_titles(items, catalog).drop_nulls("catalog_id").select("item_id", "catalog_id")


def match_one(item: str, *catalog: str) -> tuple[str | None, str]:
    """The catalogue number (from 0) and match of one title."""
    known = titles(*((str(number), title) for number, title in enumerate(catalog)))
    row = match_titles(titles(("x", item)), known).row(0)
    return row[1], row[2]


# Folding


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Shawshank Redemption, The", "the shawshank redemption"),
        ("Postino, Il", "il postino"),
        ("Enfer, L'", "lenfer"),
        ("L'Enfer", "lenfer"),
        ("Good, The Bad, The", "the good the bad"),
        ("Crouching Tiger, Hidden Dragon", "crouching tiger hidden dragon"),
        ("Blood & Wine", "blood and wine"),
        ("Ulee's  Gold!", "ulees gold"),
        ("Double vie de Véronique, La", "la double vie de veronique"),
        ("Smørrebrød Æon Straße", "smorrebrod aeon strasse"),
        ("M*A*S*H", "m a s h"),
        ("八月", "八月"),
        ("???", "???"),
        ("", ""),
    ],
)
def test_fold_title(text: str, folded: str) -> None:
    assert fold_title(text) == folded


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    once = fold_title(text)
    assert fold_title(once) == once


def test_parse_title_takes_a_title_apart() -> None:
    title = parse_title("City of Lost Children, The (Cité des enfants perdus, La) (1995)")
    assert title.main == "the city of lost children"
    assert title.names == {"the city of lost children", "la cite des enfants perdus"}
    assert title.year == 1995
    assert parse_title("Land Before Time III (1995) (V)").names == {"land before time iii"}
    assert parse_title("Twin Peaks (1989–1991)").year == 1989
    assert parse_title("Sydney (a.k.a. Hard Eight) (1996)").names == {"sydney", "hard eight"}
    assert parse_title("2001: A Space Odyssey (1968)").year == 1968
    assert parse_title("Heat", 1995).year == 1995
    assert parse_title("Heat (1972)", 1995).year == 1972
    assert parse_title("unknown").year is None
    assert parse_title("(500)").main == "500"


# Matching


@pytest.mark.parametrize(
    ("item", "catalog", "expected"),
    [
        ("Postino, Il (1994)", "Il Postino (1994)", "exact"),
        ("Shawshank Redemption, The (1994)", "The Shawshank Redemption (1994)", "exact"),
        ("Blood & Wine (1997)", "blood and wine (1997)", "exact"),
        ("Cité, La (1990)", "La cite! (1990)", "exact"),
        ("Postman, The (Postino, Il) (1994)", "Il Postino (1994)", "other title"),
        ("Hard Eight (1996)", "Sydney (a.k.a. Hard Eight) (1996)", "other title"),
        ("Caro Diario (Dear Diary) (1994)", "Dear Diary (Caro Diario) (1994)", "other title"),
        ("Conan (1981)", "Conan (1982)", "near year"),
        ("Conan (1981)", "Conan (1980)", "near year"),
        ("Conan (1981)", "Conan (1983)", "not found"),
        ("Conan", "Conan (1981)", "not found"),
        ("Conan", "Conan", "exact"),
        ("Boys, Les (1997)", "Boys, The (1997)", "not found"),
        ("", "", "not found"),
    ],
)
def test_one_title_against_one(item: str, catalog: str, expected: str) -> None:
    found = None if expected == "not found" else "0"
    assert match_one(item, catalog) == (found, expected)


def test_the_better_match_wins() -> None:
    assert match_one("Heat (1995)", "Heat (1996)", "Hot (Heat) (1995)", "Heat (1995)") == (
        "2",
        "exact",
    )
    assert match_one("Heat (1995)", "Heat (1996)", "Hot (Heat) (1995)") == ("1", "other title")


def test_two_candidates_are_not_guessed_between() -> None:
    assert match_one("Emma (1996)", "Emma (A) (1996)", "Emma (B) (1996)") == (None, "ambiguous")
    assert match_one("Emma (1996)", "Emma (1995)", "Emma (1997)") == (None, "ambiguous")


def test_several_titles_of_one_catalogue_id_are_one_candidate() -> None:
    catalog = titles(("7", "Hard 8 (1996)"), ("7", "Sydney (Hard Eight) (1996)"))
    assert matched_ids(titles(("x", "Hard Eight (1996)")), catalog).rows() == [("x", "7")]


def test_the_same_film_standing_twice_is_linked_twice() -> None:
    items = titles(("246", "Chasing Amy (1997)"), ("268", "Chasing Amy (1997)"))
    assert matched_ids(items, titles(("1639", "Chasing Amy (1997)"))).rows() == [
        ("246", "1639"),
        ("268", "1639"),
    ]


def test_two_different_films_with_one_candidate_get_none() -> None:
    items = titles(("a", "Heat (1995)"), ("b", "Heat (1997)"), ("c", "Solo (1990)"))
    matches = match_titles(items, titles(("1", "Heat (1996)"), ("2", "Solo (1990)")))
    assert matches.drop("score").rows() == [
        ("a", None, "ambiguous"),
        ("b", None, "ambiguous"),
        ("c", "2", "exact"),
    ]


def test_a_catalogue_film_that_is_taken_is_no_candidate_any_more() -> None:
    items = titles(("a", "Heat (1996)"), ("b", "Heat (1995)"))
    matches = match_titles(items, titles(("1", "Heat (1995)")))
    assert matches.drop("score").rows() == [("a", None, "not found"), ("b", "1", "exact")]


@pytest.mark.parametrize("years", [[1995], [1995.0], ["1995"]])
def test_a_year_beside_the_title_counts(years: list[object]) -> None:
    items = pl.DataFrame({"item_id": ["a"], "title": ["Heat"], "release_year": years})
    assert matched_ids(items, titles(("1", "Heat (1995)"), ("2", "Heat (1972)"))).rows() == [
        ("a", "1")
    ]


def test_no_title_matches_nothing() -> None:
    items = pl.DataFrame(
        {"item_id": ["a"], "title": [None], "release_year": [None]},
        schema={"item_id": pl.String, "title": pl.String, "release_year": pl.Int64},
    )
    assert match_titles(items, items).rows() == [("a", None, "not found", None)]
    assert match_titles(items.clear(), items).height == 0


NAMES = st.sampled_from(["Heat", "Heat, The", "The Heat", "Alien", "Alien (Heat)", "?"])
YEARS = st.sampled_from(["", " (1994)", " (1995)", " (1996)"])
TITLES = st.lists(st.builds(str.__add__, NAMES, YEARS), max_size=8)


@given(TITLES, TITLES)
def test_different_films_never_share_a_catalogue_id(one: list[str], other: list[str]) -> None:
    items = titles(*((f"i{n}", title) for n, title in enumerate(one)))
    catalog = titles(*((f"c{n}", title) for n, title in enumerate(other)))
    matches = match_titles(items, catalog)
    assert matches["item_id"].to_list() == items["item_id"].to_list()
    films: dict[str, set[tuple[str, int | None]]] = {}
    for (_, catalog_id, found, score), title in zip(matches.rows(), one, strict=True):
        assert (catalog_id is None) == (found in ("ambiguous", "not found")) == (score is None)
        if catalog_id is None:
            continue
        mine, theirs = parse_title(title), parse_title(other[int(catalog_id[1:])])
        assert mine.names & theirs.names
        assert (
            mine.year == theirs.year
            or abs((mine.year or 0) - (theirs.year or 0)) == 1
            or (found == "without year" and theirs.year is None)
        )
        films.setdefault(catalog_id, set()).add((mine.main, mine.year))
    assert all(len(claimed) == 1 for claimed in films.values())


CATALOG = (
    "Heat (1995)",
    "Alien (1979)",
    "Emma (1996)",
    "Emma (1995)",
    "Ran (A) (1985)",
    "Ran (B) (1985)",
    "Heat (1995)",
)


@given(st.permutations([*enumerate(CATALOG)]))
def test_the_order_of_the_catalogue_does_not_matter(shuffled: list[tuple[int, str]]) -> None:
    items = ["Heat (1995)", "Alien (1980)", "Emma (1996)", "Ran (1985)"]
    catalog = titles(*((str(number), title) for number, title in shuffled))
    matches = match_titles(titles(*((title, title) for title in items)), catalog)
    assert matches.drop("score").rows() == [
        ("Heat (1995)", "0", "exact"),
        ("Alien (1980)", "1", "near year"),
        ("Emma (1996)", "2", "exact"),
        ("Ran (1985)", None, "ambiguous"),
    ]
