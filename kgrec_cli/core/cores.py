"""The processor's cores: how many this process may use, and how many of them are free now."""

import os
import time
from contextlib import suppress
from pathlib import Path

from kgrec_cli.events import OnEvent, Warn

CPU_QUOTA, CPU_TIMES = Path("/sys/fs/cgroup/cpu.max"), Path("/proc/stat")
WINDOW_S = 0.2
TICKS_A_SECOND = 100  # of /proc/stat: Linux's USER_HZ


def usable_cores() -> float:
    """Cores that this process may use: those of its affinity, or fewer by its control group."""
    n_cores = float(len(_numbers()))
    with suppress(OSError, ValueError):  # no control group, or "max"
        quota, period = CPU_QUOTA.read_text().split()
        n_cores = min(n_cores, int(quota) / int(period))
    return n_cores


def share_cores(n_processes: int | None) -> tuple[int, int]:
    """How many processes there are, by default one a core, and the threads of each."""
    n_cores = max(1, int(usable_cores()))
    n_processes = n_processes or n_cores
    return n_processes, max(1, n_cores // n_processes)


def free_cores() -> float | None:
    """How many of its cores other programs leave to this process; None where that is not known.

    Looks for `WINDOW_S` seconds, on Linux alone. Programs that are niced give way and do not count.
    The load average is not asked: it still tells of a program that has just ended.
    """
    try:
        before, own, began = _busy_seconds(), time.process_time(), time.perf_counter()
        time.sleep(WINDOW_S)
        busy = _busy_seconds() - before - (time.process_time() - own)
    except (OSError, ValueError, IndexError):
        return None
    n_busy = max(busy, 0.0) / (time.perf_counter() - began)
    return max(min(usable_cores(), len(_numbers()) - n_busy), 0.0)


def warn_of_busy_cores(on_event: OnEvent) -> None:
    """Warns when other programs hold cores that torch's threads need: these wait for each other."""
    import torch

    n_threads = torch.get_num_threads()
    n_free = free_cores() if n_threads > 1 else None
    if n_free is not None and n_free < n_threads - 0.5:
        fewer = max(1, round(n_free))
        on_event(
            Warn(
                f"other programs leave {n_free:.1f} of {usable_cores():g} cores: {n_threads} "
                "threads wait for each other and may be slower than one; "
                f"`--threads {fewer}` is better now"
            )
        )


def _numbers() -> set[int]:
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return affinity(0) if affinity else set(range(os.cpu_count() or 1))


def _busy_seconds() -> float:
    """Seconds that the cores of this process have worked since the start of the machine."""
    names = {f"cpu{number}" for number in _numbers()}
    rows = [line.split() for line in CPU_TIMES.read_text().splitlines()]
    # user, (nice,) system, (idle, iowait,) irq, softirq, steal: proc_stat(5).
    ticks = [int(row[field]) for row in rows if row[0] in names for field in (1, 3, 6, 7, 8)]
    return sum(ticks) / TICKS_A_SECOND
