"""Paths: those of a small graph by hand, and of any graph nothing that is not in it."""

from itertools import pairwise
from math import log

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.linking.names import with_names
from kgrec_cli.core.linking.paths import PathFinder, build_path_finder, relation_in_words

FILMS = {
    "1": "Star Wars",
    "2": "Empire",
    "3": "Jedi",
    "4": "Graffiti",
    "5": "Alien",
    "6": "Star Wars again",
    "7": "Home movie",
}
ENTITIES = {"1": "a", "2": "b", "3": "c", "4": "d", "5": "e", "6": "a", "7": "nowhere"}
TRIPLES = [
    ("a", "film.film.directed_by", "lucas"),
    ("d", "film.film.directed_by", "lucas"),
    ("lucas", "film.director.film", "d"),
    ("c", "film.film.producer", "lucas"),
    ("c", "film.film.sequelTo", "b"),
    *((film, "has_genre", "genre:Film") for film in "abcde"),
    ("lucas", "rdfs:label", "George Lucas"),
    ("a", "rdfs:label", "a film"),
    ("b", "rdfs:label", "a film"),
]


def table(triples: list[tuple[str, str, str]]) -> pl.DataFrame:
    schema = dict.fromkeys(("head_id", "relation_id", "tail_id"), pl.String)
    return pl.DataFrame(triples, schema, orient="row")


@pytest.fixture
def finder() -> PathFinder:
    return build_path_finder(ENTITIES, table(TRIPLES), FILMS)


def test_a_shared_director_comes_before_a_hub(finder: PathFinder) -> None:
    ((director, genre),) = finder.find(["1"], ["4"], [["1"]])
    assert (director.item, director.value, director.label) == ("1", "lucas", "George Lucas")
    assert director.relation == director.history_relation == "directed by"
    assert director.triples == (TRIPLES[0], TRIPLES[1])  # not lucas, film, d: one relation for both
    assert director.weight == pytest.approx(log(6 / 4))  # 1, 3, 4 and 6 of six linked items
    assert (genre.label, genre.relation) == ("Film", "genre")
    assert genre.weight == pytest.approx(log(6 / 6))


def test_relations_may_differ_on_the_two_sides(finder: PathFinder) -> None:
    path = finder.find(["1"], ["3"], [[]], limit=1)[0][0]
    assert (path.history_relation, path.relation) == ("directed by", "producer")
    assert path.triples == (TRIPLES[0], TRIPLES[3])


def test_neighbours_are_one_triple_apart(finder: PathFinder) -> None:
    path = finder.find(["2"], ["3"], [[]])[0][0]
    assert (path.triples, path.label) == ((TRIPLES[4],), "Empire")
    assert (path.relation, path.history_relation) == ("sequel to", "")
    path = finder.find(["3"], ["2"], [[]])[0][0]
    assert (path.triples, path.label) == ((TRIPLES[4],), "Jedi")
    assert (path.relation, path.history_relation) == ("sequel to of", "")


def test_one_entity_of_two_items_is_the_shortest_path(finder: PathFinder) -> None:
    path = finder.find(["5", "1"], ["6"], [[]])[0][0]
    assert (path.item, path.value, path.triples) == ("1", "a", ())
    assert path.weight == pytest.approx(log(6 / 2))


def test_paths_of_carriers_come_first(finder: PathFinder) -> None:
    (paths,) = finder.find(["1", "2", "5", "7"], ["4"], [["5", "2"]])
    found = [(path.item, path.label, path.is_borne_out) for path in paths]
    assert found == [
        ("5", "Film", True),
        ("2", "Film", True),
        ("1", "George Lucas", False),
        ("1", "Film", False),
    ]


def test_nothing_leads_to_an_item_without_an_entity_or_from_itself(finder: PathFinder) -> None:
    assert finder.find(["1", "4"], ["7", "4"], [[], []], limit=1)[0] == []
    assert finder.find(["4", "7"], ["4"], [["4"]]) == [[]]
    assert finder.find([], ["4"], [[]]) == [[]]
    empty = build_path_finder({}, table([]), {})
    assert empty.find(["1"], ["4"], [[]]) == [[]]


def test_an_equal_name_is_nothing_in_common(finder: PathFinder) -> None:
    assert [path.label for path in finder.find(["1"], ["2"], [[]])[0]] == ["Film"]


@pytest.mark.parametrize(
    ("outward", "relation", "words"),
    [
        (True, "film.film.directed_by", "directed by"),
        (True, "http://dbpedia.org/ontology/musicComposer", "music composer"),
        (True, "<http://dbpedia.org/ontology/starring>", "starring"),
        (True, "has_genre", "genre"),
        (False, "film.director.film", "film of"),
        (True, "7", "7"),
    ],
)
def test_relations_are_words(outward: bool, relation: str, words: str) -> None:
    assert relation_in_words(outward, relation) == words


names = st.sampled_from("abcdefg")


@given(st.lists(st.tuples(names, st.sampled_from("rs"), names), max_size=25))
def test_paths_are_exactly_those_of_the_graph(triples: list[tuple[str, str, str]]) -> None:
    entities = {"1": "a", "2": "b", "3": "c", "4": "a"}
    finder = build_path_finder(entities, table(triples), {})
    history = ["1", "2", "3", "4"]
    edges = {(head, tail) for head, _, tail in triples if head != tail}
    edges |= {(tail, head) for head, tail in edges}
    for item, paths in zip(history, finder.find(history, history, [[]] * 4), strict=True):
        end = entities[item]
        expected = {
            (other, value)
            for other in history
            for value in "abcdefg"
            if other != item and {entities[other], end} <= {node for edge in edges for node in edge}
            if ((entities[other], value) in edges and (value, end) in edges)
            or (value == entities[other] and (value, end) in edges)
            or entities[other] == end == value
        }
        assert {(path.item, path.value) for path in paths} == expected
        assert len(paths) == len(expected)
        for path in paths:
            assert set(path.triples) <= set(triples)
            nodes = [entities[path.item], path.value, end]
            hops = [pair for pair in pairwise(nodes) if pair[0] != pair[1]]
            ends = [{head, tail} for head, _, tail in path.triples]
            assert ends == [set(hop) for hop in hops]


def test_names_beside_the_graph_are_shown() -> None:
    labels = pl.DataFrame(
        {"token": ["Q1", "P57"], "kind": ["entity", "relation"], "label": ["Ada", "Regie: Film"]}
    )
    triples = with_names(table([("Qa", "P57", "Q1"), ("Qb", "P57", "Q1")]), labels)
    found = build_path_finder({"1": "Qa", "2": "Qb"}, triples, {}, {"P57": "Regie: Film"})
    path = found.find(["1"], ["2"], [["1"]])[0][0]
    assert (path.label, path.relation, path.history_relation) == (
        "Ada",
        "Regie: Film",
        "Regie: Film",
    )
    turned = with_names(table([("Q1", "P57", "Qa"), ("Q1", "P57", "Qb")]), labels)
    found = build_path_finder({"1": "Qa", "2": "Qb"}, turned, {}, {"P57": "directed"})
    assert found.find(["1"], ["2"], [["1"]])[0][0].relation == "directed of"
