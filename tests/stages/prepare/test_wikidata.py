import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from kgrec_cli import query_service
from kgrec_cli.core.linking import wikidata as wd
from kgrec_cli.dataset.files import read_kg, read_labels
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.settings import Settings
from kgrec_cli.stages.prepare.graph import KGRequest
from kgrec_cli.stages.prepare.run import PrepareRequest, PrepareResult, run_prepare
from tests.query_server import Failure, Graph, Service, serving

FILMS = {
    "1": "Toy Boat (1995)",
    "2": "Heart, The (1996)",
    "3": "Cave (1996)",
    "4": "Nowhere (1999)",
}
IDS = {"1": "0000001", "2": "0000022", "3": "10000333", "4": "0004444"}
PEOPLE = {"Q10": "Ada Invented", "Q11": "Bo Invented", "Q20": "comedy", "Q21": "drama"}


def invented() -> Graph:
    """Three films with directors and genres; every film is a film, and has a value of its own."""
    facts = [
        *[(film, "P31", "Q11424") for film in ("Q1", "Q2", "Q3")],
        *[("Q1", "P57", "Q10"), ("Q2", "P57", "Q10"), ("Q3", "P57", "Q11"), ("Q1", "P57", "Q11")],
        *[
            ("Q1", "P136", "Q20"),
            ("Q2", "P136", "Q21"),
            ("Q3", "P136", "Q21"),
            ("Q1", "P136", "Q21"),
        ],
        *[("Q1", "P144", "Q31"), ("Q2", "P144", "Q32"), ("Q3", "P144", "genid7")],
        *[
            ("Q10", "P27", "Q40"),
            ("Q11", "P27", "Q41"),
            ("Q10", "P136", "Q20"),
            ("Q11", "P136", "Q20"),
        ],
    ]
    names = {q: {"en": name} for q, name in PEOPLE.items()} | {
        "Q1": {"en": "Toy Boat", "de": "Spielzeugboot"},
        "Q2": {"en": "The Heart"},
        "Q3": {"mul": "Cave"},
        "P57": {"en": "director", "de": "Regie"},
        "P136": {"en": "genre"},
        "Q11424": {"en": "film"},
    }
    relations = dict.fromkeys(("P31", "P57", "P136", "P144", "P27"), "WikibaseItem")
    identifiers = dict.fromkeys(("P345", "P4947", "P212", "P957"), "ExternalId")
    imdb = {"tt0000001": ["Q1"], "tt0000022": ["Q2"], "tt10000333": ["Q3"]}
    dates = {
        "Q1": "1995-03-01T00:00:00Z",
        "Q2": "1996-01-01T00:00:00Z",
        "Q3": "1997-01-01T00:00:00Z",
    }
    return Graph({"P345": imdb}, facts, names, types=relations | identifiers, dates=dates)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving(invented()) as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_service, "PAUSE_S", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.setenv(name, "C.UTF-8")


def write_set(
    folder: Path, films: dict[str, str] = FILMS, ids: dict[str, str] | None = IDS
) -> Path:
    folder.mkdir()
    rows = [
        f"{user},{film},4,{t}" for t, (user, film) in enumerate((u, f) for u in "12" for f in films)
    ]
    (folder / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n" + "\n".join(rows) + "\n"
    )
    lines = [f'{film},"{title}",Drama' for film, title in films.items()]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "\n".join(lines) + "\n")
    if ids is not None:
        lines = [f"{film},{text},{film}" for film, text in ids.items()]
        (folder / "links.csv").write_text("movieId,imdbId,tmdbId\n" + "\n".join(lines) + "\n")
    return folder


