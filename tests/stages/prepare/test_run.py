"""From raw files to atomic files: every byte of a small set, every row accounted for."""

import hashlib
import json
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kgrec_cli.config import build_settings
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.formats.raw.choice import ColumnChoice
from kgrec_cli.stages.prepare.graph import KGRequest
from kgrec_cli.stages.prepare.run import PrepareRequest, PrepareResult, run_prepare
from kgrec_cli.stages.prepare.sources import DATASETS, KGS, KGSource, RemoteFile
from kgrec_cli.stages.prepare.starter_files import REFERENCE_HYPER_TEST, settings_text

RATINGS = [
    "1::10::5::978300760",
    "1::20::3::978300750",
    "2::10::4::978300760",
    "2::30::1::978300770",
    "3::10::2::978300780",
    "1::10::1::978300790",  # rated again
]
MOVIES = [
    "10::Toy Story (1995)::Animation|Comedy",
    "20::Heat (1995)::Crime",
    "30::Postman, The (Postino, Il) (1994)::Drama",
    "40::Nobody Saw It (2000)::Drama",
]
USERS = ["1::F::1::10::48067", "2::M::56::16::70072", "3::M::25::15::55117"]

Prepare = Callable[..., PrepareResult]


@pytest.fixture
def raw_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    write_raw(folder)
    return folder


def write_raw(folder: Path, ratings: list[str] = RATINGS, movies: list[str] = MOVIES):
    for name, lines in (("ratings", ratings), ("movies", movies), ("users", USERS)):
        (folder / f"{name}.dat").write_text("\n".join(lines) + "\n")


@pytest.fixture
def prepare(tmp_path: Path, raw_dir: Path, events: list[Event]) -> Prepare:
    def call(name: str = "toy", raw_path: Path | None = raw_dir, **options: object):
        kg = {key: options.pop(key) for key in KGRequest.__annotations__ if key in options}
        request = PrepareRequest(
            name,
            raw_path,
            folder=tmp_path / "work",
            cache_dir=tmp_path / "cache",
            kg=KGRequest(**{"kg": "none", **kg}),
            **options,
        )
        return run_prepare(request, on_event=events.append)

    (tmp_path / "work").mkdir()
    return call


@pytest.fixture
def kg_files(tmp_path: Path) -> dict[str, object]:
    """A graph and links: 20 and 30 share an entity, 40's has no triple, 99 is no item."""
    (tmp_path / "kg.tsv").write_text("e1\tactor\ta1\ne2\tactor\ta1\ne1\tactor\ta1\na1\tborn\tp1\n")
    (tmp_path / "links.tsv").write_text("30\te2\n20\te2\n40\te4\n99\te1\n")
    return {"kg": str(tmp_path / "kg.tsv"), "links_path": tmp_path / "links.tsv"}


def texts(result: PrepareResult) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(result.dataset_dir.iterdir())}


def test_every_byte(prepare: Prepare, kg_files: dict[str, object]):
    files = texts(prepare(**kg_files))
    assert list(files) == [
        "prepare.json", "toy.inter", "toy.item", "toy.kg", "toy.link", "toy.user"
    ]  # fmt: skip
    assert files["toy.inter"] == (
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "1\t10\t5\t978300760\n1\t20\t3\t978300750\n2\t10\t4\t978300760\n"
        "2\t30\t1\t978300770\n3\t10\t2\t978300780\n1\t10\t1\t978300790\n"
    )
    assert files["toy.item"] == (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq\n"
        "10\tToy Story\t1995\tAnimation Comedy\n20\tHeat\t1995\tCrime\n"
        "30\tPostman, The (Postino, Il)\t1994\tDrama\n40\tNobody Saw It\t2000\tDrama\n"
    )
    assert files["toy.user"] == (
        "user_id:token\tgender:token\tage:token\toccupation:token\tzip_code:token\n"
        "1\tF\t1\t10\t48067\n2\tM\t56\t16\t70072\n3\tM\t25\t15\t55117\n"
    )
    assert files["toy.kg"] == (
        "head_id:token\trelation_id:token\ttail_id:token\n"
        "e1\tactor\ta1\ne2\tactor\ta1\na1\tborn\tp1\n"
    )
    assert files["toy.link"] == "item_id:token\tentity_id:token\n30\te2\n20\te2\n40\te4\n"


