"""Settings: where a value comes from, and what each mistake is answered with."""

from pathlib import Path

import pytest

from kgrec_cli import config
from kgrec_cli.bounded_yaml import parse_yaml
from kgrec_cli.config import build_settings, parse_assignments, resolve_settings
from kgrec_cli.descriptions import DESCRIPTIONS, KGREC_ONLY, RECBOLE
from kgrec_cli.errors import KgrecError, UsageError, nearest
from kgrec_cli.recbole_keys import IGNORED, REFUSED
from kgrec_cli.setting_blocks import BLOCKS, LIST_METRICS, METRICS
from kgrec_cli.settings import PRESETS, Settings


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("hidden_size: 1\nnum_layers: 1\nepochs: 1\nseed: 1\n")
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("num_layers: 2\nepochs: 2\nseed: 2\n")
    second.write_text("epochs: 3\nseed: 3\n")
    settings = resolve_settings(
        folder=tmp_path,
        config_paths=[first, second],
        options={"seed": 4, "embedding_size": 4, "dropout_prob": None},
        assignments=["embedding_size=5"],
    )
    assert (settings.hidden_size, settings.num_layers, settings.epochs) == (1, 2, 3)
    assert (settings.seed, settings.embedding_size, settings.dropout_prob) == (4, 5, 0.1)


def test_every_setting_is_described_once() -> None:
    fields = [f"{block}.{name}" for block, model in BLOCKS.items() for name in model.model_fields]
    assert sorted([*RECBOLE, *KGREC_ONLY]) == sorted([*Settings.model_fields, *fields])
    for name, text in DESCRIPTIONS.items():
        assert text.endswith("."), name
        assert text.count(". ") <= 1, name  # two sentences at most
        assert "|" not in text, name  # it stands in a table
    assert all(metric in DESCRIPTIONS["metrics"] for metric in (*METRICS, *LIST_METRICS))
    assert all(preset in DESCRIPTIONS["preset"] for preset in PRESETS)


def test_a_key_that_is_like_none_gets_those_that_begin_like_it(tmp_path: Path) -> None:
    meant = "unknown key 'evaluatoin': did you mean eval_args or eval_batch_size or eval_step?"
    with pytest.raises(UsageError, match=meant.replace("?", r"\?")):
        resolve_settings(folder=tmp_path, assignments=["evaluatoin=3"])


@pytest.mark.parametrize("key", ["ports", "worker_", "state_", "tresholds", "show_progres"])
def test_a_suggestion_has_an_effect(tmp_path: Path, key: str) -> None:
    """Each is nearest to a key of RecBole's that does nothing here."""
    without_effect = {*IGNORED, *REFUSED}
    assert nearest(key, config.known_names()) in without_effect
    with pytest.raises(UsageError, match=f"unknown key '{key}'") as caught:
        resolve_settings(folder=tmp_path, assignments=[f"{key}=1"])
    assert not any(f"'{name}'" in str(caught.value) for name in without_effect)


def test_blocks_merge_by_key(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("pretrain_kg:\n  epochs: 7\n  method: RotatE\n")
    settings = resolve_settings(
        folder=tmp_path, options={"pretrain_kg": {"epochs": 9}, "epochs": 5}
    )
    assert (settings.pretrain_kg.epochs, settings.pretrain_kg.method) == (9, "RotatE")
    assert settings.epochs == 5


def test_a_split_is_replaced_not_merged(tmp_path: Path) -> None:
    (tmp_path / "kgrec.yaml").write_text("eval_args: {split: {LS: valid_and_test}}\n")
    settings = resolve_settings(
        folder=tmp_path, assignments=["eval_args.split={RS: [0.8, 0.1, 0.1]}"]
    )
    assert settings.eval_args.split == {"RS": (0.8, 0.1, 0.1)}


def test_written_settings_read_back_the_same() -> None:
    values = {
        "loss_type": "BPR",
        "train_neg_sample_args": {"distribution": "popularity", "sample_num": 3},
        "eval_args": {"split": {"RS": [0.8, 0.1, 0.1]}, "group_by": "none"},
        "learning_rate": 1e-5,
        "metrics": ["NDCG", "GiniIndex"],
    }
    settings = build_settings(values, "test")
    assert build_settings(parse_yaml(config.format_config(settings)), "test") == settings


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "0.001", "+1E-3"])
def test_numbers_with_an_exponent_are_numbers(text: str) -> None:
    assert parse_assignments([f"learning_rate={text}"]) == {"learning_rate": 0.001}


def test_names_of_metrics_are_taken_in_any_case() -> None:
    settings = build_settings({"metrics": ["ndcg", "HIT"], "valid_metric": "mrr@5"}, "test")
    assert settings.metrics == ("NDCG", "Hit")
    assert settings.valid_metric == "MRR@5"


