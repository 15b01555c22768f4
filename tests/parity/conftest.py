"""RecBole's side, run once for all tests; `make parity` collects them, nothing else does."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.data import CASES, write_toy

REPO_DIR = Path(__file__).parents[2]
RECBOLE_PYTHON = REPO_DIR / ".venv-recbole" / "bin" / "python"

if os.environ.get("KGREC_PARITY") != "1":  # set by `make parity`
    collect_ignore_glob = ["test_*.py"]

STOPPING_STEP = 3
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


@dataclass(frozen=True)
class RecBole:
    """All cases, and the folder that both sides read."""

    folder: Path
    out_dir: Path

    def case(self, name: str) -> Told:
        with np.load(self.out_dir / f"{name}.npz") as arrays:
            return Told(dict(arrays), json.loads((self.out_dir / f"{name}.json").read_text()))


def run_recbole_side(folder: Path, dataset: str, cases: dict[str, Any], **more: Any) -> Path:
    """Runs RecBole on `folder/dataset/<dataset>`; returns the folder of what it told."""
    out_dir, work_dir = folder / "told", folder / "recbole"
    out_dir.mkdir()
    work_dir.mkdir()
    job = {
        "data_path": str(folder / "dataset"),
        "dataset": dataset,
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
    out_dir = run_recbole_side(
        folder, "toy", CASES, early_stopping=SCORE_SEQUENCES, stopping_step=STOPPING_STEP
    )
    return RecBole(folder, out_dir)
