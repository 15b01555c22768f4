"""A PostgreSQL server of its own, which `.ci/engines.sh` installs."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.namespaces import Host


def find_binary(name: str) -> str:
    """A program of the server; Debian keeps them off the PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(places[-1]) if places else None)
    if found is None:
        pytest.skip(f"no {name}: bash .ci/engines.sh installs PostgreSQL")
    return found


@contextmanager
def postgresql(host: Host | None = None) -> Iterator[str]:
    """The URL of a database; its server listens on a socket alone, or on the address of a host."""
    initdb, control = find_binary("initdb"), find_binary("pg_ctl")
    is_root = os.getuid() == 0  # whom initdb refuses
    user = "postgres" if is_root else getpass.getuser()
    prefix = ["runuser", "-u", user, "--"] if is_root else []
    folder = Path(subprocess.check_output([*prefix, "mktemp", "-d"], text=True, cwd="/").strip())
    data, address = str(folder / "data"), "" if host is None else host.address

    def run(*command: str) -> None:
        at = [] if host is None else host.prefix
        subprocess.run([*at, *prefix, *command], check=True, cwd="/", stdout=subprocess.DEVNULL)

    run(initdb, "-D", data, "-U", "kgrec", "-A", "trust", "--no-sync")
    with (folder / "data/pg_hba.conf").open("a") as file:
        file.write("host all all samenet trust\n")
    run(control, "-D", data, "-w", "-l", str(folder / "log"),
        "-o", f"-k {folder} -c listen_addresses='{address}' -c fsync=off", "start")  # fmt: skip
    try:
        subprocess.run(["chmod", "755", str(folder)], check=True)
        yield f"postgresql://kgrec@{address}/postgres" + (f"?host={folder}" if host is None else "")
    finally:
        run(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)
