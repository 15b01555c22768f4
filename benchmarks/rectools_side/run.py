"""Trains RecTools' SASRec in its own virtual environment, tuned on validation."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks import REPO_DIR

RECTOOLS_PYTHON = REPO_DIR / ".venv-rectools" / "bin" / "python"
TUNING_SEED = 2020


def rectools_version() -> str:
    """RecTools' version in its virtual environment."""
    pins = (REPO_DIR / "benchmarks/rectools_side/requirements.txt").read_text().split()
    (version,) = (pin.removeprefix("rectools==") for pin in pins if pin.startswith("rectools=="))
    return version


def best_point(folder: Path, n_points: int) -> tuple[int, list[float]] | None:
    """The point whose best epoch validates best, and what each reached; None if one is missing."""
    told = [folder / str(point) / str(TUNING_SEED) / "told/fit.json" for point in range(n_points)]
    if not all(path.is_file() for path in told):
        return None
    reached = [float(json.loads(path.read_text())["fit"]["best"]) for path in told]
    return reached.index(max(reached)), reached


def train_tuned(folder: Path, events: Path, points: list[dict[str, Any]], seed: int) -> None:
    """Trains what is missing: every point with one seed, the best one with this seed.

    Args:
        folder: A run is `folder/POINT/SEED`.
        events: An atomic file with user_id, item_id and timestamp.
        points: Settings, of which validation chooses.
        seed: Of the run that counts.
    """
    for number, point in enumerate(points):
        _train(folder / str(number) / str(TUNING_SEED), events, point, TUNING_SEED)
    found = best_point(folder, len(points))
    assert found is not None
    number, _ = found
    _train(folder / str(number) / str(seed), events, points[number], seed)


def _train(folder: Path, events: Path, settings: dict[str, Any], seed: int) -> None:
    """One training, unless it is there."""
    out_dir, work_dir = folder / "told", folder / "work"
    if (out_dir / "fit.json").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for each in (out_dir, work_dir):
        each.mkdir(parents=True)
    job = {
        "events": str(events),
        "settings": settings,
        "seed": seed,
        "threads": 1,
        "out_dir": str(out_dir),
        "work_dir": str(work_dir),
    }
    job_path = folder / "job.json"
    job_path.write_text(json.dumps(job))
    side = Path(__file__).with_name("side.py")
    finished = subprocess.run([RECTOOLS_PYTHON, side, job_path], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
