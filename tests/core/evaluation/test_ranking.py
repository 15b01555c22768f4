"""Ranks and top lists against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_cli.core.data.histories import build_histories
from kgrec_cli.core.data.splits import split_all, split_leave_one_out
from kgrec_cli.core.data.splits import test_targets as targets_of_test
from kgrec_cli.core.evaluation.baselines import item_knn_score, popularity_score
from kgrec_cli.core.evaluation.ranking import draw_candidates, rank_targets, top_places
from kgrec_cli.errors import KgrecError
from tests.core.data.test_histories import make_histories


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(1, 4))
def test_ranks_and_lists_equal_brute_force(seed: int, n_items: int, topk: int) -> None:
    rng = np.random.default_rng(seed)
    lists = [rng.integers(1, n_items, size=rng.integers(2, 8)).tolist() for _ in range(5)]
    histories = make_histories(*lists)
    targets = histories.offsets[1:] - 1
    table = rng.integers(0, 4, size=(5, n_items)).astype(np.float32)  # few values: many ties

    def score(chunk: np.ndarray) -> torch.Tensor:
        owners = np.searchsorted(histories.offsets, chunk, side="right") - 1
        return torch.from_numpy(table[owners].copy())

    found = rank_targets(score, histories, targets, n_items=n_items, topk=topk, eval_batch_size=2)
    for user, items in enumerate(lists):
        target, seen = items[-1], set(items[:-1])
        scores = table[user]
        others = [item for item in range(1, n_items) if item != target]
        unseen = [item for item in others if item not in seen]
        assert found.ranks[user] == 1 + sum(scores[item] >= scores[target] for item in others)
        assert found.ranks_masked[user] == 1 + sum(
            scores[item] >= scores[target] for item in unseen
        )
        allowed = [target, *unseen]
        best = sorted(-scores[item] for item in allowed)[:topk]
        listed = [item for item in found.top_items_masked[user] if item > 0]
        assert len(listed) == min(topk, len(allowed))
        assert set(listed) <= set(allowed)
        assert [-scores[item] for item in listed] == best


def test_equal_scores_count_against_the_target() -> None:
    histories = make_histories([1, 2], [2, 3])
    for masked in (True, False):
        found = rank_targets(
            lambda chunk: torch.zeros(len(chunk), 5), histories, np.array([1, 3]), n_items=5,
            masked=masked,
        )  # fmt: skip
        assert found.ranks.tolist() == [4, 4]
        assert found.ranks_masked.tolist() == ([3, 3] if masked else [4, 4])


def test_a_target_is_ranked_among_its_candidates_alone() -> None:
    histories = make_histories([1, 2], [4, 3])
    scores = torch.tensor([[9.0, 5.0, 2.0, 3.0, 4.0], [9.0, 5.0, 2.0, 3.0, 4.0]])
    found = rank_targets(
        lambda chunk: scores.clone(), histories, np.array([1, 3]), n_items=5, topk=3,
        candidates=torch.tensor([[3, 3], [1, 4]]),
    )  # fmt: skip
    assert found.ranks.tolist() == [2, 3]  # 3 stands before 2 once; 1 and 4 before 3
    assert found.ranks_masked.tolist() == [2, 2]  # the second user has had item 4
    assert found.top_items.tolist() == [[3, 2, 0], [1, 4, 3]]


@pytest.mark.parametrize("mode", ["uni7", "pop7"])
def test_candidates_are_drawn_by_the_seed_and_never_the_target(mode: str) -> None:
    histories = make_histories([1, 2, 3], [3, 4, 3], [3, 5, 1])
    targets = np.array([2, 5, 8])
    drawn = draw_candidates(mode, histories, targets, 6, seed=1)
    assert drawn is not None
    assert drawn.shape == (3, 7)
    assert not (drawn == torch.tensor([[3], [3], [1]])).any()
    assert torch.equal(drawn, draw_candidates(mode, histories, targets, 6, seed=1))
    assert not torch.equal(drawn, draw_candidates(mode, histories, targets, 6, seed=2))
    assert draw_candidates("full", histories, targets, 6, seed=1) is None


def test_pop_candidates_follow_all_interactions_users_first_ones_too() -> None:
    """RecBole counts its samples' targets, which a user's first event is not."""
    histories = make_histories([5, 1, 2], [5, 1, 3], [5, 1, 1])
    drawn = draw_candidates("pop4000", histories, np.array([2]), 6, seed=1)
    assert drawn is not None
    shares = torch.bincount(drawn[0], minlength=6) / 4000
    # 5 stands three times, 1 four times, 3 once; 2 is the target
    torch.testing.assert_close(shares, torch.tensor([0, 4, 0, 1, 0, 3]) / 8, atol=0.03, rtol=0)


def test_no_targets_give_an_empty_ranking() -> None:
    histories = make_histories([1, 2])
    found = rank_targets(
        lambda chunk: torch.zeros(len(chunk), 3),
        histories,
        np.array([], dtype=int),
        n_items=3,
        topk=2,
    )
    assert found.ranks.shape == (0,)
    assert found.top_items.shape == (0, 2)


def test_top_places_orders_ties_by_column() -> None:
    _, columns = top_places(torch.tensor([[1.0, 3.0, 3.0, 0.0, 3.0]]), 4)
    assert columns.tolist() == [[1, 2, 4, 0]]


def test_popularity_ranks_by_training_counts() -> None:
    histories = make_histories([1, 2, 3, 4], [2, 3, 4, 1], [2, 4, 3, 1])
    score = popularity_score(np.array([0, 1, 3, 2, 2]))
    found = rank_targets(score, histories, np.array([3]), n_items=5)
    assert found.ranks.tolist() == [3]  # item 4: item 2 before it, item 3 ties against it


def test_item_knn_by_hand() -> None:
    # Users 1 and 2 hold {1, 2}, user 3 {1, 3}: cos(1, 2) = 2 / sqrt(3 * 2), cos(1, 3) = 1 / sqrt(3)
    histories = make_histories([1, 2], [1, 2], [1, 3], [1, 2, 3])
    split = split_all(histories)
    split.train_end[3] = histories.offsets[3]  # user 4 is no training data
    scores = item_knn_score(histories, split, 4)(np.array([7]))  # after user 4's item 1
    expected = [0, 0, 2 / np.sqrt(6), 1 / np.sqrt(3)]
    np.testing.assert_allclose(scores[0].numpy(), expected, rtol=1e-6)


def test_item_knn_keeps_only_the_nearest() -> None:
    histories = make_histories([1, 2], [1, 2], [1, 3], [1, 2, 3])
    split = split_all(histories)
    split.train_end[3] = histories.offsets[3]
    scores = item_knn_score(histories, split, 4, n_neighbours=1)(np.array([7]))
    # of item 3's row the neighbour kept is 1; of item 2's row it is 1 too
    assert (scores[0].numpy() > 0).tolist() == [False, False, True, True]


def test_the_test_prefix_holds_the_validation_item() -> None:
    histories = build_histories(
        np.ones(5, dtype=np.int32), np.arange(1, 6, dtype=np.int32), np.arange(5)
    )
    split = split_leave_one_out(histories)
    asked = []

    def score(chunk: np.ndarray) -> torch.Tensor:
        asked.extend(histories.items[: chunk[0]].tolist())
        return torch.zeros(len(chunk), 6)

    rank_targets(score, histories, targets_of_test(histories, split), n_items=6)
    assert asked == [1, 2, 3, 4]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 4)])
def test_scores_that_are_not_finite_are_refused(bad: float, place: tuple[int, int]) -> None:
    """NaN compares with nothing: its item would rank first, and NDCG would be infinite."""
    scores = torch.zeros(2, 5)
    scores[place] = bad
    with pytest.raises(KgrecError, match="1 of 10 scores are not finite numbers: the training has"):
        rank_targets(
            lambda chunk: scores, make_histories([1, 2], [2, 3]), np.array([1, 3]), n_items=5
        )


def test_large_finite_scores_are_ranked_though_their_sum_is_not_finite() -> None:
    scores = torch.full((2, 5), 3e38)
    found = rank_targets(
        lambda chunk: scores.clone(), make_histories([1, 2], [2, 3]), np.array([1, 3]), n_items=5
    )
    assert found.ranks.tolist() == [4, 4]


def test_lists_are_no_longer_than_there_are_items() -> None:
    found = rank_targets(
        lambda chunk: torch.arange(10.0).view(2, 5), make_histories([1, 2], [2, 3]),
        np.array([1, 3]), n_items=5, topk=10**9,
    )  # fmt: skip
    assert found.top_items.tolist() == [[4, 3, 2, 1, 0]] * 2


def test_candidates_that_do_not_fit_into_the_memory_are_refused() -> None:
    histories = make_histories(*[[1, 2]] * 1000)
    with pytest.raises(KgrecError, match="mode uni999999999: would take 8,000 GB of memory"):
        draw_candidates("uni999999999", histories, np.arange(1000), 3, 0)
