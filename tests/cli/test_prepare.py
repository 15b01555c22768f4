"""`kgrec prepare` as typed: what it shows, what it leaves, exit codes and one-line errors."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from kgrec_cli.formats.locks import only_writer
from tests.conftest import RunCli

LOG = "user,item,rating,time\nu,a,5,1\nu,b,3,2\nv,a,1,3\nv,c,4,4\n"
ITEMS = "movieId,title,genres\na,Heat (1995),Crime\nb,Ran (1985),Drama|War\nc,Big (1988),Comedy\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "kg.tsv").write_text("e1\tactor\ta1\ne2\tactor\ta1\n")
    (tmp_path / "links.tsv").write_text("a\te1\nb\te2\n")
    return tmp_path


def lines_of(text: str) -> list[str]:
    """Lines with their blanks evened out."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_account_and_the_next_command(run_cli: RunCli, folder: Path):
    result = run_cli(
        "prepare", "toy", "--raw", "log.csv", "--kg", "kg.tsv", "--links", "links.tsv",
        "--min-rating", "2",
    )  # fmt: skip
    assert result.exit_code == 0
    assert [*lines_of(result.stdout)[:1], *lines_of(result.stdout)[2:]] == [
        "toy rows share",
        "interactions read 4",
        "dropped by --min-rating 2 1",
        "interactions kept 3 75.0%",
        "users 2",
        "items 3",
        "items linked 2 66.7%",
        "to an entity with triples 2 66.7%",
        "interactions covered 2 66.7%",
        "by an entity with triples 2 66.7%",
        "triples (kg.tsv) 2",
        "entities 3",
        "relations 1",
        "wrote dataset/toy/toy.{inter,item,user,kg,link} and prepare.json",
        "left kgrec.yaml and hyper.test in this folder",
        "next: kgrec pretrain-kg --method TransE",
    ]
    assert "reading log.csv (user_id = user, item_id = item" in result.stderr
    assert (folder / "dataset" / "toy" / "toy.inter").is_file()
    assert (folder / "kgrec.yaml").is_file()


def test_the_next_command_is_train_while_the_vectors_fit(run_cli: RunCli, folder: Path):
    """Vectors of the same graph stay; with another graph they have to be made anew."""
    typed = ("prepare", "toy", "--raw", "log.csv", "--kg", "kg.tsv", "--links", "links.tsv")
    assert "next: kgrec pretrain-kg" in run_cli(*typed).stdout
    features = folder / "dataset" / "toy" / "toy.ent_feature"
    features.write_text("ent_id:token\tent_vec:float_seq\ne1\t1 2\n")
    kg_sha256 = hashlib.sha256((features.with_suffix(".kg")).read_bytes()).hexdigest()
    Path(f"{features}.json").write_text(json.dumps({"kg_sha256": kg_sha256}))
    assert run_cli(*typed).stdout.rstrip().endswith("next: kgrec train")
    (folder / "kg.tsv").write_text((folder / "kg.tsv").read_text() + "e1\tr\te9\n")
    assert "next: kgrec pretrain-kg" in run_cli(*typed).stdout


def test_add_metadata_as_typed(run_cli: RunCli, folder: Path):
    result = run_cli(
        "prepare", "toy", "--raw", "log.csv", "--items", "items.csv",
        "--kg", "kg.tsv", "--links", "links.tsv", "--add-metadata",
    )  # fmt: skip
    assert result.exit_code == 0
    told = lines_of(result.stdout)
    assert "items linked 3 100.0%" in told  # item c is none of the graph's
    assert "triples (kg.tsv and metadata) 12" in told
    assert "entities 13" in told


