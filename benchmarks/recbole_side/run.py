"""Runs the real RecBole in its own virtual environment, and reads what it wrote."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import REPO_DIR

RECBOLE_PYTHON = REPO_DIR / ".venv-recbole" / "bin" / "python"


@dataclass(frozen=True)
class Told:
    """What RecBole told of one case.

    Attributes:
        arrays: By name (see recbole_side.py).
        said: Item and user tokens by RecBole's ids, metrics.
    """

    arrays: dict[str, np.ndarray]
    said: dict[str, Any]


def read_told(out_dir: Path, name: str) -> Told:
    """What RecBole told of a case; an AssertionError with its traceback when it failed."""
    said = json.loads((out_dir / f"{name}.json").read_text())
    assert "error" not in said, f"RecBole failed on {name}:\n{said['error']}"
    with np.load(out_dir / f"{name}.npz") as arrays:
        return Told(dict(arrays), said)


def example_dir() -> Path:
    """RecBole's bundled ml-100k."""
    return properties_dir().parent / "dataset_example" / "ml-100k"


def properties_dir() -> Path:
    """RecBole's own settings files."""
    (found,) = RECBOLE_PYTHON.parents[1].glob("lib/*/site-packages/recbole/properties")
    return found


def run_recbole_side(folder: Path, cases: dict[str, Any], **more: Any) -> Path:
    """Runs RecBole on data sets under `folder/dataset`; returns the folder of what it told."""
    out_dir, work_dir = folder / "told", folder / "recbole"
    out_dir.mkdir()
    work_dir.mkdir()
    job = {
        "data_path": str(folder / "dataset"),
        "out_dir": str(out_dir),
        "work_dir": str(work_dir),
        "cases": cases,
        **more,
    }
    job_path = folder / "job.json"
    job_path.write_text(json.dumps(job))
    finished = subprocess.run(
        [RECBOLE_PYTHON, Path(__file__).with_name("side.py"), job_path],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return out_dir
