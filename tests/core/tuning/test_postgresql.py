"""A study in PostgreSQL: one process, several, and three `kgrec tune` on two hosts."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kgrec_cli.core.tuning.executors import run_in_processes
from kgrec_cli.errors import KgrecError
from tests.core.tuning.postgresql import postgresql
from tests.core.tuning.searches import GRID, Visits, point_key, search
from tests.core.tuning.test_killed_workers import KilledOnce
from tests.core.tuning.test_shared import run_three
from tests.namespaces import Host, two_hosts

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgresql() as url:
        yield url


def test_a_study_goes_on_in_it(url: str) -> None:
    first, second = Visits(stop_at=3), Visits()
    assert search(GRID, first, storage_url=url, study_name="a").stopped == "interrupted"
    result = search(GRID, second, storage_url=url, study_name="a")
    keys = [point_key(point) for point in first.points + second.points]
    assert len(set(keys)) == len(keys) == len(result.trials) == 6


def test_several_processes_and_one_is_killed(url: str, tmp_path: Path) -> None:
    killed = KilledOnce(tmp_path)
    killed.check(partial(run_in_processes, killed, 3), storage_url=url, study_name="b")


def test_no_server_is_one_line() -> None:
    address = "postgresql://me:secret@localhost:9/none"
    with pytest.raises(KgrecError, match="cannot open the study's database") as caught:
        search(GRID, Visits(), storage_url=address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_three_processes_begin_at_once_in_an_empty_database(tmp_path: Path) -> None:
    with postgresql() as url:
        run_three(url, tmp_path / "notes", "exhaustive")


TUNE = [
    "tune", "hyper.test", "--model", "GRU4Rec", "--device", "cpu", "--threads", "1",
    "--set", "epochs=20", "--set", "stopping_step=20",
]  # fmt: skip
JSON = (["--json"], ["--json"], [])  # the last one says what it does


def test_three_commands_on_two_hosts_and_one_is_killed(tmp_path: Path) -> None:
    """Each host has a folder of its own. The one that is killed is found by its silence."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
        rows = [f"{user},{user * step % 7},{step}" for user in range(60) for step in range(1, 9)]
        (folder / "clicks.csv").write_text("user,item,time\n" + "\n".join(rows))
        kgrec = [sys.executable, "-m", "kgrec_cli", "prepare", "shop", "--raw", "clicks.csv"]
        subprocess.run(kgrec, cwd=folder, check=True, capture_output=True)
        (folder / "hyper.test").write_text(
            "learning_rate choice [0.01,0.003,0.001]\nhidden_size choice [8,12,16,20]\n"
        )
    with two_hosts() as hosts, postgresql(hosts[0]) as url:
        places = [(hosts[0], folders[0]), (hosts[0], folders[0]), (hosts[1], folders[1])]
        begun = [start(*place, url, *more) for place, more in zip(places, JSON, strict=True)]
        try:
            read_until(begun[2], r"trial \d+: ")
            begun[2].kill()
            reports = [report_of(process) for process in begun[:2]]
        finally:
            for process in begun:
                process.kill()
                process.communicate()
        reports.append(report_of(start(*places[2], url, "--json")))  # the host is back: all is done
    rows = reports[0]["leaderboard"]
    points = {(row["learning_rate"], row["hidden_size"]) for row in rows}
    assert len(points) == len(rows) == 12
    assert {row["state"] for row in rows} == {"complete"}
    assert [report["leaderboard"] for report in reports[1:]] == [rows, rows]
    by_killed = sum(row["worker"].split("-")[-2] == str(begun[2].pid) for row in rows)
    assert [report["n_new"] for report in reports][2] == 0
    assert sum(report["n_new"] for report in reports) == 12 - by_killed < 12
    boards = {(f / "studies/shop-GRU4Rec-hyper/leaderboard.csv").read_bytes() for f in folders}
    assert len(boards) == 1


def report_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    return json.loads(out)


def start(host: Host, folder: Path, url: str, *more: str) -> subprocess.Popen[str]:
    command = [*host.prefix, sys.executable, "-m", "kgrec_cli", *TUNE, "--storage", url, *more]
    return subprocess.Popen(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def read_until(process: subprocess.Popen[str], pattern: str) -> None:
    """Reads what a command says until it says this, and a little more."""
    assert process.stderr is not None
    while not re.search(pattern, line := process.stderr.readline()):
        assert line, process.poll()
    time.sleep(0.2)