def test_json_is_all_that_is_printed(run_cli: RunCli, folder: Path):
    result = run_cli("prepare", "toy", "--raw", "log.csv", "--items", "items.csv", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["kg"]["name"] == "metadata"
    assert report == json.loads((folder / "dataset" / "toy" / "prepare.json").read_text())
    assert result.stderr == ""


def test_a_kgrec_yaml_of_another_set_is_respected(run_cli: RunCli, folder: Path):
    (folder / "kgrec.yaml").write_text("dataset: other\ndata_path: data\n")
    result = run_cli("prepare", "toy", "--raw", "log.csv", "--kg", "none")
    assert result.exit_code == 0
    assert (folder / "data" / "toy" / "toy.inter").is_file()
    assert "kgrec.yaml was there and names the data set other: left as it is" in result.stdout
    assert "next: kgrec train --model GRU4Rec --dataset toy" in result.stdout
    assert (folder / "kgrec.yaml").read_text() == "dataset: other\ndata_path: data\n"


def test_another_data_path_is_remembered(run_cli: RunCli, folder: Path):
    result = run_cli("prepare", "toy", "--raw", "log.csv", "--kg", "none", "--data-path", "sets")
    assert result.exit_code == 0
    assert (folder / "sets" / "toy" / "toy.inter").is_file()
    assert "\ndata_path: sets\n" in (folder / "kgrec.yaml").read_text()


def test_bad_rows_skipped(run_cli: RunCli, folder: Path):
    (folder / "log.csv").write_text(LOG + "w,a,abc,5\n")
    result = run_cli("prepare", "toy", "--raw", "log.csv", "--kg", "none", "--on-bad-row", "skip")
    assert result.exit_code == 0
    assert "bad rows set aside 1" in lines_of(result.stdout)
    assert "bad rows are in dataset/toy/toy.bad_rows.tsv" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["ml-100"], 2, "unknown data set 'ml-100': did you mean 'ml-100k'?"),
        (["toy"], 2, "your own data: kgrec prepare toy --raw PATH"),
        (["toy", "--raw", "lag.csv"], 1, "--raw lag.csv: no such file or folder"),
        (["./toy", "--raw", "log.csv"], 2, "expected letters, digits"),
        (["toy", "--raw", "log.csv", "--user-col", "usr"], 2, "did you mean 'user'?"),
        (["toy", "--raw", "log.csv", "--kg", "metadta"], 2, "did you mean 'metadata'?"),
        (["toy", "--raw", "log.csv", "--kg", "no.kg"], 1, "--kg no.kg: no such file"),
        (["toy", "--raw", "log.csv", "--kg", "kg.tsv"], 2, "give --links FILE"),
        (["toy", "--raw", "log.csv", "--links", "links.tsv"], 2, "--links goes with --kg FILE"),
        (["toy", "--raw", "log.csv", "--duplicates", "frist"], 2, "'frist' is not one of"),
        (["toy", "--raw", "log.csv", "--min-user-inter", "-1"], 2, "Invalid value for '--min-user"),
        (["toy", "--raw", "log.csv", "--min-user-inter", "9"], 1, "no interaction is left of 4"),
        (["toy", "--raw", "bad.csv"], 1, "bad.csv, line 3, column rating: found 'abc', expected"),
        (["toy", "--raw", "list.csv"], 1, "no column of users or items among id, title, genres"),
        ([], 2, "Missing argument"),
    ],
)
def test_each_mistake_gets_its_line(
    run_cli: RunCli, folder: Path, arguments: list[str], exit_code: int, message: str
):
    (folder / "bad.csv").write_text("user,item,rating\nu,a,1\nu,b,abc\n")
    (folder / "list.csv").write_text("id,title,genres\na,Heat,Crime\n")
    result = run_cli("prepare", *arguments)
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert message in result.error
    assert not (folder / "dataset").exists()


DATES = "session_id,item_id,clock,day\n" + "".join(
    f"s{n % 6},i{n * 7 % 11},{n * 13 % 24}:00,7/{n % 6 + 1}/2012\n" for n in range(36)
)


def test_a_warning_on_results_is_repeated_by_every_command(run_cli: RunCli, folder: Path):
    (folder / "log.csv").write_text(DATES)
    prepare = ("prepare", "toy", "--raw", "log.csv", "--kg", "none", "--time-col", "day")
    result = run_cli(*prepare)
    assert result.exit_code == 1
    assert "'7/1/2012' may be day/month or month/day" in result.stderr
    prepare += ("--time-format", "%m/%d/%Y")
    line = "times are dates only: 30 of 36 events (all but each first) have their user's previous"
    results = [
        run_cli(*prepare),
        run_cli("train", "--model", "GRU4Rec", "--epochs", "1", "--threads", "1"),
        run_cli("train", "--model", "GRU4Rec", "--epochs", "1", "--threads", "1"),
        run_cli("evaluate", "--threads", "1"),
    ]
    for result in results:
        assert result.exit_code == 0
        assert f"warning: log.csv: {line}" in result.stderr
    runs = sorted((folder / "saved").iterdir())
    assert run_cli("compare", *map(str, runs)).stderr.count(line) == 1
    result = run_cli(*prepare, "--offset-col", "clock")
    assert "log.csv: clock counts as seconds of the day" in result.stderr
    result = run_cli("train", "--model", "GRU4Rec", "--epochs", "1", "--threads", "1")
    assert result.exit_code == 0
    assert "warning" not in result.stderr


