"""Whom does the knowledge graph help? Two rows of the study by slices of the target.

    .venv/bin/python -m benchmarks.accuracy.slices --folder FOLDER [--set ml-100k]
        [--against "no KG, best"] [--row best]

NDCG@10 of the test targets (seen items masked), averaged over the seeds that are there; targets
are sliced by the popularity of their item (five groups with a fifth of the training events each)
and by whether it is linked to an entity. Differences are paired by user (bootstrap), also where a
user has several targets.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.study import ROWS, SETS, finished
from kgrec_cli.core.evaluation.bootstrap import paired_differences, user_means
from kgrec_cli.core.evaluation.measure import gains
from kgrec_cli.events import ignore_event
from kgrec_cli.runs.held_out import evaluation_settings, load_held_out
from kgrec_cli.stages.evaluate import item_groups

Groups = dict[str, NDArray[np.int64]]


def measured_row(folder: Path, of_set: str, name: str) -> tuple[NDArray[np.float64], Groups]:
    """Each target's mean NDCG@10 over the seeds of a row; its user by slice, -1 outside of it."""
    values, groups = [], Groups()
    for run in finished(folder, of_set, name):
        settings = evaluation_settings(folder / run, {"topk": [10], "metrics": ["NDCG"]})
        held_out = load_held_out(
            folder / run, folder, settings, device="cpu", threads=1, on_event=ignore_event
        )
        dataset, measured = held_out.dataset, held_out.measure("test")
        values.append(gains("NDCG", measured.ranking.ranks_masked, 10))
        items = dataset.histories.items[measured.targets]
        users = dataset.histories.owners[measured.targets]
        of_items = item_groups(dataset, held_out.popularity)
        groups = {name: np.where(of[items], users, -1) for name, of in of_items.items()}
    if not values:
        raise SystemExit(f"no finished run of {name!r}; `benchmarks.accuracy.study` trains them")
    return np.mean(values, axis=0), groups


def main() -> None:
    """Measures the runs that are there and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, default="ml-100k")
    parser.add_argument("--against", choices=ROWS, default="no KG, best")
    parser.add_argument("--row", choices=ROWS, default="best", help="one with a graph")
    options = parser.parse_args()
    first, _ = measured_row(options.folder, options.set, options.against)
    other, groups = measured_row(options.folder, options.set, options.row)
    print(f"| slice | targets | users | {options.against} | {options.row} | difference | p |")
    print("|---|---|---|---|---|---|---|")
    for group, users in groups.items():
        inside = users >= 0
        if not inside.any():
            continue
        _, rows, n_targets = np.unique(users[inside], return_inverse=True, return_counts=True)
        (found,) = paired_differences(
            user_means(rows, first[inside])[:, None],
            user_means(rows, other[inside])[:, None],
            n_targets,
        )
        print(
            f"| {group} | {len(rows)} | {len(n_targets)} | {found.first:.4f} | {found.other:.4f} "
            f"| {found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f}) "
            f"| {found.p_value:.2g} |"
        )


if __name__ == "__main__":
    main()
