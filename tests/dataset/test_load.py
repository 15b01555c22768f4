"""Atomic files as RecBole users have them: names, separators, filters, parts, feature files."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import vocabulary_of
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.files import find_features
from kgrec_cli.dataset.load import load_dataset, split_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note
from kgrec_cli.intervals import parse_intervals
from kgrec_cli.runs.run_files import read_run_items
from kgrec_cli.settings import Settings
from tests.dataset.conftest import INTER, ROWS, histories, load, write, write_samples


def test_histories_are_in_time_order(folder: Path) -> None:
    dataset, notes = load(folder)
    assert histories(dataset) == {"a": ["x", "y", "z", "x"], "b": ["x", "y"], "c": ["w"]}
    assert notes == []


def test_names_and_separators_of_the_user(tmp_path: Path) -> None:
    head = "who:token\twhat:token\tstars:float\twhen:float"
    write(tmp_path, "inter", head, ROWS, separator=",")
    write(tmp_path, "link", "what:token\tthing:token", [("x", "ex"), ("y", "ey")], separator=",")
    names = {
        "USER_ID_FIELD": "who", "ITEM_ID_FIELD": "what", "TIME_FIELD": "when",
        "RATING_FIELD": "stars", "ENTITY_ID_FIELD": "thing", "field_separator": ",",
        "seq_separator": ";", "alias_of_entity_id": ["tid"], "preload_weight": {"tid": "vec"},
    }  # fmt: skip
    write(tmp_path, "ent_feature", "tid:token\tvec:float_seq", [("ex", "1;2")], separator=",")
    dataset, _ = load(tmp_path, **names)
    assert histories(dataset)["a"] == ["x", "y", "z", "x"]
    assert dataset.entities == {"x": "ex", "y": "ey"}
    settings = Settings(dataset="toy", embedding_size=2, **names)
    tables = load_feature_tables(settings, dataset, tmp_path, lambda event: None)
    assert tables["entity"][dataset.items.get("x")].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("changes", "expected", "n_dropped"),
    [
        ({"val_interval": {"rating": "[3,inf)"}}, {"a": "xyz", "b": "y", "c": "w"}, 2),
        ({"val_interval": {"rating": "(3,4];[1,1]"}}, {"a": "zx", "c": "w"}, 4),
        ({"val_interval": {"timestamp": "[20,40]"}}, {"a": "yzx", "b": "y"}, 3),
        ({"user_inter_num_interval": "[2,inf)"}, {"a": "xyzx", "b": "xy"}, 1),
        ({"item_inter_num_interval": "[2,inf)"}, {"a": "xyx", "b": "xy"}, 2),
        ({"user_inter_num_interval": "[0,3]"}, {"b": "xy", "c": "w"}, 4),
        ({"rm_dup_inter": "first"}, {"a": "xyz", "b": "xy", "c": "w"}, 1),
        ({"rm_dup_inter": "last"}, {"a": "yzx", "b": "xy", "c": "w"}, 1),
        (
            {"user_inter_num_interval": "[2,inf)", "item_inter_num_interval": "[2,inf)"},
            {"a": "xyx", "b": "xy"},
            2,
        ),
    ],
)
def test_filters_by_hand(folder: Path, changes, expected, n_dropped: int) -> None:
    dataset, notes = load(folder, **changes)
    assert {user: "".join(items) for user, items in histories(dataset).items()} == expected
    assert f"{n_dropped} interactions dropped" in notes[0]


def test_items_that_a_run_does_not_know(folder: Path) -> None:
    settings = Settings(dataset="toy", embedding_size=2)
    events: list[Event] = []
    dataset = load_dataset(settings, folder, events.append, vocabulary_of(["z", "x"]))
    assert histories(dataset) == {"a": ["x", "z", "x"], "b": ["x"]}
    assert Note("3 interactions of items that the run does not know: dropped") in events
    with pytest.raises(KgrecError, match="none of its items is known to the run"):
        load_dataset(settings, folder, events.append, vocabulary_of(["other"]))


def test_filters_that_leave_nothing_are_one_line(folder: Path) -> None:
    with pytest.raises(KgrecError, match="the filters leave no interaction"):
        load(folder, user_inter_num_interval="[9,inf)")


def test_time_is_read_though_load_col_leaves_it_out(folder: Path) -> None:
    dataset, notes = load(folder, load_col={"inter": ["user_id", "item_id"]})
    assert histories(dataset)["a"] == ["x", "y", "z", "x"]
    assert notes == ["load_col does not name timestamp; it is read anyway, for the order"]


def test_a_column_that_is_not_there_is_one_line(folder: Path) -> None:
    with pytest.raises(KgrecError, match=r"toy\.inter: unknown column 'usr_id': did you mean"):
        load(folder, load_col={"inter": ["usr_id", "item_id"]})


def test_parts_that_were_split_beforehand(tmp_path: Path) -> None:
    write(tmp_path, "train.inter", INTER, ROWS[:5])
    write(tmp_path, "valid.inter", INTER, [("a", "w", 1, 1), ("b", "z", 1, 60)])
    write(tmp_path, "test.inter", INTER, [("a", "v", 1, 0), ("a", "u", 1, 70)])
    dataset, _ = load(tmp_path, benchmark_filename=["train", "valid", "test"])
    split = split_dataset(Settings(dataset="toy"), dataset)
    # a part follows the one before it whatever its times say
    assert histories(dataset) == {"a": ["x", "y", "z", "w", "v", "u"], "b": ["x", "y", "z"]}
    names = np.array(dataset.items.tokens)[dataset.histories.items]
    found = {
        "train": splits.train_targets(dataset.histories, split),
        "valid": splits.valid_targets(dataset.histories, split),
        "test": splits.test_targets(dataset.histories, split),
    }
    assert {part: "".join(names[targets]) for part, targets in found.items()} == {
        "train": "yzy",
        "valid": "wz",
        "test": "vu",
    }


def test_a_part_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    write_samples(tmp_path)
    with pytest.raises(
        KgrecError, match=r"toy\.dev\.inter: no such file; benchmark_filename names"
    ):
        load(tmp_path, benchmark_filename=["train", "dev", "test"])


def test_recbole_compat_drops_items_without_an_entity_in_the_graph(folder: Path) -> None:
    kept, _ = load(folder, recbole_compat=True)
    assert "z" in kept.items.tokens  # its entity has a vector, though no triple
    write(folder, "ent_feature", "ent_id:token\tent_vec:float_seq", [("ex", "1 2")])
    dataset, notes = load(folder, recbole_compat=True)
    assert histories(dataset) == {"a": ["x", "y", "x"], "b": ["x", "y"]}
    assert "recbole_compat" in notes[0]
    assert "2 interactions dropped" in notes[0]  # z's entity is unknown, w has none
    plain, _ = load(folder, recbole_compat=True, model="GRU4Rec")
    assert len(plain.histories.items) == 7


def test_further_feature_files_are_branches_of_their_own(folder: Path) -> None:
    texts = [("x", "1 1 1"), ("w", "2 2 2")]
    write(folder, "text_feature", "text_id:token\ttext_vec:float_seq", texts)
    changes = {
        "additional_feat_suffix": ["ent_feature", "text_feature"],
        "preload_weight": {"ent_id": "ent_vec", "text_id": "text_vec"},
        "alias_of_item_id": ["text_id"],
    }
    dataset, _ = load(folder, **changes)
    settings = Settings(dataset="toy", embedding_size=2, **changes)
    tables = load_feature_tables(settings, dataset, folder, lambda event: None)
    assert list(tables) == ["entity", "text_feature"]
    assert tables["text_feature"].shape == (5, 3)
    rows = {
        token: tables["text_feature"][index].tolist()
        for index, token in enumerate(dataset.items.tokens)
    }
    assert rows == {"[PAD]": [0] * 3, "x": [1] * 3, "y": [0] * 3, "z": [0] * 3, "w": [2] * 3}


@pytest.mark.parametrize(
    ("head", "changes", "expected"),
    [
        ("text_id:token\tv:float_seq", {}, "are its 'text_id' entities or items?"),
        ("text_id:token\tv:float", {"alias_of_item_id": ["text_id"]}, "a float_seq column"),
        (
            "text_id:token\tv:float_seq",
            {"preload_weight": {"ent_id": "ent_vec"}},
            "preload_weight has no entry for it; add {text_id: v}",
        ),
    ],
)
def test_a_feature_file_that_nothing_explains_is_one_line(
    folder: Path, head: str, changes, expected: str
) -> None:
    write(folder, "text_feature", head, [("x", "1 1 1")])
    changes = {"additional_feat_suffix": ["ent_feature", "text_feature"], **changes}
    dataset, _ = load(folder)
    settings = Settings(dataset="toy", embedding_size=2, **changes)
    with pytest.raises(KgrecError) as caught:
        load_feature_tables(settings, dataset, folder, lambda event: None)
    assert expected in str(caught.value)


@pytest.mark.parametrize("has_kg", [True, False])
def test_without_a_graph_no_vectors_are_asked_for(small_folder: Path, has_kg: bool) -> None:
    """`pretrain-kg` would refuse: it is no advice."""
    dataset_dir = small_folder / "dataset" / "small"
    (dataset_dir / "small.ent_feature").unlink()
    head = "head_id:token\trelation_id:token\ttail_id:token\n"
    (dataset_dir / "small.kg").write_text(head)
    if not has_kg:
        (dataset_dir / "small.kg").unlink()
    with pytest.raises(KgrecError) as caught:
        find_features(Settings(dataset="small"), small_folder)
    assert str(caught.value).endswith("no graph to make it of; train without: --model GRU4Rec")
    (dataset_dir / "small.kg").write_text(head + "a\tr\tb\n")
    with pytest.raises(KgrecError, match="`kgrec pretrain-kg` makes it"):
        find_features(Settings(dataset="small"), small_folder)


def test_recboles_built_in_names_are_found(folder: Path) -> None:
    (folder / "dataset/toy/toy.ent_feature").unlink()
    write(folder, "ent", "ent_id:token\tent_emb:float_seq", [("ex", "7 8")])
    dataset, _ = load(folder)
    settings = Settings(dataset="toy", embedding_size=2)
    tables = load_feature_tables(settings, dataset, folder, lambda event: None)
    assert tables["entity"][dataset.items.get("x")].tolist() == [7, 8]


@pytest.mark.parametrize("text", ["5", "[5", "[a,b]", "[3,2]", "5,6", ""])
def test_a_text_that_is_no_interval_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="expected an interval such as"):
        parse_intervals(text)


@given(st.floats(-9, 9), st.floats(0, 9), st.booleans(), st.booleans())
def test_intervals_read_back(low: float, width: float, has_low: bool, has_high: bool) -> None:
    text = f"{'[' if has_low else '('}{low}, {low + width}{']' if has_high else ')'}"
    (found,) = parse_intervals(text)
    assert (found.low, found.high) == (low, low + width)
    assert (found.has_low, found.has_high) == (has_low, has_high)


def rows_of_run(folder: Path, branch: str) -> dict[str, list[float]]:
    """The table of a branch in the only run, by item."""
    (run_dir,) = (folder / "saved").iterdir()
    table = load_file(run_dir / "model.safetensors")[f"{branch}_embedding.weight"].tolist()
    return dict(zip(read_run_items(run_dir)["item_id"], table[1:], strict=True))


PAGE = """
load_col:
  inter: [user_id, item_id]
  kg: [head_id, relation_id, tail_id]
  link: [item_id, entity_id]
  ent_feature: [ent_id, ent_vec]
{alias}
preload_weight:
  ent_id: ent_vec