MISTAKES = [
    ("embeding_size=3", "unknown key 'embeding_size': did you mean 'embedding_size'?"),
    ("pretrain_kg.epoch=3", "unknown key 'epoch': did you mean 'epochs'?"),
    ("lr_scheduler=x", "unknown key 'lr_scheduler': none of the "),
    ("presets=best", "unknown key 'presets': did you mean 'preset'?"),
    ("preset=bst", "preset: unknown preset 'bst': did you mean 'best'?"),
    ("preset=[best]", "preset: found ['best']"),
    ("train_neg_sample_args.sample=3", "unknown key 'sample': did you mean 'sample_num'?"),
    ("valid_metric=NDGC@10", "unknown metric 'NDGC': did you mean 'NDCG'?"),
    ("valid_metric=NDCG@ten", "valid_metric takes METRIC@K"),
    ("metrics=[Precison]", "did you mean 'Precision'?"),
    ("model=GRU4RecKgg", "did you mean GRU4RecKG?"),
    ("loss_type=BRP", "loss_type: found 'BRP', expected 'CE', 'BPR' or 'SSM'; did you mean BPR?"),
    ("dropout_prob=1.5", "dropout_prob: found 1.5"),
    ("num_layers=many", "num_layers: found 'many'"),
    ("eval_args.split={RS: [0.5, 0.5]}", "RS takes three shares"),
    ("eval_args.split={RS: [0, 0.1, 0.2]}", "nor the first one zero"),
    ("eval_args.split={LS: last}", "LS takes valid_and_test"),
    ("training_neg_sample_num=1", "remove it or set loss_type: BPR"),
    ("device=gpu", "device: found 'gpu', expected auto, cpu, cuda or cuda:N"),
    ("novalue", "expected key=value"),
    ("a=[1", "not valid YAML"),
]


