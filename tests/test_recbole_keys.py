"""RecBole's keys and spellings: taken, renewed, ignored with a line, or refused."""

from pathlib import Path

import pytest

from kgrec_cli import config
from kgrec_cli.config import build_settings, resolve_settings
from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings
from tests.test_presets import changed


def test_defaults_are_recboles() -> None:
    settings = Settings()
    expected = {
        "embedding_size": 64, "hidden_size": 128, "num_layers": 1, "dropout_prob": 0.1,
        "freeze_kg": True, "loss_type": "CE", "learning_rate": 1e-3, "train_batch_size": 2048,
        "MAX_ITEM_LIST_LENGTH": 50, "eval_step": 1, "stopping_step": 10, "epochs": 300,
        "seed": 2020, "weight_decay": 0.0, "eval_batch_size": 4096, "metric_decimal_place": 4,
    }  # fmt: skip
    assert {name: getattr(settings, name) for name in expected} == expected


def test_older_spellings_are_renewed(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text(
        "loss_type: BPR\ntraining_neg_sample_num: 2\nuse_gpu: False\n"
        "fields_in_same_space: [[vec_id, entity_id], [a, b], [relation_id, rel_id]]\n"
    )
    settings = resolve_settings(folder=tmp_path)
    assert settings.negatives.sample_num == 2
    assert settings.negatives.distribution == "uniform"
    assert settings.device == "cpu"
    assert settings.alias_of_entity_id == ("vec_id",)
    assert settings.alias_of_relation_id == ("rel_id",)
    assert settings.alias_of_item_id == ()


def test_keys_without_an_effect_are_left_out_with_a_line(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("show_progress: False\nnormalize_all: True\n")
    notes: list[str] = []
    settings = resolve_settings(folder=tmp_path, on_note=notes.append)
    assert [note.partition(" is ignored: ")[0] for note in notes] == [
        f"{tmp_path / 'kgrec.yaml'}: show_progress",
        f"{tmp_path / 'kgrec.yaml'}: normalize_all",
    ]
    assert changed(settings) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("threshold: {rating: 4}", "threshold is not supported: filter by val_interval"),
        ("leave_one_out_num: 2", "an older spelling: write eval_args"),
        ("fields_in_same_space: ent_id", r"takes \[\[ent_id, entity_id\]\]"),
        ("clip_grad_norm: 5", "clip_grad_norm takes"),
        ("learner: sgd", "learner: found 'sgd'"),
        ("eval_args: {order: RO}", "eval_args.order: found 'RO', expected 'TO'"),
        ("eval_args: {mode: uni}", "expected full, uniN or popN"),
        ("eval_args: {mode: {'valid:full': }}", "takes one mode, or {valid: MODE, test: MODE}"),
        ("eval_args: {mode: {valid: 3}}", "expected full, uniN or popN"),
    ],
)
def test_keys_that_cannot_be_followed_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "kgrec.yaml").write_text(text)
    with pytest.raises(KgrecError, match=expected):
        resolve_settings(folder=tmp_path)


