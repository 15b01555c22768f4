"""RecBole's side, run once for all tests; `make parity` collects them, nothing else does."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.data import CASES, QUICK, write_bundled, write_cut, write_ragged, write_toy

REPO_DIR = Path(__file__).parents[2]
RECBOLE_PYTHON = REPO_DIR / ".venv-recbole" / "bin" / "python"

if os.environ.get("KGREC_PARITY") != "1":  # set by `make parity`
    collect_ignore_glob = ["test_*.py"]

STOPPING_STEP = 3
N_EPOCHS = 2
SCORE_SEQUENCES = [
    [round(float(score), 2) for score in np.random.default_rng(seed).random(25).round(1)]
    for seed in range(200)
]


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


@dataclass(frozen=True)
class RecBole:
    """All cases, and the folder that both sides read."""

    folder: Path
    out_dir: Path

    def said(self, name: str) -> Any:
        """What the job told beside the cases."""
        return json.loads((self.out_dir / f"{name}.json").read_text())

    def case(self, name: str) -> Told:
        return read_told(self.out_dir, name)


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
        [RECBOLE_PYTHON, Path(__file__).with_name("recbole_side.py"), job_path],
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return out_dir


@pytest.fixture(scope="session")
def recbole(tmp_path_factory: pytest.TempPathFactory) -> RecBole:
    """What the real RecBole tells of every case on the toy data."""
    folder = tmp_path_factory.mktemp("parity")
    write_toy(folder / "dataset")
    write_cut(folder / "dataset")
    write_ragged(folder / "dataset")
    write_bundled(folder / "dataset", example_dir())
    out_dir = run_recbole_side(
        folder,
        CASES,
        n_epochs=N_EPOCHS,
        early_stopping=SCORE_SEQUENCES,
        stopping_step=STOPPING_STEP,
        quick=["toy", QUICK],
    )
    return RecBole(folder, out_dir)
