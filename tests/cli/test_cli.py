"""The command line itself: help, versions, usage errors, and what importing it loads."""

import os
import subprocess
import sys

import pytest

from kgrec_cli import __version__
from kgrec_cli.cli import app
from tests.conftest import RunCli


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
        "heavy |= {'kgrec_cli.settings'}\n"
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
        (("recommend", "--topk", "x"), "Invalid value for '--topk'"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_2(
    run_cli: RunCli, arguments: tuple[str, ...], expected: str
) -> None:
    result = run_cli(*arguments)
    assert result.exit_code == 2
    assert expected.casefold() in result.error.casefold()
    assert result.stderr == f"{result.error}\n"


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
