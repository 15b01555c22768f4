"""A graph whose entities have names needs no table of links."""

from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.commands.prepare import account
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.stages.prepare.graph import KGRequest, check_kg, plan_kg
from kgrec_cli.stages.prepare.links import KnowledgeGraph, load_kg
from kgrec_cli.stages.prepare.run import PrepareRequest, run_prepare

LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
DBPEDIA = "http://dbpedia.org/resource/"
MOVIES = ["1::Emma (1996)::Drama", "2::Fargo (1996)::Crime", "3::Ran (1985)::Drama"]


@pytest.fixture
def items(tmp_path: Path) -> pl.DataFrame:
    (tmp_path / "movies.dat").write_text("\n".join(MOVIES) + "\n")
    return read_catalog(tmp_path / "movies.dat")


def load(request: KGRequest, items: pl.DataFrame | None) -> KnowledgeGraph:
    events: list[Event] = []
    check_kg(request, "toy")
    plan = plan_kg(request, "toy", on_event=events.append)
    return load_kg(plan, items, None, on_event=events.append)


def write_kg(folder: Path, *triples: tuple[str, str, str]) -> KGRequest:
    path = folder / "graph.tsv"
    path.write_text("".join("\t".join(triple) + "\n" for triple in triples))
    return KGRequest(str(path), link_by="title")


def test_labels_are_matched(tmp_path: Path, items: pl.DataFrame):
    request = write_kg(
        tmp_path,
        ("e1", LABEL, "Emma (1996)"), ("e2", LABEL, "Fargo"), ("e3", LABEL, "Fargo (1952)"),
        ("e4", LABEL, "Nobody"), ("e1", "by", "e4"),
    )  # fmt: skip
    kg = load(request, items)
    assert kg.links.rows() == [("1", "e1"), ("2", "e2")]
    assert kg.triples.height == 5
    assert (kg.n_links_read, kg.n_links_unused, kg.paths) == (2, 0, (tmp_path / "graph.tsv",))
    assert kg.titles == {
        "items": 3, "exact": 1, "other_title": 0, "near_year": 0, "part_of_title": 0, "alike": 0,
        "without_year": 1, "ambiguous": 0, "not_found": 1,
    }  # fmt: skip


def test_readable_iris_are_matched(tmp_path: Path, items: pl.DataFrame):
    emma, fargo = f"{DBPEDIA}Emma_(1996_film)", f"{DBPEDIA}Fargo_(film)"
    kg = load(write_kg(tmp_path, (emma, "by", f"{DBPEDIA}M"), (fargo, "by", "x")), items)
    assert kg.links.rows() == [("1", emma), ("2", fargo)]


def test_an_entity_that_is_only_a_tail_is_matched(tmp_path: Path, items: pl.DataFrame):
    kg = load(write_kg(tmp_path, (f"{DBPEDIA}Joel", "made", f"{DBPEDIA}Fargo_(film)")), items)
    assert kg.links.rows() == [("2", f"{DBPEDIA}Fargo_(film)")]


def test_a_graph_without_names(tmp_path: Path, items: pl.DataFrame):
    with pytest.raises(KgrecError, match=r"graph\.tsv: its entities \(such as 'm\.1'\) have no"):
        load(write_kg(tmp_path, ("m.1", "by", "m.2")), items)


def test_no_name_in_common(tmp_path: Path, items: pl.DataFrame):
    with pytest.raises(KgrecError, match=r"graph\.tsv: no title there is one of the data set's"):
        load(write_kg(tmp_path, ("e1", LABEL, "Heat")), items)


def test_names_need_titles(tmp_path: Path):
    with pytest.raises(KgrecError, match="holds no titles; give its item list by --items"):
        load(write_kg(tmp_path, ("e1", LABEL, "Emma")), None)


def test_a_catalogue_alone_gives_no_links(tmp_path: Path, items: pl.DataFrame):
    request = write_kg(tmp_path, ("e1", LABEL, "Emma"))
    with_catalog = KGRequest(request.kg, link_by="title", catalog_path=tmp_path / "movies.dat")
    for refused in (KGRequest(request.kg), KGRequest(request.kg, link_by="id"), with_catalog):
        with pytest.raises(UsageError, match="nothing says which item is which entity"):
            load(refused, items)


def test_links_beside_the_graph_go_first(tmp_path: Path, items: pl.DataFrame):
    (tmp_path / "kg.txt").write_text(f"1\t{LABEL}\tEmma (1996)\n")
    (tmp_path / "item_index2entity_id.txt").write_text("1\t1\n")
    with pytest.raises(UsageError, match="holds no titles"):
        load(KGRequest(str(tmp_path / "kg.txt"), link_by="title"), items)


def test_of_a_film_standing_twice_the_linked_id_counts(tmp_path: Path, items: pl.DataFrame):
    graph = write_kg(tmp_path, ("e1", "by", "x"), ("e2", "by", "x")).kg
    (tmp_path / "list.csv").write_text("id,title\n8,Emma (1996)\n9,Emma (1996)\n")
    (tmp_path / "links.tsv").write_text("9\te2\n")
    request = KGRequest(graph, tmp_path / "links.tsv", catalog_path=tmp_path / "list.csv")
    assert load(request, items).links.rows() == [("1", "e2")]


def test_the_account_counts_every_way_of_finding(tmp_path: Path, items: pl.DataFrame):
    raw_dir = tmp_path / "raw"
    raw_dir.mkdir()
    (tmp_path / "movies.dat").rename(raw_dir / "movies.dat")
    (raw_dir / "ratings.dat").write_text("1::1::5::1\n1::2::4::2\n1::3::3::3\n")
    graph = write_kg(tmp_path, ("e1", LABEL, "Emma (1996)"), ("e2", LABEL, "Fargo"))
    request = PrepareRequest("toy", raw_dir, folder=tmp_path, kg=graph)
    report = run_prepare(request, on_event=lambda event: None).report
    assert report["options"]["link_by"] == "title"
    rows = {row[0]: row[1:] for row in account(report)}
    assert rows["titles matched"] == [2, "66.7%"]
    assert rows["items linked"] == [2, "66.7%"]


@pytest.mark.real_data
def test_real_dbpedia_by_its_own_names(real_data_dir: Path):
    dbpedia_dir = real_data_dir / "ml-1m-dbpedia"
    request = KGRequest(str(dbpedia_dir / "triples.tsv.gz"), link_by="title")
    found = dict(load(request, read_catalog(real_data_dir / "ml-1m" / "movies.dat")).links.rows())
    rows = (dbpedia_dir / "MappingMovielens2DBpedia-1.2.tsv").read_text("utf-8").splitlines()
    mapping = {row.split("\t")[0]: row.split("\t")[2] for row in rows}
    right = sum(mapping.get(item) == entity for item, entity in found.items())
    assert right >= 2_740
    # What remains are mostly errors of the mapping, such as Braveheart_(1925_film).
    assert right / len(found) >= 0.995