additional_feat_suffix: [ent_feature]
embedding_size: 8
epochs: 1
"""


@pytest.mark.parametrize(
    "alias", ["alias_of_entity_id: [ent_id]", "fields_in_same_space: [[ent_id, entity_id]]"]
)
def test_the_settings_of_recboles_page_work_in_both_spellings(
    run_cli, small_folder: Path, alias: str
) -> None:
    (small_folder / "page.yaml").write_text(PAGE.format(alias=alias))
    result = run_cli("train", "--config", "page.yaml", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    assert "load_col does not name timestamp; it is read anyway" in result.stderr
    entity_rows = rows_of_run(small_folder, "entity")
    for item in range(1, 13):  # as `write_small_dataset` gives them; the last two have no entity
        expected = [float(column == item % 8 and item <= 10) for column in range(8)]
        assert entity_rows[f"i{item}"] == expected


def test_a_run_with_two_feature_files_can_be_used(run_cli, small_folder: Path) -> None:
    head = "text_id:token\ttext_vec:float_seq"
    rows = [f"i{item}\t{item} 0 1" for item in range(1, 13)]
    path = small_folder / "dataset/small/small.text_feature"
    path.write_text("\n".join([head, *rows, ""]))
    (small_folder / "two.yaml").write_text(
        "additional_feat_suffix: [ent_feature, text_feature]\nalias_of_item_id: [text_id]\n"
        "preload_weight: {ent_id: ent_vec, text_id: text_vec}\nembedding_size: 8\nepochs: 2\n"
    )
    trained = run_cli("train", "--config", "two.yaml", "--threads", "1")
    assert trained.exit_code == 0, trained.stderr
    text_rows = rows_of_run(small_folder, "text_feature")
    assert text_rows == {f"i{item}": [item, 0, 1] for item in range(1, 13)}
    (run_dir,) = (small_folder / "saved").iterdir()
    of_training = json.loads((run_dir / "metrics.json").read_text())["test"]
    measured = run_cli("evaluate", "--no-baselines", "--json")
    found = json.loads(measured.stdout)["test"]
    assert {name: found[name] for name in of_training} == pytest.approx(of_training)
    advised = run_cli("recommend", "--items", "i1,i2", "--topk", "3", "--json")
    assert len(json.loads(advised.stdout)[0]["items"]) == 3
