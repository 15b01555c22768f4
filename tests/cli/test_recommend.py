"""`kgrec recommend` as typed."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import RunCli


def test_a_user_gets_items_not_in_the_whole_history(run_cli: RunCli, trained_folder: Path) -> None:
    result = run_cli("recommend", "--user", "u0", "--json", "--topk", "20", cwd=trained_folder)
    assert result.exit_code == 0, result.stderr
    (found,) = json.loads(result.stdout)
    assert list(found) == ["user", "items", "history"]  # what was asked for comes first
    history = [row["item"] for row in found["history"]]
    assert history == [f"i{item}" for item in range(1, 10)]  # held-out items included
    assert {row["item"] for row in found["items"]} == {"i10", "i11", "i12"}
    assert found["items"][0]["title"].startswith("Film No ")
    scores = [row["score"] for row in found["items"]]
    assert scores == sorted(scores, reverse=True)
    assert [row["rank"] for row in found["items"]] == [1, 2, 3]


def test_the_next_item_of_the_round_comes_first(run_cli: RunCli, trained_folder: Path) -> None:
    result = run_cli("recommend", "--items", "i4, i5,i6", "--json", cwd=trained_folder)
    (found,) = json.loads(result.stdout)
    assert found["user"] is None
    assert found["items"][0]["item"] == "i7"


def test_items_are_named_by_id_or_title(run_cli: RunCli, trained_folder: Path) -> None:
    typed = ("--item", "no 4 FILM", "--item", "i5", "--item", "film no 6")
    for given in (typed, ("--items", "no 4 FILM, i5, film no 6")):
        (found,) = json.loads(run_cli("recommend", *given, "--json", cwd=trained_folder).stdout)
        assert [row["item"] for row in found["history"]] == ["i4", "i5", "i6"]
        assert found["items"][0]["item"] == "i7"


def test_an_id_of_items_is_an_id_whatever_else_has_it_as_a_title(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_folder / "saved", tmp_path / "saved")
    (path,) = tmp_path.glob("saved/*/items.tsv")
    path.write_text(path.read_text().replace("Film No 9", "i4"))
    (found,) = json.loads(run_cli("recommend", "--items", "i4,i5", "--json").stdout)
    assert [row["item"] for row in found["history"]] == ["i4", "i5"]
    assert "2 items, give an id" in run_cli("recommend", "--item", "i4").error


def test_long_titles_are_cut_within_sentences(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained_folder / "saved", tmp_path / "saved")
    (path,) = tmp_path.glob("saved/*/items.tsv")
    long = "and a title that has no end " * 9
    path.write_text(path.read_text().replace("Film No", f"Film {long} No"))
    monkeypatch.setenv("COLUMNS", "80")
    screen = run_cli("recommend", "--items", "i4,i5", "--explain", "--topk", "3").stdout
    assert all(len(line) <= 80 for line in screen.splitlines())
    assert all(line.count("...") for line in re.findall(r"^ ?\d\. .*", screen, re.MULTILINE))
    assert 2 * "and a title that has no end " not in " ".join(screen.split())
    assert len(screen.splitlines()) < 25


def test_a_list_needs_the_run_alone(run_cli: RunCli, trained_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_folder / "saved", tmp_path / "saved")
    result = run_cli("recommend", "--items", "i4,i5", "--topk", "2")
    assert result.exit_code == 0, result.stderr
    assert "this history: 2 items, the last ones: Film No 4; Film No 5" in result.stdout


def test_reasons_stand_under_each_item(
    run_cli: RunCli, trained_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("recommend", "--items", "i4,i5,i6", "--explain", "--topk", "12")
    (found,) = json.loads(run_cli(*arguments, "--json", cwd=trained_folder).stdout)
    reasons = {row["item"]: row["explanation"] for row in found["items"]}
    for row in found["items"]:
        assert sum(row["explanation"]["parts"].values()) == pytest.approx(row["score"], rel=1e-5)
    path = next(path for path in reasons["i7"]["paths"] if path["item"] == "i6")
    assert path["triples"] == [["e6", "follows", "e7"]]
    assert path["is_borne_out"] == ("i6" in reasons["i7"]["carriers"])
    assert reasons["i11"]["entity"] is None
    assert reasons["i11"]["paths"] == []
    monkeypatch.setenv("COLUMNS", "80")
    screen = run_cli(*arguments, cwd=trained_folder).stdout
    assert all(len(line) <= 80 for line in screen.splitlines())
    blocks = re.split(r"\n(?= ?\d+\. )", screen)[1:]
    of_items = {block.split("[")[1].split("]")[0]: block for block in blocks}
    assert "rests on: Film No 6 +" in of_items["i7"]
    assert "graph: follows of Film No 6" in of_items["i7"]
    assert "graph: the item has no entity in it" in of_items["i11"]
    assert "item GRU" in of_items["i7"]
    assert "entity GRU" in of_items["i7"]


def test_reasons_without_a_graph_name_the_history(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_folder / "saved", tmp_path / "saved")
    result = run_cli("recommend", "--items", "i4,i5", "--topk", "1", "--explain")
    assert result.exit_code == 0, result.stderr
    assert "small.kg: no such file, so no path through a graph is shown" in result.stderr
    assert "rests on: Film No" in result.stdout
    assert "graph: there is none" in result.stdout


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "jsonl"])
def test_all_users_equal_each_alone(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path, suffix: str
) -> None:
    out_path = tmp_path / f"recs.{suffix}"
    result = run_cli(
        "recommend", "--all-users", "--out", str(out_path), "--topk", "2", cwd=trained_folder
    )
    assert result.exit_code == 0, result.stderr
    read = {
        "parquet": pl.read_parquet,
        "csv": pl.read_csv,
        "tsv": lambda path: pl.read_csv(path, separator="\t"),
        "jsonl": pl.read_ndjson,
    }[suffix]
    table = read(out_path)
    assert table.columns == ["user", "rank", "item", "title", "score"]
    assert table["user"].n_unique() == 30
    assert len(table) == 60
    alone = json.loads(
        run_cli("recommend", "--user", "u7", "--topk", "2", "--json", cwd=trained_folder).stdout
    )[0]
    rows = table.filter(pl.col("user") == "u7")
    assert rows["item"].to_list() == [row["item"] for row in alone["items"]]
    assert rows["score"].to_list() == pytest.approx([row["score"] for row in alone["items"]])


def test_lists_of_users_and_histories_in_files(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kgrec_cli.runs.recommender.MAX_CHUNK_ROWS", 2)
    (tmp_path / "users.txt").write_text("u7\n\nnobody\n u3 \nu9\nu7\nnobody\n")
    out_path = tmp_path / "of_users.parquet"
    typed = ("recommend", "--topk", "2", "--json", "--out", str(out_path))
    result = run_cli(*typed, "--users-file", str(tmp_path / "users.txt"), cwd=trained_folder)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["lists"] == 3
    assert "1 of 4 users have no history in small, such as nobody: no list" in result.stderr
    of_users = pl.read_parquet(out_path)
    assert of_users["user"].to_list() == ["u7", "u7", "u3", "u3", "u9", "u9"]
    alone = run_cli("recommend", "--user", "u3", "--topk", "2", "--json", cwd=trained_folder)
    (of_u3,) = json.loads(alone.stdout)
    expected = [row["item"] for row in of_u3["items"]]
    assert of_users.filter(pl.col("user") == "u3")["item"].to_list() == expected

    history = [row["item"] for row in of_u3["history"]]
    lines = [["i4", "i5", "i6"], {"user": "me", "items": [*history, "unheard"]}, ["unheard"]]
    (tmp_path / "h.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run_cli(*typed, "--histories", str(tmp_path / "h.jsonl"), cwd=trained_folder)
    assert result.exit_code == 0, result.stderr
    assert "2 of 14 items are unknown: not read" in result.stderr
    assert "1 histories have no item that is known: no list" in result.stderr
    assert "recommend: " not in result.stderr  # how many there will be is not known
    after = pl.read_parquet(out_path)
    assert after["user"].to_list() == ["1", "1", "me", "me"]
    assert after["item"][0] == "i7"
    assert after["item"].to_list()[2:] == expected


def test_lists_hold_what_is_asked_for(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    def items(*more: str) -> list[str]:
        typed = ("recommend", "--items", "i4,i5,i6", "--topk", "12", "--json", *more)
        result = run_cli(*typed, cwd=trained_folder)
        assert result.exit_code == 0, result.stderr
        return [row["item"] for row in json.loads(result.stdout)[0]["items"]]

    everything = items()
    assert len(everything) == 9
    assert items("--exclude", "i7, i1") == [i for i in everything if i not in ("i7", "i1")]
    (tmp_path / "few.txt").write_text("i1\ni2\ni7\ni4\n")
    few = f"@{tmp_path / 'few.txt'}"
    assert items("--candidates", few) == [i for i in everything if i in ("i1", "i2", "i7")]
    assert items("--candidates", few, "--exclude", "i2")[0] == "i7"
    told = run_cli("recommend", "--items", "i4", "--candidates", "i1,no", cwd=trained_folder)
    assert "candidates: the run does not know 1 of 2 items, such as no" in told.stderr
    assert set(items("--candidates", few, "--include-seen")) == {"i1", "i2", "i4", "i7"}
    assert len(items("--include-seen")) == 12


def test_new_events_of_known_items_are_used(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "dataset/small/small.inter"
    path.write_text(
        path.read_text() + "newcomer\ti3\t5\t1\nnewcomer\ti4\t5\t2\nu1\tunheard\t1\t9\n"
    )
    result = run_cli("recommend", "--user", "newcomer", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)[0]["items"][0]["item"] == "i5"
    told = run_cli("recommend", "--user", "newcomer")
    assert "1 interactions of items that the run does not know: dropped" in told.stderr


def test_a_list_without_items_says_why(run_cli: RunCli, trained_folder: Path) -> None:
    every = ",".join(f"i{number}" for number in range(1, 13))
    result = run_cli("recommend", "--items", every, cwd=trained_folder)
    assert result.exit_code == 0
    assert "no item is left: --include-seen lists those of the history, too" in result.stdout
    shown = run_cli("recommend", "--items", every, "--json", cwd=trained_folder).stdout
    assert json.loads(shown)[0]["items"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ((), 2, "give one of --user"),
        (("--user", "u1", "--all-users"), 2, "give one of --user"),
        (("--all-users",), 2, "go together"),
        (("--user", "u1", "--out", "x.csv"), 2, "go together"),
        (("--all-users", "--out", "x.csv", "--explain"), 2, "--explain goes with --user"),
        (("--all-users", "--out", "x.xlsx"), 2, "must end in one of"),
        (("--user", "nobody"), 1, "no user 'nobody'; its users are u0, u1, u2"),
        (("--items", "i1,i99"), 2, "--items 'i99': no item with this id or title; did you mean"),
        (("--items", "i1,film no"), 2, "--items 'film no': 12 items, give an id: i1 Film No 1;"),
        (("--item", "film"), 2, "--item 'film': 12 items, give an id: i1 Film No 1; i2 Film No 2"),
        (("--item", "filn no 3"), 2, "no item with this id or title; did you mean 'Film No 3'?"),
        (("--item", "i1", "--items", "i2"), 2, "give one of --user"),
        (("--items", ","), 2, "--items: no item in it"),
        (("--user", "u1", "--topk", "0"), 2, "Invalid value for '--topk'"),
        (("--users-file", "u.txt"), 2, "go together"),
        (("--users-file", "no.txt", "--out", "x.csv"), 1, "no.txt: no such file"),
        (("--histories", "no.jsonl", "--out", "x.csv"), 1, "no.jsonl: no such file"),
        (("--user", "u1", "--exclude", ","), 2, "--exclude: no item in it"),
        (("--user", "u1", "--candidates", "@no.txt"), 1, "no.txt: no such file"),
        (("--user", "u1", "--candidates", "i99"), 1, "no candidate is left: the run knows 12"),
    ],
)
def test_a_mistake_is_one_line(
    run_cli: RunCli, trained_folder: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    result = run_cli("recommend", *arguments, cwd=trained_folder)
    assert result.exit_code == code
    assert expected in result.error


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("i4,i5", "h.jsonl, line 2: not JSON; expected"),
        ('{"items": "i4"}', 'line 2: found {"items": "i4"}, expected ["ITEM", ...] or'),
        ("[1.5]", "line 2: found [1.5]"),
        ("[true]", "line 2: found [true]"),
        ('["i4"', "line 2: not JSON"),
        ("\udcff", "h.jsonl: cannot be read"),
        ('{"user": "1", "items": ["i5"]}', "line 2: user 1 has line 1, too; expected one line"),
    ],
)
def test_a_malformed_history_is_one_line(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path, line: str, expected: str
) -> None:
    text = f'["i4"]\n{line}\n'
    (tmp_path / "h.jsonl").write_bytes(text.encode(errors="surrogateescape"))
    typed = ("--histories", str(tmp_path / "h.jsonl"), "--out", str(tmp_path / "x.csv"))
    result = run_cli("recommend", *typed, cwd=trained_folder)
    assert result.exit_code == 1
    assert expected in result.error
    assert not (tmp_path / "x.csv").exists()


def test_a_run_of_another_data_set_is_one_line(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "dataset/small/small.inter"
    path.write_text(path.read_text().replace("\ti", "\tother"))
    path.write_text(path.read_text().replace("othertem_id", "item_id"))
    result = run_cli("recommend", "--user", "u1")
    assert result.exit_code == 1
    assert "is it another data set?" in result.error
