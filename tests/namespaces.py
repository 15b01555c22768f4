"""Two hosts on one machine: network namespaces that a cable joins. Needs root and `ip` (Linux)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Host:
    """A network namespace: `[*host.prefix, "command", ...]` runs in it."""

    name: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What stands before a command that is to run on this host."""
        return ["ip", "netns", "exec", self.name]


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other by `address` alone; skips where none can be made."""
    if not hasattr(os, "getuid") or os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and ip")
    mark = f"kg{os.getpid()}"
    hosts = Host(f"{mark}a", "10.213.7.1"), Host(f"{mark}b", "10.213.7.2")

    def ip(*command: str) -> None:
        subprocess.run(["ip", *command], check=True, capture_output=True)

    try:
        try:
            for host in hosts:
                ip("netns", "add", host.name)
            one, other = (host.name for host in hosts)
            ip("link", "add", one, "netns", one, "type", "veth", "peer", "name", other,
               "netns", other)  # fmt: skip
            for host in hosts:
                ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.name)
                for device in ("lo", host.name):
                    ip("-n", host.name, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "delete", host.name], check=False, capture_output=True)