def test_the_account(prepare: Prepare, kg_files: dict[str, object], events: list[Event]):
    result = prepare(**kg_files)
    report = json.loads((result.dataset_dir / "prepare.json").read_text())
    assert report == result.report
    assert report["interactions"] == {
        "read": 6,
        "bad": 0,
        "bad_in_other_files": 0,
        "repeated_pairs": 1,
        "dropped": {"duplicates": 0, "min_rating": 0, "min_user_inter": 0, "min_item_inter": 0},
        "kept": 6,
        "users": 3,
        "items": 3,
    }
    assert report["items"] == {"in_catalogue": 4, "not_in_catalogue": 0, "without_interaction": 1}
    assert report["links"] == {
        "read": 4,
        "of_other_items": 1,
        "repeated": 0,
        "further_entities_of_an_item": 0,
        "kept": 3,
        "items": 3,
        "items_linked": 2,
        "items_with_triples": 2,
        "interactions_linked": 2,
        "interactions_with_triples": 2,
        "entities": 1,  # nobody rated 40
        "entities_without_triple": 0,
        "entities_of_several_items": 1,
        "items_sharing_an_entity": 2,
        "titles": None,
        "verdict": "unknown",
        "witness": "none",
        "right": None,
        "n_compared": 0,
        "summary": "nothing to judge the links by: entities without names, items without genres",
    }
    assert report["kg"] == {
        "name": "kg.tsv", "read": 4, "repeated": 1, "self_loops": 0, "triples": 3, "entities": 4,
        "relations": 2,
    }  # fmt: skip
    assert [source["file"] for source in report["sources"]] == [
        "kg.tsv", "links.tsv", "movies.dat", "ratings.dat", "users.dat"
    ]  # fmt: skip
    assert Note("2 items share one entity") in events
    assert report["files"] == {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in texts(result).items()
        if name != "prepare.json"
    }
    assert len(report["files"]) == 5


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


def test_metadata_of_items_of_which_nothing_is_known_is_a_warning(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path, events: list[Event]
):
    table = tmp_path / "log.csv"
    table.write_text("user_id,item_id\n1,20\n2,30\n")
    report = prepare(raw_path=table, **kg_files, add_metadata=True).report
    assert report["kg"]["triples"] == 3
    assert report["kg"]["name"] == "kg.tsv"
    assert Warn("--add-metadata: the raw data says nothing of its items") in events


def test_the_same_input_gives_the_same_bytes(prepare: Prepare, tmp_path: Path, raw_dir: Path):
    first = texts(prepare(kg="metadata"))
    moved_dir = raw_dir.rename(tmp_path / "elsewhere")
    assert texts(prepare(raw_path=moved_dir, kg="metadata")) == first


def test_rules_in_recbole_s_order_and_each_counted(prepare: Prepare):
    # last: 1-10 keeps rating 1, which --min-rating 2 then drops, and 2-30 with it.
    # Left: 1-20, 2-10, 3-10; of two per item only 10 stays.
    report = prepare(duplicates="last", min_rating=2, min_item_inter=2).report
    interactions = report["interactions"]
    assert interactions["dropped"] == {
        "duplicates": 1, "min_rating": 2, "min_user_inter": 0, "min_item_inter": 1
    }  # fmt: skip
    assert (interactions["kept"], interactions["users"], interactions["items"]) == (2, 2, 1)
    assert interactions["read"] == sum(interactions["dropped"].values()) + interactions["kept"]


def test_keeping_the_first_is_by_time(prepare: Prepare, raw_dir: Path):
    write_raw(raw_dir, ratings=[RATINGS[5], *RATINGS[:5]])
    inter = texts(prepare(duplicates="first"))["toy.inter"]
    assert "1\t10\t5\t978300760" in inter
    assert "978300790" not in inter


def test_nothing_left_says_which_rule_took_it(prepare: Prepare):
    with pytest.raises(KgrecError, match=r"no interaction is left of 6: .* 6 by --min-user-inter"):
        prepare(min_user_inter=50)


def test_an_unlisted_item_is_kept_and_counted(prepare: Prepare, raw_dir: Path):
    write_raw(raw_dir, movies=MOVIES[:2])
    result = prepare()
    assert result.report["items"]["not_in_catalogue"] == 1
    assert texts(result)["toy.item"].splitlines()[-1] == "30\t\t\t"


