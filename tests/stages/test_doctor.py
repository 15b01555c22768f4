"""`kgrec doctor` on data sets with one thing wrong each."""

import json
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.core.linking.oddities import same_relations
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, ignore_event
from kgrec_cli.settings import Settings
from kgrec_cli.stages.doctor import Diagnosis, run_doctor
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
    assert "share an entity" not in texts(diagnosis, "note")  # x1 and x2 are no items


def test_only_links_of_items_with_interactions_are_counted(folder: Path) -> None:
    """i13 is no item of an interaction: its entities are neither shared nor without a triple."""
    links = ["i1\te1", "i2\te1", "i3\te3", "i4\tx4", "i13\te3", "i13\tx5"]
    path_of(folder, "link").write_text("\n".join(["item_id:token\tentity_id:token", *links, ""]))
    diagnosis = diagnose(folder)
    notes = texts(diagnosis, "note")
    assert "4 of 12 items are linked" in texts(diagnosis, "ok")
    assert "2 items share an entity" in notes
    assert "1 of 3 linked entities stand in no triple" in notes
    assert "further links" not in notes


def test_without_a_graph_only_the_interactions_are_looked_at(folder: Path) -> None:
    for suffix in ("kg", "link", "ent_feature"):
        path_of(folder, suffix).unlink()
    diagnosis = diagnose(folder)
    assert not diagnosis.is_bad
    assert diagnosis.links is None
    assert diagnosis.as_json()["links"] == {"verdict": "unknown"}


@pytest.mark.parametrize("has_files", [True, False])
def test_a_data_set_without_a_graph_is_fine(folder: Path, has_files: bool) -> None:
    """As `prepare --kg none` leaves it, and as RecBole's GRU4Rec needs it."""
    path_of(folder, "ent_feature").unlink()
    for suffix in ("kg", "link"):
        head = path_of(folder, suffix).read_text().partition("\n")[0]
        path_of(folder, suffix).write_text(head + "\n")
        if not has_files:
            path_of(folder, suffix).unlink()
    diagnosis = diagnose(folder)
    assert [(f.level, f.about, f.text, f.cure) for f in diagnosis.findings[1:]] == [
        ("note", ".kg", "no graph: GRU4Rec only", "")
    ]
    assert not diagnosis.is_bad


def write_item_vectors(folder: Path) -> None:
    """A `.ent` whose ids are items, in place of the `.ent_feature`."""
    path_of(folder, "ent_feature").unlink()
    rows = [f"i{n}\t{n} 0 0 0 0 0 0 0" for n in range(1, 13)]
    head = "ent_id:token\tent_emb:float_seq"
    path_of(folder, "ent").write_text("\n".join([head, *rows, ""]))


def test_ent_of_items_is_seen_and_cured_as_in_train(folder: Path, events: list[Event]) -> None:
    write_item_vectors(folder)
    cure = "small.ent: its ids (such as 'i1') are items; set alias_of_item_id: [ent_id]"
    bad = texts(diagnose(folder), "bad")
    assert "0 of 12 items have a vector" in bad
    assert cure in bad
    settings = Settings(dataset="small")
    dataset = load_dataset(settings, folder, events.append)
    with pytest.raises(KgrecError) as caught:
        load_feature_tables(settings, dataset, folder, events.append)
    assert str(caught.value).endswith(cure)
    cured = diagnose(folder, alias_of_item_id=("ent_id",))
    assert "12 of 12 items have a vector" in texts(cured, "ok")
    assert not cured.is_bad


def test_entities_called_items_are_cured_as_well(folder: Path) -> None:
    diagnosis = diagnose(folder, alias_of_item_id=("ent_id",))
    assert "'e1') are entities; name ent_id in alias_of_entity_id, not" in texts(diagnosis, "bad")


def test_warnings_of_prepare_and_notes_of_reading_are_repeated(folder: Path) -> None:
    report = {"warnings": ["log.csv: no time column"]}
    path_of(folder, "inter").with_name("prepare.json").write_text(json.dumps(report))
    diagnosis = diagnose(folder, user_inter_num_interval="[5,inf)", rm_dup_inter="first")
    assert texts(diagnosis, "warn").strip() == "prepare log.csv: no time column"
    assert not diagnosis.is_bad
    assert "val_interval" not in texts(diagnosis, "note")
    low = diagnose(folder, val_interval={"rating": "[2,inf)"})
    assert "val_interval of rating: 60 interactions dropped" in texts(low, "note")


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"warnings": null}', '{"warnings": 3}'])
def test_a_damaged_report_hides_nothing(folder: Path, text: str) -> None:
    path_of(folder, "inter").with_name("prepare.json").write_text(text)
    assert not diagnose(folder).is_bad


def test_an_odd_graph_and_links_turned_round_are_noted_once(folder: Path) -> None:
    head = "head_id:token\trelation_id:token\ttail_id:token"
    rows = [f"e{n}\tt{n}\tby" for n in range(1, 11)]
    path_of(folder, "kg").write_text("\n".join([head, *rows, "e1\tt1\te1", ""]))
    links = [f"e{n}\ti{n}" for n in range(1, 11)]
    path_of(folder, "link").write_text("\n".join(["item_id:token\tentity_id:token", *links, ""]))
    diagnosis = diagnose(folder)
    notes = texts(diagnosis, "note")
    odd = "10 relations, but only 2 different tails (11 entities): are the columns head, tail, "
    assert odd in notes
    assert "1 triples lead from an entity to itself" in notes
    assert "the columns are turned round: as entity, item they link 10 of 12 items" in notes
    assert "those of the links are like 'e1', the data set's like 'i1'" in texts(diagnosis, "bad")
    warnings = [f"kg.tsv: {f.text}" for f in diagnosis.findings if f.text.startswith(odd[:12])]
    path_of(folder, "inter").with_name("prepare.json").write_text(
        json.dumps({"warnings": warnings})
    )
    assert odd in texts(diagnose(folder), "warn")
    assert odd not in texts(diagnose(folder), "note")


@pytest.mark.parametrize(
    ("n_events", "said"),
    [
        (1, "the training part is empty: no user has two interactions"),
        (3, "the validation part is empty, so nothing can stop the training"),
        (4, ""),
    ],
)
def test_too_few_events_to_train_are_bad_as_in_train(
    folder: Path, n_events: int, said: str
) -> None:
    rows = [f"u{user}\ti{n + 1}\t{n}" for user in range(9) for n in range(n_events)]
    head = "user_id:token\titem_id:token\ttimestamp:float"
    path_of(folder, "inter").write_text("\n".join([head, *rows, ""]))
    diagnosis = diagnose(folder)
    assert said in texts(diagnosis, "bad")
    assert diagnosis.is_bad == bool(said)


def test_an_empty_field_of_the_graph_is_bad_as_in_pretrain_kg(folder: Path) -> None:
    with path_of(folder, "kg").open("a") as file:
        file.write("e1\t\te2\n")
    diagnosis = diagnose(folder)
    assert "small.kg, line 12, column relation_id: empty" in texts(diagnosis, "bad")
    assert "10 triples, 10 entities, 1 relations" in texts(diagnosis, "ok")


def test_inverse_relations_by_hand() -> None:
    rows = [("a", "directed", "x"), ("b", "directed", "y"), ("x", "by", "a"), ("y", "by", "b")]
    rows += [("a", "likes", "b"), ("b", "likes", "x"), ("x", "odd", "b")]
    columns = ["head_id", "relation_id", "tail_id"]
    triples = pl.DataFrame(rows, schema=columns, orient="row")
    assert same_relations(triples)[0] == [("by", "directed"), ("likes", "odd")]


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
