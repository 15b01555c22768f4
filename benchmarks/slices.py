"""Whom does the knowledge graph help? Two rows of `benchmarks.accuracy` by slices of the target.

    .venv/bin/python -m benchmarks.slices --folder FOLDER [--set ml-100k]
        [--against "no KG, best"] [--row best]

NDCG@10 of the test targets (seen items masked), averaged over the seeds that are there; targets
are sliced by the popularity of their item (five groups with a fifth of the training events each)
and by whether it is linked to an entity. Differences are paired by user (bootstrap).
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import ROWS, SETS, finished
from kgrec_cli.core.comparison import paired_differences
from kgrec_cli.core.evaluation import measure
from kgrec_cli.core.metrics import gains
from kgrec_cli.events import ignore_event
from kgrec_cli.stages.evaluate import evaluation_settings, item_groups, load_held_out

Groups = dict[str, NDArray[np.bool_]]


def measured_row(folder: Path, of_set: str, name: str) -> tuple[NDArray[np.float64], Groups]:
    """Each user's mean NDCG@10 over the seeds of a row, and which users' targets are in a slice."""
    values, groups = [], Groups()
    for run in finished(folder, of_set, name):
        settings = evaluation_settings(folder / run, topk="10", metrics="NDCG", values={})
        held = load_held_out(
            folder / run, folder, settings, device="cpu", threads=1, on_event=ignore_event
        )
        dataset = held.dataset
        measured = measure(
            held.score, dataset.histories, held.split, "test", settings, held.popularity
        )
        values.append(gains("NDCG", measured.ranking.ranks_masked, 10))
        targets = dataset.histories.items[measured.targets]
        of_items = item_groups(dataset, held.popularity)
        groups = {group: members[targets] for group, members in of_items.items()}
    if not values:
        raise SystemExit(f"no finished run of {name!r}; `benchmarks.accuracy` trains them")
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
    print(f"| targets | users | {options.against} | {options.row} | difference (95 %) | p |")
    print("|---|---|---|---|---|---|")
    for group, members in groups.items():
        if not members.any():
            continue
        (found,) = paired_differences(
            first[members][:, None],
            other[members][:, None],
            np.ones(int(members.sum()), dtype=np.int64),
        )
        print(
            f"| {group} | {members.sum()} | {found.first:.4f} | {found.other:.4f} "
            f"| {found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f}) "
            f"| {found.p_value:.2g} |"
        )


if __name__ == "__main__":
    main()
