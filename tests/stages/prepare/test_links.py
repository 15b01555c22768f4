"""Links of items to entities: by id, by title, beside the graph; what is wrong with them."""

from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.formats.raw.choice import ColumnChoice
from tests.stages.prepare.conftest import Prepare, texts, write_raw
from tests.stages.prepare.test_run import LISTENS


def test_metadata_added_to_a_graph(prepare: Prepare, kg_files: dict[str, object]):
    plain = prepare(**kg_files).report
    result = prepare(**kg_files, add_metadata=True)
    files, report = texts(result), result.report
    assert files["toy.link"].split() == [
        "item_id:token", "entity_id:token", "30", "e2", "20", "e2", "40", "e4", "10", "item:10"
    ]  # fmt: skip
    assert files["toy.kg"].splitlines()[1:] == [
        "e1\tactor\ta1", "e2\tactor\ta1", "a1\tborn\tp1",
        "item:10\thas_genre\tgenre:Animation", "item:10\thas_genre\tgenre:Comedy",
        "e2\thas_genre\tgenre:Crime", "e2\thas_genre\tgenre:Drama", "e4\thas_genre\tgenre:Drama",
        "item:10\treleased_in\tyear:1995", "e2\treleased_in\tyear:1995",
        "e2\treleased_in\tyear:1994", "e4\treleased_in\tyear:2000",
        "item:10\treleased_in_decade\tdecade:1990s", "e2\treleased_in_decade\tdecade:1990s",
        "e4\treleased_in_decade\tdecade:2000s",
    ]  # fmt: skip
    assert report["kg"] == {
        "name": "kg.tsv and metadata", "read": 4, "repeated": 1, "self_loops": 0, "triples": 15,
        "of_metadata": 12, "entities": 15, "relations": 5,
    }  # fmt: skip
    assert report["links"] == plain["links"] | {
        "kept": 4, "of_metadata": 1, "entities": 2, "entities_without_triple": 0,
        "items_linked": 3, "items_with_triples": 3,
        "interactions_linked": 6, "interactions_with_triples": 6,
    }  # fmt: skip
    assert report["options"]["add_metadata"]
    assert not plain["options"]["add_metadata"]


def test_item_ids_that_match_nothing(prepare: Prepare, kg_files: dict[str, object], tmp_path: Path):
    (tmp_path / "links.tsv").write_text("x1\te1\nx2\te2\n")
    with pytest.raises(KgrecError, match=r"links\.tsv: none of its item ids \(such as 'x1'\)"):
        prepare(**kg_files)


def test_entities_without_any_triple(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path, events: list[Event]
):
    (tmp_path / "links.tsv").write_text("10\tq1\n20\tq2\n")
    with pytest.raises(KgrecError, match=r"none of its entities \(such as 'q1'\) stands in a trip"):
        prepare(**kg_files)
    (tmp_path / "links.tsv").write_text("10\tq1\n20\tq2\n30\te1\n")
    prepare(**kg_files)
    assert Warn("2 of 3 linked entities stand in no triple of kg.tsv") in events
    hint = "the graph knows 1 of 3 items; --add-metadata gives the others their genres, years and "
    assert Note(f"{hint}tags") in events
    events.clear()
    prepare(**kg_files, add_metadata=True)
    assert not any("--add-metadata" in event.text for event in events)


def test_links_by_title(prepare: Prepare, kg_files: dict[str, object], tmp_path: Path):
    (tmp_path / "list.csv").write_text(
        'id,title\n7,"Postman, The (1994)"\n8,HEAT (1995)\n9,Other (1990)\n'
    )
    (tmp_path / "links.tsv").write_text("9\te9\n8\te2\n7\te1\n")
    result = prepare(**kg_files, catalog_path=tmp_path / "list.csv")
    assert texts(result)["toy.link"].splitlines()[1:] == ["20\te2", "30\te1"]
    links = result.report["links"]
    assert (links["read"], links["of_other_items"], links["kept"]) == (3, 1, 2)
    assert {way: n for way, n in links["titles"].items() if n} == {
        "items": 4, "exact": 2, "not_found": 2
    }  # fmt: skip
    assert result.report["options"]["link_by"] == "title"


def test_links_that_carry_titles_are_their_own_catalogue(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path
):
    (tmp_path / "links.tsv").write_text("7\tHeat (1995)\thttp://x/e\n8\tRan (1985)\thttp://x/r\n")
    (tmp_path / "kg.tsv").write_text("http://x/e\tp\thttp://x/o\n")
    result = prepare(**kg_files, link_by="title")
    assert texts(result)["toy.link"].splitlines()[1:] == ["20\thttp://x/e"]


