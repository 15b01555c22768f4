"""`kgrec export` and `kgrec import` as typed; out and in again gives the same ranking."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from tests.conftest import QUICK, RunCli


class Config:
    """Stands for RecBole's Config in a checkpoint."""

    def __init__(self, values: dict) -> None:
        self.final_config_dict = values


# As RecBole fills it in.
RECBOLE_CONFIG = {
    "model": "GRU4RecKG",
    "dataset": "small",
    "data_path": "/elsewhere/dataset/small",
    "MAX_ITEM_LIST_LENGTH": 4,
    "loss_type": "CE",
    "train_neg_sample_args": {"distribution": "none", "sample_num": "none", "dynamic": False},
    "metrics": ["Recall", "MRR"],
    "topk": [5],
    "valid_metric": "MRR@5",
    "metric_decimal_place": 4,
    "eval_args": {
        "split": {"LS": "valid_and_test"},
        "order": "TO",
        "group_by": "user",
        "mode": {"valid": "full", "test": "full"},
    },
    "load_col": {"inter": ["user_id", "item_id", "timestamp"], "link": ["item_id", "entity_id"]},
    "val_interval": None,
    "learner": "adam",
    "threshold": None,
}


def link_all_items(folder: Path) -> None:
    """Links the two unlinked items of the small data set, so that RecBole would drop none."""
    for suffix, row in (
        ("link", "i{0}\te{0}\n"),
        ("ent_feature", "e{0}\t1 0 0 0 0 0 0 0\n"),
        ("kg", "e{0}\tfollows\te1\n"),
    ):
        path = folder / f"dataset/small/small.{suffix}"
        path.write_text(path.read_text() + "".join(row.format(item) for item in (11, 12)))


@pytest.fixture
def linked(small_folder: Path) -> Path:
    link_all_items(small_folder)
    return small_folder


@pytest.mark.parametrize("model", ["GRU4RecKG", "GRU4Rec"])
def test_out_and_in_again(run_cli: RunCli, linked: Path, model: str) -> None:
    trained = run_cli("train", "--epochs", "3", "--model", model, *QUICK, "--json")
    (told,) = json.loads(trained.stdout)
    exported = run_cli("export", "--format", "recbole", "--out", "model.pth")
    assert exported.exit_code == 0, exported.stderr
    assert "12 items, in RecBole's order -> model.pth" in exported.stdout
    names = set(torch.load("model.pth", weights_only=True)["state_dict"])
    kg = {"item_gru_layers.weight_ih_l0", "entity_embedding.weight", "dense_layer.bias"}
    assert names > (kg if model == "GRU4RecKG" else {"gru_layers.weight_ih_l0", "dense.bias"})
    imported = run_cli("import", "model.pth", "--json")
    assert imported.exit_code == 0, imported.stderr
    assert "warning" not in imported.stderr  # the validation score is the checkpoint's
    run_dir = json.loads(imported.stdout)["run"]
    again = json.loads(run_cli("evaluate", run_dir, "--no-baselines", "--json").stdout)
    for part, values in told["metrics"].items():
        for name, value in values.items():
            assert again[part][name] == pytest.approx(value, abs=1e-12)
    assert run_cli("recommend", run_dir, "--user", "u1").exit_code == 0
    final = run_cli("train", "--on-all-data", "--like", run_dir, "--threads=1", "--json")
    assert json.loads(final.stdout)[0]["epochs"] == told["best_epoch"]


