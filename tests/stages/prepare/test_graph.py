"""A graph whose entities have names needs no table of links."""

from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.commands.prepare import account
from kgrec_cli.core.linking.oddities import fit_links, turned_text
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples
from kgrec_cli.settings import Settings
from kgrec_cli.stages.doctor import run_doctor
from kgrec_cli.stages.prepare.graph import KGRequest, check_kg, plan_kg
from kgrec_cli.stages.prepare.links import KnowledgeGraph, load_kg
from kgrec_cli.stages.prepare.metadata import metadata_of_list
from kgrec_cli.stages.prepare.run import PrepareRequest, PrepareResult, run_prepare

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
    item_ids = pl.Series(["1"]) if items is None else items["item_id"]
    return load_kg(plan, metadata_of_list(items, None), item_ids, on_event=events.append)


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
    for refused in (KGRequest(request.kg), with_catalog):
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


def test_prepare_doctor_and_train_count_the_same_items(tmp_path: Path, events: list[Event]):
    """e and f have links, but no interaction; c's entity has no triple and shares with f."""
    (tmp_path / "kg").write_text("e1\tby\te9\ne2\tby\te9\ne5\tby\te9\n")
    (tmp_path / "links").write_text("a\te1\nb\te2\nc\te7\ne\te5\nf\te7\n")
    (tmp_path / "items.csv").write_text("id,name\n" + "".join(f"{i},{i}\n" for i in "abcdef"))
    (tmp_path / "log.csv").write_text(LOG + "v,d,5\n")
    request = PrepareRequest(
        "toy", tmp_path / "log.csv", folder=tmp_path, items_path=tmp_path / "items.csv",
        kg=KGRequest(f"{tmp_path}/kg", tmp_path / "links"),
    )  # fmt: skip
    report = run_prepare(request, on_event=events.append).report
    rows = {row[0]: row[1:] for row in account(report)}
    assert rows["items"] == [4, ""]
    assert rows["items linked"] == [3, "75.0%"]
    assert rows["  to an entity with triples"] == [2, "50.0%"]
    assert rows["linked entities without a triple"] == [1, ""]
    assert "items that share an entity" not in rows
    vectors = "".join(f"e{n}\t1 0\n" for n in (1, 2, 5, 9))
    features_path = tmp_path / "dataset" / "toy" / "toy.ent_feature"
    features_path.write_text("ent_id:token\tent_vec:float_seq\n" + vectors)
    settings = Settings(dataset="toy", embedding_size=2)
    said = [finding.text for finding in run_doctor(settings, tmp_path).findings]
    assert "3 of 4 items are linked, 80.0% of the interactions" in said
    assert "2 of 4 items are linked to an entity with triples" in said
    assert "1 of 3 linked entities stand in no triple" in said
    assert "2 of 4 items have a vector" in said
    events.clear()
    dataset = load_dataset(settings, tmp_path, events.append)
    load_feature_tables(settings, dataset, tmp_path, events.append)
    assert Note("2 of 4 items have an entity vector; the others read zeros") in events


# Entities that are the items


def prepare(tmp_path: Path, log: str, kg: KGRequest, events: list[Event]) -> PrepareResult:
    (tmp_path / "log.csv").write_text(log)
    request = PrepareRequest("toy", tmp_path / "log.csv", folder=tmp_path, kg=kg)
    return run_prepare(request, on_event=events.append)


LOG = "user,item,time\nu,a,1\nu,b,2\nv,b,3\nv,c,4\n"


@pytest.mark.parametrize(
    ("content", "relation"),
    [
        ("a\talso_bought\tb\nb\talso_bought\td\n", "also_bought"),
        ("a,b\nb,d\n", "related_to"),
        ("item1,item2,weight\na,b,0.5\nb,d,\n", "related_to"),
    ],
)
def test_entities_that_are_the_items(
    tmp_path: Path, content: str, relation: str, events: list[Event]
):
    (tmp_path / "pairs").write_text(content)
    result = prepare(tmp_path, LOG, KGRequest(f"{tmp_path}/pairs", link_by="id"), events)
    files = {path.suffix: path.read_text() for path in result.dataset_dir.iterdir()}
    assert files[".link"].splitlines()[1:] == ["a\ta", "b\tb"]
    assert files[".kg"].splitlines()[1:] == [f"a\t{relation}\tb", f"b\t{relation}\td"]
    links = result.report["links"]
    assert (links["read"], links["items_linked"], links["of_other_items"]) == (2, 2, 0)
    is_told = any("the relation of all is called related_to" in event.text for event in events)
    assert is_told == (relation == "related_to")


