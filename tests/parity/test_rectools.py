"""Models of RecTools as rows of the results: what their environment reads, measures and scores."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import REPO_DIR
from benchmarks.accuracy.plans import TunedRival
from benchmarks.accuracy.rivals import rival_score, told_of, train_rival_of_rectools
from benchmarks.recbole_side.data import write_dataset
from benchmarks.rectools_side.run import RECTOOLS_PYTHON
from kgrec_cli.config import build_settings
from kgrec_cli.core.data.splits import item_popularity
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure
from kgrec_cli.dataset.load import load_dataset, split_dataset

pytestmark = pytest.mark.parity

N_ITEMS = 20


def in_rectools(code: str, *arguments: str) -> Any:
    """What code prints, as JSON, in RecTools' environment, the side imported."""
    told = subprocess.run(
        [RECTOOLS_PYTHON, "-c", code, *arguments],
        cwd=REPO_DIR / "benchmarks/rectools_side",
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    return json.loads(told.stdout.splitlines()[-1])


def write_circle(folder: Path) -> Path:
    """Users who walk once round a circle of items: the next item is always the next number."""
    events = [
        (f"u{user}", f"i{(user + step) % N_ITEMS}", 3, step)
        for user in range(2 * N_ITEMS)
        for step in range(N_ITEMS - 5)
    ]
    links, triples = [("i0", "e0")], [("e0", "r", "x")]
    vectors = [("e0", "0.1 0.2")]
    write_dataset(folder / "dataset/circle", events, links, triples, vectors)
    return folder / "dataset/circle"


def test_events_of_one_time_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "any.inter"
    rows = ["b\tx\t7", "a\tz\t9", "b\ty\t3", "a\tw\t9", "b\tv\t7"]
    path.write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(rows) + "\n")
    code = (
        "import sys, json, side; from pathlib import Path\n"
        "events = side.read_events(Path(sys.argv[1]))\n"
        "last = side.is_last(events.sample(frac=1, random_state=1)).tolist()\n"
        "told = [events.user_id.tolist(), events.item_id.tolist(), side.is_last(events).tolist()]\n"
        "print(json.dumps([*told, sum(last)]))"
    )
    users, items, last, n_last = in_rectools(code, str(path))
    assert users == ["a", "a", "b", "b", "b"]
    assert items == ["z", "w", "y", "x", "v"]
    assert last == [False, True, False, False, True]
    assert n_last == 2


def test_validation_is_ndcg_among_unseen_items_equal_scores_against_the_target() -> None:
    code = (
        "import json, torch, side; from types import SimpleNamespace as N\n"
        "validation, logged = side.Validation(), {}\n"
        "module = N(log=logged.__setitem__)\n"
        "logits = torch.tensor([[9., 8, 7, 6, 5], [9., 1, 3, 3, 8]])\n"
        "batch = {'x': torch.tensor([[0, 1], [1, 1]]), 'y': torch.tensor([[3], [2]])}\n"
        "validation.on_validation_batch_end(None, module, {'logits': logits}, batch, 0)\n"
        "validation.on_validation_epoch_end(None, module)\n"
        "print(json.dumps([float(logged['ndcg']), validation.scores]))"
    )
    logged, scores = in_rectools(code)
    second, fourth = 1 / np.log2(3), 1 / np.log2(5)  # 7 is ahead; 9, 8 and the equal 3 are
    assert logged == pytest.approx((second + fourth) / 2)
    assert scores == [logged]


def test_a_walk_round_a_circle_is_learned_and_its_scores_read(tmp_path: Path) -> None:
    source = write_circle(tmp_path)
    points = [{"n_factors": 16, "lr": lr, "batch_size": 8, "n_heads": 1} for lr in (0.00001, 0.01)]
    rival = TunedRival(points)
    train_rival_of_rectools(tmp_path, source, "any", rival, 2020)
    (told_dir,), chosen = told_of(tmp_path, "any", rival)
    assert "lr 0.01," in chosen
    settings = build_settings({"dataset": "circle"}, "test")
    dataset = load_dataset(settings, tmp_path, lambda event: None)
    split = split_dataset(settings, dataset)
    score, said = rival_score(told_dir, dataset)
    popularity = item_popularity(dataset.histories, split, len(dataset.items))
    found = measure(score, dataset.histories, split, "test", MeasureSettings(), popularity)
    assert found.metrics["test"]["ndcg@10"] > 0.7  # by chance 0.23
    assert said["best"] > 0.9
