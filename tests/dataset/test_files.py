"""One reader for each file of a data set: which columns, which rows, which errors."""

import hashlib
import json
import random
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.core.linking.verdict import link_verdict
from kgrec_cli.dataset.files import (
    check_kg,
    made_from_another_kg,
    read_items,
    read_kg,
    read_labels,
    read_links,
    read_named_kg,
)
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings
from kgrec_cli.stages.doctor import run_doctor


def write(folder: Path, suffix: str, *lines: str) -> Path:
    path = folder / "dataset" / "toy" / f"toy.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize(
    ("fields", "row", "expected"),
    [
        ("movie_title:token_seq", "Heat", "Heat"),
        ("movie_title:token_seq\ttitle:token_seq", "Heat\tHeat (1995)", "Heat (1995)"),
        ("title:token_seq\tmovie_title:token_seq", "Heat (1995)\tHeat", "Heat (1995)"),
        ("name:token\tTitle:token_seq", "h1\tHeat", "Heat"),
        ("label:float", "3", None),
        ("movie_title:token_seq\trelease_year:token", "Heat\t1995", "Heat"),
        ("release_year:token\tTitle:token\tmovie_title:token_seq", "1995\tHeat\tH", "Heat"),
        ("year:token", "1995", None),
    ],
)
def test_loader_and_link_check_take_the_same_title(
    tmp_path: Path, fields: str, row: str, expected: str | None
) -> None:
    """With `title` and `movie_title` in one file, each of the two once took another."""
    write(tmp_path, "inter", "user_id:token\titem_id:token", "u\ta")
    write(tmp_path, "item", f"item_id:token\t{fields}", f"a\t{row}")
    settings = Settings(dataset="toy")
    items = read_items(settings, tmp_path)
    dataset = load_dataset(settings, tmp_path, lambda event: None)
    assert dataset.titles == ({} if expected is None else {"a": expected})
    assert items.rows() == [("a", expected, None)]
    assert items.equals(dataset.catalogue)


def test_items_by_hand(tmp_path: Path) -> None:
    """Each item once by its first row; genres separated by spaces; a row without an item goes."""
    write(
        tmp_path, "item", "what:token,class:token_seq,name:token_seq",
        "1,a|b,First", "2,c,", ",d,Nothing", "1,e,Second",
    )  # fmt: skip
    settings = Settings(dataset="toy", ITEM_ID_FIELD="what", field_separator=",", seq_separator="|")
    assert read_items(settings, tmp_path).rows() == [
        ("1", "First", "a b"), ("2", None, "c")
    ]  # fmt: skip
    other = Settings(dataset="toy", field_separator=",")
    assert read_items(other, tmp_path).rows() == []  # it names no items
    assert read_items(Settings(dataset="none"), tmp_path).columns == ["item_id", "title", "genre"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [("class", "A"), ("genre", "A"), ("class\tgenre", "B"), ("genre\tGenres", "B")],
)
def test_the_genre_has_the_likeliest_name(tmp_path: Path, fields: str, expected: str) -> None:
    header = "\t".join(f"{name}:token_seq" for name in ["item_id", *fields.split("\t")])
    write(tmp_path, "item", header, "\t".join(["a", *"AB"[: fields.count("\t") + 1]]))
    assert read_items(Settings(dataset="toy"), tmp_path)["genre"].to_list() == [expected]


N = 400


