"""RecBole's side, run once for all tests; `make parity` collects them, nothing else does."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.recbole_side.data import (
    CASES,
    QUICK,
    write_bundled,
    write_cut,
    write_ragged,
    write_relations,
    write_toy,
)
from benchmarks.recbole_side.run import (
    Told,
    example_dir,
    read_told,
    run_recbole_side,
)

if os.environ.get("KGREC_PARITY") != "1":  # set by `make parity`
    collect_ignore_glob = ["test_*.py"]

STOPPING_STEP = 3
N_EPOCHS = 2
SCORE_SEQUENCES = [
    [round(float(score), 2) for score in np.random.default_rng(seed).random(25).round(1)]
    for seed in range(200)
]


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


@pytest.fixture(scope="session")
def recbole(tmp_path_factory: pytest.TempPathFactory) -> RecBole:
    """What the real RecBole tells of every case on the toy data."""
    folder = tmp_path_factory.mktemp("parity")
    write_toy(folder / "dataset")
    write_cut(folder / "dataset")
    write_relations(folder / "dataset")
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
