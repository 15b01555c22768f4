"""Is there room for what is about to be computed? Asked before the memory is."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kgrec_cli.errors import KgrecError

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
MEMINFO, STATUS = Path("/proc/meminfo"), Path("/proc/self/status")


def check_memory(n_bytes: int, what: str) -> None:
    """Checks that something fits into the memory that no program holds.

    `what` says what takes it and what to set smaller.

    Raises:
        KgrecError: There is less.
    """
    free = free_memory()
    if free is not None and n_bytes > free:
        needed = f"would take {n_bytes / 1e9:,.0f} GB of memory"
        raise KgrecError(f"{what}: {needed}, there are {free / 1e9:,.0f} GB free")


def memory_limit() -> int | None:
    """Bytes that this process can have at most; None where the system does not say."""
    limits = []
    ask: Callable[[str], int] | None = getattr(os, "sysconf", None)  # not on Windows
    if ask is not None:
        limits.append(ask("SC_PAGE_SIZE") * ask("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):  # no control group, or "max"
        limits.append(int(CGROUP_LIMIT.read_text()))
    return min(limits, default=None)


def free_memory() -> int | None:
    """Bytes of memory that no program holds; None where the system does not say."""
    free = [read_kilobytes(MEMINFO, "MemAvailable"), memory_limit()]
    return min((each for each in free if each is not None), default=None)


def read_kilobytes(path: Path, name: str) -> int | None:
    """A size in one of Linux's tables, in bytes; None elsewhere."""
    with suppress(OSError):
        if match := re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE):
            return int(match[1]) * 1024
    return None


def peak_memory() -> int:
    """The most bytes of memory that this process had so far; 0 where the system does not say."""
    return read_kilobytes(STATUS, "VmHWM") or 0