def test_of_several_links_the_last_counts_everywhere(tmp_path: Path) -> None:
    """As in RecBole: for the vectors, for the verdict, and in what doctor says."""
    write(tmp_path, "inter", "user_id:token\titem_id:token", *(f"u\t{n}" for n in range(N)))
    genres = random.Random(0).choices(range(4), k=N)
    links = [f"{n}\te{(n + shift) % N}" for shift in (1, 0) for n in range(N)]
    write(tmp_path, "link", "item_id:token\tentity_id:token", *links, "7\t")
    write(
        tmp_path, "kg", "head_id:token\trelation_id:token\ttail_id:token",
        *(f"e{n}\tin\tgenre{genres[n]}" for n in range(N)),
    )  # fmt: skip
    write(tmp_path, "item", "item_id:token\tgenre:token", *(f"{n}\tg{genres[n]}" for n in range(N)))
    settings = Settings(dataset="toy")
    dataset = load_dataset(settings, tmp_path, lambda event: None)
    assert dataset.entities == {str(n): f"e{n}" for n in range(N)}
    assert read_links(settings, tmp_path).height == 2 * N
    triples = read_kg(settings, tmp_path)
    assert link_verdict(dataset.catalogue, dataset.links, triples).verdict == "sound"
    assert link_verdict(dataset.catalogue, dataset.links.reverse(), triples).verdict == "broken"
    texts = [finding.text for finding in run_doctor(settings, tmp_path).findings]
    assert f"{N} further links of one item: the last counts" in texts


def test_a_kg_under_other_names(tmp_path: Path) -> None:
    head = "tail_id:token\tsubject:token\tverb:token\tobject:token"
    path = write(tmp_path, "kg", head, "x\ta\tr\tb", "x\ta\tr\tb", "x\tc\t\td")
    settings = Settings(
        dataset="toy", HEAD_ENTITY_ID_FIELD="subject", RELATION_ID_FIELD="verb",
        TAIL_ENTITY_ID_FIELD="object",
    )  # fmt: skip
    table = read_kg(settings, tmp_path)
    assert table.schema == dict.fromkeys(("head_id", "relation_id", "tail_id"), pl.String)
    assert table.rows() == [("a", "r", "b"), ("a", "r", "b"), ("c", None, "d")]
    with pytest.raises(KgrecError) as caught:
        check_kg(settings, tmp_path, read_kg(settings, tmp_path))
    assert str(caught.value) == f"{path}, line 4, column verb: empty"
    path.unlink()
    with pytest.raises(KgrecError, match=r"toy\.kg: no such file; `kgrec prepare` makes it"):
        read_kg(settings, tmp_path)


def test_vectors_and_the_kg_that_they_were_made_from(tmp_path: Path) -> None:
    features_path = write(tmp_path, "ent_feature", "ent_id:token\tent_vec:float_seq")
    kg_path = write(tmp_path, "kg", "head_id:token")
    assert not made_from_another_kg(features_path, kg_path)  # nothing is recorded
    digest = hashlib.sha256(kg_path.read_bytes()).hexdigest()
    write(tmp_path, "ent_feature.json", json.dumps({"kg_sha256": digest}))
    assert not made_from_another_kg(features_path, kg_path)
    kg_path.write_text("head_id:token\nother\n")
    assert made_from_another_kg(features_path, kg_path)
    kg_path.unlink()
    assert not made_from_another_kg(features_path, kg_path)


def test_labels_lie_beside_the_graph(tmp_path: Path) -> None:
    settings = Settings(dataset="toy")
    write(tmp_path, "kg", "head_id:token\trelation_id:token\ttail_id:token", "Q1\tP57\tQ2")
    assert read_labels(settings, tmp_path).is_empty()
    assert read_named_kg(settings, tmp_path).rows() == [("Q1", "P57", "Q2")]
    header = "token:token\tkind:token\tlabel:token_seq"
    write(
        tmp_path, "label", header, "Q2\tentity\tAda I.", "P57\trelation\tdirector", "Q3\tentity\t"
    )
    assert read_kg(settings, tmp_path).rows() == [("Q1", "P57", "Q2")]
    assert read_named_kg(settings, tmp_path).rows() == [
        ("Q1", "P57", "Q2"), ("Q2", "label", "Ada I."),
    ]  # fmt: skip
    write(tmp_path, "label", "token:token\tname:token", "Q2\tAda")
    with pytest.raises(KgrecError, match=r"toy\.label: no column 'kind'"):
        read_labels(settings, tmp_path)
