"""`kgrec prepare --kg wikidata` as typed, and the names that explanations show of it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kgrec_cli import query_service
from tests.query_server import Service, serving
from tests.stages.prepare.test_wikidata import invented, write_set


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    monkeypatch.setattr(query_service, "PAUSE_S", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "cache"))
    write_set(tmp_path / "raw")
    with serving(invented()) as running:
        yield running


def test_from_ids_to_names_in_explanations(run_cli, tmp_path: Path, service: Service) -> None:
    command = ("prepare", "toy", "--raw", "raw", "--kg", "wikidata", "--language", "de")
    prepared = run_cli(*command, "--endpoint", service.endpoint)
    assert prepared.exit_code == 0, prepared.stderr
    assert "toy.{inter,item,user,kg,link,label} and prepare.json" in prepared.stdout
    assert "Wikidata: 3 of 4 imdb ids are those of an entity" in prepared.stderr
    assert "relations: Regie (P57), genre (P136)" in prepared.stderr
    left_out = "left out, though half of the entities have them: film"
    assert "P31: nearly all have one value" in prepared.stderr or left_out in prepared.stderr
    trained = run_cli("train", "--model", "GRU4Rec", "--epochs", "1", "--threads", "1")
    assert trained.exit_code == 0, trained.stderr
    shown = run_cli(
        "recommend", "--user", "1", "--include-seen", "--topk", "3", "--explain", "--json"
    )
    assert shown.exit_code == 0, shown.stderr
    assert "Ada Invented" in shown.stdout
    assert "Regie" in shown.stdout
    again = run_cli(*command, "--endpoint", service.endpoint, "--json")
    asked = json.loads(again.stdout)["kg"]["selection"]["service"]["queries"]
    assert {each["asked"] for each in asked} == {0}
    assert run_cli("prepare", "toy", "--raw", "raw", "--kg", "none").exit_code == 0
    assert not (tmp_path / "dataset/toy/toy.label").exists()  # of another graph


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--kg", "metadata", "--hops", "2"), "--hops goes with --kg wikidata or --kg FILE"),
        (("--kg", "metadata", "--link-by", "imdb"), "--link-by imdb goes with --kg wikidata or"),
        (("--kg", "wikidata", "--link-by", "id"), "--link-by id: of Wikidata say which: imdb"),
        (("--kg", "wikidata", "--link-by", "imbd"), "did you mean 'imdb'?"),
        (("--kg", "wikidata", "--link-by", "title=film"), "expected title=Q..., a type of items"),
        (("--kg", "wikidata", "--language", "de en"), "expected a code such as de or pt-br"),
        (("--kg", "wikidata", "--relations", "director"), "expected properties such as P57"),
        (("--kg", "wikidata", "--endpoint", "wikidata.org"), "expected http://... or https://..."),
        (("--kg", "wikidata", "--endpoint", "http://a b"), "URL can't contain control characters"),
        (("--kg", "none", "--endpoint", "http://x.invalid"), "--endpoint goes with --kg wikidata"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    run_cli, service: Service, options: tuple[str, ...], expected: str
) -> None:
    result = run_cli("prepare", "toy", "--raw", "raw", *options)
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())
    assert not service.queries