def test_items_that_recbole_drops_are_left_out(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    out_path = tmp_path / "model.pth"
    result = run_cli("export", "--out", str(out_path), "--json", cwd=trained_folder)
    assert json.loads(result.stdout) == {"out": str(out_path), "items": 10, "left_out": 2}
    value = torch.load(out_path, weights_only=True)
    assert value["item_tokens"] == ["[PAD]", *(f"i{item}" for item in range(1, 11))]
    shapes = {len(table) for name, table in value["state_dict"].items() if "embedding" in name}
    assert shapes == {11}
    config = value["config"]
    assert config["load_col"]["ent_feature"] == ["ent_id", "ent_vec"]
    assert config["train_neg_sample_args"] is None
    kgrecs_own = (
        "device", "threads", "preset", "recbole_compat", "train_batching", "pretrain_kg",
        "seen_bias", "kg_items", "layer_norm", "shuffle_ties", "hidden_dropout_prob", "ema_decay",
        "residual", "similarity",
    )  # fmt: skip
    assert not {*kgrecs_own, "data_path", "checkpoint_dir"} & set(config)
    assert {"epochs", "learning_rate", "loss_type", "seed"} < set(config)


def test_out_and_in_again_without_the_items_that_recbole_drops(
    run_cli: RunCli, small_folder: Path
) -> None:
    """Other figures, and the true reason: no rounded time, fewer items."""
    run_cli("train", "--epochs", "6", *QUICK)
    run_cli("export", "--out", "model.pth")
    imported = run_cli("import", "model.pth")
    assert imported.exit_code == 0, imported.stderr
    assert "the run that was exported ranked 2 items more, which RecBole drops" in imported.stderr
    assert "float32" not in imported.stderr


def test_out_and_in_again_with_items_that_the_item_file_lacks(
    run_cli: RunCli, linked: Path
) -> None:
    path = linked / "dataset/small/small.item"
    path.write_text(path.read_text().replace("i3\tFilm No 3\n", ""))
    drop = "--set=filter_inter_by_user_or_item=true"
    trained = run_cli("train", "--epochs", "3", *QUICK, drop, "--json")
    assert "small.item lacks 1 of 12 items" in trained.stderr
    (told,) = json.loads(trained.stdout)
    exported = run_cli("export", "--out", "model.pth")
    assert "the .item file decides which interactions are kept" in exported.stderr
    config = torch.load("model.pth", weights_only=True)["config"]
    assert config["load_col"]["item"] == ["item_id"]
    assert "user" not in config["load_col"]
    imported = run_cli("import", "model.pth", "--json")
    assert imported.exit_code == 0, imported.stderr
    again = json.loads(imported.stdout)["metrics"]
    assert again["test"]["ndcg@10"] == pytest.approx(told["metrics"]["test"]["ndcg@10"], abs=1e-12)


def test_a_changed_log_is_a_warning(run_cli: RunCli, linked: Path) -> None:
    run_cli("train", "--epochs", "1", *QUICK)
    path = linked / "dataset/small/small.inter"
    path.write_text(path.read_text() + "u1\ti1\t5\t2000\n")
    assert "has changed since the training" in run_cli("export", "--out", "model.pth").stderr


def test_further_branches_cannot_be_exported(run_cli: RunCli, linked: Path) -> None:
    vectors = "".join(f"i{item}\t1 {item}\n" for item in range(1, 13))
    path = linked / "dataset/small/small.text"
    path.write_text("item_id:token\ttext_vec:float_seq\n" + vectors)
    features = "--set=additional_feat_suffix=[ent_feature, text]"
    trained = run_cli("train", "--epochs", "1", *QUICK, features)
    assert trained.exit_code == 0, trained.stderr
    result = run_cli("export")
    assert result.exit_code == 1
    assert "its branches are item, entity, text; RecBole's GRU4RecKG has item and" in result.stderr


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *((name, f"{name}=true") for name in ("seen_bias", "kg_items", "layer_norm", "residual")),
        ("similarity: cosine", "similarity=cosine"),
    ],
)
def test_what_recbole_does_not_have_cannot_be_exported(
    run_cli: RunCli, linked: Path, name: str, setting: str
) -> None:
    assert run_cli("train", "--epochs", "1", *QUICK, f"--set={setting}").exit_code == 0
    result = run_cli("export")
    assert result.exit_code == 1
    assert f"trained with {name}, which RecBole does not have" in result.stderr


def recbole_checkpoint(run_cli: RunCli, **more: object) -> dict:
    """A checkpoint as RecBole writes it, of a short training."""
    run_cli("train", "--epochs", "2", *QUICK, "--set=recbole_compat=true")
    run_cli("export", "--out", "model.pth")
    weights = torch.load("model.pth", weights_only=True)["state_dict"]
    value = {"config": Config(RECBOLE_CONFIG), "epoch": 1, "state_dict": weights}
    value |= {"best_valid_score": None, "optimizer": {"state": {}}, **more}
    torch.save(value, "recbole.pth")
    return value


def test_the_checkpoints_settings_are_the_runs(run_cli: RunCli, linked: Path) -> None:
    (linked / "kgrec.yaml").write_text("topk: [3]\nseed: 7\n")
    recbole_checkpoint(run_cli)
    result = run_cli("import", "recbole.pth", "--json", "--set", "metrics=[NDCG]")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert list(told["metrics"]["test"]) == ["ndcg@5"]  # topk the checkpoint's, metrics as typed
    config = yaml.safe_load((Path(told["run"]) / "config.yaml").read_text())
    assert config["MAX_ITEM_LIST_LENGTH"] == 4
    assert config["recbole_compat"] is True
    assert (config["embedding_size"], config["hidden_size"], config["num_layers"]) == (8, 16, 1)
    assert (config["data_path"], config["seed"]) == ("dataset", 7)


