"""The fuzz harness: what it finds, how an input is made again, and a sample of its run."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import REPO_DIR
from benchmarks.reliability.mutations import Form, damage
from benchmarks.reliability.readers import READERS, draw_input
from benchmarks.reliability.worker import check_output

FORMS: dict[Form, bytes] = {
    "text": b"user,item,rating\nu1,i1,4.5\nu2,i2,3\n",
    "json": b'{"training": {"best_epoch": 3, "topk": [5, 10]}}',
    "jsonl": b'{"epoch": 1}\n{"epoch": 2}\n',
    "yaml": b"seed: 2020\ntopk: [5, 10]\n",
    "set": b"eval_args={group_by: user, order: TO, mode: full}",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("form", FORMS)
def test_damage_follows_from_its_seed_and_is_mostly_another(form: Form) -> None:
    from random import Random

    made = [damage(FORMS[form], form, Random(seed)) for seed in range(300)]
    assert made == [damage(FORMS[form], form, Random(seed)) for seed in range(300)]
    assert len(set(made) - {FORMS[form]}) > 150


def test_every_source_and_command_of_a_reader_is_drawn() -> None:
    paths = {source.path for sources in READERS.values() for source in sources}
    corpus = dict.fromkeys(paths, b"a: 1\nb: 2\n")
    for reader, sources in READERS.items():
        drawn = Counter(draw_input(reader, seed, corpus).source for seed in range(300))
        assert set(drawn) == set(sources), reader


@pytest.mark.parametrize(
    ("code", "shown", "errors", "problem"),
    [
        (0, "a table\n", "a note\n", ""),
        (1, "", "a note\nerror: x.csv, line 2: found 'a', expected a number\n", ""),
        (1, "", "", "0 lines of error, expected one at the end"),
        (1, "", "error: a\nerror: b\n", "2 lines of error, expected one at the end"),
        (1, "", "error: a\nand more\n", "1 lines of error, expected one at the end"),
        (1, "", f"error: {'x' * 301}\n", "an error of 308 characters"),
        (1, "", "error: not JSON (ValueError('x'))\n", "Python's words in an error"),
        (0, "", "error: a\n", "an error, but exit code 0"),
        (3, "", "error: a\n", "exit code 3"),
        (0, "\x1b[2J", "", r"control character '\x1b' printed"),
        (1, "", "error: \u202ea\n", r"control character '\u202e' printed"),
        (0, "\u4e03\u3000\u0645\u06cc\u200c\u062e \xa0\n", "", ""),
    ],
)
def test_what_a_command_may_print(code: int, shown: str, errors: str, problem: str) -> None:
    assert check_output(("train",), code, shown, errors) == problem


PLANTED = """
import os, sys
from benchmarks.reliability import fuzz, worker

def fail():
    raise KeyError("x")

def spin():
    while True:
        pass

PLANTED = [
    fail, spin, lambda: bytearray(700 * 10**6), os.abort, lambda: os.write(2, b"panicked"),
    lambda: sys.stdout.write(chr(27)), lambda: None,
]
seeds, draw, run = [], worker.draw_input, worker.run

def draw_input(reader, seed, corpus):
    seeds[:] = [seed]
    return draw(reader, seed, corpus)

def run_planted(command):
    if not seeds:
        return run(command)  # the warming up
    PLANTED[seeds[0]]()
    return 0

worker.draw_input, worker.run = draw_input, run_planted
sys.exit(fuzz.main(["--readers=--set", "--inputs", "7", "--jobs", "1"]))
"""


@pytest.mark.slow
def test_planted_faults_are_found(tmp_path: Path) -> None:
    """Each with its seed; the inputs after one that ends the process are tried, too."""
    result = subprocess.run(
        [sys.executable, "-c", PLANTED],
        cwd=REPO_DIR, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 1, result.stderr
    first = result.stdout.splitlines()[0]
    assert first.split()[:7] == ["--set", "7", "inputs", "1", "read", "6", "faults"], result.stdout
    found = re.findall(r"^ +1 --set: (.*?) in .*\(seed (\d)\)", result.stdout, re.MULTILINE)
    assert sorted((int(seed), error) for error, seed in found) == [
        (0, "KeyError"),
        (1, "over 2 s"),
        (2, "over 500 MB"),
        (3, "process ended: -6"),
        (4, "printed past sys.stderr"),
        (5, r"control character '\x1b' printed"),
    ]


def _run_sample(total: int, tmp_path: Path) -> None:
    """Runs the harness in a process of its own; it forks, which a test's threads forbid."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.reliability.fuzz", "--total", str(total)],
        cwd=REPO_DIR, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    counts = re.search(r"^all +([\d,]+) inputs", result.stdout, re.MULTILINE)
    assert counts is not None
    assert int(counts[1].replace(",", "")) >= total


@pytest.mark.slow
def test_five_hundred_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    _run_sample(500, tmp_path)


@pytest.mark.slow
def test_fifteen_thousand_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    _run_sample(15_000, tmp_path)