def test_refused_keys_at_recboles_default_are_taken(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("threshold: ~\nentity_kg_num_interval: '[0,inf)'\n")
    assert changed(resolve_settings(folder=tmp_path)) == {}
    (tmp_path / "kgrec.yaml").write_text("entity_kg_num_interval: '[5,inf)'\n")
    with pytest.raises(KgrecError, match=r"filter the \.kg before"):
        resolve_settings(folder=tmp_path)


def test_every_key_of_recboles_settings_is_known() -> None:
    """The keys of its overall, data set and model files (read off release 1.2.1)."""
    names = [
        "gpu_id",
        "worker",
        "use_gpu",
        "seed",
        "state",
        "encoding",
        "reproducibility",
        "data_path",
        "checkpoint_dir",
        "show_progress",
        "save_dataset",
        "dataset_save_path",
        "save_dataloaders",
        "dataloaders_save_path",
        "log_wandb",
        "wandb_project",
        "shuffle",
        "epochs",
        "train_batch_size",
        "learner",
        "learning_rate",
        "train_neg_sample_args",
        "eval_step",
        "stopping_step",
        "clip_grad_norm",
        "weight_decay",
        "loss_decimal_place",
        "require_pow",
        "enable_amp",
        "enable_scaler",
        "transform",
        "eval_args",
        "repeatable",
        "metrics",
        "topk",
        "valid_metric",
        "valid_metric_bigger",
        "eval_batch_size",
        "metric_decimal_place",
        "field_separator",
        "seq_separator",
        "USER_ID_FIELD",
        "ITEM_ID_FIELD",
        "RATING_FIELD",
        "TIME_FIELD",
        "seq_len",
        "LABEL_FIELD",
        "threshold",
        "NEG_PREFIX",
        "load_col",
        "unload_col",
        "unused_col",
        "additional_feat_suffix",
        "rm_dup_inter",
        "val_interval",
        "filter_inter_by_user_or_item",
        "user_inter_num_interval",
        "item_inter_num_interval",
        "alias_of_user_id",
        "alias_of_item_id",
        "alias_of_entity_id",
        "alias_of_relation_id",
        "preload_weight",
        "normalize_field",
        "normalize_all",
        "discretization",
        "benchmark_filename",
        "ITEM_LIST_LENGTH_FIELD",
        "LIST_SUFFIX",
        "MAX_ITEM_LIST_LENGTH",
        "POSITION_FIELD",
        "HEAD_ENTITY_ID_FIELD",
        "TAIL_ENTITY_ID_FIELD",
        "RELATION_ID_FIELD",
        "ENTITY_ID_FIELD",
        "kg_reverse_r",
        "entity_kg_num_interval",
        "relation_kg_num_interval",
        "fields_in_same_space",
        "model",
        "dataset",
        "embedding_size",
        "hidden_size",
        "num_layers",
        "dropout_prob",
        "freeze_kg",
        "loss_type",
        "training_neg_sample_num",
    ]
    assert set(names) <= set(config.known_names())


def test_recbole_compat_sets_recboles_defaults_but_what_is_given() -> None:
    settings = build_settings({"recbole_compat": True, "topk": [5]}, "test")
    assert changed(settings) == {
        "recbole_compat": True,
        "train_batching": "prefix",
        "valid_metric": "MRR@10",
        "metrics": ("Recall", "MRR", "NDCG", "Hit", "Precision"),
        "topk": (5,),
    }
    assert build_settings({"recbole_compat": True}, "test").topk == (10,)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("user_inter_num_interval: [20, 1500]", "user_inter_num_interval", "[20,1500]"),
        ("item_inter_num_interval: [5, .inf]", "item_inter_num_interval", "[5,inf]"),
        ("val_interval: {rating: [4, 5]}", "val_interval", {"rating": ("4", "5")}),
        ("val_interval: {gender: [F, 2]}", "val_interval", {"gender": ("F", "2")}),
        ("neg_sampling: ~", "train_neg_sample_args", None),
        ("train_neg_sample_args: None", "train_neg_sample_args", None),
        ("dataset: 2019", "dataset", "2019"),
        ("min_user_inter_num: 0", "user_inter_num_interval", None),
        *((f"{name}: ~", name, default) for name, default in (
            ("USER_ID_FIELD", "user_id"), ("ITEM_ID_FIELD", "item_id"), ("RATING_FIELD", "rating"),
            ("TIME_FIELD", None), ("HEAD_ENTITY_ID_FIELD", "head_id"),
            ("TAIL_ENTITY_ID_FIELD", "tail_id"), ("RELATION_ID_FIELD", "relation_id"),
            ("ENTITY_ID_FIELD", "entity_id"), ("checkpoint_dir", "saved"), ("epochs", 300),
            ("eval_args", Settings().eval_args), ("topk", (5, 10, 20)),
        )),
    ],
)  # fmt: skip
def test_values_as_recbole_users_write_them(
    tmp_path: Path, text: str, name: str, expected: object
) -> None:
    (tmp_path / "kgrec.yaml").write_text(text)
    assert getattr(resolve_settings(folder=tmp_path), name) == expected


def test_a_python_tuple_is_an_open_interval(tmp_path: Path) -> None:
    """As in RecBole, which reads the text of whatever it is given."""
    values = {"user_inter_num_interval": (2, 5), "val_interval": {"rating": (1, 4)}}
    settings = resolve_settings(folder=tmp_path, values=values)
    assert settings.user_inter_num_interval == "(2,5)"
    assert settings.val_interval == {"rating": "(1,4)"}


def test_null_in_a_block_and_under_recbole_compat_is_the_default(tmp_path: Path) -> None:
    values = {"recbole_compat": True, "topk": None, "pretrain_kg": {"epochs": None}}
    settings = resolve_settings(folder=tmp_path, values=values)
    assert settings.topk == (10,)
    assert settings.pretrain_kg.epochs == 30


@pytest.mark.parametrize(
    ("negatives", "distribution", "number"),
    [
        ("neg_sampling: {uniform: 3}", "uniform", 3),
        ("neg_sampling: {popularity: 2}", "popularity", 2),
        ("train_neg_sample_args: {uniform: 4}", "uniform", 4),
        ("train_neg_sample_args: {uniform: 4, dynamic: false}", "uniform", 4),
        ("neg_sampling: {uniform: 3}\ntrain_neg_sample_args: {sample_num: 7}", "uniform", 7),
        ("neg_sampling: ~", "uniform", 1),
        ("train_neg_sample_args: {distribution: none}", "uniform", 1),
    ],
)
def test_older_negatives_are_renewed(
    tmp_path: Path, negatives: str, distribution: str, number: int
) -> None:
    (tmp_path / "kgrec.yaml").write_text(f"loss_type: BPR\n{negatives}\n")
    settings = resolve_settings(folder=tmp_path)
    found = settings.negatives
    assert (found.distribution, found.sample_num) == (distribution, number)