def test_links_by_title_need_titles(prepare: Prepare, kg_files: dict[str, object], tmp_path: Path):
    with pytest.raises(UsageError, match=r"holds no titles; give the item list .* by --catalog"):
        prepare(**kg_files, link_by="title")
    (tmp_path / "log.csv").write_text("user,item\nu,i\n")
    catalog_path = tmp_path / "raw" / "movies.dat"
    with pytest.raises(KgrecError, match="holds no titles; give its item list by --items"):
        prepare(raw_path=tmp_path / "log.csv", **kg_files, catalog_path=catalog_path)


def test_no_title_in_common(prepare: Prepare, kg_files: dict[str, object], tmp_path: Path):
    (tmp_path / "list.csv").write_text("id,title\n7,Ran (1985)\n")
    with pytest.raises(KgrecError, match=r"list\.csv: no title there is one of the data set's"):
        prepare(**kg_files, catalog_path=tmp_path / "list.csv")


def test_ids_of_another_catalogue_are_warned_of(
    prepare: Prepare, raw_dir: Path, tmp_path: Path, events: list[Event]
):
    titles = [f"Film No {number} (1990)" for number in range(30)]
    write_raw(raw_dir, movies=[f"{i}::{title}::Drama" for i, title in enumerate(titles)])
    moved = [f"{(i + 1) % 30}\t{title}\thttp://x/{i}" for i, title in enumerate(titles)]
    (tmp_path / "links.tsv").write_text("\n".join(moved))
    (tmp_path / "kg.tsv").write_text("\n".join(f"http://x/{i}\tp\to" for i in range(30)))
    files = {"kg": str(tmp_path / "kg.tsv"), "links_path": tmp_path / "links.tsv"}
    prepare(**files)
    warnings = [event.text for event in events if isinstance(event, Warn)]
    assert len(warnings) == 1
    assert "the links are wrong: only 0 of 30 titles agree" in warnings[0]

    events.clear()
    prepare(**files, link_by="title")
    assert not [event for event in events if isinstance(event, Warn)]


def test_links_that_lie_beside_the_graph(prepare: Prepare, tmp_path: Path):
    (tmp_path / "my.kg").write_text("head_id:token\trelation_id:token\ttail_id:token\ne1\tr\tt\n")
    with pytest.raises(UsageError, match="nothing says which item is which entity; give --links"):
        prepare(kg=str(tmp_path / "my.kg"))
    (tmp_path / "my.link").write_text("item_id:token\tentity_id:token\n10\te1\n")
    assert prepare(kg=str(tmp_path / "my.kg")).report["links"]["kept"] == 1

    folder = tmp_path / "mkr"
    folder.mkdir()
    (folder / "kg.txt").write_text("0\tfilm.genre\t9\n")
    (folder / "item_index2entity_id.txt").write_text("20\t0\n")
    for kg in (folder, folder / "kg.txt"):
        report = prepare(kg=str(kg)).report
        assert report["links"]["kept"] == 1
        assert {source["file"] for source in report["sources"]} >= {
            "kg.txt", "item_index2entity_id.txt"
        }  # fmt: skip


def test_metadata_is_advised_where_the_item_list_has_some(
    prepare: Prepare, tmp_path: Path, events: list[Event]
):
    (tmp_path / "log.csv").write_text(LISTENS)
    (tmp_path / "kg.tsv").write_text("e1\tby\ta\ne2\tby\ta\n")
    (tmp_path / "links.tsv").write_text("1\te1\n")
    options = {
        "raw_path": tmp_path / "log.csv", "columns": ColumnChoice(item="artist"),
        "items_path": tmp_path / "items.csv", "kg": str(tmp_path / "kg.tsv"),
        "links_path": tmp_path / "links.tsv",
    }  # fmt: skip
    for beside, is_advised in (("", False), ("Folk", True)):
        events.clear()
        (tmp_path / "items.csv").write_text(f"id,name,genre\n1,One,{beside}\n2,Two,\n")
        prepare(**options)
        assert any("--add-metadata" in event.text for event in events) == is_advised
        assert not any(isinstance(event, Warn) for event in events)
    events.clear()
    (tmp_path / "items.csv").write_text("id,name\n1,One\n2,Two\n")
    prepare(**options | {"kg": "metadata", "links_path": None})
    (warning,) = [event.text for event in events if isinstance(event, Warn)]
    assert warning.startswith("no knowledge graph: the item list says nothing of its items")
    assert "--items" not in warning


def test_a_missing_links_file(prepare: Prepare, kg_files: dict[str, object]):
    with pytest.raises(KgrecError, match="nowhere: no such file"):
        prepare(**{**kg_files, "links_path": Path("nowhere")})


def test_a_catalogue_without_titles_asked_for(prepare: Prepare, kg_files: dict[str, object]):
    options = {**kg_files, "catalog_path": kg_files["links_path"], "link_by": "id"}
    with pytest.raises(UsageError, match="--catalog goes with --link-by title"):
        prepare(**options)
