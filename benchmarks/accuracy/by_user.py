"""What the seeds of a row reached, user by user; kept, so that rows measured later can be compared.

`results/by_user/PLAN.npz` has `users` and `n_targets`, both (U,), and for each row and view the
NDCG@10 of each seed and user, float64 (S, U), under "ROW/VIEW".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.plans import ALL, MASKED
from benchmarks.record import RESULTS_DIR, Views
from kgrec_cli.core.evaluation.bootstrap import user_means
from kgrec_cli.core.evaluation.measure import Measured, gains
from kgrec_cli.core.evaluation.slices import slice_metrics, time_groups
from kgrec_cli.dataset.load import Dataset

VIEWS = (MASKED, ALL)
METRIC, CUTOFF = "NDCG", 10


@dataclass(frozen=True)
class Seeds:
    """What the seeds of a row reached on the same test targets.

    Attributes:
        metrics: Of each seed.
        values: By view NDCG@10, float64 (S, U), by seed and user; users in the order of tokens.
        n_targets: int64 (U,), test targets of each user.
        users: Their tokens.
        slices: Of each seed, by slice of the targets: `n_targets` and NDCG@10, masked.
    """

    metrics: list[Views]
    values: dict[str, NDArray[np.float64]]
    n_targets: NDArray[np.int64]
    users: list[str]
    slices: list[Views]

    def add(self, other: "Seeds") -> "Seeds":
        """With further seeds; an AssertionError where users or targets are others."""
        self.check(other)
        values = {view: np.concatenate([self.values[view], other.values[view]]) for view in VIEWS}
        metrics, slices = self.metrics + other.metrics, self.slices + other.slices
        return Seeds(metrics, values, self.n_targets, self.users, slices)

    def check(self, other: "Seeds") -> None:
        """That both have the same users, each with as many targets."""
        assert self.users == other.users
        assert (self.n_targets == other.n_targets).all()


def seed_of(measured: Measured, dataset: Dataset) -> Seeds:
    """One seed, by user."""
    owners = dataset.histories.user_ids[dataset.histories.owners[measured.targets]]
    tokens = np.array(dataset.users.tokens, dtype=object)[owners].astype(str)
    users, rows = np.unique(tokens, return_inverse=True)
    values = {
        view: user_means(rows, gains(METRIC, ranks, CUTOFF))[None]
        for view, ranks in measured.views.items()
    }
    groups = time_groups(dataset.histories, measured.targets)
    slices = slice_metrics(measured.views[MASKED], groups, [METRIC], [CUTOFF])
    return Seeds([measured.metrics], values, np.bincount(rows), users.tolist(), [slices])


def write_by_user(plan: str, rows: Mapping[str, Seeds], folder: Path = RESULTS_DIR) -> None:
    """Keeps the values of all rows of a plan."""
    first = next(iter(rows.values()))
    arrays: dict[str, Any] = {
        f"{name}/{view}": row.values[view] for name, row in rows.items() for view in VIEWS
    }
    path = folder / "by_user" / f"{plan}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, users=np.array(first.users), n_targets=first.n_targets, **arrays)


def read_by_user(plan: str, folder: Path = RESULTS_DIR) -> dict[str, Seeds]:
    """The rows that were kept, without their metrics; none when there is no file."""
    path = folder / "by_user" / f"{plan}.npz"
    if not path.is_file():
        return {}
    with np.load(path) as kept:
        users, n_targets = kept["users"].tolist(), kept["n_targets"]
        names = {key.rpartition("/")[0] for key in kept.files if "/" in key}
        return {
            name: Seeds([], {view: kept[f"{name}/{view}"] for view in VIEWS}, n_targets, users, [])
            for name in names
        }
