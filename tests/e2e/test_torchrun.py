"""`torchrun ... -m kgrec_cli train`: the losses of one process, one voice, and another start."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
KGREC = ["-m", "kgrec_cli"]
TRAIN = [
    *KGREC, "train", "shop", "--model", "GRU4Rec", "--epochs", "20", "--device", "cpu",
    "--set", "threads=1", "--set", "dropout_prob=0", "--set", "stopping_step=20",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared data set whose epochs take about half a second."""
    rng = np.random.default_rng(1)
    rows = [
        f"{user},{item},{time}"
        for user in range(300)
        for time, item in enumerate(rng.integers(0, 200, rng.integers(5, 60)))
    ]
    (tmp_path / "clicks.csv").write_text("user,item,time\n" + "\n".join(rows))
    run_python(tmp_path, *KGREC, "prepare", "shop", "--raw", "clicks.csv")
    return tmp_path


def run_python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def losses(folder: Path) -> list[float]:
    (run,) = (folder / "saved").glob("shop*")
    lines = (run / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def torchrun(*more: str) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    two = ["--nproc-per-node=2", f"--master-port={port}"]
    return ["-m", "torch.distributed.run", *two, *more, *TRAIN]


def test_two_processes_train_and_go_on_when_one_is_killed(folder: Path) -> None:
    run_python(folder, *TRAIN)
    expected = losses(folder)
    shutil.rmtree(folder / "saved")

    printed = run_python(folder, *torchrun())
    assert losses(folder) == pytest.approx(expected, rel=1e-4)  # float32
    assert len(re.findall("^run: ", printed, re.MULTILINE)) == 1
    assert len(re.findall(r"^ +1/20 ", printed, re.MULTILINE)) == 1
    shutil.rmtree(folder / "saved")

    with subprocess.Popen(
        [sys.executable, *torchrun("--max-restarts=1")], cwd=folder, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    ) as started:  # fmt: skip
        while not list(folder.glob("saved/shop*/history.jsonl")):
            time.sleep(0.05)
            assert started.poll() is None
        os.kill(second_process(started.pid), signal.SIGKILL)
        try:
            told = started.communicate(timeout=300)[1]
        finally:
            started.terminate()  # torchrun ends its processes; where it has ended, nothing
    assert started.returncode == 0, told
    assert "resuming" in told
    assert "Traceback" not in told
    assert losses(folder) == pytest.approx(expected, rel=1e-4)


def second_process(parent: int) -> int:
    """The process whose RANK is 1."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environ = (path / "environ").read_bytes().split(b"\0")
            line = (path / "stat").read_text()
        except OSError:
            continue
        if b"RANK=1" in environ and int(line.rpartition(")")[2].split()[1]) == parent:
            return int(path.name)
    raise AssertionError("no process with RANK=1")