@pytest.mark.parametrize(
    "line",
    [
        *(f"{name}: true" for name in ("seen_bias", "kg_items", "layer_norm", "residual")),
        "similarity: cosine",
        "preset: best",
    ],
)
def test_the_folders_options_that_recbole_does_not_have_are_off(
    run_cli: RunCli, linked: Path, line: str
) -> None:
    recbole_checkpoint(run_cli)
    (linked / "kgrec.yaml").write_text(f"dataset: small\n{line}\n")
    result = run_cli("import", "recbole.pth", "--json")
    assert result.exit_code == 0, result.stderr
    config = yaml.safe_load((Path(json.loads(result.stdout)["run"]) / "config.yaml").read_text())
    names = ("preset", "seen_bias", "kg_items", "layer_norm", "residual", "similarity")
    assert [config[name] for name in names] == [None, False, False, False, False, "dot"]


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1.0, ""),
        (1.02, ": RecBole rounds times to float32"),
        (1.2, ": are these the data files that it was trained on?"),
    ],
)
def test_the_validation_score_is_held_against_the_checkpoints(
    run_cli: RunCli, linked: Path, factor: float, expected: str
) -> None:
    recbole_checkpoint(run_cli)
    score = json.loads(run_cli("import", "recbole.pth", "--json").stdout)["metrics"]["valid"][
        "mrr@5"
    ]
    shown = round(score * factor, 4)
    recbole_checkpoint(run_cli, best_valid_score=shown)
    result = run_cli("import", "recbole.pth")
    assert result.exit_code == 0
    told = f"validation MRR@5 {score:.4f} here, {shown:.4f} in the checkpoint{expected}"
    assert told in result.stderr
    assert ("warning" in result.stderr) is (factor == 1.2)


def test_what_kgrec_does_not_take_is_told(run_cli: RunCli, linked: Path) -> None:
    config = {**RECBOLE_CONFIG, "metrics": ["GAUC"], "learner": "sgd"}
    recbole_checkpoint(run_cli, config=Config(config))
    result = run_cli("import", "recbole.pth")
    assert result.exit_code == 0, result.stderr
    assert "warning: recbole.pth: its metrics ['GAUC'] is not supported" in result.stderr
    assert "its learner 'sgd' is not supported; the setting of kgrec is used" in result.stderr


def test_the_data_set_of_the_checkpoint_is_taken(run_cli: RunCli, linked: Path) -> None:
    recbole_checkpoint(run_cli)
    shutil.copytree(linked / "dataset/small", linked / "dataset/other")
    for path in (linked / "dataset/other").iterdir():
        path.rename(path.with_name(path.name.replace("small", "other")))
    result = run_cli("import", "recbole.pth", "--json")
    assert "small-GRU4RecKG" in json.loads(result.stdout)["run"]
    result = run_cli("import", "recbole.pth", "--json", "--dataset", "other")
    assert "other-GRU4RecKG" in json.loads(result.stdout)["run"]


def test_items_of_the_item_file_stay_candidates(run_cli: RunCli, small_folder: Path) -> None:
    """RecBole, when it reads `.item` too, numbers the unlinked i11 and i12 before the others."""
    weights = recbole_checkpoint(run_cli)["state_dict"]
    run_cli("evaluate", "--no-baselines", "--per-user", "own.csv")
    for name in ("item_embedding.weight", "entity_embedding.weight"):
        table = weights[name]
        weights[name] = torch.cat([table[:1], torch.zeros(2, 8), table[1:]])
    config = Config({**RECBOLE_CONFIG, "load_col": None, "MAX_ITEM_LIST_LENGTH": 50})
    torch.save({"state_dict": weights, "config": config}, "recbole.pth")
    result = run_cli("import", "recbole.pth", "--json")
    assert (
        "2 items of the .item file have no interaction" in run_cli("import", "recbole.pth").stderr
    )
    run_dir = Path(json.loads(result.stdout)["run"])
    tokens = pl.read_csv(run_dir / "items.tsv", separator="\t")["item_id:token"].to_list()
    assert tokens == ["i11", "i12", *(f"i{item}" for item in range(1, 11))]
    run_cli("evaluate", str(run_dir), "--no-baselines", "--per-user", "imported.csv")
    own, imported = (pl.read_csv(f"{name}.csv")["rank"] for name in ("own", "imported"))
    assert len(own) == 30
    assert ((imported - own).is_between(0, 2)).all()


