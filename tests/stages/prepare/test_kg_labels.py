"""`--kg-labels`: names of entities and relations from a file, kept in `.label`."""

from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note
from tests.stages.prepare.conftest import Prepare, texts


def test_names_are_kept_of_what_the_graph_has(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path, events: list[Event]
):
    path = tmp_path / "names.tsv"
    path.write_text("a1\tAl Pacino\nactor\tplayed by\nzz\tNobody\na1\tAnother\n<e2>\tHeat\n")
    result = prepare(**kg_files, labels_path=path)
    assert texts(result)["toy.label"].splitlines() == [
        "token:token\tkind:token\tlabel:token_seq",
        "actor\trelation\tplayed by",
        "a1\tentity\tAl Pacino",
        "e2\tentity\tHeat",
    ]
    assert Note(f"{path}: names of 2 entities and 1 relations") in events
    assert "names.tsv" in {source["file"] for source in result.report["sources"]}


def test_columns_by_their_header(prepare: Prepare, kg_files: dict[str, object], tmp_path: Path):
    path = tmp_path / "names.csv"
    path.write_text("name,entity_id\nAl Pacino,a1\n")
    assert "a1\tentity\tAl Pacino" in texts(prepare(**kg_files, labels_path=path))["toy.label"]


def test_titles_are_matched_with_these_names(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path
):
    path = tmp_path / "names.tsv"
    path.write_text("e1\tHeat (1995)\ne2\tToy Story (1995)\na1\tAl Pacino\n")
    result = prepare(kg=kg_files["kg"], link_by="title", labels_path=path)
    assert texts(result)["toy.link"].splitlines()[1:] == ["10\te2", "20\te1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\tName\n", "none of its tokens (such as 'q1') is an entity or relation of the graph"),
        ("alone\n", "expected two columns (token, name)"),
        ("a1\t\n", "holds no names"),
    ],
)
def test_bad_names(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path, text: str, message: str
):
    (tmp_path / "names.tsv").write_text(text)
    with pytest.raises(KgrecError) as caught:
        prepare(**kg_files, labels_path=tmp_path / "names.tsv")
    assert message in str(caught.value)
