"""`kgrec tune` as typed: a study, its files, going on, and each mistake."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import polars as pl
import pytest
import yaml

from kgrec_cli.config import build_settings
from kgrec_cli.formats.locks import in_use
from tests.conftest import QUICK, RunCli

SPACE = "learning_rate choice [0.02, 0.002]\nnum_layers choice [1,2]\n"
STUDY = "studies/small-GRU4RecKG-hyper"


@pytest.fixture
def folder(small_folder: Path) -> Path:
    (small_folder / "hyper.test").write_text(SPACE)
    return small_folder


ONE_EPOCH = (*QUICK, "--set=epochs=1")


def test_every_point_is_tried_and_the_best_can_be_trained(run_cli: RunCli, folder: Path) -> None:
    result = run_cli("tune", "hyper.test", *ONE_EPOCH)
    assert result.exit_code == 0, result.stderr
    table = pl.read_csv(folder / STUDY / "leaderboard.csv")
    points = set(table.select("learning_rate", "num_layers").iter_rows())
    assert points == {(0.02, 1), (0.02, 2), (0.002, 1), (0.002, 2)}
    assert table["score"].to_list() == sorted(table["score"], reverse=True)
    best = yaml.safe_load((folder / STUDY / "best.yaml").read_text())
    assert best["learning_rate"] == table["learning_rate"][0]
    assert build_settings(best, "best").num_layers == table["num_layers"][0]
    text = (folder / STUDY / "result.txt").read_text()
    assert text.count("Valid result:") == text.count("Test result:") == 4
    assert "<html" in (folder / STUDY / "chart.html").read_text()[:200].lower()
    assert "next: kgrec train --config" in result.stdout
    assert not (folder / "saved").exists()

    trained = run_cli("train", "--config", f"{STUDY}/best.yaml", "--json")
    (run,) = json.loads(trained.stdout)
    assert run["metrics"]["valid"]["ndcg@10"] == pytest.approx(table["score"][0])


def test_one_set_of_vectors_serves_every_embedding_size(run_cli: RunCli, folder: Path) -> None:
    (folder / "hyper.test").write_text("embedding_size choice [5,8]\n")
    result = run_cli("tune", "hyper.test", *ONE_EPOCH)
    assert result.exit_code == 0, result.stderr
    table = pl.read_csv(folder / STUDY / "leaderboard.csv")
    assert set(table["embedding_size"]) == {5, 8}
    assert table["score"].is_not_null().all()


@pytest.mark.parametrize("source", ["--preset=best", "--set=preset=best", "kgrec.yaml"])
def test_points_override_the_preset(run_cli: RunCli, folder: Path, source: str) -> None:
    (folder / "hyper.test").write_text("seen_bias choice [False]\n")
    if source == "kgrec.yaml":
        (folder / source).write_text("preset: best\n")
    options = () if source == "kgrec.yaml" else (source,)
    result = run_cli("tune", "hyper.test", *ONE_EPOCH, *options)
    assert result.exit_code == 0, result.stderr
    best = yaml.safe_load((folder / STUDY / "best.yaml").read_text())
    names = ("preset", "seen_bias", "layer_norm", "kg_items", "ema_decay")
    assert [best[name] for name in names] == ["best", False, True, True, 0.999]


def test_the_same_command_goes_on(run_cli: RunCli, folder: Path) -> None:
    first = run_cli("tune", "hyper.test", "--max-trials", "1", "--json", *ONE_EPOCH)
    second = run_cli("tune", "hyper.test", "--json", *ONE_EPOCH)
    third = run_cli("tune", "hyper.test", "--json", *ONE_EPOCH)
    assert [json.loads(run.stdout)["n_new"] for run in (first, second, third)] == [1, 3, 0]
    assert json.loads(third.stdout)["stopped"] == "exhausted"


def test_the_study_may_be_kept_in_another_database(run_cli: RunCli, folder: Path) -> None:
    elsewhere = ("--storage", f"sqlite:///{folder / 'all.db'}", "--json", *ONE_EPOCH)
    first = run_cli("tune", "hyper.test", "--max-trials", "3", *elsewhere)
    assert first.exit_code == 0, first.stderr
    second = run_cli("tune", "hyper.test", *elsewhere)
    assert [json.loads(run.stdout)["n_new"] for run in (first, second)] == [3, 1]
    names = {path.name for path in (folder / STUDY).iterdir()}
    assert names == {"leaderboard.csv", "best.yaml", "result.txt", "chart.html"}
    assert json.loads(run_cli("tune", "hyper.test", "--json", *ONE_EPOCH).stdout)["n_new"] == 4
    assert (folder / STUDY / "study.db").exists()


@pytest.mark.slow
def test_two_at_a_time_find_what_one_finds(run_cli: RunCli, folder: Path) -> None:
    told = run_cli("tune", "hyper.test", "--json", *ONE_EPOCH, "--set=threads=1")
    (folder / "hyper.test").rename(folder / "other.test")
    both = run_cli("tune", "other.test", "--json", "--jobs", "2", *ONE_EPOCH, "--set=threads=1")
    assert both.exit_code == 0, both.stderr
    scores = [
        {(row["learning_rate"], row["num_layers"]): row["score"] for row in boards}
        for boards in (json.loads(run.stdout)["leaderboard"] for run in (told, both))
    ]
    assert scores[0] == scores[1]


def test_a_stopped_search_keeps_its_trials(
    run_cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kgrec_cli.stages import trials as stage

    real_fit, calls = stage.fit, []

    def fit_twice(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real_fit(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "fit", fit_twice)
        result = run_cli("tune", "hyper.test", *ONE_EPOCH)
    assert result.exit_code == 130
    assert "stopped after 2 trials" in result.stderr
    assert len(pl.read_csv(folder / STUDY / "leaderboard.csv")) == 2
    rest = run_cli("tune", "hyper.test", "--json", *ONE_EPOCH)
    assert json.loads(rest.stdout)["n_new"] == 2


def test_the_data_is_loaded_once(
    run_cli: RunCli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kgrec_cli.stages import trials, tune

    calls = []
    for stage, name in ((tune, "load_dataset"), (trials, "load_feature_tables")):
        real = getattr(stage, name)

        def counted(*arguments, real=real, name=name, **more):
            calls.append(name)
            return real(*arguments, **more)

        monkeypatch.setattr(stage, name, counted)
    result = run_cli("tune", "hyper.test", "--json", *ONE_EPOCH)
    assert json.loads(result.stdout)["n_new"] == 4
    assert sorted(calls) == ["load_dataset", "load_feature_tables"]


@pytest.mark.parametrize(
    ("space", "arguments", "code", "expected"),
    [
        ("learning_rat choice [1]\n", (), 1, "hyper.test, line 1"),
        ("learning_rate choise [1]\n", (), 1, "did you mean 'choice'"),
        ("dropout_prob choice [0.1, 1.5]\n", (), 1, "hyper.test, line 1: dropout_prob: found 1.5"),
        ("dropout_prob uniform 0,0.5\n", (), 1, "choices only"),
        ("dropout_prob uniform 0,1.5\n", (), 1, "hyper.test, line 1: dropout_prob: found 1.49"),
        ("hidden_size uniform 8,16\n", (), 1, "line 1: hidden_size: found 8.0"),
        ("learning_rate quniform -1,1,0.5\n", (), 1, "line 1: learning_rate: found -1.0"),
        ("learner choice ['sparse_adam']\n" + SPACE, (), 1, "line 1: learner sparse_adam: found"),
        ("threads choice [1,2]\n", (), 1, "line 1: threads is the same for all trials"),
        ("preset choice ['best']\n", (), 1, "line 1: preset is the same for all trials"),
        ("rm_dup_inter choice ['first']\n", (), 1, "line 1: rm_dup_inter is the same for all"),
        ("valid_metric choice ['MRR@5','MRR@10']\n", (), 1, "line 1: valid_metric is the same"),
        ("eval_args choice [{'mode':'full'},{'mode':'uni5'}]\n", (), 1, "by --set eval_args=VAL"),
        ("worker choice [1,2]\n", (), 1, "line 1: unknown setting 'worker'"),
        ("training_neg_sample_num choice [1]\n", (), 1, "did you mean 'train_neg_sample_args'?"),
        (SPACE, ("--search", "exaustive"), 2, "did you mean 'exhaustive'?"),
        (SPACE, ("--pruner", "medan"), 2, "did you mean 'median'?"),
        (SPACE, ("--storage", "study.db"), 1, "storage 'study.db': "),
        (SPACE, ("--storage", "mssql+nodriver://me:secret@host/x"), 1, "mssql+nodriver://me:***@"),
        ("", (), 1, "no parameter in it"),
    ],
)
def test_a_mistake_is_one_line(
    run_cli: RunCli,
    folder: Path,
    space: str,
    arguments: tuple[str, ...],
    code: int,
    expected: str,
) -> None:
    (folder / "hyper.test").write_text(space)
    result = run_cli("tune", "hyper.test", *arguments, *ONE_EPOCH)
    assert result.exit_code == code, result.stderr
    assert expected in result.error


def test_a_missing_space_is_one_line(run_cli: RunCli, folder: Path) -> None:
    result = run_cli("tune", "hyper.tset")
    assert result.exit_code == 1
    assert "hyper.tset: no such file" in result.error


def test_a_second_host_goes_on_if_its_data_is_the_same(run_cli: RunCli, folder: Path) -> None:
    """Each host has a folder of its own; its data must be that of the first."""
    elsewhere = ("--storage", f"sqlite:///{folder / 'all.db'}", "--json", *ONE_EPOCH)
    first = run_cli("tune", "hyper.test", "--max-trials", "2", *elsewhere)
    other = folder / "other"
    shutil.copytree(folder / "dataset", other / "dataset")
    shutil.copy(folder / "hyper.test", other)
    second = run_cli("tune", "hyper.test", *elsewhere, cwd=other)
    assert [json.loads(run.stdout)["n_new"] for run in (first, second)] == [2, 2]
    (path,) = (other / "dataset/small").glob("*.inter")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    changed = run_cli("tune", "hyper.test", *elsewhere, cwd=other)
    assert "was made with inter_sha256 = " in changed.error
    assert list((folder / STUDY).glob(".*")) == []


def test_the_leaderboard_says_which_process_ran_a_trial(run_cli: RunCli, folder: Path) -> None:
    board = json.loads(run_cli("tune", "hyper.test", "--json", *ONE_EPOCH).stdout)["leaderboard"]
    (worker,) = {row["worker"] for row in board}
    assert worker.startswith(f"{socket.gethostname()}-{os.getpid()}-")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on Windows")
@pytest.mark.parametrize("executor", ["serial", "processes", "batched"])
def test_the_trials_of_a_killed_command_are_run_again(
    run_cli: RunCli, folder: Path, executor: str
) -> None:
    long = ("--set=epochs=200", "--set=stopping_step=200", *QUICK)
    command = ["tune", "hyper.test", "--json", "--executor", executor, *long]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    kgrec = [sys.executable, "-m", "kgrec_cli", *command]
    with subprocess.Popen(kgrec, cwd=folder, **quiet) as killed:
        while not states(folder, "RUNNING"):
            assert killed.poll() is None
            time.sleep(0.05)
        killed.kill()
    n_done = states(folder, "COMPLETE")
    result = run_cli(*command)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    points = {(row["learning_rate"], row["num_layers"]) for row in told["leaderboard"]}
    assert len(points) == len(told["leaderboard"]) == 4
    assert told["n_new"] == 4 - n_done
    assert states(folder, "RUNNING") == 0
    assert states(folder, "FAIL") > 0
    assert list((folder / STUDY).glob(".*")) == []


def states(folder: Path, state: str) -> int:
    """How many trials of the study are in a state; 0 while it has no tables."""
    path = folder / STUDY / "study.db"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT count(*) FROM trials WHERE state = ?", (state,))
        return int(found.fetchone()[0])
    return 0


def test_a_killed_command_is_known_by_its_mark(folder: Path) -> None:
    """Its mark is there, and nobody holds it; that of another machine is not there."""
    from kgrec_cli.stages import tune as stage

    assert stage._has_ended("elsewhere-1-ab", folder) is None
    name = f"{socket.gethostname()}-1-ab"
    assert stage._has_ended(name, folder) is None
    with in_use(stage._mark_of(name, folder)):
        assert stage._has_ended(name, folder) is False
    stage._mark_of(name, folder).touch()
    assert stage._has_ended(name, folder) is True


@pytest.mark.parametrize("executor", ["processes", "batched"])
def test_every_executor_finds_what_one_after_the_other_finds(
    run_cli: RunCli, folder: Path, executor: str
) -> None:
    (folder / "hyper.test").write_text(SPACE + "dropout_prob choice [0.0,0.4]\n")
    epochs = ("--set=epochs=4", "--set=stopping_step=1", "--set=threads=1", *QUICK)
    alone = run_cli("tune", "hyper.test", "--json", "--executor", "serial", *epochs)
    (folder / "hyper.test").rename(folder / "other.test")
    both = run_cli("tune", "other.test", "--json", "--executor", executor, "--jobs", "3", *epochs)
    assert both.exit_code == 0, both.stderr
    found = [
        {
            (row["learning_rate"], row["dropout_prob"], row["num_layers"]): (
                row["epochs"], pytest.approx(row["score"], abs=1e-6),
                pytest.approx(row["test_ndcg@10"], abs=1e-6),
            )
            for row in json.loads(run.stdout)["leaderboard"]
        }
        for run in (alone, both)
    ]  # fmt: skip
    assert len(found[0]) == 8
    assert found[0] == found[1]


@pytest.mark.parametrize("executor", ["serial", "batched"])
def test_a_trial_that_cannot_be_trained_is_one_failed_trial(
    run_cli: RunCli, folder: Path, executor: str
) -> None:
    models = ["GRU4RecKG", "GRU4Rec"]  # by this seed the second one comes first
    if executor == "batched":  # there even a first one that fails does not end the search
        models.reverse()
    (folder / "hyper.test").write_text(
        f"model choice {models}\nlearning_rate choice [0.02,0.002]\n"
    )
    (folder / "dataset/small/small.ent_feature").unlink()
    command = ("tune", "hyper.test", "--json", "--executor", executor, "--seed", "1")
    result = run_cli(*command, *ONE_EPOCH)
    assert result.exit_code == 0, result.stderr
    board = json.loads(result.stdout)["leaderboard"]
    assert [row["state"] for row in board] == ["complete"] * 2 + ["failed"] * 2
    assert all("small.ent_feature: no such file" in row["error"] for row in board[2:])


def test_values_are_looked_at_beside_those_of_other_parameters(
    run_cli: RunCli, folder: Path
) -> None:
    (folder / "hyper.test").write_text(
        "learner choice ['adam','sparse_adam']\nloss_type choice ['CE','SSM']\n"
        "learning_rate uniform 0,0.1\nembedding_size quniform 8,16,8\n"
    )
    result = run_cli("tune", "hyper.test", "--search", "random", "--dry-run")
    assert result.exit_code == 0, result.stderr


def test_a_dry_run_says_what_would_be_tried_and_writes_nothing(
    run_cli: RunCli, small_folder: Path
) -> None:
    (small_folder / "s.test").write_text("hidden_size choice [8,16]\ndropout_prob choice [0.1]\n")
    before = sorted(small_folder.rglob("*"))
    shown = run_cli("tune", "s.test", "--dry-run").stdout
    assert "8, 16" in shown
    assert "exhaustive search of 2 points\nstudies/small-GRU4RecKG-s: would be made" in shown
    (small_folder / "s.test").write_text("hidden_size choice [8,0]\n")
    assert "s.test, line 1: " in run_cli("tune", "s.test", "--dry-run").error
    assert sorted(small_folder.rglob("*")) == before


def test_a_study_goes_on_with_the_vectors_that_it_was_made_with(
    run_cli: RunCli, folder: Path
) -> None:
    assert run_cli("tune", "hyper.test", *ONE_EPOCH, "--max-trials", "1").exit_code == 0
    path = next((folder / "dataset/small").glob("*.ent_feature"))
    before = path.read_text()
    head, first, *rows = before.splitlines()
    token, vector = first.split("\t")
    turned = " ".join(vector.split(" ")[::-1])
    path.write_text("\n".join([head, f"{token}\t{turned}", *rows, ""]))
    found = run_cli("tune", "hyper.test", *ONE_EPOCH)
    assert found.exit_code == 1
    assert "was made with vectors_sha256 = " in found.stderr
    assert found.stderr.count("\n") == 1
    path.write_text(before)
    assert run_cli("tune", "hyper.test", *ONE_EPOCH).exit_code == 0