def test_bad_rows_go_beside_the_output_and_away_again(prepare: Prepare, raw_dir: Path):
    write_raw(raw_dir, ratings=[*RATINGS, "7::8::abc::9"], movies=[*MOVIES, "50::broken"])
    with pytest.raises(KgrecError, match=r"ratings\.dat, line 7, column rating: found 'abc'"):
        prepare()
    result = prepare(on_bad_row="skip")
    assert result.bad_rows_path == result.dataset_dir / "toy.bad_rows.tsv"
    lines = result.bad_rows_path.read_text().splitlines()
    assert lines[0] == "file\tline\tcolumn\tfound\texpected\trow"
    assert lines[1] == f"{raw_dir}/ratings.dat\t7\trating\t'abc'\ta number\t7::8::abc::9"
    assert [line.split("\t")[1] for line in lines[1:]] == ["7", "5"]
    interactions = result.report["interactions"]
    assert (interactions["read"], interactions["bad"], interactions["kept"]) == (7, 1, 6)
    assert interactions["bad_in_other_files"] == 1

    write_raw(raw_dir)
    again = prepare(on_bad_row="skip")
    assert again.bad_rows_path is None
    assert not result.bad_rows_path.exists()


def test_an_error_leaves_the_old_data_set(
    prepare: Prepare, kg_files: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    result = prepare(**kg_files)
    before = texts(result)

    def full_disk(*arguments: object, **options: object):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kgrec_cli.stages.prepare.run.write_json", full_disk)
    with pytest.raises(KgrecError, match="No space left on device"):
        prepare(min_rating=3)
    assert texts(result) == before
    assert [path.name for path in result.dataset_dir.parent.iterdir()] == ["toy"]


# Links


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


# Which graph


def test_metadata(prepare: Prepare):
    result = prepare(kg="metadata")
    assert result.report["kg"]["name"] == "metadata"
    links = result.report["links"]
    assert (links["items_linked"], links["verdict"]) == (3, "sound")
    assert links["summary"] == "the graph is made of the items themselves"
    relations = Counter(line.split("\t")[1] for line in texts(result)["toy.kg"].splitlines()[1:])
    assert relations == {"has_genre": 5, "released_in": 4, "released_in_decade": 4}
    assert result.report["kg"]["triples"] == 13


def test_none_writes_empty_files(prepare: Prepare):
    result = prepare(kg="none")
    assert result.report["links"]["verdict"] == "unknown"
    files = texts(result)
    assert files["toy.kg"] == "head_id:token\trelation_id:token\ttail_id:token\n"
    assert files["toy.link"] == "item_id:token\tentity_id:token\n"


def test_a_table_without_items_has_no_graph(prepare: Prepare, tmp_path: Path, events: list[Event]):
    (tmp_path / "log.csv").write_text("user,item\nu,i\nv,i\nv,j\n")
    result = prepare(raw_path=tmp_path / "log.csv", kg="auto")
    assert any(isinstance(event, Warn) and "no knowledge graph" in event.text for event in events)
    files = texts(result)
    assert files["toy.inter"] == (
        "user_id:token\titem_id:token\ttimestamp:float\nu\ti\t0\nv\ti\t1\nv\tj\t2\n"
    )
    assert files["toy.item"] == "item_id:token\ni\nj\n"
    assert files["toy.user"] == "user_id:token\nu\nv\n"


DATES = "session_id,user_id,item_id,timeframe,eventdate\n" + "".join(
    f"s{n % 6},NA,i{n * 7 % 11},{(n * 13 % 31) * 1000},2012-07-{9 + n % 6:02}\n" for n in range(30)
)


def test_what_the_time_order_rests_on_is_kept(
    prepare: Prepare, tmp_path: Path, events: list[Event]
):
    (tmp_path / "log.csv").write_text(DATES)
    choice = ColumnChoice(user="session_id", time="eventdate")
    report = prepare(raw_path=tmp_path / "log.csv", columns=choice).report
    line = (
        "log.csv: times are dates only: 24 of 30 events (all but each first) have their user's "
        "previous time, so the file's order decides between them; is 'timeframe' the time "
        "(--time-col), or the time of day (--offset-col)?"
    )
    assert Warn(f"{tmp_path}/{line}", on_results=True) in events
    assert report["warnings"] == report["warnings_on_results"] == [line]
    assert report["time"] == {"column": "eventdate", "same_as_previous": 24}
    assert report == json.loads((tmp_path / "work/dataset/toy/prepare.json").read_text())

    choice = ColumnChoice(user="session_id", time="eventdate", offset="timeframe")
    report = prepare(raw_path=tmp_path / "log.csv", columns=choice).report
    assert report["warnings"] == []
    assert report["options"]["columns"]["offset"] == "timeframe"
    first = texts(prepare(raw_path=tmp_path / "log.csv", columns=choice))["toy.inter"].splitlines()[
        1
    ]
    assert first == "s0\ti0\t1341792000"


def test_without_a_time_column_the_likely_one_is_named(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text(DATES.replace("NA", "u"))
    report = prepare(raw_path=tmp_path / "log.csv").report
    assert report["warnings"] == [
        "log.csv: the users are column 'user_id', the first of the names that kgrec knows; "
        "--user-col takes another ('session_id')",
        "log.csv: no time column: the file's order is taken for the order in time; is 'timeframe' "
        "or 'eventdate' the time (--time-col)?",
        "log.csv: user 'u' has 30 of 30 interactions (100%): is its column that of the users?",
    ]
    assert report["warnings_on_results"] == report["warnings"][1:]
    assert report["time"] == {"column": None, "same_as_previous": None}


def test_of_two_times_one_is_taken_by_name_and_that_is_said(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text(
        "user,item,day_time,time\nu,i,2012-07-09,5\nu,j,2012-07-10,6\n"
    )
    report = prepare(raw_path=tmp_path / "log.csv").report
    assert report["warnings"] == [
        "log.csv: the time is 'time', by its name; --time-col takes 'day_time'"
    ]
    assert report["warnings_on_results"] == []


def test_rows_dropped_for_a_missing_id_are_accounted_for(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text("user,item,time\nNA,i,1\nu,i,2\nu,j,3\nv,null,1\n")
    interactions = prepare(raw_path=tmp_path / "log.csv", on_missing_id="skip").report[
        "interactions"
    ]
    assert interactions["dropped"]["missing_ids"] == 2
    assert interactions["read"] == sum(interactions["dropped"].values()) + interactions["kept"]


def test_a_missing_id_in_a_movielens_set(prepare: Prepare, raw_dir: Path):
    write_raw(raw_dir, ratings=[*RATINGS, "NA::10::5::978300019"])
    with pytest.raises(KgrecError, match=r"column user_id: 'NA' in 1 of 7 rows \(14%\) stands for"):
        prepare()
    assert prepare(on_missing_id="skip").report["interactions"]["dropped"]["missing_ids"] == 1


def test_a_table_with_an_item_list(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text("user,item,when\nu,i,3\n")
    (tmp_path / "list.csv").write_text("movieId,title,genres\ni,Heat (1995),Crime|Drama\n")
    result = prepare(
        raw_path=tmp_path / "log.csv",
        items_path=tmp_path / "list.csv",
        columns=ColumnChoice(time="when"),
        kg="auto",
    )
    assert texts(result)["toy.item"].splitlines()[1] == "i\tHeat\t1995\tCrime Drama"
    assert result.report["kg"]["name"] == "metadata"
    assert result.report["options"]["columns"] == {
        "user_id": "user", "item_id": "item", "timestamp": "when"
    }  # fmt: skip


LISTENS = "user,artist,time\nu,1,1\nu,2,2\nv,3,3\nv,1,4\n"
NAMES = ("Rivers of Glass", "(1962-1966)", "Tallow, Irma (1935-)", "1999")


@pytest.mark.parametrize(
    ("head", "beside", "expected"),
    [
        ("id,name,url", "http://x/y", "title:token_seq"),
        ("artist,title,genres", "", "title:token_seq"),
        ("id,name,genres", "Folk|New Wave", "title:token_seq\tgenre:token_seq"),
        ("id,title,year", "1935", "title:token_seq\trelease_year:token"),
    ],
)
def test_the_names_of_items_that_are_no_films_stay(
    prepare: Prepare, tmp_path: Path, head: str, beside: str, expected: str
):
    (tmp_path / "log.csv").write_text(LISTENS)
    rows = [f'{n},"{name}",{beside}' for n, name in enumerate(NAMES, start=1)]
    (tmp_path / "items.csv").write_text("\n".join([head, *rows, ""]))
    columns = ColumnChoice(item="artist")
    files = texts(
        prepare(
            raw_path=tmp_path / "log.csv",
            columns=columns,
            items_path=tmp_path / "items.csv",
            kg="metadata",
        )
    )
    lines = files["toy.item"].splitlines()
    assert lines[0] == f"item_id:token\t{expected}"
    assert tuple(line.split("\t")[1] for line in lines[1:]) == NAMES
    n_years = files["toy.kg"].count("year:1935")
    assert n_years == (4 if "year" in head else 0)


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


NOWHERE = "http://127.0.0.1:9"


def remote(name: str, option: str = "--raw PATH") -> RemoteFile:
    url = f"{NOWHERE}/{name}"
    return RemoteFile(name, url, f"the file {name}", option, "sha256", checksum_url=f"{url}.sum")


@pytest.fixture
def registry(tmp_path: Path, raw_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Registers a set and a graph for it; returns the cache, which holds both."""
    source = KGSource(
        name="toykg",
        datasets=("toyset",),
        triples=remote("toy.kg.tsv", "--kg FILE --links FILE"),
        links=remote("toy.links.tsv", "--kg FILE --links FILE"),
        titles=(remote("titles.zip"),),
        link_by="title",
        licence="free",
    )
    monkeypatch.setitem(DATASETS, "toyset", remote("toyset.zip"))
    monkeypatch.setitem(KGS, "toykg", source)
    cache_dir = tmp_path / "cache"
    cache_dir.mkdir()
    with zipfile.ZipFile(cache_dir / "toyset.zip", "w") as archive:
        for path in raw_dir.iterdir():
            archive.write(path, f"toyset/{path.name}")
    with zipfile.ZipFile(cache_dir / "titles.zip", "w") as archive:
        archive.writestr("t/movies.csv", "movieId,title,genres\n7,Heat (1995),Crime\n")
    (cache_dir / "toy.kg.tsv").write_text("e1\tactor\ta1\n")
    (cache_dir / "toy.links.tsv").write_text("7\te1\n")
    return cache_dir


def test_auto_takes_the_registered_graph(prepare: Prepare, registry: Path, events: list[Event]):
    result = prepare("toyset", None, kg="auto")
    assert result.report["kg"]["name"] == "toykg"
    assert texts(result)["toyset.link"].splitlines()[1:] == ["20\te1"]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert (
        "knowledge graph: toykg, linked by title (free); another: --kg FILE --links FILE" in notes
    )
    assert result.report["interactions"]["kept"] == 6


def test_links_of_the_user_go_with_the_registered_graph(
    prepare: Prepare, registry: Path, tmp_path: Path, events: list[Event]
):
    (tmp_path / "my.tsv").write_text("10\te1\n")
    result = prepare("toyset", None, kg="auto", links_path=tmp_path / "my.tsv")
    assert result.report["kg"]["name"] == "toykg"
    assert texts(result)["toyset.link"].splitlines()[1:] == ["10\te1"]
    assert Note("knowledge graph: toykg (free)") in events
    (tmp_path / "list.csv").write_text("movieId,title\n7,Toy Story (1995)\n")
    result = prepare("toyset", None, kg="auto", catalog_path=tmp_path / "list.csv")
    assert texts(result)["toyset.link"].splitlines()[1:] == ["10\te1"]
    (registry / "toy.kg.tsv").unlink()
    with pytest.raises(KgrecError, match=r"toy\.kg\.tsv.*--kg FILE --links FILE"):
        prepare("toyset", None, kg="auto", links_path=tmp_path / "my.tsv")


def test_auto_falls_back_to_metadata(prepare: Prepare, registry: Path, events: list[Event]):
    (registry / "toy.kg.tsv").unlink()
    result = prepare("toyset", None, kg="auto")
    assert result.report["kg"]["name"] == "metadata"
    assert any("because toykg cannot be reached" in event.text for event in events)
    with pytest.raises(KgrecError, match=r"toy\.kg\.tsv.*--kg FILE --links FILE"):
        prepare("toyset", None, kg="toykg")


def test_auto_takes_no_graph_by_title_where_there_are_no_titles(
    prepare: Prepare, registry: Path, tmp_path: Path
):
    (tmp_path / "log.csv").write_text("user,item\nu,i\n")
    result = prepare("toyset", tmp_path / "log.csv", kg="auto")
    assert result.report["kg"]["triples"] == 0


def test_own_links_for_a_registered_graph(prepare: Prepare, registry: Path, tmp_path: Path):
    (tmp_path / "links.tsv").write_text("30\te1\n")
    result = prepare("toyset", None, kg="toykg", links_path=tmp_path / "links.tsv")
    assert texts(result)["toyset.link"].splitlines()[1:] == ["30\te1"]


def test_the_links_that_everybody_uses_are_called_broken(
    prepare: Prepare, real_data_dir: Path, events: list[Event]
):
    freebase = real_data_dir / "freebase"
    result = prepare(
        "ml-100k",
        real_data_dir / "ml-100k",
        kg=str(freebase / "ml-100k.kg.gz"),
        links_path=freebase / "ml-100k.recbole.link",
    )
    (warning,) = [event.text for event in events if isinstance(event, Warn)]
    assert "the links are broken: " in warning
    assert warning.endswith("`kgrec prepare --link-by title --catalog FILE` joins by title")
    assert result.report["links"]["verdict"] == "broken"
    events.clear()
    result = prepare(
        "ml-100k",
        real_data_dir / "ml-100k",
        kg=str(freebase / "ml-100k.kg.gz"),
        links_path=freebase / "ml2fb.txt",
        catalog_path=real_data_dir / "ml-1m" / "movies.dat",
    )
    assert not [event for event in events if isinstance(event, Warn)]
    assert result.report["links"]["verdict"] == "sound"


def test_no_network(prepare: Prepare, registry: Path):
    (registry / "toyset.zip").unlink()
    with pytest.raises(
        KgrecError, match=r"http://127\.0\.0\.1:9/toyset\.zip.*--raw PATH"
    ) as caught:
        prepare("toyset", None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kg": "metadat"}, "unknown knowledge graph 'metadat': did you mean 'metadata'"),
        ({"kg": "freebase"}, "--kg freebase is for ml-100k"),
        ({"kg": "auto", "links_path": Path("x")}, "--links goes with --kg FILE"),
        ({"kg": "none", "catalog_path": Path("x")}, "--catalog goes with --kg FILE, not with"),
        ({"kg": "metadata", "link_by": "id"}, "--link-by goes with --kg FILE, not with --kg meta"),
        ({"kg": "metadata", "add_metadata": True}, "--add-metadata goes with a graph to add to"),
        ({"name": "../x"}, "expected letters, digits"),
        ({"name": ".x"}, "expected letters, digits"),
        ({"name": "m-100k", "raw_path": None}, "unknown data set 'm-100k': did you mean 'ml-100k'"),
        ({"columns": ColumnChoice(user="u")}, r"unknown column 'u' \(columns: 1, 2, 3, 4\)"),
    ],
)
def test_what_was_typed_wrong(prepare: Prepare, options: dict[str, object], message: str):
    with pytest.raises(UsageError, match=message):
        prepare(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"raw_path": Path("nowhere")}, "--raw nowhere: no such file or folder"),
        ({"items_path": Path("nowhere")}, "--items nowhere: no such file"),
        ({"kg": "some.kg"}, "--kg some.kg: no such file"),
        ({"kg": "dir/some"}, "--kg dir/some: no such file"),
    ],
)
def test_what_is_not_there(prepare: Prepare, options: dict[str, object], message: str):
    with pytest.raises(KgrecError, match=message):
        prepare(**options)


def test_a_missing_links_file(prepare: Prepare, kg_files: dict[str, object]):
    with pytest.raises(KgrecError, match="nowhere: no such file"):
        prepare(**{**kg_files, "links_path": Path("nowhere")})


def test_a_catalogue_without_titles_asked_for(prepare: Prepare, kg_files: dict[str, object]):
    options = {**kg_files, "catalog_path": kg_files["links_path"], "link_by": "id"}
    with pytest.raises(UsageError, match="--catalog goes with --link-by title"):
        prepare(**options)


def test_min_rating_needs_ratings(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text("user,item\nu,i\n")
    with pytest.raises(UsageError, match="--min-rating: the data has no ratings"):
        prepare(raw_path=tmp_path / "log.csv", min_rating=3)


def test_a_folder_without_a_set(prepare: Prepare, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(KgrecError, match="empty: holds no file of interactions"):
        prepare(raw_path=tmp_path / "empty")


# Starter files


def test_starter_files(prepare: Prepare, tmp_path: Path):
    result = prepare()
    assert result.starter_files.written == ("kgrec.yaml", "hyper.test")
    assert (tmp_path / "work" / "hyper.test").read_text() == REFERENCE_HYPER_TEST
    assert len(REFERENCE_HYPER_TEST.splitlines()) == 5
    assert yaml.safe_load((tmp_path / "work" / "kgrec.yaml").read_text()) == {"dataset": "toy"}


def test_starter_files_are_never_overwritten(prepare: Prepare, tmp_path: Path):
    (tmp_path / "work" / "kgrec.yaml").write_text("dataset: other\n")
    (tmp_path / "work" / "hyper.test").write_text("mine\n")
    result = prepare()
    assert result.starter_files.written == ()
    assert result.starter_files.named_dataset == "other"
    assert (tmp_path / "work" / "kgrec.yaml").read_text() == "dataset: other\n"
    assert (tmp_path / "work" / "hyper.test").read_text() == "mine\n"


@pytest.mark.parametrize("name", ["ml-100k", "1984", "true", "null", "a.b", "été", "1e5", "0x1f"])
@pytest.mark.parametrize("data_path", ["dataset", "my data: here", "~", "/a/b's #1"])
def test_any_name_reads_back_from_kgrec_yaml(name: str, data_path: str):
    values = yaml.safe_load(settings_text(name, data_path))
    assert values["dataset"] == name
    assert values.get("data_path", "dataset") == data_path


def test_every_commented_setting_is_a_valid_one():
    lines = settings_text("x", "dataset").splitlines()[1:]
    assert all(len(line) <= 100 for line in lines)
    values = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines))
    assert values["preset"] == "best"
    assert values["pretrain_kg"] == {"method": "TransE", "epochs": 30}
    settings = build_settings(values, "test")  # no comment stands in the way of the preset
    assert settings == build_settings({"dataset": "x", "preset": "best"}, "test")


# Real data


@pytest.mark.real_data
def test_real_ml_100k_with_freebase(prepare: Prepare, real_data_dir: Path):
    freebase_dir = real_data_dir / "freebase"
    files = {"kg": str(freebase_dir / "ml-100k.kg.gz"), "links_path": freebase_dir / "ml2fb.txt"}
    raw_path = real_data_dir / "ml-100k"
    by_title = prepare(raw_path=raw_path, **files, catalog_path=real_data_dir / "ml-1m")
    report = by_title.report
    assert report["interactions"]["kept"] == 100_000
    assert report["kg"]["triples"] == 91_631
    assert report["kg"]["entities"] == 34_628
    assert report["links"]["items_linked"] >= 1_600
    assert report["links"]["items_with_triples"] >= 1_514
    links = dict(line.split("\t") for line in texts(by_title)["toy.link"].splitlines()[1:])
    mids = dict(line.split() for line in files["links_path"].read_text().splitlines())
    assert links["127"] == mids["858"]  # The Godfather
    assert links["313"] == mids["1721"]  # Titanic

    by_id = prepare(raw_path=raw_path, **files)
    wrong = dict(line.split("\t") for line in texts(by_id)["toy.link"].splitlines()[1:])
    assert wrong["127"] == mids["127"]


@pytest.mark.real_data
def test_real_ml_1m_with_dbpedia(prepare: Prepare, real_data_dir: Path, events: list[Event]):
    dbpedia_dir = real_data_dir / "ml-1m-dbpedia"
    files = {
        "kg": str(dbpedia_dir / "triples.tsv.gz"),
        "links_path": dbpedia_dir / "MappingMovielens2DBpedia-1.2.tsv",
    }
    report = prepare(raw_path=real_data_dir / "ml-1m", **files).report
    assert report["kg"]["triples"] == 34_941
    assert report["links"]["kept"] > 3_000
    assert not [event for event in events if isinstance(event, Warn)]

    prepare(raw_path=real_data_dir / "ml-100k", **files)
    assert [event for event in events if isinstance(event, Warn) and "titles agree" in event.text]


def test_prepare_loads_the_registry_and_the_search_space_only_when_needed():
    names = ("optuna", "kgrec_cli.formats.hyper_test", "kgrec_cli.download")
    names += ("kgrec_cli.stages.prepare.sources",)
    code = f"import sys, kgrec_cli.stages.prepare.run; print({{*{names}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