def test_weights_of_another_data_set_are_one_line(run_cli: RunCli, linked: Path) -> None:
    recbole_checkpoint(run_cli)
    before = sorted((linked / "saved").iterdir())
    path = linked / "dataset/small/small.link"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    result = run_cli("import", "recbole.pth")
    assert result.exit_code == 1
    assert "12 items, but small has 9" in result.stderr
    result = run_cli("import", "model.pth")  # kgrec's own export names its items
    assert "its items are not those of small" in result.stderr
    assert sorted((linked / "saved").iterdir()) == before


ITEMS, ENTITIES = "item_embedding.weight", "entity_embedding.weight"


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"item_embedding.weight": torch.ones(3, 2)}, "no table entity_embedding.weight in it"),
        ({"position_embedding.weight": torch.ones(3, 2)}, "no table item_embedding.weight in it"),
        (
            {ITEMS: torch.ones(11), ENTITIES: torch.ones(11), "dense_layer.weight": torch.ones(1)},
            "no table item_embedding.weight in it; expected RecBole's GRU4RecKG",
        ),
        (
            {
                ITEMS: torch.ones(13, 2),
                ENTITIES: torch.ones(11, 2),
                "dense_layer.weight": torch.ones(2, 4),
                "item_gru_layers.weight_hh_l0": torch.ones(6, 2),
            },
            "not the weights of a GRU4RecKG",
        ),
        (
            {
                ITEMS: torch.ones(13, 2),
                ENTITIES: torch.ones(13, 2, dtype=torch.bfloat16),
                "dense_layer.weight": torch.ones(2, 4),
                "item_gru_layers.weight_hh_l0": torch.ones(6, 2),
            },
            "not the weights of a GRU4RecKG",
        ),
        (
            {ITEMS: torch.ones(13, 2), ENTITIES: torch.ones(13, 2),
             "dense_layer.weight": torch.ones(1, 200_000)},
            "other.pth: hidden_size: found 100000, expected at most 65536",
        ),
        (
            {ITEMS: torch.ones(13, 2), ENTITIES: torch.ones(13, 2),
             "dense_layer.weight": torch.ones(0, 10**9)},
            "other.pth: hidden_size: found 500000000, expected at most 65536",
        ),
    ],
)  # fmt: skip
def test_weights_of_another_model_are_one_line(
    run_cli: RunCli, linked: Path, weights: dict, expected: str
) -> None:
    torch.save({"state_dict": weights}, linked / "other.pth")
    result = run_cli("import", "other.pth")
    assert result.exit_code == 1
    assert expected in result.error
    assert not (linked / "saved").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("import",), 2, "Missing argument 'checkpoint'"),
        (("import", "none.pth"), 1, "none.pth: no such file"),
        (("export", "--format", "onxx"), 2, "'onxx' is not one of 'recbole', 'vectors', 'onnx'"),
        (("export",), 1, "`kgrec train` makes one"),
    ],
)
def test_a_mistake_is_one_line(
    run_cli: RunCli, small_folder: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    result = run_cli(*arguments)
    assert result.exit_code == code
    assert expected in result.error


def test_intervals_are_text_in_what_recbole_reads(run_cli: RunCli, linked: Path) -> None:
    """RecBole reads a list of texts as no interval, and then filters nothing."""
    rule = "--set=val_interval={rating: [2, 5], item_id: [i1, i2, i3, i4, i5, i6, i7, i8]}"
    assert run_cli("train", "--epochs", "1", *QUICK, rule).exit_code == 0
    assert run_cli("export", "--out", "model.pth").exit_code == 0
    config = torch.load("model.pth", weights_only=True)["config"]
    assert config["val_interval"]["rating"] == "[2,5]"
    assert config["val_interval"]["item_id"] == [f"i{item}" for item in range(1, 9)]
    imported = run_cli("import", "model.pth")
    assert imported.exit_code == 0, imported.stderr
    assert "warning" not in imported.stderr.replace("warning: small.item", "")


def test_weights_that_are_not_finite_are_not_imported(run_cli: RunCli, linked: Path) -> None:
    run_cli("train", "--epochs", "1", *QUICK)
    run_cli("export", "--out", "model.pth")
    content = torch.load(linked / "model.pth")
    content["state_dict"]["dense_layer.bias"][2] = torch.nan
    torch.save(content, linked / "model.pth")
    result = run_cli("import", "model.pth")
    assert result.exit_code == 1
    assert "not the weights of a GRU4RecKG: dense_layer.bias holds numbers that are" in result.error
    assert not list((linked / "saved").glob("*imported*"))
