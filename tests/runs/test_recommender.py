"""A run in memory: what it recommends is what its scores say."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.runs.recommender import Recommendations, Recommender, load_recommender

TOKENS = [f"i{item}" for item in range(1, 13)]


@pytest.fixture(scope="module")
def recommender(trained_folder: Path) -> Recommender:
    (run_dir,) = (trained_folder / "saved").iterdir()
    return load_recommender(run_dir, trained_folder, threads=1)


def test_a_list_holds_the_best_scores_that_are_not_seen(recommender: Recommender) -> None:
    histories = [["i4", "i5", "i6"], ["i12"]]
    scores = recommender.scores(histories)
    assert scores.shape == (2, 12)
    assert scores.dtype == np.float32
    assert sorted(recommender.item_tokens) == sorted(TOKENS)
    for found, history, row in zip(
        recommender.recommend(histories=histories, topk=4), histories, scores, strict=True
    ):
        by_token = dict(zip(recommender.item_tokens, row.tolist(), strict=True))
        unseen = {token: score for token, score in by_token.items() if token not in history}
        expected = sorted(unseen, key=lambda token: -unseen[token])[:4]
        assert [item.item for item in found.items] == expected
        assert [item.rank for item in found.items] == [1, 2, 3, 4]
        assert [item.score for item in found.items] == pytest.approx(
            [unseen[token] for token in expected], rel=1e-5
        )
        assert [token for token, _ in found.history] == history
    assert found.items[0].title == "Film No " + found.items[0].item.removeprefix("i")


def test_seen_items_can_be_shown(recommender: Recommender) -> None:
    (hidden,) = recommender.recommend(histories=[TOKENS[:9]], topk=12)
    assert {item.item for item in hidden.items} == {"i10", "i11", "i12"}
    (shown,) = recommender.recommend(histories=[TOKENS[:9]], topk=12, hide_seen=False)
    assert {item.item for item in shown.items} == set(TOKENS)


def test_a_user_is_their_whole_history(recommender: Recommender) -> None:
    of_users = recommender.recommend(users=["u3", "u0"], topk=3)
    histories = [[token for token, _ in each.history] for each in of_users]
    assert histories[1] == TOKENS[:9]  # test and validation items included
    assert [each.user for each in of_users] == ["u3", "u0"]
    after = recommender.recommend(histories=histories, topk=3)
    assert [each.items for each in after] == [each.items for each in of_users]
    everyone = pl.concat(recommender.recommend_all(topk=3))
    rows = everyone.filter(pl.col("user") == "u3").drop("user").rows(named=True)
    assert [row["item"] for row in rows] == [item.item for item in of_users[0].items]


def test_reasons_are_what_scores_say(recommender: Recommender) -> None:
    history = ["i4", "i12", "i5", "i6"]
    (found,) = recommender.recommend(histories=[history], topk=3)
    rows = [history, *([t for t in history if t != left_out] for left_out in history)]
    scores = recommender.scores(rows)
    for item, reason in zip(found.items, recommender.explain(found), strict=True):
        own = scores[:, recommender.item_tokens.index(item.item)]
        assert reason.item == item.item
        assert reason.score == pytest.approx(item.score, rel=1e-5)
        expected = dict(zip(history, own[0] - own[1:], strict=True))
        assert reason.drops == pytest.approx(expected, abs=1e-5)
        assert list(reason.drops.values()) == sorted(reason.drops.values(), reverse=True)
        assert reason.carriers == [t for t, drop in reason.drops.items() if drop > 0][:3]
    assert recommender.explain(Recommendations(None, [("i1", None)], [])) == []


def test_item_vectors_score_the_items(recommender: Recommender) -> None:
    vectors = recommender.item_vectors()
    assert vectors.shape == (12, 8)
    assert vectors.dtype == np.float32
    scores = recommender.scores([["i1"], ["i2"], ["i3"], ["i4"]])
    states = np.linalg.lstsq(vectors, scores.T, rcond=None)[0]
    np.testing.assert_allclose(vectors @ states, scores.T, atol=1e-5)


def test_histories_need_no_data_set(trained_folder: Path, tmp_path: Path) -> None:
    (run_dir,) = (trained_folder / "saved").iterdir()
    alone = load_recommender(run_dir, tmp_path, threads=1)
    assert alone.recommend(histories=[["i4", "i5"]], topk=2)[0].items
    with pytest.raises(KgrecError, match=r"small\.inter: no such file"):
        alone.recommend(users=["u1"])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "takes users=.*or histories="),
        ({"users": ["u1"], "histories": [["i1"]]}, "takes users=.*or histories="),
        ({"users": "u1"}, "takes users=.*or histories="),
        ({"users": ["nobody"]}, "small: no user 'nobody'; its users are u0, u1, u2"),
        ({"users": ["[PAD]"]}, "no user"),
        ({"histories": ["i1", "i2"]}, "a history is 'i1', expected a list of item tokens"),
        ({"histories": [[]]}, "expected a list of item tokens"),
        ({"histories": [["i1", "i99"]]}, "knows no item 'i99'"),
        ({"histories": [["i1"]], "topk": 0}, "topk is 0, expected 1 or more"),
    ],
)
def test_mistakes_are_one_line(recommender: Recommender, asked: dict, expected: str) -> None:
    with pytest.raises(KgrecError, match=expected):
        recommender.recommend(**asked)


def test_nothing_asked_for_is_nothing(recommender: Recommender) -> None:
    assert recommender.recommend(users=[]) == recommender.recommend(histories=[]) == []
    assert recommender.scores([]).shape == (0, 12)
