"""The measurement of the graph card: what is trained, what is kept, and what the figures decide."""

import json
from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks.accuracy import graph_card
from benchmarks.accuracy.graph_card import (
    NO_GRAPH,
    Training,
    correlation,
    points,
    relations_of,
    run_missing,
    slug,
    summary,
    wanted,
    within,
)


def card(**lifts: float) -> dict[str, object]:
    relations = []
    for name, lift in lifts.items():
        values = {"lift": lift, "low": lift - 0.1, "high": lift + 0.1}
        relations.append({"relation": name, "items": 80, "lift": values})
    return {"items": 100, "relations": relations}


def test_correlation_by_hand():
    """Of 15 points in order it is 1; of 14 nothing is decided; turned round it contradicts."""
    order = list(range(15))
    assert correlation(order, order)["correlation"] == pytest.approx(1)
    assert correlation(order, order)["verdict"] == "predicts"
    assert correlation(order, order[::-1])["verdict"] == "contradicts"
    assert correlation(order[:14], order[:14])["verdict"] == "undecided"
    assert correlation([1.0], [2.0]) == {
        "n": 1, "correlation": None, "low": None, "high": None, "verdict": "undecided",
    }  # fmt: skip


def test_three_relations_of_ml_1m_and_one_seed():
    large = card(a=1.5, b=1.1, c=0.9, d=1.2, e=1.3)
    large["relations"][0]["items"] = 20  # too few items
    assert relations_of("ml-1m", large) == ["c", "d", "e"]
    trainings = list(wanted({"ml-1m": large, "ml-100k": card(a=1.5)}, 3))
    assert len(trainings) == 4 + 3 * 2
    assert trainings[4:6] == [Training("ml-100k", NO_GRAPH, 1), Training("ml-100k", "a", 1)]
    assert slug("ml-1m", "dbo:director") == "ml-1m-only-dbo_director"


def test_worth_is_against_the_same_seed_without_a_graph():
    cards = {"ml-100k": card(a=1.5, b=1.0)}
    done = {
        Training("ml-100k", NO_GRAPH, 1).key: 0.10, Training("ml-100k", NO_GRAPH, 2).key: 0.20,
        Training("ml-100k", "a", 1).key: 0.11, Training("ml-100k", "a", 2).key: 0.20,
        Training("ml-100k", "b", 3).key: 0.9,
    }  # fmt: skip
    (row,) = points(cards, done, 3)
    assert (row["relation"], row["seeds"], row["covered"]) == ("a", 2, 0.8)
    assert row["worth"] == pytest.approx(0.05)
    text = summary({"links": [], "cards": cards, "trainings": done}, 3)
    assert "+5.0% (+0.0% to +10.0%, 2)" in text
    assert "rank correlation of lift and worth: n = 1: undecided" in text


def test_what_is_done_is_kept_and_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Stopped at the third training, it goes on with that one."""
    record = {"cards": {"ml-100k": card(a=1.5, b=1.0)}, "trainings": {}}
    options = Namespace(sets=["ml-100k"], seeds=2, epochs=3, jobs=1)
    out, trained = tmp_path / "kept.json", []
    monkeypatch.setattr(graph_card, "prepare_alone", lambda *given: None)

    def train(folder: Path, training: Training, epochs: int) -> float:
        trained.append(training.key)
        if len(trained) == 3:
            raise KeyboardInterrupt
        return 0.1

    monkeypatch.setattr(graph_card, "train", train)

    def keep() -> None:
        out.write_text(json.dumps(record))

    with pytest.raises(KeyboardInterrupt):
        run_missing(record, tmp_path, tmp_path, options, keep)
    assert len(json.loads(out.read_text())["trainings"]) == 2
    assert len(trained) == 3  # no other one is begun
    run_missing(record, tmp_path, tmp_path, options, keep)
    assert len(record["trainings"]) == 6
    assert trained.count(trained[2]) == 2
    assert trained.count(trained[0]) == trained.count(trained[1]) == 1


def test_ranks_within_a_set_leave_out_what_sets_differ_in() -> None:
    assert within(["a", "b", "a", "b", "a"], [3.0, 90.0, 1.0, 70.0, 2.0]) == [
        pytest.approx(rank) for rank in (3 / 4, 2 / 3, 1 / 4, 1 / 3, 2 / 4)
    ]
