"""A service as a process of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

WAIT_S = 60
START = "import sys; from kgrec_cli.cli import main; {patch}; main(sys.argv[1:])"


@dataclass(frozen=True)
class Running:
    """A service that has said where it listens."""

    process: subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=WAIT_S)

    def stop(self) -> tuple[int, str]:
        """Ends it by SIGTERM: its exit code, and the rest of what it said."""
        self.process.terminate()
        said = self.process.communicate(timeout=WAIT_S)[1]
        return self.process.returncode, said


@contextmanager
def running(folder: Path, *arguments: str, patch: str = "0") -> Iterator[Running]:
    """Starts `kgrec serve` on a free port; `patch` is Python that runs before."""
    command = [sys.executable, "-c", START.format(patch=patch), "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        lines = []
        while not lines or " items at http://" not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], "".join(lines)
        yield Running(process, lines[-1].partition(" items at ")[2].partition(",")[0])
    finally:
        process.kill()
        process.wait()


def until(condition, what: str) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
