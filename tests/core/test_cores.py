"""A machine whose cores others hold is seen, an idle one is not accused."""

from pathlib import Path

import pytest
import torch

from kgrec_cli.core import cores

# user nice system idle iowait irq softirq steal, in hundredths of a second
IDLE = "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 500 70 30 900 9 1 2 3 0 0\ncpu1 100 0 0 900 9 0 0 0 0 0\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sets what two cores of three did within a window of a second, as rows of `/proc/stat`."""
    stat = tmp_path / "stat"
    monkeypatch.setattr(cores, "CPU_TIMES", stat)
    monkeypatch.setattr(cores, "CPU_QUOTA", tmp_path / "none")
    monkeypatch.setattr(cores, "_numbers", lambda: {0, 1})
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    clock, own = [0.0], [5.0]
    monkeypatch.setattr(cores.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(cores.time, "process_time", lambda: own[0])

    def set_rows(after: str, own_s: float = 0.0) -> None:
        stat.write_text(IDLE)

        def sleep(seconds: float) -> None:
            clock[0] += 1.0
            own[0] += own_s
            stat.write_text(after)

        monkeypatch.setattr(cores.time, "sleep", sleep)

    return set_rows


def test_what_others_hold_is_not_free(machine) -> None:
    # 60 + 5 + 1 + 1 + 3 hundredths on core 0, none on core 1; a third core is not ours.
    machine(
        "cpu0 560 70 35 900 9 2 3 6 0 0\ncpu1 100 0 0 1000 9 0 0 0 0 0\ncpu2 99 0 0 0 0 0 0 0\n"
    )
    assert cores.free_cores() == pytest.approx(1.3)


def test_own_work_and_niced_programs_count_as_free(machine) -> None:
    machine("cpu0 560 170 30 900 9 1 2 3 0 0\ncpu1 100 90 0 900 9 0 0 0 0 0\n", own_s=0.6)
    assert cores.free_cores() == pytest.approx(2)


def test_a_busy_machine_is_one_line_with_fewer_threads(machine) -> None:
    machine("cpu0 600 70 30 900 9 1 2 3 0 0\ncpu1 100 0 0 1000 9 0 0 0 0 0\n")
    heard: list = []
    cores.warn_of_busy_cores(heard.append)
    (warning,) = heard
    assert warning.text.startswith("other programs leave 1.0 of 2 cores: 2 threads wait")
    assert "`--threads 1`" in warning.text


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_idle_machine_and_one_thread_are_not_warned_of(
    machine, monkeypatch: pytest.MonkeyPatch, n_threads: int
) -> None:
    machine(IDLE.replace("cpu1 100", "cpu1 140" if n_threads == 2 else "cpu1 300"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    heard: list = []
    cores.warn_of_busy_cores(heard.append)
    assert heard == []


def test_a_system_that_does_not_say_is_not_known(machine, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cores, "CPU_TIMES", tmp_path / "absent")
    assert cores.free_cores() is None
