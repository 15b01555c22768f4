"""Shards: blocks of users that hold every event once, and the steps of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_cli.core.data.histories import Histories, build_histories
from kgrec_cli.core.data.shards import cut_shard, shard_borders
from kgrec_cli.core.data.splits import shuffle_ties, split_leave_one_out
from kgrec_cli.errors import KgrecError


def make_histories(lengths: list[int]) -> Histories:
    users = np.repeat(np.arange(1, len(lengths) + 1, dtype=np.int32), lengths)
    items = np.arange(1, len(users) + 1, dtype=np.int32)
    return build_histories(users, items, np.arange(len(users)) // 3)


def test_shards_have_about_equal_numbers_of_events() -> None:
    offsets = np.array([0, 1, 2, 3, 4, 8, 12])
    assert shard_borders(offsets, 1).tolist() == [0, 6]
    assert shard_borders(offsets, 2).tolist() == [0, 5, 6]
    assert shard_borders(offsets, 3).tolist() == [0, 4, 5, 6]
    assert shard_borders(np.array([0, 100, 101, 102]), 3).tolist() == [0, 1, 2, 3]


def test_more_processes_than_users() -> None:
    with pytest.raises(KgrecError, match="3 processes for 2 users: start fewer processes"):
        shard_borders(np.array([0, 5, 9]), 3)


@settings(max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.data())
def test_every_event_is_in_one_shard(lengths: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(lengths)))
    histories = make_histories(lengths)
    split = split_leave_one_out(histories)
    shards = [cut_shard(histories, split, number, count) for number in range(count)]
    assert all(len(own) >= 1 for own, _, _ in shards)
    for name in ("items", "times", "user_ids"):
        joined = np.concatenate([getattr(own, name) for own, _, _ in shards])
        np.testing.assert_array_equal(joined, getattr(histories, name))
    ends = np.concatenate([part.train_end + borders.first_event for _, part, borders in shards])
    np.testing.assert_array_equal(ends, split.train_end)
    events = np.random.default_rng(0).permutation(len(histories.items))
    places = [borders.own(events, len(own.items)) for own, _, borders in shards]
    assert sorted(np.concatenate([found for found, _ in places])) == list(range(len(events)))
    for (own, _, _), (found, local) in zip(shards, places, strict=True):
        np.testing.assert_array_equal(own.items[local], histories.items[events[found]])


def test_a_shard_shuffles_as_the_whole() -> None:
    histories = make_histories([9, 4, 12, 7])
    split = split_leave_one_out(histories)
    rng = np.random.default_rng(7)
    whole = shuffle_ties(histories, split, rng)
    assert whole.items.tolist() != histories.items.tolist()
    after = rng.integers(1000)
    found = []
    for number in range(3):
        own, part, borders = cut_shard(histories, split, number, 3)
        rng = np.random.default_rng(7)
        found.append(shuffle_ties(own, part, rng, borders.first_event, len(histories.items)).items)
        assert rng.integers(1000) == after  # and then draws what the whole does
    np.testing.assert_array_equal(np.concatenate(found), whole.items)
