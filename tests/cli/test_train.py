"""`kgrec train` as typed: run folders, resume, seeds, final fit, and each mistake."""

import json
import math
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file

from kgrec_cli.config import build_settings
from kgrec_cli.core.training import fit as training
from kgrec_cli.errors import KgrecError, Stopped
from kgrec_cli.events import EpochDone, Progress
from kgrec_cli.settings import PRESETS
from kgrec_cli.stages import train as train_stage
from kgrec_cli.stages.train import run_train
from tests.conftest import QUICK, RunCli

RUN_FILES = {
    "config.yaml", "environment.json", "history.jsonl", "items.tsv", "metrics.json",
    "model.safetensors",
}  # fmt: skip


def only_run(folder: Path) -> Path:
    (run_dir,) = (folder / "saved").iterdir()
    return run_dir


def test_a_run_leaves_its_folder_and_shows_what_came_out(
    run_cli: RunCli, small_folder: Path
) -> None:
    result = run_cli("train", "--freeze-kg", "--epochs", "3", *QUICK)
    assert result.exit_code == 0, result.stderr
    run_dir = only_run(small_folder)
    assert {path.name for path in run_dir.iterdir()} == RUN_FILES
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert (config["dataset"], config["freeze_kg"], config["hidden_size"]) == ("small", True, 16)
    rows = [json.loads(line) for line in (run_dir / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {"valid", "test", "valid_masked", "test_masked"} < set(metrics)
    best = rows[metrics["training"]["best_epoch"] - 1]["valid"]["ndcg@10"]
    assert metrics["valid"]["ndcg@10"] == best == max(row["valid"]["ndcg@10"] for row in rows)
    assert "next: kgrec evaluate" in result.stdout
    assert "10 of 12 items have an entity vector" in result.stderr
    assert (run_dir / "items.tsv").read_text().splitlines()[:2] == [
        "item_id:token\ttitle:token_seq\tentity_id:token",
        "i1\tFilm No 1\te1",
    ]


def test_a_preset_is_recorded_beside_its_values(run_cli: RunCli, small_folder: Path) -> None:
    (small_folder / "kgrec.yaml").write_text("preset: best\n")
    by_name = [f"--set={name}={json.dumps(value)}" for name, value in PRESETS["best"].items()]
    runs = []
    for arguments in ((), ("--set=preset=null", *by_name)):
        result = run_cli("train", *arguments, "--epochs=2", "--stopping-step=4", *QUICK, "--json")
        assert result.exit_code == 0, result.stderr
        runs += json.loads(result.stdout)
    configs = [yaml.safe_load((Path(run["run"]) / "config.yaml").read_text()) for run in runs]
    assert [config.pop("preset") for config in configs] == ["best", None]
    assert configs[0] == configs[1]
    assert (configs[0]["kg_items"], configs[0]["ema_decay"]) == (True, 0.999)
    assert configs[0]["stopping_step"] == 4
    assert runs[0]["metrics"] == runs[1]["metrics"]
    plain = json.loads(run_cli("train", "--epochs=2", *QUICK, "--json", "--set=preset=null").stdout)
    assert plain[0]["metrics"] != runs[0]["metrics"]


def test_gru4rec_needs_no_vectors(run_cli: RunCli, small_folder: Path) -> None:
    (small_folder / "dataset/small/small.ent_feature").unlink()
    assert run_cli("train", "--model", "GRU4Rec", "--epochs", "1", *QUICK).exit_code == 0
    result = run_cli("train", "--epochs", "1", *QUICK)
    assert result.exit_code == 1
    assert "`kgrec pretrain-kg` makes it" in result.stderr


def test_a_large_catalogue_is_told_of_the_sampled_loss(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "each target is compared with all 12 items; loss_type: SSM"
    assert expected not in run_cli("train", "--epochs=1", *QUICK).stderr
    monkeypatch.setattr(train_stage, "MANY_ITEMS", 11)
    assert expected in run_cli("train", "--epochs=1", *QUICK).stderr
    assert expected not in run_cli("train", "--epochs=1", *QUICK, "--set=loss_type=SSM").stderr


def test_entity_vectors_may_have_another_width(run_cli: RunCli, small_folder: Path) -> None:
    result = run_cli("train", "--epochs", "2", *QUICK, "--set", "embedding_size=5")
    assert result.exit_code == 0, result.stderr
    run_dir = only_run(small_folder)
    weights = load_file(run_dir / "model.safetensors")
    assert weights["item_embedding.weight"].shape == (13, 5)
    assert weights["entity_embedding.weight"].shape == (13, 8)
    trained = json.loads((run_dir / "metrics.json").read_text())["test"]
    assert run_cli("evaluate").exit_code == 0
    measured = json.loads((run_dir / "metrics.json").read_text())["test"]
    assert trained.items() <= measured.items()
    assert run_cli("recommend", "--user", "u1").exit_code == 0


def test_a_killed_run_resumes_to_the_numbers_of_a_whole_one(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cli("train", "--epochs", "5", *QUICK)
    whole = only_run(small_folder)
    whole.rename(small_folder / "whole")
    real_fit = training.fit

    def stopped_fit(*arguments, on_epoch, **more):
        def stop(state, event):
            on_epoch(state, event)
            if state.epoch == 2:
                raise KeyboardInterrupt

        return real_fit(*arguments, on_epoch=stop, **more)

    with monkeypatch.context() as patch:
        patch.setattr("kgrec_cli.stages.train.fit", stopped_fit)
        result = run_cli("train", "--epochs", "5", *QUICK)
    assert result.exit_code == 130
    run_dir = only_run(small_folder)
    assert f"`kgrec train --resume {run_dir.name}` resumes" in result.stderr
    refused = run_cli("evaluate")
    assert refused.exit_code == 1
    assert "no finished run" in refused.stderr
    resumed = run_cli("train", "--resume", run_dir.name)
    assert resumed.exit_code == 0, resumed.stderr
    assert f"resuming {run_dir.name} after epoch 2" in resumed.stderr
    assert {path.name for path in run_dir.iterdir()} == RUN_FILES
    for name in ("metrics.json", "history.jsonl"):
        texts = [(folder / name).read_text() for folder in (small_folder / "whole", run_dir)]
        values = [[json.loads(line) for line in text.splitlines()] if "jsonl" in name
                  else [json.loads(text)] for text in texts]  # fmt: skip
        for rows in values:
            for row in rows:
                row.pop("elapsed_s", None)
                row.pop("targets_per_s", None)
                row.get("training", {}).pop("train_s", None)
        assert values[0] == values[1]
    whole_weights, weights = (
        load_file(folder / "model.safetensors") for folder in (small_folder / "whole", run_dir)
    )
    assert weights.keys() == whole_weights.keys()
    for name, weight in whole_weights.items():
        assert (weights[name] == weight).all(), name
    again = run_cli("train", "--resume", run_dir.name)
    assert (again.exit_code, "nothing to resume" in again.stderr) == (1, True)


def test_settings_reach_the_training(run_cli: RunCli, small_folder: Path) -> None:
    path = small_folder / "dataset/small/small.inter"
    path.write_text(path.read_text().replace("\t1003\n", "\t1002\n"))  # some ties to shuffle
    losses = {}
    for setting in (
        "seed=2020", "seed=7", "learning_rate=0.01", "weight_decay=0.1",
        "clip_grad_norm={max_norm: 0.01}", "shuffle_ties=true", "train_batching=prefix",
        "dropout_prob=0.5", "hidden_dropout_prob=0.5", "MAX_ITEM_LIST_LENGTH=3",
    ):  # fmt: skip
        result = run_cli("train", "--epochs=2", *QUICK, "--json", f"--set={setting}")
        (run,) = json.loads(result.stdout)
        history = (small_folder / run["run"] / "history.jsonl").read_text().splitlines()
        losses[setting] = json.loads(history[-1])["loss"]
    assert len(set(losses.values())) == len(losses), losses


def test_an_epoch_is_validated_among_the_items_that_are_set(
    run_cli: RunCli, small_folder: Path
) -> None:
    mode = "--set=eval_args.mode={valid: uni1, test: full}"
    result = run_cli("train", "--epochs", "1", *QUICK, mode)
    assert result.exit_code == 0, result.stderr
    (row,) = (only_run(small_folder) / "history.jsonl").read_text().splitlines()
    metrics = json.loads((only_run(small_folder) / "metrics.json").read_text())
    assert json.loads(row)["valid"]["mrr@10"] == metrics["valid"]["mrr@10"] > 0.7
    assert metrics["test"]["mrr@10"] < 0.7


def test_seeds_report_mean_and_spread(run_cli: RunCli, small_folder: Path) -> None:
    result = run_cli("train", "--seeds", "2", "--epochs", "1", *QUICK)
    assert result.exit_code == 0, result.stderr
    run_dirs = sorted((small_folder / "saved").iterdir())
    assert [path.name.rpartition("-")[2] for path in run_dirs] == ["seed2020", "seed2021"]
    one, two = (
        json.loads((path / "metrics.json").read_text())["test"]["ndcg@10"] for path in run_dirs
    )
    assert one != two
    middle, spread = (one + two) / 2, abs(one - two) / math.sqrt(2)
    half = 12.7062 * spread / math.sqrt(2)  # Student's t with one degree of freedom, 97.5 %
    shown = [f"{value:.4f}" for value in (middle, spread)]
    shown += [f"{middle - half:.4f}", "to", f"{middle + half:.4f}"]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["metric", "mean", "sd", "95", "%"] in rows
    assert [row[3] for row in rows if row[:1] in (["2020"], ["2021"])] == [
        f"{one:.4f}",
        f"{two:.4f}",
    ]
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert ["test", "ndcg@10", *shown] in rows


def test_names_of_all_seeds_are_looked_at_first(run_cli: RunCli, small_folder: Path) -> None:
    seeds = ("train", "--name", "mine", "--seeds", "2", "--epochs", "1", *QUICK)
    (small_folder / "saved" / "mine-seed2021").mkdir(parents=True)
    result = run_cli(*seeds)
    assert result.exit_code == 2
    assert result.error.endswith("mine-seed2021: is there already; choose another name")
    assert [path.name for path in (small_folder / "saved").iterdir()] == ["mine-seed2021"]
    (small_folder / "saved" / "mine").mkdir()  # no seed has this name
    assert run_cli(*seeds, "--seed", "2022").exit_code == 0


def test_seeds_as_json_are_the_runs(run_cli: RunCli, small_folder: Path) -> None:
    result = run_cli("train", "--seeds", "2", "--epochs", "1", "--json", *QUICK)
    runs = json.loads(result.stdout)
    assert [run["seed"] for run in runs] == [2020, 2021]
    assert runs[0]["metrics"] != runs[1]["metrics"]
    assert result.stderr == ""


def test_a_final_fit_takes_settings_and_epochs_of_the_run(
    run_cli: RunCli, small_folder: Path
) -> None:
    assert run_cli("train", "--on-all-data").exit_code == 1  # no run to follow yet
    run_cli("train", "--epochs", "4", *QUICK, "--set=eval_step=3")
    training = json.loads((only_run(small_folder) / "metrics.json").read_text())["training"]
    assert (training["best_epoch"], training["epochs"]) == (3, 4)  # the only one measured
    result = run_cli("train", "--on-all-data", "--json")
    assert result.exit_code == 0, result.stderr
    (final,) = json.loads(result.stdout)
    assert final["epochs"] == 3
    assert final["metrics"] == {}
    named = run_cli("train", "dataset/small", "--on-all-data", "--json")
    assert json.loads(named.stdout)[0]["epochs"] == 3
    config = yaml.safe_load((small_folder / final["run"] / "config.yaml").read_text())
    assert config["hidden_size"] == 16
    refused = run_cli("evaluate", final["run"])
    assert (refused.exit_code, "nothing was held out" in refused.stderr) == (1, True)
    used = run_cli("recommend", final["run"], "--user", "u3")
    assert used.exit_code == 0
    wrong = run_cli("train", "--on-all-data", "--like", final["run"])
    assert (wrong.exit_code, "name a run that held data out" in wrong.stderr) == (1, True)


def test_without_a_validation_part_all_epochs_are_trained_on_all_but_the_last_event(
    run_cli: RunCli, small_folder: Path
) -> None:
    """Its losses are those of a final fit on data in which nobody has a last event."""
    inter = small_folder / "dataset" / "small" / "small.inter"
    header, *rows = inter.read_text().splitlines()
    of_user: dict[str, list[str]] = {}
    for row in rows:
        of_user.setdefault(row.split("\t")[0], []).append(row)
    last = {max(of_one, key=lambda row: float(row.split("\t")[3])) for of_one in of_user.values()}
    kept = [row for row in rows if row not in last]
    less = small_folder / "dataset" / "less" / "less.inter"
    less.parent.mkdir()
    less.write_text("\n".join([header, *kept, ""]))
    split = "--set=eval_args.split={LS: test_only}"
    how = ("--model=GRU4Rec", "--epochs=4", *QUICK, "--stopping-step=1", "--json", split)
    (one,) = json.loads(run_cli("train", "small", *how).stdout)
    (other,) = json.loads(
        run_cli("train", "less", "--on-all-data", "--like", one["run"], "--json").stdout
    )
    assert one["epochs"] == one["best_epoch"] == 4
    assert set(one["metrics"]) == {"test", "test_masked"}
    losses = [
        [json.loads(row)["loss"] for row in (small_folder / run / "history.jsonl").open()]
        for run in (one["run"], other["run"])
    ]
    assert losses[0] == losses[1]
    evaluated = json.loads(run_cli("evaluate", one["run"], "--json").stdout)
    assert "valid" not in evaluated
    for part, values in one["metrics"].items():
        assert evaluated[part]["ndcg@5"] == values["ndcg@5"]


OTHER_WIDTH = ("--set", "embedding_size=5", "--set", "recbole_compat=true")
MISTAKES = [
    (("--model", "GRU4RecKGG"), 2, "did you mean GRU4RecKG?"),
    (("--dataset", "smal"), 1, "did you mean 'small'?"),
    (("--set", "embeding_size=8"), 2, "did you mean 'embedding_size'?"),
    (("--valid-metric", "NDGC@10"), 2, "did you mean 'NDCG'?"),
    (("--preset", "bst"), 2, "preset: unknown preset 'bst': did you mean 'best'?"),
    (("--epoch", "3"), 2, "No such option: --epoch "),
    (("--epochs", "many"), 2, "Invalid value for '--epochs'"),
    (("--config", "none.yaml"), 1, "none.yaml: no such settings file"),
    (("--resume", "x"), 2, "give it alone"),
    (("--like", "x"), 2, "--like goes with --on-all-data"),
    (("--device", "cuda:42"), 1, "CUDA devices"),
    (("--set", "eval_args.split={RS: [1.0, 0.0, 0.0]}"), 1, "validation part is empty"),
    (OTHER_WIDTH, 1, "small.ent_feature: vectors of width 8, expected 5 (embedding_size)"),
]


@pytest.mark.parametrize(("arguments", "code", "expected"), MISTAKES)
def test_a_mistake_is_one_line(
    run_cli: RunCli, small_folder: Path, arguments: tuple[str, ...], code: int, expected: str
) -> None:
    result = run_cli("train", "--epochs", "1", *arguments)
    assert result.exit_code == code
    assert expected in result.error
    assert not (small_folder / "saved").exists()


def test_resuming_a_run_that_is_not_there_is_one_line(run_cli: RunCli, small_folder: Path) -> None:
    result = run_cli("train", "--resume", "nothing")
    assert result.exit_code == 1
    assert "no run 'nothing'" in result.error


def break_inter(dataset_dir: Path) -> None:
    path = dataset_dir / "small.inter"
    lines = path.read_text().splitlines()
    lines[4] = "u0\ti3"
    path.write_text("\n".join(lines))


def break_time(dataset_dir: Path) -> None:
    path = dataset_dir / "small.inter"
    path.write_text(path.read_text().replace("1003", "noon", 1))


def break_header(dataset_dir: Path) -> None:
    path = dataset_dir / "small.inter"
    path.write_text(path.read_text().replace("user_id:token", "user_id", 1))


def break_sidecar(dataset_dir: Path) -> None:
    (dataset_dir / "small.ent_feature.json").write_text('{"kg_sha256": "0"}')


def break_links(dataset_dir: Path) -> None:
    path = dataset_dir / "small.link"
    path.write_text(path.read_text().replace("\te", "\tother").replace("otherntity", "entity"))


def break_header_of_links(dataset_dir: Path) -> None:
    path = dataset_dir / "small.link"
    path.write_text(path.read_text().replace("entity_id", "entityid", 1))


def break_vectors(dataset_dir: Path) -> None:
    path = dataset_dir / "small.ent_feature"
    path.write_text(path.read_text().replace("e3\t0", "e3\tnan"))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (break_inter, "small.inter, line 5: 2 columns, expected 4"),
        (break_time, "small.inter, line 5, column timestamp: found 'noon', expected a number"),
        (break_header, "small.inter, line 1: column 'user_id' has no type"),
        (break_sidecar, "made from another small.kg"),
        (break_links, "10 items are linked but none of their entities has a vector"),
        (
            break_header_of_links,
            "small.link: no column 'entity_id'; its header has item_id, entityid",
        ),
        (break_vectors, "small.ent_feature, line 4"),
    ],
)
def test_a_spoilt_file_is_one_line(run_cli: RunCli, small_folder: Path, spoil, expected) -> None:
    spoil(small_folder / "dataset/small")
    result = run_cli("train", "--epochs", "1", *QUICK)
    assert result.exit_code == 1
    assert expected in result.error
    assert not (small_folder / "saved").exists()


def test_the_history_lost_by_a_kill_after_the_last_checkpoint_is_back_on_resume(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KgrecError("killed here")

    with monkeypatch.context() as patches:
        patches.setattr("kgrec_cli.stages.train.write_history", killed)
        assert run_cli("train", "--epochs", "1", *QUICK).exit_code == 1
    (run_dir,) = (small_folder / "saved").iterdir()
    assert not (run_dir / "history.jsonl").exists()
    assert run_cli("train", "--resume", run_dir.name).exit_code == 0
    assert [json.loads(row)["epoch"] for row in (run_dir / "history.jsonl").open()] == [1]


def test_a_run_that_is_being_trained_is_not_resumed_twice(
    run_cli: RunCli, small_folder: Path
) -> None:
    def resume(_: object) -> None:
        raise KgrecError(run_cli("train", "--resume", "small").error)

    settings = build_settings({"dataset": "small", "epochs": 1, "threads": 1}, "test")
    with pytest.raises(KgrecError, match="another kgrec command is at work on it"):
        run_train(
            settings,
            small_folder,
            on_event=lambda event: resume(event) if isinstance(event, EpochDone) else None,
        )


def test_ctrl_c_within_the_first_epoch_leaves_no_run(small_folder: Path) -> None:
    def interrupt(event: object) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    settings = build_settings({"dataset": "small", "epochs": 2, "threads": 1}, "test")
    with pytest.raises(
        Stopped, match="before the first epoch of seed 2020 was done: nothing of it"
    ):
        run_train(settings, small_folder, on_event=interrupt)
    assert not (small_folder / "saved").exists()


@pytest.mark.parametrize(
    ("assignments", "expected"),
    [
        (["embedding_size=1000000000000"], "found 1000000000000, expected at most 65536"),
        (["hidden_size=65536", "num_layers=100"], "hidden_size 65,536, num_layers 100 and 13 item"),
        (
            ["loss_type=BPR", "train_neg_sample_args.sample_num=1000000", "embedding_size=65536",
             "hidden_size=1"],
            "1,000,000 negatives (sample_num) for each of 270 targets: would take",
        ),
    ],
)  # fmt: skip
def test_absurd_sizes_are_refused_before_the_memory_is_asked_for(
    run_cli: RunCli, small_folder: Path, assignments: list[str], expected: str
) -> None:
    result = run_cli("train", *(f"--set={text}" for text in assignments))
    assert result.exit_code in (1, 2)
    assert expected in result.error
    assert not (small_folder / "saved").exists()
