"""`kgrec doctor` on data sets with one thing wrong each."""

import json
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import ignore_event
from kgrec_cli.settings import Settings
from kgrec_cli.stages.doctor import Diagnosis, inverse_relations, run_doctor
from kgrec_cli.stages.train import run_train
from tests.conftest import write_small_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_small_dataset(tmp_path)
    return tmp_path


def diagnose(folder: Path, **changes: object) -> Diagnosis:
    return run_doctor(Settings(dataset="small", **{"embedding_size": 8, **changes}), folder)


def texts(diagnosis: Diagnosis, level: str) -> str:
    return "\n".join(
        f"{finding.about} {finding.text} {finding.cure}"
        for finding in diagnosis.findings
        if finding.level == level
    )


def path_of(folder: Path, suffix: str) -> Path:
    return folder / "dataset" / "small" / f"small.{suffix}"


def test_a_good_data_set_is_fit(folder: Path) -> None:
    diagnosis = diagnose(folder)
    assert not diagnosis.is_bad
    good = texts(diagnosis, "ok")
    assert "270 interactions, 30 users, 12 items; 9 a user (median)" in good
    assert diagnosis.links is not None
    assert diagnosis.links.verdict == "unknown"  # twelve items are too few to tell


def test_wrong_width_and_stale_vectors_are_bad(folder: Path) -> None:
    width = "its width is 8, embedding_size 64"
    assert width in texts(diagnose(folder, embedding_size=64, recbole_compat=True), "bad")
    free = diagnose(folder, embedding_size=64)
    assert width in texts(free, "note")
    assert not free.is_bad
    sidecar = path_of(folder, "ent_feature.json")
    sidecar.write_text(json.dumps({"kg_sha256": "0" * 64}))
    bad = texts(diagnose(folder), "bad")
    assert ".ent_feature made from another small.kg than the one beside it" in bad


@pytest.mark.parametrize(("length", "is_told"), [(1, False), (5, True)])
def test_long_vectors_are_told_with_the_cure(folder: Path, length: int, is_told: bool) -> None:
    row = " ".join([str(length), *["0"] * 7])
    rows = [f"e{n}\t{row}" for n in range(1, 11)]
    head = "ent_id:token\tent_vec:float_seq"
    path_of(folder, "ent_feature").write_text("\n".join([head, *rows, ""]))
    diagnosis = diagnose(folder)
    assert f"10 vectors of width 8, norm {length}.00 on average" in texts(diagnosis, "ok")
    notes = texts(diagnosis, "note")
    assert ("divide them by their mean norm" in notes) == is_told
    assert not diagnosis.is_bad


def test_items_without_a_vector_are_counted(folder: Path) -> None:
    assert "10 of 12 items have a vector" in texts(diagnose(folder), "ok")
    head = "ent_id:token\tent_vec:float_seq"
    rows = [f"x{n}\t{n} 0 0 0 0 0 0 0" for n in range(3)]
    path_of(folder, "ent_feature").write_text("\n".join([head, *rows, ""]))
    diagnosis = diagnose(folder)
    assert "0 of 12 items have a vector" in texts(diagnosis, "bad")
    assert "1 vectors are all zeros" in texts(diagnosis, "note")


def test_a_file_that_cannot_be_read_does_not_hide_the_others(folder: Path) -> None:
    path_of(folder, "kg").write_text("head_id:token\trelation_id:token\n")
    diagnosis = diagnose(folder)
    assert "no column 'tail_id'" in texts(diagnosis, "bad")
    assert "vectors of width 8" in texts(diagnosis, "ok")


def test_times_that_float32_cannot_tell_apart(folder: Path) -> None:
    head = "user_id:token\titem_id:token\ttimestamp:float"
    rows = ["a\ti1\t900000000", "a\ti2\t900000001", "a\ti3\t900000001", "a\ti4\t900000900"]
    path_of(folder, "inter").write_text("\n".join([head, *rows, "b\ti1\t1", "b\ti1\t2", ""]))
    notes = texts(diagnose(folder), "note")
    assert "1 events have their user's previous time (25.0%)" in notes
    assert "1 pairs of neighbouring events have times that float32 cannot tell apart" in notes
    assert "1 users have fewer than 4 interactions" in notes
    assert "1 interactions are of a user and item seen before (16.7%)" in notes


def test_links_of_another_catalogue_are_bad(folder: Path) -> None:
    path_of(folder, "link").write_text("item_id:token\tentity_id:token\nx1\te1\nx2\te1\n")
    diagnosis = diagnose(folder)
    assert "0 of 12 items are linked" in texts(diagnosis, "bad")
    assert "2 items share an entity" in texts(diagnosis, "note")


def test_without_a_graph_only_the_interactions_are_looked_at(folder: Path) -> None:
    for suffix in ("kg", "link", "ent_feature"):
        path_of(folder, suffix).unlink()
    diagnosis = diagnose(folder)
    assert not diagnosis.is_bad
    assert diagnosis.links is None
    assert diagnosis.as_json()["links"] == {"verdict": "unknown"}


def test_inverse_relations_by_hand() -> None:
    rows = [("a", "directed", "x"), ("b", "directed", "y"), ("x", "by", "a"), ("y", "by", "b")]
    rows += [("a", "likes", "b"), ("b", "likes", "x"), ("x", "odd", "b")]
    columns = ["head_id", "relation_id", "tail_id"]
    triples = pl.DataFrame(rows, schema=columns, orient="row")
    assert inverse_relations(triples) == [("by", "directed"), ("likes", "odd")]


@pytest.mark.parametrize(
    ("number", "fault"), [("0", "all zeros"), ("1e38", "with numbers up to 1e+38")]
)
def test_vectors_of_a_training_that_diverged_are_bad_and_train_nothing(
    folder: Path, number: str, fault: str
) -> None:
    rows = [f"e{n}\t{' '.join([number] * 8)}" for n in range(1, 11)]
    path_of(folder, "ent_feature").write_text("\n".join(["ent_id:token\tent_vec:float_seq", *rows]))
    diagnosis = diagnose(folder)
    assert f".ent_feature vectors {'that are ' if number == '0' else ''}{fault}" in texts(
        diagnosis, "bad"
    )
    assert diagnosis.is_bad
    settings = Settings(dataset="small", embedding_size=8)
    with pytest.raises(KgrecError, match=r"small\.ent_feature: vectors .*of which nothing can be"):
        run_train(settings, folder, on_event=ignore_event)
    assert not (folder / "saved").exists()
