"""`torchrun --nnodes=2`: two hosts, each a network namespace with its own folder and data set."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.test_torchrun import TRAIN, folder, losses, run_python

__all__ = ["folder"]
pytestmark = pytest.mark.slow
A, B = (f"kgrec-{name}-{os.getpid()}" for name in "ab")
HOSTS = {A: "10.87.24.1", B: "10.87.24.2"}
FIRST = "10.87.24.1:29487"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> Iterator[None]:
    """Two network namespaces with a cable between them."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and `ip` (apt: iproute2)")
    try:
        for name in HOSTS:
            ip("netns", "add", name)
        ip("link", "add", "eth0", "netns", A, "type", "veth", "peer", "eth0", "netns", B)
        for name, address in HOSTS.items():
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in HOSTS:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


def start(host: str, cwd: Path, restarts: int) -> subprocess.Popen[str]:
    """`torchrun ... kgrec train` on one of the hosts; it is known by address, not by name."""
    is_first = "true" if host == A else "false"
    torchrun = [
        "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1",
        f"--max-restarts={restarts}",
        "--rdzv-backend=c10d", f"--rdzv-endpoint={FIRST}", f"--rdzv-conf=is_host={is_first}",
        "--rdzv-id=kgrec", f"--local-addr={HOSTS[host]}",
    ]  # fmt: skip
    return subprocess.Popen(
        ["ip", "netns", "exec", host, sys.executable, *torchrun, *TRAIN],
        cwd=cwd, env={**os.environ, "GLOO_SOCKET_IFNAME": "eth0"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def child_of(torchrun: int) -> int:
    """The one process that a torchrun has started."""
    (child,) = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    return int(child)


def both(first: subprocess.Popen[str], second: subprocess.Popen[str]) -> list[str]:
    """What the two have printed on standard error; they have ended."""
    try:
        return [started.communicate(timeout=300)[1] for started in (first, second)]
    finally:
        first.terminate()
        second.terminate()


def test_two_hosts_train_as_one_process(folder: Path, tmp_path: Path) -> None:
    """The second host has the data set alone; it is killed, and reads no checkpoint either."""
    run_python(folder, *TRAIN)
    expected = losses(folder)
    shutil.rmtree(folder / "saved")
    other = tmp_path / "other"
    shutil.copytree(folder / "dataset", other / "dataset")

    hosts = start(A, folder, 1), start(B, other, 1)
    while not list(folder.glob("saved/shop*/history.jsonl")):
        time.sleep(0.05)
        assert [host.poll() for host in hosts] == [None, None]
    os.kill(child_of(hosts[1].pid), signal.SIGKILL)
    told = both(*hosts)
    assert [host.returncode for host in hosts] == [0, 0], told
    assert "resuming" in told[0]
    assert losses(folder) == pytest.approx(expected, rel=1e-4)  # float32
    assert not (other / "saved").exists()


@pytest.mark.parametrize(
    ("damage", "line"),
    [("other", "shop.inter: not the same for process 0 and for 1 of 2"), ("none", "no such file")],
)
def test_a_host_without_the_same_data_ends_both(
    folder: Path, tmp_path: Path, damage: str, line: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder / "dataset", other / "dataset")
    inter = other / "dataset/shop/shop.inter"
    if damage == "other":
        inter.write_text("".join(inter.read_text().splitlines(keepends=True)[:-1]))
    else:
        inter.unlink()
    hosts = start(A, folder, 0), start(B, other, 0)
    for host, told in zip(hosts, both(*hosts), strict=True):
        assert host.returncode == 1
        assert line in told
        assert told.count("error: ") == 1
        assert "kgrec_cli/" not in told  # no traceback of ours