def test_entities_that_are_no_items(tmp_path: Path, events: list[Event]):
    (tmp_path / "x").write_text("m.1\tby\tm.2\n")
    with pytest.raises(KgrecError, match=r"x: none of its entities \(such as 'm\.1'\) is an item"):
        prepare(tmp_path, LOG, KGRequest(f"{tmp_path}/x", link_by="id"), events)
    with pytest.raises(UsageError, match="--link-by id alone where the entities are the items"):
        prepare(tmp_path, LOG, KGRequest(f"{tmp_path}/x"), events)


# Links that are turned round


def test_links_turned_round_are_read_so(tmp_path: Path, events: list[Event]):
    """Only where they link nothing as they stand; and it is said."""
    (tmp_path / "kg").write_text("m.1\tby\tm.9\nm.2\tby\tm.9\n")
    (tmp_path / "links").write_text("m.1\ta\nm.2\tb\n")
    request = KGRequest(f"{tmp_path}/kg", tmp_path / "links")
    result = prepare(tmp_path, LOG, request, events)
    assert result.report["links"]["items_linked"] == 2
    warnings = [event.text for event in events if isinstance(event, Warn)]
    assert warnings == [
        f"{tmp_path}/links: the columns are turned round: as entity, item they link 2 of 3 items, "
        "as item, entity none; read so"
    ]
    assert result.report["warnings"][0].startswith("links: the columns are turned round")
    (tmp_path / "links").write_text("entity_id\titem_id\nm.1\ta\nm.2\tb\n")
    assert prepare(tmp_path, LOG, request, events).report["links"]["items_linked"] == 2


def numbered_links(tmp_path: Path) -> tuple[str, list[tuple[int, int]]]:
    """A log of the items 0, 1, ..., 19; links of the items 10, 12, ..., 48 to entities 0 to 19.

    The graph knows the numbers to 60, all as tails, and those of the items as heads, too.
    """
    (tmp_path / "kg").write_text(
        "".join(f"{n}\tby\t{20 + 2 * n}\n{n}\tby\t{21 + 2 * n}\n" for n in range(20))
    )
    log = "user,item,time\n" + "".join(f"u{n},{n},{n}\n" for n in range(20))
    return log, [(10 + 2 * n, n) for n in range(20)]


@pytest.mark.parametrize("is_right", [True, False])
def test_numbers_turned_round_are_warned_of(tmp_path: Path, is_right: bool, events: list[Event]):
    """The right order links 5 of 20 items, the wrong one all."""
    log, rows = numbered_links(tmp_path)
    text = "".join(f"{i}\t{e}\n" if is_right else f"{e}\t{i}\n" for i, e in rows)
    (tmp_path / "links").write_text(text)
    request = KGRequest(f"{tmp_path}/kg", tmp_path / "links")
    report = prepare(tmp_path, log, request, events).report
    assert report["links"]["items_linked"] == (5 if is_right else 20)
    warnings = [event.text for event in events if isinstance(event, Warn)]
    told = [text for text in warnings if "turned round" in text]
    assert told == (
        []
        if is_right
        else [
            f"{tmp_path}/links: are the columns turned round? As item, entity they link 100.0% of "
            "the items, and 75% of the entities are of one kind in the graph; as entity, item "
            "25.0% of the items, and 100% of the entities; if so, name them in the first line: "
            "entity_id, item_id"
        ]
    )


def test_odd_graphs_are_warned_of(tmp_path: Path, events: list[Event]):
    rows = [f"m{n}\tt{n}\tr{n % 5}\n" for n in range(20)]
    (tmp_path / "kg").write_text("".join([*rows, "m1\tt1\tm1\n"]))
    (tmp_path / "links").write_text("a\tm1\nb\tm2\n")
    report = prepare(tmp_path, LOG, KGRequest(f"{tmp_path}/kg", tmp_path / "links"), events).report
    warnings = [event.text for event in events if isinstance(event, Warn)]
    assert any("kg: 20 relations, but only 6 different tails" in text for text in warnings)
    assert any("kg: 1 of 21 triples lead from an entity to itself" in text for text in warnings)
    assert report["kg"]["self_loops"] == 1
    assert ["triples from an entity to itself", 1, ""] in account(report)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["ml-1m", "ml-100k", "ml-latest-small"])
def test_real_links_of_numbers(real_data_dir: Path, name: str):
    """Turned round they link more items of ml-100k (1,682) than right (962)."""
    graph = read_raw_triples(real_data_dir / "ml-1m-mkr-kg")
    links = read_raw_links(real_data_dir / "ml-1m-mkr-kg")
    items = read_catalog(real_data_dir / name)["item_id"]
    read, turned = fit_links(links, graph, items)
    assert not turned_text(read, turned, len(items))
    assert turned_text(turned, read, len(items))


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
