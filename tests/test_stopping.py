"""Ctrl-C and SIGTERM at any moment: one line, exit 130 or 143, and nothing left behind."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kgrec_cli.formats.locks import TEMPORARY
from tests.conftest import QUICK

START = """
import sys
from kgrec_cli import stopping
stopping.install()
print("ready", flush=True)
sys.stdout = sys.stderr
from kgrec_cli.__main__ import main
sys.argv[0] = "kgrec"
main()
"""
LONG = ("train", "--epochs", "400", "--set=stopping_step=400", *QUICK)


def stop(folder: Path, number: signal.Signals, delay_s: float, *arguments: str) -> tuple[int, str]:
    """The exit code and standard error of a command that gets a signal `delay_s` after its start.

    The delay counts from the first line of kgrec: what comes before is Python's own start.
    """
    with subprocess.Popen(
        [sys.executable, "-c", START, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)
        return process.returncode, stderr


def check(folder: Path, number: signal.Signals, delay_s: float, *arguments: str) -> None:
    code, stderr = stop(folder, number, delay_s, *arguments)
    assert code == 128 + number, (delay_s, stderr)
    last = stderr.splitlines()[-1]
    assert last.startswith("error: stopped"), (delay_s, stderr)
    assert stderr.count("error") == 1, (delay_s, stderr)
    assert "Traceback" not in stderr, (delay_s, stderr)
    assert "ignored" not in stderr, (delay_s, stderr)
    assert not list(folder.rglob(f".*{TEMPORARY}"))
    for run_dir in (folder / "saved").glob("*"):
        assert (run_dir / "checkpoint.safetensors").is_file(), (delay_s, stderr)
        assert f"kgrec train --resume {run_dir.name}" in last
        shutil.rmtree(run_dir)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_and_one_later(
    small_folder: Path, number: signal.Signals
) -> None:
    check(small_folder, number, 0.05, *LONG)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment(small_folder: Path, number: signal.Signals) -> None:
    (small_folder / "hyper.test").write_text("learning_rate choice [0.1,0.01]\n")
    moments = random.Random(20)
    for _ in range(8):
        check(small_folder, number, moments.uniform(0, 6), *LONG)
    for arguments in (("pretrain-kg", "--epochs", "9999"), ("tune", "hyper.test", *LONG[3:])):
        for _ in range(4):
            check(small_folder, number, moments.uniform(0, 6), *arguments, "--set=epochs=9999")


DESTRUCTOR = """
import signal, time
from kgrec_cli import stopping

class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

stopping.install()
with stopping.working():
    try:
        Interrupted()
        time.sleep(60)
    finally:
        print("tidied up")
"""


def test_a_signal_in_a_destructor_comes_again() -> None:
    command = [sys.executable, "-c", DESTRUCTOR]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.stdout == "tidied up\n", done.stderr
