"""Scripts of RecBole users: run_recbole, load_data_and_model, the tuning line."""

import queue
from collections import OrderedDict
from pathlib import Path

import pytest

from kgrec_cli import run_hyper
from kgrec_cli.bounded_yaml import read_yaml
from kgrec_cli.core.evaluation.ranking import rank_targets, score_by
from kgrec_cli.errors import KgrecError
from kgrec_cli.quick_start import load_data_and_model, run, run_recbole

SMALL = {
    "embedding_size": 8, "hidden_size": 16, "learning_rate": 0.02, "train_batch_size": 64,
    "epochs": 4, "topk": [5], "valid_metric": "MRR@5", "use_gpu": False, "show_progress": False,
}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(small_folder)
    monkeypatch.setattr("sys.argv", ["script.py"])
    return small_folder


def test_run_recbole_returns_recboles_dictionary(capsys: pytest.CaptureFixture[str]) -> None:
    told = run_recbole(model="GRU4RecKG", dataset="small", config_dict=SMALL)
    assert capsys.readouterr().out.splitlines() == [
        f"best valid : {OrderedDict(told['best_valid_result'])}",
        f"test result: {OrderedDict(told['test_result'])}",
    ]
    assert list(told)[:4] == [
        "best_valid_score",
        "valid_score_bigger",
        "best_valid_result",
        "test_result",
    ]
    assert told["valid_score_bigger"] is True
    assert told["best_valid_score"] == told["best_valid_result"]["mrr@5"]
    assert set(told["test_result"]) >= {"recall@5", "mrr@5", "ndcg@5", "hit@5", "precision@5"}
    assert all(value == round(value, 4) for value in told["test_result"].values())


def test_the_loaded_model_gives_the_numbers_that_were_told() -> None:
    told = run_recbole(model="GRU4RecKG", dataset="small", config_dict=SMALL)
    config, model, dataset, train_data, valid_data, test_data = load_data_and_model(
        model_file=told["run_dir"]
    )
    assert config.hidden_size == 16
    assert [len(part) for part in (train_data, valid_data, test_data)] == [30 * 6, 30, 30]
    length = config.MAX_ITEM_LIST_LENGTH
    score = score_by(
        model, dataset.histories, max_length=length, device=model.item_embedding.weight.device
    )
    ranking = rank_targets(score, dataset.histories, test_data, n_items=len(dataset.items))
    assert round((ranking.ranks <= 5).mean(), 4) == told["test_result"]["hit@5"]


def test_nothing_but_names_trains_in_the_folder(folder: Path) -> None:
    (folder / "kgrec.yaml").write_text("embedding_size: 8\nepochs: 1\n")
    told = run_recbole(model="GRU4RecKG", dataset="small")
    assert Path(told["run_dir"]).parent == Path("saved")
    config = load_data_and_model(told["run_dir"]).config
    assert (config.embedding_size, config.epochs, config.hidden_size) == (8, 1, 128)


def test_later_sources_win_and_an_unsaved_run_leaves_nothing(folder: Path) -> None:
    (folder / "a.yaml").write_text("epochs: 1\nmetrics: [NDCG]\ntopk: 3\nvalid_metric: NDCG@3\n")
    results: queue.Queue = queue.Queue()
    told = run_recbole(
        "GRU4RecKG", "small", ["a.yaml"], {**SMALL, "epochs": 1, "topk": [7]}, False, results
    )
    assert list(told["test_result"]) == ["ndcg@7"]
    assert told["run_dir"] is None
    assert not (folder / "saved").exists()
    assert results.get_nowait() == told


def test_a_preset_is_a_setting(folder: Path) -> None:
    told = run_recbole("GRU4RecKG", "small", config_dict={**SMALL, "preset": "best", "epochs": 1})
    config = load_data_and_model(told["run_dir"]).config
    assert (config.preset, config.seen_bias, config.similarity) == ("best", True, "cosine")


def test_none_in_config_dict_is_a_value(folder: Path) -> None:
    (folder / "a.yaml").write_text(
        "train_neg_sample_args: {distribution: uniform, sample_num: 1}\nloss_type: CE\n"
    )
    with pytest.raises(KgrecError, match="takes no train_neg_sample_args"):
        run_recbole("GRU4RecKG", "small", ["a.yaml"], {**SMALL, "epochs": 1})
    quiet = {**SMALL, "epochs": 1, "train_neg_sample_args": None}
    assert run_recbole("GRU4RecKG", "small", ["a.yaml"], quiet)["test_result"]


def test_the_scripts_command_line_wins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "s.py",
        "--user_inter_num_interval=[2,inf)",
        "--topk=[3]",
        "--model=GRU4Rec",
        "--valid_metric=MRR@3",
        "--mine=1",
        "--epochs",
    ]
    monkeypatch.setattr("sys.argv", line)
    told = run("GRU4RecKG", "small", config_dict={**SMALL, "epochs": 1}, nproc=1, world_size=-1)
    assert set(told["test_result"]) > {"mrr@3"}
    assert "mrr@5" not in told["test_result"]
    assert load_data_and_model(told["run_dir"]).config.model == "GRU4RecKG"
    assert load_data_and_model(told["run_dir"]).config.user_inter_num_interval == "[2,inf)"
    shown = capsys.readouterr().err
    assert "from the command line: --topk=[3]" in shown
    assert "--mine" not in shown


def test_mistakes_are_one_line() -> None:
    with pytest.raises(KgrecError, match="did you mean 'hidden_size'"):
        run_recbole("GRU4RecKG", "small", config_dict={"hiden_size": 3})
    with pytest.raises(KgrecError, match=r"`kgrec import saved/GRU4RecKG\.pth` makes"):
        load_data_and_model("saved/GRU4RecKG.pth")
    with pytest.raises(KgrecError, match="one process trains"):
        run("GRU4RecKG", "small", nproc=2)


def test_recboles_tuning_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").write_text(
        "epochs: 1\nembedding_size: 8\nhidden_size: 16\nclip_grad_norm: {max_norm: 1}\n"
    )
    (folder / "hyper.test").write_text("dropout_prob choice [0.0, 0.2]\n")
    code = run_hyper.main(
        ["--model=GRU4RecKG", "--dataset=small", "--config_files=a.yaml", "--seed=5",
         "--clip_grad_norm=null", "--params_file=hyper.test", "--output_file=out.result",
         "--tool=Hyperopt", "--display_file=shown.html"]
    )  # fmt: skip
    shown = capsys.readouterr()
    assert code == 0, shown.err
    assert (folder / "out.result").read_text().count("Test result:") == 2
    assert "best params:  {'dropout_prob':" in shown.out
    assert "--tool=Hyperopt is ignored" in shown.err
    assert (folder / "shown.html").read_text().startswith("<!doctype html>")
    (study_dir,) = (folder / "studies").iterdir()
    best = read_yaml(study_dir / "best.yaml")
    assert (best["seed"], best["clip_grad_norm"]) == (5, None)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ([], 2, "--params_file"),
        (["--params_file=none.test"], 1, "none.test: no such file"),
        (["--params_file=none.test", "epochs=3"], 2, "expected --key=value"),
        (["--params_file=none.test", "--epoch=3"], 2, "did you mean 'epochs'"),
    ],
)
def test_mistakes_in_the_tuning_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, expected: str
) -> None:
    assert run_hyper.main(arguments) == code
    shown = capsys.readouterr().err
    assert expected in shown
    assert shown.strip().count("\n") == 0
