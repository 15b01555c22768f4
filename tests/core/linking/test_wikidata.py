import pytest

from kgrec_cli.core.linking.titles import spoken_titles
from kgrec_cli.core.linking.wikidata import id_query, identifier, quoted, short_id, title_query


def forms(name: str, text: str) -> list[str]:
    found = identifier(name)
    assert found is not None
    return found.forms(text)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("imdb", "0114709", "tt0114709"),
        ("imdb", "114709", "tt0114709"),
        ("imdb", "114709.0", "tt0114709"),  # as pandas writes numbers beside a gap
        ("imdb", "tt10048342", "tt10048342"),
        ("imdb", "https://www.imdb.com/title/tt0114709/?ref_=x", "tt0114709"),
        ("imdb", "nm0000158", "nm0000158"),
        ("P345", "0114709", "tt0114709"),
        ("tmdb", "862.0", "862"),
        ("tmdb", "https://www.themoviedb.org/movie/862-toy-story", "862"),
        ("steam", "https://store.steampowered.com/app/440/Team/", "440"),
        (
            "musicbrainz",
            "https://musicbrainz.org/artist/0383DADF-2A4E-4D10-A46A-E9E041DA8EB3",
            "0383dadf-2a4e-4d10-a46a-e9e041da8eb3",
        ),
        ("P9999", "as it is", "as it is"),
    ],
)
def test_an_id_is_written_as_wikidata_writes_it(name: str, text: str, value: str):
    assert forms(name, text) == [value]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("imdb", "Toy Story"),
        ("tmdb", "0"),
        ("musicbrainz", "12"),
        ("isbn", "9780306406158"),
        ("isbn", "x"),
    ],
)
def test_what_is_no_id_has_no_form(name: str, text: str):
    assert forms(name, text) == []


# The example of the ISBN manual, and one of each length of a registration group.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0306406152", {"978-0-306-40615-7", "0-306-40615-2", "9780306406157", "0306406152"}),
        ("978-0-306-40615-7", {"978-0-306-40615-7", "0-306-40615-2"}),
        ("306406152", {"978-0-306-40615-7"}),  # a leading zero lost
        ("080442957X", {"0-8044-2957-X", "978-0-8044-2957-3"}),
        ("8090273416", {"80-902734-1-6"}),
        ("9971502100", {"9971-5-0210-0"}),
        ("9992158107", {"99921-58-10-7"}),
        ("9789602304792", {"978-960-230-479-2"}),
        ("9791090636071", {"979-10-90636-07-1"}),
    ],
)
def test_isbns_have_hyphens_wherever_they_may_stand(text: str, expected: set[str]):
    found = forms("isbn", text)
    assert expected <= set(found)
    assert len(found) == len(set(found)) <= 18
    assert ("979" in text[:3]) == all(each.startswith("979") for each in found)


def test_unknown_identifiers_are_none():
    assert identifier("imbd") is None
    assert identifier("P0") is None


def test_texts_cannot_leave_their_quotes():
    assert quoted('say "hi" \\ \n}') == '"say \\"hi\\" \\\\  }"'
    query = id_query(("P345",), ['tt1" } DROP ALL { "'])
    assert query.count("{") - query.count("}") == 0
    assert '"tt1\\" } DROP ALL { \\""' in query
    assert '"A\\"B"@en' in title_query(None, ("en",), ['A"B'])


def test_iris_become_ids():
    assert short_id("http://www.wikidata.org/entity/Q42") == "Q42"
    assert short_id("<https://www.wikidata.org/prop/direct/P57>") == "P57"
    assert short_id("http://dbpedia.org/resource/Q42") == "http://dbpedia.org/resource/Q42"


@pytest.mark.parametrize(
    ("title", "spoken"),
    [
        ("Postman, The (Postino, Il) (1994)", ["The Postman", "Il Postino"]),
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)",
         ["The City of Lost Children", "La Cité des enfants perdus"]),
        ("Seven (a.k.a. Se7en) (1995)", ["Seven", "Se7en"]),
        ("Heat (V) (1995)", ["Heat"]),
        ("(500)", ["(500)", "500"]),
        ("", []),
    ],
)  # fmt: skip
def test_titles_are_asked_for_as_they_are_written_elsewhere(title: str, spoken: list[str]):
    assert spoken_titles(title) == spoken
