"""The deletion test on a small run: what is left out, what falls, which paths count."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import deletion
from kgrec_cli.runs.recommender import load_recommender


def test_falls_and_ranks_are_those_of_the_scores(trained_folder: Path) -> None:
    (run_dir,) = (trained_folder / "saved").iterdir()
    recommender = load_recommender(run_dir, trained_folder, threads=1)
    tokens = recommender.item_tokens
    history = ["i1", "i2", "i3"]
    lists = [history, ["i1"]]
    item = tokens.index("i4") + 1
    seen = [tokens.index(token) + 1 for token in history]
    rows = [np.array([tokens.index(t) + 1 for t in row], dtype=np.int32) for row in lists]
    scores, ranks = deletion.places_of(recommender, rows, item, seen)
    expected = recommender.scores(lists)
    np.testing.assert_allclose(scores, expected[:, item - 1], rtol=1e-5)
    unseen = [place for place, token in enumerate(tokens) if token not in history]
    better = (expected[:, unseen] > expected[:, [item - 1]]).sum(1)
    assert ranks.tolist() == (better + 1).tolist()
    assert ranks[1] > ranks[0] == 1  # i4 follows i3, not i1


def test_the_item_named_first_makes_the_score_fall_most(
    trained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.json"
    out.write_text('{"before": 1}')
    (run_dir,) = (trained_folder / "saved").iterdir()
    arguments = ["--folder", str(trained_folder), "--users", "6", "--topk", "2", "--out", str(out)]
    reports = []
    for runs in ([], ["--run", run_dir.name, "--run", run_dir.name]):
        monkeypatch.setattr(sys, "argv", ["deletion", *arguments, *runs, "--record", "small"])
        deletion.main()
        report = json.loads(out.read_text())["small"]
        reports.append(report)
    assert reports[1] == reports[0] | {"runs": 2}  # the mean of a run and the same run
    assert json.loads(out.read_text())["before"] == 1
    assert (report["users"], len(report["falls"])) == (6, 12)
    of_one = {row["way"]: row["score"][0] for row in report["falls"] if row["left_out"] == 1}
    assert of_one["named"] == max(of_one.values()) > 0
    assert report["paths"]["shown"][0] >= report["paths"]["random path"][0]
    assert all(0 <= low <= mean <= high <= 1 for mean, low, high in report["paths"].values())
