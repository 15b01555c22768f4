"""Graphs of numbers: OpenKE's and KGAT's files, with names for numbers."""

from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note
from kgrec_cli.formats.raw.id_files import read_kgat_links
from kgrec_cli.formats.raw.knowledge_graph import read_raw_triples

OPENKE = {
    "train2id.txt": "2\n0 1 0\n2\t1\t1\n",
    "entity2id.txt": "3\nHeat (film)\t0\nMichael Mann\t1\nAli\t2\n",
    "relation2id.txt": "2\ndirected by\t0\nby\t1\n",
}
KGAT = {
    "kg_final.txt": "0 0 2\n1 0 2\n",
    "entity_list.txt": "org_id remap_id\nm.1 0\nm.2 1\nm.3 2\n",
    "relation_list.txt": "org_id remap_id\nhttp://rdf.freebase.com/ns/film.by 0\n",
    "item_list.txt": "org_id remap_id freebase_id\nB00 0 m.1\nB01 1 m.2\n",
}


def write(folder: Path, files: dict[str, str], **changes: str) -> Path:
    for name, text in {**files, **{f"{key}.txt": text for key, text in changes.items()}}.items():
        (folder / name).write_text(text)
    return folder


def test_openke_is_head_tail_relation(tmp_path: Path, events: list[Event]):
    triples = read_raw_triples(write(tmp_path, OPENKE), on_event=events.append)
    assert triples.rows() == [
        ("Heat (film)", "directed by", "Michael Mann"), ("Ali", "by", "Michael Mann"),
    ]  # fmt: skip
    where = tmp_path / "train2id.txt"
    assert events == [Note(f"{where}: OpenKE's numbers, read as head, tail, relation")]
    assert read_raw_triples(where).equals(triples)


def test_the_list_of_relations_shows_another_order(tmp_path: Path, events: list[Event]):
    write(tmp_path, OPENKE, train2id="2\n0 0 1\n2 1 2\n")
    triples = read_raw_triples(tmp_path, on_event=events.append)
    assert triples["relation_id"].to_list() == ["directed by", "by"]
    assert "read as head, relation, tail" in str(events)


def test_without_lists_numbers_stay(tmp_path: Path):
    (tmp_path / "train2id.txt").write_text(OPENKE["train2id.txt"])
    assert read_raw_triples(tmp_path).rows() == [("0", "0", "1"), ("2", "1", "1")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train2id": "3\n0 1 0\n2 1 1\n"}, "says 3 triples, found 2; is the file cut off"),
        (
            {"train2id": "0 1 0\n2 1 1\n"},
            "line 1: found '0 1 0', expected the count of triples alone",
        ),
        ({"train2id": "2\n0,1,0\n2,1,1\n"}, "line 2: found '0,1,0', expected three numbers"),
        ({"train2id": "0\n"}, "holds no triples"),
        ({"train2id": ""}, "line 1: found nothing, expected the count of triples"),
        (
            {"entity2id": "4\nHeat\t0\nMann\t1\nAli\t2\n"},
            "first line says 4 names, found 3; is the",
        ),
        ({"entity2id": "1\n\nHeat\n"}, "entity2id.txt, line 3: found 'Heat', expected a name and"),
        ({"train2id": "2\n0 1 0\n2 1\n"}, "line 3: found '2 1', expected three numbers"),
        ({"train2id": "1\n0 9 0\n"}, "entity 9 is not in entity2id.txt beside it"),
        ({"entity2id": "1\nHeat\n"}, "entity2id.txt, line 2: found 'Heat', expected a name and"),
        ({"entity2id": "2\nA\t0\nB\t0\n"}, "entity2id.txt, line 3: number 0 stands twice"),
    ],
)
def test_bad_lists(tmp_path: Path, changes: dict[str, str], message: str):
    with pytest.raises(KgrecError) as caught:
        read_raw_triples(write(tmp_path, OPENKE, **changes))
    assert message in str(caught.value)


def test_entities_of_one_name_stay_apart(tmp_path: Path):
    write(tmp_path, OPENKE, entity2id="3\nHeat\t0\nMann\t1\nHeat\t2\n")
    assert read_raw_triples(tmp_path)["head_id"].to_list() == ["Heat (0)", "Heat (2)"]


def test_kgat_links_items_by_the_id_that_the_data_set_uses(tmp_path: Path, events: list[Event]):
    write(tmp_path, KGAT)
    assert read_raw_triples(tmp_path).rows() == [
        (head, "http://rdf.freebase.com/ns/film.by", "m.3") for head in ("m.1", "m.2")
    ]
    path = tmp_path / "item_list.txt"
    by_org = read_kgat_links(path, pl.Series(["B01", "B00", "B07"]), events.append)
    assert by_org.rows() == [("B00", "m.1"), ("B01", "m.2")]
    by_number = read_kgat_links(path, pl.Series(["0", "1"]), events.append)
    assert by_number.rows() == [("0", "m.1"), ("1", "m.2")]
    assert events == [
        Note(f"{path}: items are linked by their org_id"),
        Note(f"{path}: items are linked by their remap_id"),
    ]


def test_a_list_of_items_without_its_columns(tmp_path: Path, events: list[Event]):
    write(tmp_path, KGAT, item_list="a b\n1 2\n")
    with pytest.raises(KgrecError, match="line 1: found 'a b', expected org_id remap_id"):
        read_kgat_links(tmp_path / "item_list.txt", pl.Series(["1"]), events.append)
