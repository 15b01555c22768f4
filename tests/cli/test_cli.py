"""The command line itself: help, versions, usage errors, and what importing it loads."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from kgrec_cli import __version__
from kgrec_cli.cli import app, run
from kgrec_cli.descriptions import DEFAULTS
from kgrec_cli.settings import Settings
from tests.conftest import QUICK, RunCli, write_small_dataset


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--help"], "[]"), (["train", "--help"], "['pydantic']")],  # Typer itself loads it there
)
def test_help_loads_none_of_the_heavy_packages(arguments: list[str], expected: str) -> None:
    code = (  # what --help has loaded, on the last line
        "import sys\n"
        "from kgrec_cli.cli import run\n"
        f"run({arguments})\n"
        "heavy = {'torch', 'polars', 'pykeen', 'optuna', 'pydantic', 'numpy'}\n"
        "heavy |= {'kgrec_cli.settings', 'fastapi', 'uvicorn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert finished.stdout.splitlines()[-1] == expected


def test_python_dash_m_is_the_same_command() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "kgrec_cli", "--version"], capture_output=True, text=True, check=True
    )
    assert finished.stdout == f"kgrec {__version__}\n"


@pytest.mark.parametrize("command", [command.name for command in app.registered_commands])
def test_every_command_has_help(run_cli: RunCli, command: str) -> None:
    result = run_cli(command, "--help")
    assert result.exit_code == 0
    assert f"kgrec {command}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("trian",), "Did you mean 'train'?"),
        (("train", "--learningrate", "3"), "No such option: --learningrate"),
        (("tune",), "Missing argument 'space'"),
        (("recommend", "--topk", "x"), "Invalid value for '--topk': found 'x', expected a whole"),
        (
            ("train", "--epochs", "0"),
            "Invalid value for '--epochs': found '0', expected at least 1",
        ),
        (("prepare", "x", "--on-bad-row", "y"), "'y' is not one of 'error', 'skip'"),
        (("train", "--config_files", "a.yaml"), "No such option: --config_files (it is --config)"),
        (("train", "--gpu_id=0"), "--gpu_id (it is --device: auto, cpu, cuda or cuda:N)"),
        (("train", "--lr", "0.1"), "No such option: --lr (it is --learning-rate)"),
        (("train", "--batch_size", "9"), "--batch_size (it is --train-batch-size)"),
        (("train", "--topk=5"), "No such option: --topk (give it as --set topk=VALUE)"),
        (("train", "--MAX_ITEM_LIST_LENGTH", "9"), "(give it as --set MAX_ITEM_LIST_LENGTH=VALUE)"),
        (("evaluate", "--lr", "1"), "--lr (give it as --set learning_rate=VALUE)"),
        (("prepare", "x", "--lr", "1"), "--lr (learning_rate is no option of this command)"),
        (
            ("train", "--nproc", "2"),
            "No such option: --nproc (leave it out: torchrun starts several processes)",
        ),
        (("train", "--threshold", "2"), "--threshold (filter by val_interval"),
        (("train", "--resum", "2"), "No such option: --resum (did you mean --resume"),
        (("train", "--foo_bar", "2"), "No such option: --foo_bar (see"),
        (("train", "a", "--dataset", "b"), "two data sets, a and --dataset b: give one"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_2(
    run_cli: RunCli, arguments: tuple[str, ...], expected: str
) -> None:
    result = run_cli(*arguments)
    assert result.exit_code == 2
    assert expected.casefold() in result.error.casefold()
    assert result.stderr == f"{result.error}\n"


def list_commands() -> list[tuple[list[str], typer.core.TyperCommand]]:
    """Every command with the words that name it; groups come before what is in them."""
    top = typer.main.get_command(app)
    found, waiting = [], [([], top)]
    while waiting:
        words, command = waiting.pop(0)
        found.append((words, command))
        inner = getattr(command, "commands", {})
        waiting += [([*words, name], each) for name, each in inner.items()]
    return found


def test_every_example_in_a_help_can_be_typed() -> None:
    for words, command in list_commands()[1:]:
        assert command.epilog, words
        for line in command.epilog.splitlines():
            typed = shlex.split(line)
            assert typed[: len(words) + 1] == ["kgrec", *words]
            command.make_context("kgrec", typed[len(words) + 1 :])  # refuses what is no option


def test_every_command_takes_quiet_and_verbose(run_cli: RunCli, trained_folder: Path) -> None:
    for words, command in list_commands():
        flags = {flag for param in command.params for flag in param.opts}
        assert {"--quiet", "-q", "--verbose", "-v"} <= flags, words
    usual = run_cli("evaluate", "--no-baselines", cwd=trained_folder)
    assert "ranking the test targets" in usual.stderr
    assert run_cli("-q", "evaluate", "--no-baselines", cwd=trained_folder).stderr == ""
    verbose = run_cli("evaluate", "-v", "--no-baselines", cwd=trained_folder).stderr
    assert re.search(r"^ +\d+\.\d\d s  test targets: 30 ranked$", verbose, flags=re.MULTILINE)
    assert run_cli("runs", "-q", "-v").error == "error: --quiet and --verbose: give one"
    failed = run_cli("config", "-v", "validate", "missing.yaml")
    assert failed.stderr.splitlines()[1].startswith("because of FileNotFoundError: ")


def test_the_defaults_in_the_help_are_those_of_the_settings() -> None:
    defaults = Settings().model_dump()
    values = defaults | {f"pretrain_kg.{key}": v for key, v in defaults["pretrain_kg"].items()}
    for name, shown in DEFAULTS.items():
        value = "freeze-kg" if values[name] is True else str(values[name])
        assert shown == value, name


def test_underscores_are_as_good_as_hyphens(run_cli: RunCli, small_folder: Path) -> None:
    sizes = ("--embedding_size=8", "--hidden_size", "16", "--train_batch_size=64", "--freeze_kg")
    trained = run_cli("train", "--epochs=1", *sizes, "--learning_rate=0.02", "--json")
    assert trained.exit_code == 0, trained.stderr
    assert run_cli("evaluate", "--no_baselines", "--json").exit_code == 0


def test_every_command_that_reads_a_data_set_takes_its_name(
    run_cli: RunCli, small_folder: Path
) -> None:
    write_small_dataset(small_folder, name="other")
    (small_folder / "hyper.test").write_text("dropout_prob choice [0.1]\n")
    nameless = run_cli("train")
    assert "several data sets under dataset/: name one" in nameless.error
    quick = ("--epochs", "1", *QUICK)
    assert run_cli("doctor", "other").stdout.endswith("other: ready to use\n")
    assert run_cli("doctor", "--dataset", "small").stdout.endswith("small: ready to use\n")
    made = run_cli("pretrain-kg", "other", "--epochs=1", "--embedding-size=8", "--json")
    assert json.loads(made.stdout)["features"] == "dataset/other/other.ent_feature"
    for name in ("other", "dataset/small", "other"):
        trained = run_cli("train", name, *quick, "--json")
        assert trained.exit_code == 0, trained.stderr
    last = json.loads(trained.stdout)[0]["run"]
    tuned = run_cli("tune", "hyper.test", "small", "--set=epochs=1", *QUICK, "--json")
    assert "small" in json.loads(tuned.stdout)["study"]
    swapped = run_cli("tune", "small", "hyper.test")
    assert "the search space comes first: kgrec tune hyper.test small" in swapped.error
    measured = run_cli("evaluate", "other", "--no-baselines", "--json")
    assert f"saved/{json.loads(measured.stdout)['run']}" == last  # its newest run
    assert run_cli("export", "other", "--out", "x.pth").exit_code == 0
    imported = run_cli("import", "x.pth", "other", "--json")
    assert "saved/other-" in json.loads(imported.stdout)["run"]


def test_no_arguments_show_the_help(run_cli: RunCli) -> None:
    result = run_cli()
    assert result.exit_code == 2
    assert "pretrain-kg" in result.stdout + result.stderr


@pytest.mark.parametrize(("given", "expected"), [(None, "1000"), ("7", "7")])
def test_threads_spin_briefly_unless_told_otherwise(given: str | None, expected: str) -> None:
    code = (
        "import os, sys\n"
        "from kgrec_cli.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    env |= {} if given is None else {"GOMP_SPINCOUNT": given}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert told.stdout.split()[-2:] == [expected, "False"]


def test_ctrl_c_is_one_line(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kgrec_cli.config.resolve_settings", interrupt)
    result = run_cli("train")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "error: stopped\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("kgrec evaluate sm", "small-GRU4RecKG-"),
        ("kgrec runs show be", "best"),
        ("kgrec doctor s", "small"),
        ("kgrec train --set learning_r", "learning_rate="),
        ("kgrec pretrain-kg --method Rot", "RotatE"),
    ],
)
def test_the_shell_completes(
    trained_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    expected: str,
) -> None:
    monkeypatch.chdir(trained_folder)
    monkeypatch.setenv("_KGREC_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    with pytest.raises(SystemExit):
        run([])
    (found,) = capsys.readouterr().out.split()
    assert found.startswith(expected)