class Case:
    def __init__(self, folder: Path, service: Service, events: list[Event]):
        self.folder, self.service, self.events = folder, service, events
        self.raw = write_set(folder / "raw")

    def prepare(self, raw: Path | None = None, items: Path | None = None, **options: object):
        kg = KGRequest("wikidata", endpoint=self.service.endpoint, **options)  # type: ignore[arg-type]
        request = PrepareRequest(
            "toy", raw or self.raw, folder=self.folder, cache_dir=self.folder / "cache", kg=kg,
            items_path=items,
        )  # fmt: skip
        return run_prepare(request, on_event=self.events.append)

    def failure(self, **options: object) -> str:
        with pytest.raises(KgrecError) as caught:
            self.prepare(**options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def texts(self, kind: type[Event]) -> list[str]:
        return [event.text for event in self.events if isinstance(event, kind)]  # type: ignore[union-attr]

    def labels(self) -> dict[str, str]:
        return dict(read_labels(SETTINGS, self.folder).select("token", "label").iter_rows())

    def triples(self) -> set[tuple[str, ...]]:
        return set(read_kg(SETTINGS, self.folder).iter_rows())


SETTINGS = Settings(dataset="toy")


@pytest.fixture
def case(tmp_path: Path, service: Service, events: list[Event]) -> Case:
    return Case(tmp_path, service, events)


def links(result: PrepareResult) -> list[str]:
    return (result.dataset_dir / "toy.link").read_text().splitlines()[1:]


def test_links_csv_is_all_that_movielens_needs(case: Case):
    result = case.prepare()
    assert links(result) == ["1\tQ1", "2\tQ2", "3\tQ3"]
    # P31 has one value, P144 no shared one: neither says what films have in common.
    assert case.triples() == {
        ("Q1", "P57", "Q10"), ("Q1", "P57", "Q11"), ("Q2", "P57", "Q10"), ("Q3", "P57", "Q11"),
        ("Q1", "P136", "Q20"), ("Q1", "P136", "Q21"), ("Q2", "P136", "Q21"), ("Q3", "P136", "Q21"),
    }  # fmt: skip
    named = {"Q1": "Toy Boat", "Q2": "The Heart", "Q3": "Cave", "P57": "director", "P136": "genre"}
    assert case.labels() == {**named, **PEOPLE}
    selection = result.report["kg"]["selection"]
    verdicts = {row["relation_id"]: row["verdict"] for row in selection["candidates"]}
    assert verdicts == {
        "P57": "kept", "P136": "kept",
        "P31": "nearly all have one value", "P144": "hardly a value is shared",
    }  # fmt: skip
    assert selection["linked_by"] == "imdb (P345)"
    assert selection["service"]["endpoint"] == case.service.endpoint
    assert selection["service"]["queries"][0]["first"] == case.service.queries[0]
    assert result.report["links"]["items_linked"] == 3
    assert "Wikidata: 3 of 4 imdb ids are those of an entity" in case.texts(Note)
    assert case.service.most_at_once == 1
    assert all(agent.startswith("kgrec/") for agent in case.service.agents)


def test_a_second_run_asks_nothing(case: Case):
    first = case.prepare()
    n_queries = len(case.service.queries)
    second = case.prepare()
    assert len(case.service.queries) == n_queries
    assert second.report["files"] == first.report["files"]
    asked = [each["asked"] for each in second.report["kg"]["selection"]["service"]["queries"]]
    assert not any(asked)


def test_names_are_in_the_language_of_the_user(case: Case):
    case.prepare(language="de")
    assert case.labels()["P57"] == "Regie"
    assert case.labels()["Q1"] == "Spielzeugboot"
    assert case.labels()["Q2"] == "The Heart"  # no German name: English


def test_relations_and_hops_are_the_users_choice(case: Case):
    case.prepare(relations=("P57", "P27"), hops=2)
    assert case.triples() == {
        ("Q1", "P57", "Q10"), ("Q1", "P57", "Q11"), ("Q2", "P57", "Q10"), ("Q3", "P57", "Q11"),
        ("Q10", "P27", "Q40"), ("Q11", "P27", "Q41"),
    }  # fmt: skip
    case.prepare(relations=("all",))
    assert {relation for _, relation, _ in case.triples()} == {"P31", "P57", "P136", "P144"}


@pytest.mark.parametrize(
    "failure",
    [
        (429, {"Retry-After": "0"}, b"Too Many Requests"),
        (429, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, b""),
        (500, {}, b"Internal error"),
        (503, {}, b"<html>maintenance</html>"),
        (200, {}, b"<!DOCTYPE html><html>Log in to the network</html>"),
        (200, {}, b""),
        (200, {}, b'{"head":{"vars":["id"]},"results":{"bindings":[{"id":{"val'),
        (200, {"Content-Length": "4000"}, b'{"head":{"vars":["id"]},"results":'),
        (200, {}, b'{"boolean": true}'),
    ],
)
def test_what_passes_is_tried_again(case: Case, failure: Failure):
    case.service.failures = deque([failure, failure])
    result = case.prepare()
    assert links(result) == ["1\tQ1", "2\tQ2", "3\tQ3"]
    assert len([text for text in case.texts(Note) if "waiting" in text]) == 2


@pytest.mark.parametrize(
    ("failure", "found"),
    [
        ((429, {"Retry-After": "86400"}, b""), "HTTP 429 and asks to wait 86,400 s"),
        ((500, {}, b"Internal error"), "HTTP 500"),
        ((200, {}, b"<html></html>"), "found a web page, expected SPARQL's JSON"),
        (
            (200, {}, b'{"results": {"bindings": 7}}'),
            "found a cut or wrong answer, expected SPARQL's",
        ),
        ((403, {}, b"no User-Agent"), "refuses to answer (HTTP 403: no User-Agent)"),
        ((400, {}, b"MalformedQueryException: x"), "HTTP 400 (MalformedQueryException: x)"),
        (
            (301, {"Location": "https://elsewhere.invalid/q"}, b""),
            "moved to https://elsewhere.invalid/q",
        ),
    ],
)
def test_what_does_not_pass_is_one_line(case: Case, failure: Failure, found: str):
    case.service.failures = deque([failure] * 20)
    assert found in case.failure()
    assert not (case.folder / "dataset").exists() or not list((case.folder / "dataset").iterdir())


@pytest.mark.parametrize(
    "too_many",
    [
        (500, {}, b"java.util.concurrent.TimeoutException\n\tat com.bigdata"),
        (504, {}, b"<html>gateway time-out</html>"),
        (200, {}, b'{"results":{"bindings":[{"id":\njava.util.concurrent.TimeoutException'),
    ],
)
def test_a_query_that_is_too_slow_is_halved(case: Case, too_many: Failure):
    case.service.max_values, case.service.too_many = 2, too_many
    result = case.prepare()
    assert links(result) == ["1\tQ1", "2\tQ2", "3\tQ3"]
    n_queries = len(case.service.queries)
    case.prepare()  # also what was too slow is known
    assert len(case.service.queries) == n_queries


def test_one_value_that_is_too_slow_is_named(case: Case):
    case.service.max_values = 0
    assert "the query takes too long (HTTP 500); what it" in case.failure()


def test_a_service_without_an_answer_in_time_is_asked_for_less(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(query_service, "_TIMEOUT_S", 0.2)
    slow: Failure = (0, {}, b"0.5")
    case.service.failures = deque([slow, None, slow])  # properties, again, ids
    assert len(links(case.prepare(relations=("P57",)))) == 3
    n_ids = [query.count('"tt') for query in case.service.queries if "?id" in query]
    assert n_ids == [4, 2, 2]


def test_an_endpoint_that_goes_down_loses_nothing(case: Case):
    case.service.n_alive = 3
    assert "run the same command again to go on from there" in case.failure()
    asked = case.service.queries[:3]
    case.service.n_alive = 10**9
    case.service.queries.clear()
    assert links(case.prepare()) == ["1\tQ1", "2\tQ2", "3\tQ3"]
    assert not set(asked) & set(case.service.queries)


def test_no_network_is_one_line_and_leaves_the_data_set(case: Case):
    before = case.prepare()
    content = (before.dataset_dir / "toy.kg").read_bytes()
    kg = KGRequest("wikidata", endpoint="http://127.0.0.1:9/sparql")
    request = PrepareRequest(
        "toy", case.raw, folder=case.folder, cache_dir=case.folder / "other", kg=kg
    )
    with pytest.raises(KgrecError, match=r"cannot be reached \(Connection refused\); is there"):
        run_prepare(request, on_event=case.events.append)
    assert (before.dataset_dir / "toy.kg").read_bytes() == content


def test_merged_entities_are_followed(case: Case):
    case.service.graph.redirects |= {"Q91": "Q92", "Q92": "Q10", "Q93": "Q2"}
    case.service.graph.facts.append(("Q3", "P57", "Q91"))
    links_path = case.folder / "own.tsv"
    links_path.write_text("1\tQ1\n2\tQ93\n3\thttp://www.wikidata.org/entity/Q3\n4\tQ404\n")
    result = case.prepare(links_path=links_path)
    assert links(result) == ["1\tQ1", "2\tQ2", "3\tQ3", "4\tQ404"]
    assert ("Q3", "P57", "Q10") in case.triples()
    assert not [each for each in case.triples() if "Q91" in each]
    assert result.report["kg"]["selection"]["redirects"] == 3


def test_ids_of_two_entities_are_no_link(case: Case):
    case.service.graph.ids["P345"]["tt0000022"] = ["Q2", "Q5"]
    assert links(case.prepare()) == ["1\tQ1", "3\tQ3"]
    assert "1 items have ids of several entities (such as item 2: Q2, Q5)" in case.texts(Warn)[0]


def test_beside_another_graph_it_has_links_of_its_own(case: Case):
    (case.folder / "kg.tsv").write_text("e1\tcolour\tred\n")
    own = case.folder / "own.tsv"
    own.write_text("1\te1\n")
    kg = KGRequest(
        str(case.folder / "kg.tsv"), own, endpoint=case.service.endpoint, relations=("P57",),
        further=(KGRequest("wikidata"),),
    )  # fmt: skip
    request = PrepareRequest("toy", case.raw, folder=case.folder, cache_dir=case.folder, kg=kg)
    run_prepare(request, on_event=case.events.append)
    assert {("e1", "colour", "red"), ("e1", "P57", "Q10"), ("Q2", "P57", "Q10")} < case.triples()


def test_without_ids_titles_and_years_decide(case: Case):
    raw = write_set(case.folder / "other", ids=None)
    case.service.graph.facts.append(("Q3b", "P31", "Q5"))
    case.service.graph.names["Q50"] = {"en": "Toy Boat"}  # a book: no film
    result = case.prepare(raw)
    assert links(result) == ["1\tQ1", "2\tQ2", "3\tQ3"]
    assert result.report["links"]["titles"] | {} == {
        **dict.fromkeys(result.report["links"]["titles"], 0),
        "items": 4, "exact": 2, "near_year": 1, "not_found": 1,
    }  # fmt: skip


def test_the_type_of_other_items_is_told(case: Case):
    table = case.folder / "books.csv"
    table.write_text("id,title,year\n1,Toy Boat,1995\n2,The Heart,1996\n3,Cave,1997\n")
    log = case.folder / "log.csv"
    log.write_text(
        "user,item,time\n" + "".join(f"{u},{i},{u}{i}\n" for u in (1, 2) for i in (1, 2, 3))
    )
    result = case.prepare(log, items=table)
    assert links(result) == ["1\tQ1", "2\tQ2", "3\tQ3"]
    assert any("titles are taken for those of: film (Q11424)" in text for text in case.texts(Warn))


def test_a_column_of_the_users_table(case: Case):
    table = case.folder / "books.csv"
    table.write_text("id,title,code\n1,One,0306406152\n2,Two,9780306406157\n3,Three,\n")
    log = case.folder / "log.csv"
    log.write_text(
        "user,item,time\n" + "".join(f"{u},{i},{u}{i}\n" for u in (1, 2) for i in (1, 2, 3))
    )
    case.service.graph.ids["P212"] = {"978-0-306-40615-7": ["Q1"]}
    case.service.graph.works["Q1"] = "Q2"  # an edition, and the book
    result = case.prepare(log, items=table, link_by="isbn=code", relations=("P57",))
    assert links(result) == ["1\tQ2", "2\tQ2"]
    wrong = case.failure(raw=log, items=table, link_by="isbn=cod")
    assert wrong.startswith("--link-by: unknown column 'cod': did you mean 'code'?")


def test_what_cannot_be_linked_is_one_line(case: Case):
    raw = write_set(case.folder / "other", ids=None)
    wrong = case.failure(link_by="P57=imdbId")
    assert "P57 has values of WikibaseItem, expected external identifiers" in wrong
    assert "knows no property P999" in case.failure(link_by="P999=imdbId")
    assert "P345 has values of ExternalId" in case.failure(relations=("P345",))
    assert "found no column of it in" in case.failure(raw=raw, link_by="imdb")
    assert "unknown way to link 'imbd': did you mean 'imdb'?" in case.failure(link_by="imbd")
    assert "expected properties such as P57" in case.failure(relations=("director",))
    assert "none of its 4 ids (such as '1')" in case.failure(link_by="tmdb")


@pytest.mark.slow
def test_a_hundred_thousand_items_of_which_none_is_found(case: Case):
    n_items = 100_000
    films = {str(n): f"Film {n} (2000)" for n in range(1, n_items + 1)}
    raw = write_set(case.folder / "large", films, {n: f"{int(n) + 5000:07d}" for n in films})
    began = time.perf_counter()
    assert "none of its 100,000 ids (such as 'tt0005001') is one that" in case.failure(raw=raw)
    assert time.perf_counter() - began < 60
    answers = list((case.folder / "cache" / "queries").glob("*/*.json"))
    assert len(answers) == len(case.service.queries) == n_items / 400 + 1
    assert json.loads(answers[0].read_text())["endpoint"] == case.service.endpoint


def test_two_commands_at_once_ask_each_query_once(service: Service, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    service.failures.append((0, {}, b"0.3"))  # the first waits for its answer, the second for it

    def ask(_: int) -> list[dict[str, str]]:
        one = query_service.QueryService(service.endpoint, lambda _: None, tmp_path)
        make = lambda ids: wd.label_query(("en",), ids)  # noqa: E731
        return list(one.ask_all("names", ["Q1", "Q2"], make, 10))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, range(2))
    assert first == second != []
    assert len(service.queries) == 1