def test_missing_ids_as_typed(run_cli: RunCli, folder: Path):
    (folder / "log.csv").write_text(LOG + "NULL,a,5,6\n")
    result = run_cli("prepare", "toy", "--raw", "log.csv")
    assert result.exit_code == 1
    assert "log.csv, column user: 'NULL' in 1 of 5 rows (20%)" in result.stderr
    result = run_cli("prepare", "toy", "--raw", "log.csv", "--missing-ids", "skip")
    assert "dropped by --missing-ids skip 1" in lines_of(result.stdout)
    result = run_cli("prepare", "toy", "--raw", "log.csv", "--missing-ids", "keep")
    assert "users 3" in lines_of(result.stdout)


@pytest.mark.real_data
def test_real_ml_100k(run_cli: RunCli, tmp_path: Path, real_data_dir: Path):
    result = run_cli(
        "prepare", "ml-100k", "--raw", real_data_dir / "ml-100k",
        "--kg", real_data_dir / "freebase" / "ml-100k.kg.gz",
        "--links", real_data_dir / "freebase" / "ml2fb.txt",
        "--catalog", real_data_dir / "ml-1m" / "movies.dat",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "interactions read 100,000" in lines_of(result.stdout)
    assert "warning" not in result.stderr
    assert len(list((tmp_path / "dataset" / "ml-100k").iterdir())) == 6


def test_columns_of_the_item_list_as_typed(run_cli: RunCli, folder: Path):
    (folder / "list.csv").write_text("sku,name of it,kinds\na,Heat,Crime\nb,Ran,War\nc,Big,\n")
    typed = ("prepare", "toy", "--raw", "log.csv", "--items", "list.csv")
    result = run_cli(*typed)
    assert result.exit_code == 1
    assert "no column of ids (item_id) among sku, name of it, kinds: name it by --id-col" in (
        result.stderr
    )
    named = ("--id-col", "sku", "--title-col", "2", "--genre-col", "kinds")
    assert run_cli(*typed, *named).exit_code == 0
    items = (folder / "dataset" / "toy" / "toy.item").read_text().splitlines()
    first = items[1].split("\t")
    assert (first[0], first[1], first[-1]) == ("a", "Heat", "Crime")
    result = run_cli("prepare", "toy", "--raw", "log.csv", "--title-col", "2")
    assert (result.exit_code, "give it by --items FILE" in result.stderr) == (2, True)


def test_a_folder_with_another_header_and_a_list(run_cli: RunCli, folder: Path):
    (folder / "ml").mkdir()
    (folder / "ml" / "ratings.csv").write_text("user_id;movie_id;score;ts\n1;2;3.5;4\n")
    (folder / "ml" / "movies.csv").write_text("movieId,title,genres\n2,Heat (1995),Crime\n")
    result = run_cli("prepare", "toy", "--raw", "ml")
    assert result.exit_code == 0
    assert "reading ml/ratings.csv (user_id = user_id, item_id = movie_id" in result.stderr
    assert "Heat\t1995\tCrime" in (folder / "dataset" / "toy" / "toy.item").read_text()


def test_items_of_ones_own_beside_a_movielens_set(run_cli: RunCli, folder: Path):
    """The warning that a set has no items names --items, which is then taken."""
    (folder / "rating.csv").write_text("userId,movieId,rating,timestamp\n1,b,3.5,4\n")
    result = run_cli("prepare", "toy", "--raw", "rating.csv")
    assert "an item list by --items FILE" in result.stderr
    assert run_cli("prepare", "toy", "--raw", "rating.csv", "--items", "items.csv").exit_code == 0
    assert "b\tRan\t1985" in (folder / "dataset" / "toy" / "toy.item").read_text()
    result = run_cli("prepare", "toy", "--raw", "rating.csv", "--user-col", "movieId",
                     "--item-col", "userId")  # fmt: skip
    assert result.exit_code == 0


def test_a_pattern_as_typed(run_cli: RunCli, folder: Path):
    (folder / "more.csv").write_text("user,item,rating,time\nw,a,1,9\n")
    assert run_cli("prepare", "toy", "--raw", "[lm]o*.csv").exit_code == 0
    report = json.loads((folder / "dataset" / "toy" / "prepare.json").read_text())
    assert report["interactions"]["read"] == 5
    assert [source["file"] for source in report["sources"]] == ["log.csv", "more.csv"]
    result = run_cli("prepare", "toy", "--raw", "x*.csv")
    assert (result.exit_code, "x*.csv: no file matches" in result.stderr) == (1, True)


def test_a_path_that_is_too_long_is_one_line(run_cli: RunCli, folder: Path):
    for option in ("--raw", "--items"):
        result = run_cli("prepare", "toy", "--raw", "log.csv", option, "a" * 5000)
        assert (result.exit_code, "no such file or folder" in result.stderr) == (1, True)
        assert len(result.stderr) < 300


def test_a_data_set_that_is_being_prepared_is_refused(run_cli: RunCli, folder: Path) -> None:
    assert run_cli("prepare", "toy", "--raw", "log.csv").exit_code == 0
    with only_writer(folder / "dataset" / "toy"):
        for command in (["prepare", "toy", "--raw", "log.csv"], ["pretrain-kg", "--dataset=toy"]):
            result = run_cli(*command)
            assert result.exit_code == 1
            assert "dataset/toy: another kgrec command is at work on it" in result.error


def test_files_that_do_not_belong_together_are_said(run_cli: RunCli, folder: Path) -> None:
    arguments = ("--raw", "log.csv", "--kg", "kg.tsv", "--links", "links.tsv")
    assert run_cli("prepare", "toy", *arguments).exit_code == 0
    link_path = folder / "dataset" / "toy" / "toy.link"
    link_path.write_text("item_id:token\tentity_id:token\na\te2\n")
    line = f"{link_path.relative_to(folder)}: not as `kgrec prepare` wrote it"
    assert line in run_cli("doctor").stdout
    assert line in run_cli("train", "--model", "GRU4Rec").stderr
    (folder / "dataset" / "toy" / ".unfinished-prepare").touch()
    said = "dataset/toy: `kgrec prepare` was stopped while it replaced these files"
    assert said in run_cli("train").error
    assert said in run_cli("tune", "hyper.test").error
    assert said in run_cli("pretrain-kg").error
    doctor = run_cli("doctor")
    assert (doctor.exit_code, said in doctor.stdout) == (1, True)
    assert run_cli("prepare", "toy", *arguments).exit_code == 0
    assert "not as" not in run_cli("doctor").stdout


def test_a_dry_run_counts_and_writes_nothing(run_cli: RunCli, tmp_path: Path) -> None:
    rows = "".join(f"u{n % 3},i{n % 5},{n}\n" for n in range(60))
    (tmp_path / "log.csv").write_text("user,item,time\n" + rows)
    result = run_cli("prepare", "log", "--raw", "log.csv", "--kg", "none", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert re.search(r"interactions kept +60", result.stdout)
    assert result.stdout.endswith("dataset/log: would be made; nothing is written (--dry-run)\n")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["log.csv"]


def test_convert_takes_no_other_options(run_cli: RunCli, folder: Path) -> None:
    dataset_dir = folder / "dataset" / "toy"
    assert run_cli("prepare", "toy", "--raw", "log.csv", "--kg", "none").exit_code == 0
    text = (dataset_dir / "toy.inter").read_bytes()
    for options in (["--dry-run"], ["--min-rating", "3"], ["--raw", "log.csv"]):
        result = run_cli("prepare", "toy", "--convert", "--format", "parquet", *options)
        assert result.exit_code == 2
        assert result.error.startswith(f"error: {options[0]}: --convert takes only --format")
    assert (dataset_dir / "toy.inter").read_bytes() == text
    result = run_cli("prepare", "toy", "--convert", "--format", "parquet", "--json", "-q")
    assert json.loads(result.stdout) == {"files": ["dataset/toy/toy.inter.parquet"]}


@pytest.mark.parametrize("order", [("far.tsv", "same.tsv"), ("same.tsv", "far.tsv")])
def test_a_graph_that_a_third_one_ties_may_stand_before_it(
    run_cli: RunCli, folder: Path, order: tuple[str, str]
):
    (folder / "far.tsv").write_text("x1\tborn_in\tx2\n")
    (folder / "same.tsv").write_text("a1\towl:sameAs\tx1\n")
    graphs = [word for name in order for word in ("--kg", name)]
    result = run_cli(
        "prepare", "toy", "--raw", "log.csv", "--kg", "kg.tsv", "--links", "links.tsv", *graphs
    )
    assert result.exit_code == 0
    written = (folder / "dataset/toy/toy.kg").read_text().splitlines()[1:]
    assert sorted(written) == ["a1\tborn_in\tx2", "e1\tactor\ta1", "e2\tactor\ta1"]


def test_a_graph_that_nothing_ties_is_named(run_cli: RunCli, folder: Path):
    (folder / "far.tsv").write_text("x1\tborn_in\tx2\n")
    result = run_cli(
        "prepare", "toy", "--raw", "log.csv", "--kg", "kg.tsv", "--links", "links.tsv",
        "--kg", "far.tsv",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "far.tsv: none of its entities (such as 'x1') is one of the other" in " ".join(
        result.stderr.split()
    )
