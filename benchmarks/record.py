"""The form of `benchmarks/results/*.json`: what benchmark commands write and pages are made from.

`SET.json` holds a `Results` (leave-one-out); `speed.json` a `Speed` by number of threads;
`deletion.json` what `accuracy.deletion` measured, by name. No other file of figures is read by the
pages, and nothing here is typed by hand.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import REPO_DIR

RESULTS_DIR = REPO_DIR / "benchmarks" / "results"
SPEED, DELETION = "speed.json", "deletion.json"

POPULARITY, ITEM_KNN, RECBOLE = "popularity", "ItemKNN", "RecBole GRU4RecKG"
GRU4REC, DEFAULT, BEST = "GRU4Rec", "kgrec, default", "kgrec, preset best"
SYSTEMS = (POPULARITY, ITEM_KNN, RECBOLE, GRU4REC, DEFAULT, BEST)

Views = dict[str, dict[str, Any]]
"""By view, `test_masked` (seen items are no candidates) first and `test`, then by metric."""


@dataclass(frozen=True)
class Row:
    """What one system reached.

    Attributes:
        name: One of `SYSTEMS`.
        system: The program and its version.
        command: What trained it, to be typed as it stands.
        seeds: Those that the metrics are the mean of; empty where nothing is drawn.
        metrics: Views of numbers.
        differences: Views of differences to RecBole: `difference`, `low` and `high` (95 %),
            `p_value`, paired by user, as `kgrec compare --json` gives them. None without runs.
        commit: The last commit of the package when it was trained; None for RecBole.
        date: The day on which its weights were written, or a baseline measured.
        threads: CPU threads of the training.
    """

    name: str
    system: str
    command: str
    seeds: list[int]
    metrics: Views
    differences: Views | None
    commit: str | None
    date: str
    threads: int


@dataclass(frozen=True)
class Results:
    """One data set under one protocol.

    Attributes:
        dataset: Its name.
        protocol: How it is split, and what a target is ranked among.
        item_set: Which items.
        n_items: How many, without the padding.
        n_users: Users with a test target.
        command: What wrote the file.
        machine: The processor, in words.
        rows: In the order of `SYSTEMS`; those not measured are left out.
    """

    dataset: str
    protocol: str
    item_set: str
    n_items: int
    n_users: int
    command: str
    machine: str
    rows: list[Row]


@dataclass(frozen=True)
class Speed:
    """Training speed on one machine with one number of threads, the systems run in turn.

    Attributes:
        targets_per_s: By system, one number a round.
        ratios: kgrec's over RecBole's at its best, one a round.
        median_ratio: Their median.
        command: What wrote it.
        commit: The last commit of the package.
        date: The day.
        threads: CPU threads.
        machine: The processor, in words.
        recbole: RecBole's version.
    """

    targets_per_s: dict[str, list[float]]
    ratios: list[float]
    median_ratio: float
    command: str
    commit: str
    date: str
    threads: int
    machine: str
    recbole: str


def write_results(results: Results, folder: Path = RESULTS_DIR) -> Path:
    """Writes `SET.json`; returns its path."""
    return _write(folder / f"{results.dataset}.json", asdict(results))


def read_results(dataset: str, folder: Path = RESULTS_DIR) -> Results | None:
    """What `SET.json` holds; None when it is not there."""
    path = folder / f"{dataset}.json"
    if not path.is_file():
        return None
    values = json.loads(path.read_text())
    return Results(**{**values, "rows": [Row(**row) for row in values["rows"]]})


def write_speed(speed: Speed, folder: Path = RESULTS_DIR) -> Path:
    """Puts a measurement into `speed.json` beside those with other numbers of threads."""
    by_threads = {each.threads: each for each in read_speeds(folder)} | {speed.threads: speed}
    return _write(folder / SPEED, [asdict(by_threads[key]) for key in sorted(by_threads)])


def read_speeds(folder: Path = RESULTS_DIR) -> list[Speed]:
    """What `speed.json` holds, fewest threads first; empty when it is not there."""
    path = folder / SPEED
    return [Speed(**each) for each in json.loads(path.read_text())] if path.is_file() else []


def _write(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n")
    return path


def package_commit() -> str:
    """The last commit that changed the package, with `-dirty` when it was changed since."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments, "--", "kgrec_cli"]
        return subprocess.run(
            command, cwd=REPO_DIR, capture_output=True, check=True, text=True
        ).stdout.strip()

    return git("log", "-1", "--format=%h") + ("-dirty" if git("status", "--porcelain") else "")


def machine_words() -> str:
    """The processor, its cores and the system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def recbole_version() -> str:
    """RecBole's version in its virtual environment."""
    pins = (REPO_DIR / "benchmarks/recbole_side/requirements.txt").read_text().split()
    (version,) = (pin.removeprefix("recbole==") for pin in pins if pin.startswith("recbole=="))
    return version
