"""Every screen in a real terminal (a pty) of 60, 80 and 120 columns: whole, nothing cut."""

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest

from kgrec_cli.cli import run
from tests.conftest import QUICK

SPACE = (
    "learning_rate choice [0.01,0.02]\nhidden_size choice [8]\ndropout_prob choice [0.1]\n"
    "num_layers choice [1]\nfreeze_kg choice [True]\n"
)
RAW = "user,item,time\n" + "".join(f"u{n % 3},i{n % 5},{n}\n" for n in range(60))
SCREENS = {
    "train": ["train", "--epochs", "2", *QUICK, "--name", "second"],
    "evaluate": ["evaluate", "first", "--topk", "5,10"],
    "compare": ["compare", "first", "second"],
    "tune": ["tune", "space.hyper", "--set", "epochs=2", *QUICK[1:]],
    "recommend": ["recommend", "first", "--user", "u1"],
    "doctor": ["doctor", "small", "--set", "data_path=dataset"],
    "runs": ["runs"],
    "show": ["runs", "show", "first"],
    "help": ["train", "--help"],
    "mistake": ["train", "--set", "num_layer=2"],
    "prepare": ["prepare", "log", "--raw", "log.csv", "--kg", "none", "--data-path", "other"],
}
DRIVER = """
import json, sys
from kgrec_cli.cli import run
for name, arguments in json.loads(sys.argv[1]).items():
    print(f"== {name}", flush=True)
    run(arguments)
    sys.stdout.flush()
"""


def draw(output: str, width: int) -> tuple[list[str], list[str]]:
    """What stands on a terminal after the output, and the lines that were too long for it."""
    rows, row, column, too_long = [[" "] * width], 0, 0, []
    for code, letter, character in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b])", output):
        if letter == "A":
            row -= int(code or 1)
        elif letter == "K":
            rows[row] = [" "] * width
        elif character == "\r":
            column = 0
        elif character == "\n" or (character and column == width):
            if character != "\n":
                column, _ = 0, too_long.append("".join(rows[row]))
            row += 1
            if row == len(rows):
                rows.append([" "] * width)
        if character and character not in "\r\n":
            rows[row][column] = character
            column += 1
    return ["".join(each).rstrip() for each in rows], too_long


def run_in_terminal(folder: Path, width: int, screens: dict[str, Sequence[str]]) -> str:
    """What commands write to a terminal of `width` columns, control codes included."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    child = subprocess.Popen(
        [sys.executable, "-c", DRIVER, json.dumps(screens)],
        stdin=secondary, stdout=secondary, stderr=secondary, cwd=folder, start_new_session=True,
        env={**environment, "TERM": "xterm", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(secondary)
    output = b""
    try:
        while chunk := os.read(primary, 65536):
            output += chunk
    except OSError:  # how a terminal on Linux says that nobody writes into it any more
        pass
    os.close(primary)
    assert child.wait() == 0, output
    return output.decode()


def show(folder: Path, width: int, screens: dict[str, Sequence[str]]) -> tuple[str, list[str]]:
    """What then stands there, and the lines that were too long; see `draw`."""
    rows, too_long = draw(run_in_terminal(folder, width, screens), width)
    return "\n".join(rows), too_long


@pytest.fixture
def folder(trained_folder: Path, tmp_path: Path) -> Path:
    """A working folder with the run `first`, a search space and a raw log."""
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    (run_dir,) = (tmp_path / "saved").glob("[!.]*")
    run_dir.rename(tmp_path / "saved" / "first")
    (tmp_path / "space.hyper").write_text(SPACE)
    (tmp_path / "log.csv").write_text(RAW)
    return tmp_path


@pytest.mark.parametrize(
    "width", [80, *(pytest.param(width, marks=pytest.mark.slow) for width in (60, 120))]
)
def test_every_screen_is_whole(
    folder: Path, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, too_long = show(folder, width, SCREENS)
    assert [line for line in too_long if " " in line.strip()] == []  # of a word alone, a path
    assert "…" not in shown
    assert "Traceback" not in shown
    screens = dict(re.findall(r"== (\w+)\n(.*?)(?=\n== |\Z)", shown, flags=re.DOTALL))
    assert set(screens) == set(SCREENS)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("COLUMNS", raising=False)
    for name in ("evaluate", "compare", "recommend", "doctor", "runs", "show"):
        capsys.readouterr()  # in a pipe tables and lines are as wide as they are
        assert run(SCREENS[name]) == 0
        words = re.findall(r"[^\s_─]+", capsys.readouterr().out)
        assert [word for word in words if word not in screens[name]] == []
    names = ("rank", "trial", "freeze_kg", "dropout_prob", "valid_ndcg@10", "test_ndcg@10")
    pieces = [piece for name in names for piece in name.split("_")]
    assert [piece for piece in pieces if piece not in screens["tune"]] == []
    assert ("rank: 1\n" in screens["tune"]) == (width == 60)
    assert "this trial" not in screens["tune"]
    assert "epoch 1 " not in screens["train"]
    assert "--freeze-kg / --no-freeze-kg" in screens["help"]


def test_a_stacked_row_names_each_cell(folder: Path) -> None:
    shown, _ = show(folder, 20, {"recommend": ["recommend", "first", "--user", "u1", "-q"]})
    assert re.search(r"\n1\nitem: i11\ntitle: Film No 11\nscore: \d", shown)


def test_a_terminal_is_never_silent_and_nothing_of_it_stays(folder: Path) -> None:
    commands = {"recommend": ["recommend", "--user", "u1"], "runs": ["runs"], "bad": ["runs", "x"]}
    output = run_in_terminal(folder, 80, commands)
    for name, shown in re.findall(r"== (\w+)\r\n(.*?)(?=== |\Z)", output, flags=re.DOTALL):
        if name != "bad":  # what was mistyped is said at once
            assert re.match(r"\s*(\x1b\[\S+?[a-z])*loading ", shown), name
    rows, _ = draw(output, 80)
    assert not any("loading" in row or "working" in row for row in rows)


@pytest.mark.parametrize("has_color", [True, False])
def test_no_color_is_honoured(
    folder: Path, monkeypatch: pytest.MonkeyPatch, has_color: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not has_color:
        monkeypatch.setenv("NO_COLOR", "1")
    output = run_in_terminal(folder, 80, {"doctor": ["doctor"], "mistake": ["trian"]})
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", output)) == has_color
