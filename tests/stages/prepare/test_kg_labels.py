"""`--kg-labels`: names of entities and relations from a file, kept in `.label`."""

from pathlib import Path

import pytest

from kgrec_cli.core.linking.prune import Pruning
from kgrec_cli.errors import KgrecError, UsageError
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


@pytest.mark.parametrize("header", ["name,id", "label,relation", "label:token_seq,token:token"])
def test_a_column_of_labels_has_names(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path, header: str
):
    path = tmp_path / "names.csv"
    path.write_text(f"{header}\nAl Pacino,a1\nplayed by,actor\n")
    labels = texts(prepare(**kg_files, labels_path=path))["toy.label"].splitlines()
    assert labels[1:] == ["actor\trelation\tplayed by", "a1\tentity\tAl Pacino"]


def test_without_a_graph_there_is_nothing_to_name_or_prune(prepare: Prepare, tmp_path: Path):
    path = tmp_path / "names.csv"
    path.write_text("a1,Al Pacino\n")
    with pytest.raises(KgrecError, match="there is no graph to give names to; leave out"):
        prepare(kg="none", labels_path=path)
    with pytest.raises(KgrecError, match="there is no graph to prune; leave out"):
        prepare(kg="none", pruning=Pruning(("actor",)))


def test_a_relation_is_dropped_by_the_name_that_is_shown(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path
):
    path = tmp_path / "names.csv"
    path.write_text("actor,played by\nborn,born in\n")
    (tmp_path / "kg.tsv").write_text("e1\tactor\ta1\ne2\thttp://x.org/p/born\tp1\n")
    kg = {**kg_files, "labels_path": path}
    for name, left in (("played by", "http://x.org/p/born"), ("born", "actor")):
        result = prepare(**kg, pruning=Pruning((name,)))
        assert texts(result)["toy.kg"].splitlines()[1].split("\t")[1] == left
    path.write_text("actor,born\n")
    with pytest.raises(UsageError, match="--drop-relation born: which one"):
        prepare(**kg, pruning=Pruning(("born",)))


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