@pytest.mark.parametrize(("assignment", "expected"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_on_the_command_line_is_one_line(
    tmp_path: Path, assignment: str, expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_settings(folder=tmp_path, assignments=[assignment])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epoch: 3", "unknown key 'epoch': did you mean 'epochs'?"),
        ("preset: bst", "preset: unknown preset 'bst': did you mean 'best'?"),
        ("loss_type: BRP", "loss_type: found 'BRP', expected 'CE', 'BPR' or 'SSM'"),
        ("train_neg_sample_args: {alpha: 0}", "train_neg_sample_args.alpha: found 0"),
        ("- a\n- b", "expected lines of 'key: value', found list"),
        ("a: [1", "line 1: not valid YAML"),
        ("user_inter_num_interval: [5,inf)", 'an interval stands in quotes: "[5,inf)"'),
        ("a: [5,inf)\nseed: 1\n", 'an interval stands in quotes: "[5,inf)"'),
        ("a: [1\n", "not valid YAML"),
        ("seed: 1\nval_interval: {rating: [4, inf)}\nepochs: 3\n", 'stands in quotes: "[4, inf)"'),
        ("hidden_size: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(KgrecError) as caught:
        resolve_settings(folder=tmp_path, config_paths=[path])
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)


def test_a_missing_settings_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KgrecError, match="no such settings file"):
        resolve_settings(folder=tmp_path, config_paths=[tmp_path / "none.yaml"])


def test_ce_in_one_file_and_negatives_in_another_are_judged_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("train_neg_sample_args: {sample_num: 2}\n")
    second.write_text("loss_type: BPR\n")
    settings = resolve_settings(folder=tmp_path, config_paths=[first, second])
    assert settings.negatives.sample_num == 2
    with pytest.raises(KgrecError, match="loss_type CE"):
        resolve_settings(folder=tmp_path, config_paths=[first])


def make_datasets(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "dataset" / name).mkdir(parents=True)
        (folder / "dataset" / name / f"{name}.inter").touch()


def test_the_only_data_set_is_taken(tmp_path: Path) -> None:
    make_datasets(tmp_path, "ml-100k")
    assert config.choose_dataset(Settings(), tmp_path).dataset == "ml-100k"


@pytest.mark.parametrize(
    ("names", "wanted", "expected"),
    [
        ((), None, "start with `kgrec prepare ml-100k`"),
        (("a", "b"), None, r"several data sets under dataset/: name one by --dataset \(a, b\)"),
        (("ml-100k",), "ml-10k", "did you mean 'ml-100k'"),
        ((), "ml-1m", "`kgrec prepare ml-1m` makes it"),
    ],
)
def test_no_clear_data_set_is_one_line(
    tmp_path: Path, names: tuple[str, ...], wanted: str | None, expected: str
) -> None:
    make_datasets(tmp_path, *names)
    with pytest.raises(KgrecError, match=expected):
        config.choose_dataset(Settings(dataset=wanted), tmp_path)


@pytest.mark.parametrize(
    ("typed", "name", "expected"),
    [
        ("user_inter_num_interval=[2,inf)", "user_inter_num_interval", "[2,inf)"),
        ("user_inter_num_interval=[2,3);[5,9]", "user_inter_num_interval", "[2,3);[5,9]"),
        ("user_inter_num_interval=None", "user_inter_num_interval", None),
        ("val_interval.rating=[2,inf)", "val_interval", {"rating": "[2,inf)"}),
        ("val_interval={'rating':'[2,inf)'}", "val_interval", {"rating": "[2,inf)"}),
        ("field_separator= ", "field_separator", " "),
        ("field_separator=|", "field_separator", "|"),
        ("field_separator=,", "field_separator", ","),
        ('field_separator="\\t"', "field_separator", "\t"),
        ("field_separator=None", "field_separator", "\t"),
        ("seq_separator=#", "seq_separator", "#"),
        ("train_neg_sample_args=None", "train_neg_sample_args", None),
        ("topk=None", "topk", (5, 10, 20)),
        ("pretrain_kg.embedding_size=None", "embedding_size", 64),
        ("data_path=@home", "data_path", "@home"),
        ("dataset=2019", "dataset", "2019"),
    ],
)
def test_what_is_typed_may_be_no_yaml(
    tmp_path: Path, typed: str, name: str, expected: object
) -> None:
    assert getattr(resolve_settings(folder=tmp_path, assignments=[typed]), name) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("lr=0.1", "unknown key 'lr': did you mean 'learning_rate'?"),
        ("batch_size=1", "did you mean 'train_batch_size'?"),
        ("config_files=a.yaml", "name settings files by --config FILE"),
        ("device=gpu", "did you mean cuda?"),
        ("device=GPU:1", "did you mean cuda:1?"),
        ("device=0", "found 0, expected auto, cpu, cuda or cuda:N; did you mean cuda:0?"),
        ("topk=[5,", "the value is not valid YAML"),
        ("user_inter_num_interval=5", "found '5', expected an interval such as '[5,inf)'"),
        ("val_interval={rating: 4}", "val_interval: found '4', expected an interval"),
        (r"field_separator=\t", "found a backslash and a t; a tab is"),
        (r'field_separator="\\t"', "found a backslash and a t; a tab is"),
        ("field_separator=::", "expected a single ASCII character"),
        ("benchmark_filename=[train,test]", "three parts are needed: [train, valid, test]"),
        ("benchmark_filename=train", "found [train], three parts are needed"),
        ("train_neg_sample_args=3", "found 3, expected {distribution, sample_num, alpha"),
        ("eval_args=[1]", "found [1], expected {split, order, mode, group_by}"),
        ("eval_args.split={RS: [a, b, c]}", "eval_args.split.RS: found 'a', expected a number"),
        ("freeze_kg=maybe", "found 'maybe', expected true or false"),
        ("epochs=1.5", "found 1.5, expected a whole number"),
        ("seed=-1", "seed: found -1, expected at least 0"),
        ("learning_rate=.inf", "learning_rate: found inf, expected a number that is not infinite"),
        ("load_col={inter: 3}", "load_col.inter: found 3, expected a list"),
    ],
)
def test_what_was_meant_is_said(tmp_path: Path, typed: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_settings(folder=tmp_path, assignments=[typed])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "NegativeSampling" not in str(caught.value)  # no name of the code


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("epochs: 1\nseed: 2\nepochs: 3\n", "epochs", 3),
        ("pretrain_kg:\n  seed: 1\n  seed: 1\n", "seed", 3),
        ("a: {b: 1, 'b': 2}\n", "b", 1),
    ],
)
def test_a_key_that_stands_twice_is_an_error_with_its_line(
    tmp_path: Path, text: str, key: str, line: int
) -> None:
    path = tmp_path / "kgrec.yaml"
    path.write_text(text)
    with pytest.raises(KgrecError) as caught:
        resolve_settings(folder=tmp_path)
    expected = f"{path}, line {line}: not valid YAML: the key '{key}' stands twice"
    assert str(caught.value) == expected


def test_a_folder_with_a_data_set_is_taken_wherever_it_lies(tmp_path: Path) -> None:
    make_datasets(tmp_path, "ml-100k")
    make_datasets(tmp_path / "more", "other")
    elsewhere = tmp_path / "more" / "dataset" / "other"
    found = config.choose_dataset(Settings(dataset="more/dataset/other"), tmp_path)
    assert (found.dataset, Path(found.data_path)) == ("other", Path("more/dataset"))
    found = config.choose_dataset(Settings(dataset=str(elsewhere)), tmp_path)
    assert (found.dataset, found.data_path) == ("other", str(elsewhere.parent))
    found = config.choose_dataset(Settings(dataset="."), elsewhere)
    assert (found.dataset, (elsewhere / found.data_path).resolve()) == ("other", elsewhere.parent)
    found = config.choose_dataset(Settings(dataset="dataset/ml-100k"), tmp_path)
    assert (found.dataset, found.data_path) == ("ml-100k", "dataset")
    with pytest.raises(KgrecError, match=r"more/none: expected a folder with none\.inter in it"):
        config.choose_dataset(Settings(dataset="more/none"), tmp_path)
