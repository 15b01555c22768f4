"""The form of `benchmarks/results/*.json`: what benchmark commands write and pages are made from.

`PLAN.json` holds a `Results` of that plan; `speed.json` a `Speed` by number of threads;
`deletion.json` what `accuracy.deletion` measured, by name. No other file of figures is read by the
pages, and nothing here is typed by hand.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import REPO_DIR

RESULTS_DIR = REPO_DIR / "benchmarks" / "results"
SPEED, DELETION = "speed.json", "deletion.json"

Views = dict[str, dict[str, Any]]
"""By view, `test_masked` (seen items are no candidates) first and `test`, then by metric."""


@dataclass(frozen=True)
class Row:
    """What one system reached.

    Attributes:
        name: One of the plan's rows.
        system: The program and its version.
        command: What trained it, to be typed as it stands.
        seeds: Those that the metrics are the mean of; empty where nothing is drawn.
        metrics: Views of numbers.
        intervals: By view the 95 % interval of NDCG@10, its low and high end, over users and seeds.
        by_seed: By view NDCG@10 of each seed.
        commit: The last commit of the package when it was trained, or several; None for RecBole.
        date: The day on which its weights were written, or a baseline measured.
        threads: CPU threads of the training.
        remark: What the page has to say of it: a training that was cut short, for instance.
        slices: By slice of the targets (ties and gaps in time) `n_targets` and NDCG@10, masked.
        of_seeds: `metrics` and `slices` of each seed; empty in rows of before 28 November 2026.
    """

    name: str
    system: str
    command: str
    seeds: list[int]
    metrics: Views
    intervals: dict[str, list[float]]
    by_seed: dict[str, list[float]]
    commit: str | None
    date: str
    threads: int
    remark: str = ""
    slices: Views = field(default_factory=dict)
    of_seeds: list[dict[str, Views]] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """A difference in NDCG@10 that the plan names: a row in a view, less a row in a view.

    Attributes:
        words: What it says.
        row: Of which row.
        view: In which view of it.
        less: Less which row.
        less_view: In which view.
        n_seeds: Seeds of the two.
        difference: Over users and seeds.
        low: Lower end of its 95 % interval, of users and seeds drawn anew.
        high: Its upper end.
        p_value: Two-sided.
        p_holm: Corrected for the number of differences in the file.
    """

    words: str
    row: str
    view: str
    less: str
    less_view: str
    n_seeds: list[int]
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Results:
    """One data set under one protocol.

    Attributes:
        plan: The name of the plan, and of the file.
        dataset: Its name.
        protocol: How it is split, and what a target is ranked among.
        n_items: How many, without the padding, all of them candidates.
        n_users: Users with a test target.
        n_targets: Test targets.
        command: What wrote the file.
        machine: The processor, in words.
        rows: In the order of the plan; those not measured are left out.
        changes: The differences of rows that are there.
    """

    plan: str
    dataset: str
    protocol: str
    n_items: int
    n_users: int
    n_targets: int
    command: str
    machine: str
    rows: list[Row]
    changes: list[Change]


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
    """Writes `PLAN.json`; returns its path."""
    return _write(folder / f"{results.plan}.json", asdict(results))


def read_results(plan: str, folder: Path = RESULTS_DIR) -> Results | None:
    """What `PLAN.json` holds; None when it is not there."""
    path = folder / f"{plan}.json"
    if not path.is_file():
        return None
    values = json.loads(path.read_text())
    rows = [Row(**row) for row in values["rows"]]
    return Results(**{**values, "rows": rows, "changes": [Change(**c) for c in values["changes"]]})


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
