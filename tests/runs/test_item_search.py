"""An item by id or title: the right one, or a list of all that may be meant."""

import pytest

from kgrec_cli.errors import UsageError
from kgrec_cli.runs.item_search import ItemSearch

TITLES = {
    "50": "Star Wars (1977)",
    "172": "Empire Strikes Back, The (1980)",
    "1": "Matrix, The (1999)",
    "2": "Amélie (2001)",
    "3": "Heat",
    "4": "Heat and Dust (1983)",
    "5": "50",
    "6": "Star Trek (1979)",
    "8": "七人の侍 (1954)",
}
TOKENS = [*TITLES, "7"]


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("172", "172"), ("7", "7"), ("star wars", "50"), ("STAR  WARS (1977)", "50"),
        ("the matrix", "1"), ("amelie", "2"), ("heat", "3"), ("empire strikes", "172"),
        ("七人の侍", "8"), ("matri", "1"),
    ],
)  # fmt: skip
def test_the_one_item_that_is_meant(text: str, token: str) -> None:
    assert ItemSearch(TOKENS, TITLES).find_one(text, "--item") == token


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("star", "--item 'star': 2 items, give an id: 50 Star Wars (1977); 6 Star Trek (1979)"),
        ("50", "--item '50': 2 items, give an id: 50 Star Wars (1977); 5 50"),
        ("hea", "--item 'hea': 2 items, give an id: 3 Heat; 4 Heat and Dust (1983)"),
        (
            "star warz (1977)",
            "--item 'star warz (1977)': no item with this id or title; "
            "did you mean 'Star Wars (1977)'?",
        ),
        ("", "--item '': no item with this id or title"),
    ],
)
def test_several_or_none_are_told_and_nothing_is_guessed(text: str, line: str) -> None:
    with pytest.raises(UsageError) as raised:
        ItemSearch(TOKENS, TITLES).find_one(text, "--item")
    assert str(raised.value) == line


def test_typos_and_beginnings_are_allowed_in_a_search() -> None:
    titles = {"1": "Matrix, The", "2": "M", "3": "Trixie", "4": "Star Wars", "5": "War Stories"}
    search = ItemSearch(["1", "2", "3", "4", "5", "6"], titles)
    assert search.suggest("mtrix", 2) == ["1", "3"]
    assert search.suggest("the matirx", 1) == ["1"]
    assert search.suggest("star wa", 2) == ["4", "5"]
    assert search.suggest("6", 3) == ["6"]
    assert search.suggest("?!", 3) == []


def test_a_year_is_passed_over_where_titles_have_none() -> None:
    search = ItemSearch(["1", "2", "3"], {"1": "Heat", "2": "Psycho (1960)", "3": "Psycho (1998)"})
    assert search.find("heat (1995)") == ["1"]
    assert search.find("Psycho (1998)") == ["3"]
    assert search.find("Psycho (1999)") == []
