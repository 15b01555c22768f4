"""From raw files to atomic files: every byte of a small set, every row accounted for."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.formats.raw.choice import ColumnChoice
from tests.stages.prepare.conftest import MOVIES, RATINGS, Prepare, texts, write_raw


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

    monkeypatch.setattr("kgrec_cli.stages.prepare.write.write_json", full_disk)
    with pytest.raises(KgrecError, match="No space left on device"):
        prepare(min_rating=3)
    assert texts(result) == before
    assert [path.name for path in result.dataset_dir.parent.iterdir()] == ["toy"]


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


def test_min_rating_needs_ratings(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text("user,item\nu,i\n")
    with pytest.raises(UsageError, match="--min-rating: the data has no ratings"):
        prepare(raw_path=tmp_path / "log.csv", min_rating=3)


def test_a_folder_without_a_set(prepare: Prepare, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(KgrecError, match="empty: holds no file of interactions"):
        prepare(raw_path=tmp_path / "empty")


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
