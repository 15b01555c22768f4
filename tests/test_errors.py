"""Lines for names that nobody knows, and texts of files as errors quote them."""

import pytest

from kgrec_cli.errors import nearest, shorten, unknown_name


def test_a_short_list_of_names_is_shown_whole() -> None:
    said = unknown_name("search", "zzz", ["tpe", "random", "exhaustive"])
    assert said == "unknown search 'zzz': choose one of exhaustive, random, tpe"


@pytest.mark.parametrize("n_names", [8, 100])
def test_a_long_list_of_names_is_counted(n_names: int) -> None:
    runs = [f"ml-100k-GRU4RecKG-20261126-{number:06}" for number in range(n_names)]
    said = unknown_name("run", "zzz", runs)
    assert said == (
        f"unknown run 'zzz': none of the {n_names} known ones is spelled like it; leave it out"
    )


def test_a_long_name_is_cut() -> None:
    assert len(unknown_name("key", "x" * 5000, ["seed"])) < 100


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\r\n  c", "a<TAB>b c"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 37 + "..."),
        ("x" * 10**7, "x" * 37 + "..."),
    ],
)
def test_a_text_is_quoted_on_one_line_of_forty_characters(text: str, shown: str) -> None:
    assert shorten(text) == shown


@pytest.mark.parametrize(
    ("typed", "meant"), [("GRU4Rek", "GRU4Rec"), ("gru4reckgg", "GRU4RecKG"), ("lstm", None)]
)
def test_the_nearest_name_is_the_one_with_fewest_changes(typed: str, meant: str | None) -> None:
    assert nearest(typed, ["GRU4RecKG", "GRU4Rec"]) == meant
