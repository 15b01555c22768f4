"""The later passes of the matching of titles, its score, and 200 items settled by hand."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.linking.titles import match_titles, parse_title
from tests.core.linking.test_titles import match_one, matched_ids, titles

PAIRS_PATH = Path(__file__).with_name("title_pairs_ml100k.tsv")


@pytest.mark.parametrize(
    ("title", "parts"),
    [
        ("Star Wars: Episode IV - A New Hope (1977)", {"star wars", "a new hope"}),
        ("Crow: City of Angels, The (1996)", {"city of angels"}),  # one word is no part
        ("Gumby: The Movie (1995)", set()),
        ("Godfather: Part II, The (1974)", set()),
        ("Star Wars (1977)", set()),
        ("Ben-Hur: 2 Tales (1959)", set()),  # shorter than eight letters
    ],
)
def test_the_telling_parts_of_a_title(title: str, parts: set[str]) -> None:
    assert parse_title(title).parts == parts


@pytest.mark.parametrize(
    ("item", "catalog", "expected"),
    [
        ("Star Wars (1977)", "Star Wars: Episode IV - A New Hope (1977)", "part of title"),
        ("Star Wars: Episode IV - A New Hope (1977)", "Star Wars (1977)", "part of title"),
        (
            "Empire Strikes Back, The (1980)",
            "Star Wars: Episode V - The Empire Strikes Back (1980)",
            "part of title",
        ),
        ("Star Wars (1977)", "Star Wars: Episode V - The Empire Strikes Back (1980)", "not found"),
        ("Star Wars (1978)", "Star Wars: Episode IV - A New Hope (1977)", "not found"),
        ("Star Wars (1978)", "The Star Wars Holiday Special (1978)", "not found"),
        ("Star Wars", "Star Wars: Episode IV - A New Hope", "not found"),  # no years
        ("Episode IV (1977)", "Star Wars: Episode IV - A New Hope (1977)", "not found"),  # midst
        ("Star Wars: A Tale (1977)", "Star Wars: A New Hope (1977)", "not found"),  # both are parts
        ("Aliens (1986)", "Aliens: Special Edition (1986)", "not found"),  # one word
        ("Movie, The (1995)", "Gumby: The Movie (1995)", "not found"),
    ],
)
def test_a_part_of_a_title(item: str, catalog: str, expected: str) -> None:
    assert match_one(item, catalog) == (None if expected == "not found" else "0", expected)


@pytest.mark.parametrize(
    ("item", "catalog", "expected"),
    [
        (
            "3 Ninjas: High Noon At Mega Mountain (1998)",
            "3 Ninjas: High Noon On Mega Mountain (1998)",
            "alike",
        ),
        ("Children of the Corn: II (1992)", "Children of the Corn 2 (1992)", "alike"),
        ("Boys' Life (Duoluo tianshi) (1995)", "Fallen (Duo luo tian shi) (1995)", "alike"),
        ("Children of the Corn II (1992)", "Children of the Corn III (1992)", "not found"),
        ("The Children of the Corn 2 (1992)", "The Children of the Corn 3 (1992)", "not found"),
        ("The Children of the Corn II (1992)", "The Children of the Corn 3 (1992)", "not found"),
        (
            "Children of the Corn, Part One (1992)",
            "Children of the Corn, Part Two (1992)",
            "not found",
        ),
        ("Children of the Corn IV (1992)", "Children of the Corn (1992)", "alike"),
        ("Ultimate Avengers (2005)", "Ultimate Avenger (2006)", "not found"),
        ("Ultimate Avengers", "Ultimate Avenger", "not found"),  # no years
        ("The Brother (2001)", "The Brothers (2001)", "not found"),  # too short
        ("A Man Called Adam (1966)", "A Man Called Horse (1966)", "not found"),
    ],
)
def test_titles_that_are_alike(item: str, catalog: str, expected: str) -> None:
    assert match_one(item, catalog) == (None if expected == "not found" else "0", expected)


@pytest.mark.parametrize(
    ("item", "catalog", "expected"),
    [
        ("Fargo (1996)", ["Fargo"], ("0", "without year")),
        ("Fargo (1996)", ["Fargo", "Fargo (1996)"], ("1", "exact")),
        ("Fargo (1996)", ["Fargo", "Fargo"], (None, "ambiguous")),
        ("Fargo", ["Fargo (1996)"], (None, "not found")),  # the year is the catalogue's to lack
        ("Ultimate Avengers (2006)", ["Ultimate Avenger"], (None, "not found")),  # alike only
    ],
)
def test_a_catalogue_without_years(
    item: str, catalog: list[str], expected: tuple[str | None, str]
) -> None:
    assert match_one(item, *catalog) == expected


def test_a_name_without_year_is_not_shared_by_two_films() -> None:
    items = titles(("a", "Titanic (1953)"), ("b", "Titanic (1997)"))
    assert matched_ids(items, titles(("1", "Titanic"))).is_empty()
    known = titles(("1", "Titanic"), ("2", "Titanic (1997)"))
    assert matched_ids(items, known).rows() == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("item", "first", "second"),
    [
        ("Star Wars (1977)", "Star Wars: A New Hope (1977)", "Star Wars: The Old Hope (1977)"),
        ("Ultimate Avengers (2006)", "Ultimate Avenger (2006)", "Ultimate Avengerz (2006)"),
    ],
)
def test_of_two_candidates_the_later_passes_take_none(item: str, first: str, second: str) -> None:
    assert match_one(item, first, second) == (None, "ambiguous")
    both = match_titles(titles(("1", first), ("2", second)), titles(("x", item)))
    assert both["match"].to_list() == ["ambiguous"] * 2


def test_a_film_standing_twice_in_the_catalogue_goes_by_the_lower_id() -> None:
    item = titles(("x", "Blue Angel, The (Blaue Engel, Der) (1930)"))
    rows = [(catalog_id, item["title"][0]) for catalog_id in ("4970", "978", "10001")]
    assert matched_ids(item, titles(*rows)).rows() == [("x", "978")]
    assert matched_ids(item, titles(*rows[::-1])).rows() == [("x", "978")]


def test_a_film_standing_twice_in_the_catalogue_goes_by_the_linked_id() -> None:
    item = titles(("x", "M*A*S*H (1970)"))
    known = titles(("1", "M*A*S*H (1970)"), ("2", "M*A*S*H (a.k.a. MASH) (1970)"))
    assert matched_ids(item, known).rows() == [("x", "1")]
    linked = match_titles(item, known, {"2"})
    assert linked.drop("score").rows() == [("x", "2", "exact")]
    assert match_titles(item, known, {"1", "2"})["catalog_id"].to_list() == ["1"]
    other_year = titles(("1", "M*A*S*H (1970)"), ("2", "M*A*S*H (1972)"))
    assert match_titles(item, other_year, {"2"})["catalog_id"].to_list() == ["1"]


def test_the_title_with_the_same_further_names_is_the_better_one() -> None:
    known = ["M*A*S*H (1970)", "M*A*S*H (a.k.a. MASH) (1970)"]
    assert match_one("M*A*S*H (1970)", *known) == ("0", "exact")
    assert match_one("M*A*S*H (MASH) (1970)", *known) == ("1", "exact")


@pytest.mark.parametrize(
    ("item", "catalog", "score"),
    [
        ("Heat (1995)", "Heat (1995)", 100),
        ("Postino, Il (1994)", "Postman, The (Postino, Il) (1994)", 100),
        ("Heat (1995)", "Heat (1996)", 95),
        ("Heat (1995)", "Heat", 100),
        ("Star Wars (1977)", "Star Wars: Aaa Bbb (1977)", 100 * 18 / 26),  # 9 and 17 letters
        ("Abcdefghijklm (1977)", "Abcdefghijklmn (1977)", 100 * 26 / 27),  # 13 and 14
        ("Heat (1995)", "Ran (1985)", None),
    ],
)
def test_the_score(item: str, catalog: str, score: float | None) -> None:
    matches = match_titles(titles(("x", item)), titles(("0", catalog)))
    assert matches.schema["score"] == pl.Float64
    assert matches["score"].to_list() == [score if score is None else pytest.approx(score)]


NAMES = st.sampled_from(
    [
        "Star Wars", "Star Wars: A New Hope", "Star Wars - A New Hope", "A New Hope",
        "Ultimate Avengers", "Ultimate Avenger", "Ultimate Avengers 2", "Ultimate Avengers II",
    ]
)  # fmt: skip
TITLES = st.lists(st.builds(str.__add__, NAMES, st.sampled_from(["", " (1977)", " (1978)"])))


@given(TITLES, TITLES)
def test_the_later_passes_are_one_to_one(one: list[str], other: list[str]) -> None:
    items = titles(*((f"i{n}", title) for n, title in enumerate(one)))
    catalog = titles(*((f"c{n}", title) for n, title in enumerate(other)))
    film = {f"i{n}": parse_title(title) for n, title in enumerate(one)}
    films: dict[str, set[tuple[str, int | None]]] = {}
    for item, catalog_id in matched_ids(items, catalog).rows():
        films.setdefault(catalog_id, set()).add((film[item].main, film[item].year))
    assert all(len(claimed) == 1 for claimed in films.values())


@given(st.sets(st.builds(str.__add__, NAMES, st.sampled_from([" (1977)", " (1978)", ""]))))
def test_a_catalogue_matches_itself(names: set[str]) -> None:
    unique = {parse_title(name): name for name in sorted(names)}
    catalog = titles(*((name, name) for name in unique.values()))
    matches = match_titles(catalog, catalog)
    same_main = [(parse_title(name).main, parse_title(name).year) for name in unique.values()]
    for name, catalog_id, found, score in matches.rows():
        mine = parse_title(name)
        if same_main.count((mine.main, mine.year)) == 1:
            assert (catalog_id, found, score) == (name, "exact", 100)


# Real data


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="latin-1").splitlines()


def read_ml_100k(folder: Path) -> pl.DataFrame:
    return titles(*(tuple(line.split("|")[:2]) for line in lines(folder / "ml-100k" / "u.item")))


def read_ml_1m(folder: Path) -> pl.DataFrame:
    rows = (line.split("::") for line in lines(folder / "ml-1m" / "movies.dat"))
    return titles(*((row[0], "::".join(row[1:-1])) for row in rows))


def read_latest(folder: Path) -> pl.DataFrame:
    path = folder / "ml-latest-small" / "movies.csv"
    table = pl.read_csv(path, schema_overrides={"movieId": pl.String})
    return table.select(item_id="movieId", title="title")


@pytest.mark.real_data
def test_ml_100k_against_ml_1m(real_data_dir: Path) -> None:
    items = read_ml_100k(real_data_dir)
    assert items.height == 1_682
    matched = matched_ids(items, read_ml_1m(real_data_dir))
    assert matched.height == 1_668
    # Titanic and The Usual Suspects: the two that RecBole's links exchange with other films.
    assert {("313", "1721"), ("12", "50"), ("50", "260")} <= set(matched.rows())


@pytest.mark.real_data
def test_200_items_of_ml_100k_settled_by_hand(real_data_dir: Path) -> None:
    """Ids of both catalogues that are right, by reading the titles before the matcher saw them.

    110 items were drawn at random; 90 are hard: other titles, remakes, series, years that differ,
    films that stand twice, and ten items ("-") that are in neither catalogue.
    """
    catalog = pl.concat([read_ml_1m(real_data_dir), read_latest(real_data_dir)])
    matched = dict(matched_ids(read_ml_100k(real_data_dir), catalog).rows())
    assert len(matched) >= 1_670
    pairs = dict(line.split("\t") for line in lines(PAIRS_PATH)[1:])
    assert len(pairs) == 200
    wrong = [i for i, right in pairs.items() if matched.get(i, "-") not in right.split("|")]
    assert wrong == ["563"]  # a title with its author's name before it


@pytest.mark.real_data
def test_the_later_passes_err_in_no_film_that_two_catalogues_share(real_data_dir: Path) -> None:
    ml_1m, latest = read_ml_1m(real_data_dir), read_latest(real_data_dir)
    matches = match_titles(ml_1m, latest).filter(
        pl.col("match").is_in(["part of title", "alike", "without year"])
    )
    assert matches.height >= 18
    assert matches.filter(pl.col("item_id") != pl.col("catalog_id")).is_empty()
