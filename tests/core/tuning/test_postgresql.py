"""A study in PostgreSQL: a real server, which `.ci/engines.sh` installs."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from kgrec_cli.core.tuning.executors import run_in_processes
from kgrec_cli.errors import KgrecError
from tests.core.tuning.searches import GRID, Visits, point_key, search
from tests.core.tuning.test_killed_workers import KilledOnce

pytestmark = pytest.mark.extras


def find_binary(name: str) -> str:
    """A program of the server; Debian keeps them off the PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(places[-1]) if places else None)
    if found is None:
        pytest.skip(f"no {name}: bash .ci/engines.sh installs PostgreSQL")
    return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of a server that listens on a socket alone."""
    initdb, control = find_binary("initdb"), find_binary("pg_ctl")
    is_root = os.getuid() == 0  # whom initdb refuses
    user = "postgres" if is_root else getpass.getuser()
    prefix = ["runuser", "-u", user, "--"] if is_root else []
    folder = Path(subprocess.check_output([*prefix, "mktemp", "-d"], text=True, cwd="/").strip())

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, cwd="/", stdout=subprocess.DEVNULL)

    data = str(folder / "data")
    run(initdb, "-D", data, "-U", "kgrec", "-A", "trust", "--no-sync")
    run(control, "-D", data, "-w", "-l", str(folder / "log"),
        "-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start")  # fmt: skip
    try:
        subprocess.run(["chmod", "755", str(folder)], check=True)
        yield f"postgresql://kgrec@/postgres?host={folder}"
    finally:
        run(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


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
    with pytest.raises(KgrecError, match="the study's database failed") as caught:
        search(GRID, Visits(), storage_url=address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
