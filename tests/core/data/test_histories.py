"""Histories, splits and batches: hand-computed cases and properties over random logs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import (
    Histories,
    build_histories,
    build_histories_in_parts,
    prefixes,
)


def make_histories(*lists: list[int]) -> Histories:
    users = np.concatenate([np.full(len(row), user) for user, row in enumerate(lists, start=1)])
    items = np.concatenate([np.array(row) for row in lists])
    return build_histories(
        users.astype(np.int32), items.astype(np.int32), np.arange(len(items), dtype=np.int64)
    )


@st.composite
def logs(draw: st.DrawFn) -> Histories:
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=6))
    items = iter(range(1, sum(lengths) + 1))
    return make_histories(*([next(items) for _ in range(length)] for length in lengths))


def test_order_is_by_time_then_by_row_of_the_file() -> None:
    users = np.array([2, 1, 1, 1, 2], dtype=np.int32)
    items = np.array([10, 11, 12, 13, 14], dtype=np.int32)
    times = np.array([5, 7, 3, 7, 5], dtype=np.int64)
    histories = build_histories(users, items, times)
    assert histories.user_ids.tolist() == [1, 2]
    assert histories.items.tolist() == [12, 11, 13, 10, 14]
    assert histories.offsets.tolist() == [0, 3, 5]


def test_many_events_at_one_time_keep_the_order_of_the_file() -> None:
    n = 20_000
    users = np.tile(np.array([2, 1], dtype=np.int32), n // 2)
    items = np.arange(1, n + 1, dtype=np.int32)
    histories = build_histories(users, items, np.zeros(n, dtype=np.int64))
    assert histories.items.tolist() == [*range(2, n + 1, 2), *range(1, n + 1, 2)]


def test_times_beyond_float32_keep_their_order() -> None:
    times = np.array([893286639, 893286638, 893286637], dtype=np.int64)  # one float32
    histories = build_histories(
        np.ones(3, dtype=np.int32), np.array([1, 2, 3], dtype=np.int32), times
    )
    assert histories.items.tolist() == [3, 2, 1]


def test_leave_one_out_by_hand() -> None:
    histories = make_histories([1, 2, 3, 4, 5], [6, 7, 8], [9, 10], [11])
    split = splits.split_leave_one_out(histories)
    items = histories.items
    assert items[splits.train_targets(histories, split)].tolist() == [2, 3, 7, 10]
    assert items[splits.valid_targets(histories, split)].tolist() == [4]
    assert items[splits.test_targets(histories, split)].tolist() == [5, 8]


@pytest.mark.parametrize(
    ("n_targets", "expected"),
    # RecBole's _calcu_split_ids for shares 0.8, 0.1, 0.1
    [
        (1, (1, 0, 0)),
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),
        (9, (7, 1, 1)),
        (10, (8, 1, 1)),
        (19, (17, 1, 1)),
        (20, (16, 2, 2)),
        (29, (25, 2, 2)),
    ],
)
def test_ratio_split_rounds_as_recbole(n_targets: int, expected: tuple[int, int, int]) -> None:
    histories = make_histories(list(range(1, n_targets + 2)))
    split = splits.split_ratio(histories, (0.8, 0.1, 0.1))
    counts = (
        len(splits.train_targets(histories, split)),
        len(splits.valid_targets(histories, split)),
        len(splits.test_targets(histories, split)),
    )
    assert counts == expected


def test_temporal_split_by_hand() -> None:
    users = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 3], dtype=np.int32)
    times = np.array([1, 2, 9, 1, 8, 8, 7, 8, 9, 10], dtype=np.int64)
    items = np.arange(1, 11, dtype=np.int32)
    histories = build_histories(users, items, times)
    split = splits.split_temporal(histories, (0.4, 0.4, 0.2))
    # sorted times: 1 1 2 7 | 8 8 8 9 | 9 10: training before 8, validation before 9 (ties go late)
    chosen = histories.items
    assert chosen[splits.train_targets(histories, split)].tolist() == [2]
    assert chosen[splits.valid_targets(histories, split)].tolist() == [5, 6, 8]
    assert chosen[splits.test_targets(histories, split)].tolist() == [3, 9, 10]


@given(logs(), st.sampled_from(["LS", "RS", "time"]))
def test_a_split_loses_no_target_and_parts_follow_each_other(log: Histories, kind: str) -> None:
    split = {
        "LS": splits.split_leave_one_out,
        "RS": lambda h: splits.split_ratio(h, (0.7, 0.2, 0.1)),
        "time": lambda h: splits.split_temporal(h, (0.7, 0.2, 0.1)),
    }[kind](log)
    parts = [
        splits.train_targets(log, split),
        splits.valid_targets(log, split),
        splits.test_targets(log, split),
    ]
    firsts = set(log.offsets[:-1].tolist())
    assert sorted(np.concatenate(parts).tolist()) == [
        index for index in range(len(log.items)) if index not in firsts
    ]
    for user in range(len(log)):
        begin, end = log.offsets[user], log.offsets[user + 1]
        in_order = [part[(part >= begin) & (part < end)] for part in parts]
        assert np.all(np.diff(np.concatenate(in_order)) > 0)


@given(logs())
def test_a_temporal_split_leaks_no_future(log: Histories) -> None:
    split = splits.split_temporal(log, (0.6, 0.2, 0.2))
    owners = log.owners
    position = np.arange(len(log.items))
    train = log.times[position < split.train_end[owners]]
    test = log.times[position >= split.valid_end[owners]]
    if len(train) and len(test):
        assert train.max() < test.min()


def test_prefixes_by_hand() -> None:
    histories = make_histories([1, 2, 3, 4], [5, 6])
    items, lengths = prefixes(histories, np.array([1, 3, 5, 6]), max_length=2)
    assert items.tolist() == [[1, 0], [2, 3], [5, 0], [5, 6]]
    assert lengths.tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize("unit", [1, 2**60, 0.5])
def test_events_are_ordered_by_user_part_time_and_row(unit: float) -> None:
    """Also where user and time do not fit in one number, before 1970, and with fractions."""
    rng = np.random.default_rng(0)
    users, items, parts = rng.integers(1, [[9], [99], [3]], (3, 200)).astype(np.int32)
    times = rng.integers(-3, 4, 200) * unit
    histories, ordered = build_histories_in_parts(users, items, times, parts)
    rows = sorted(range(200), key=lambda row: (users[row], parts[row], times[row], row))
    assert histories.items.tolist() == items[rows].tolist()
    assert histories.times.tolist() == times[rows].tolist()
    assert ordered.tolist() == parts[rows].tolist()
    assert histories.offsets.tolist() == [0, *np.cumsum(np.bincount(users)[1:])]


def test_repeats_against_chance_by_hand() -> None:
    histories = make_histories([1, 2, 1, 3], [2, 2, 4])
    split = splits.split_all(histories)
    # Shares of the items 1 to 4: 2/7, 3/7, 1/7, 1/7. Targets 2 1 3 and 2 4; before them stand
    # {1}, {1, 2}, {1, 2} and {2}, {2}: 2/7 + 5/7 + 5/7 + 3/7 + 3/7 by chance. Repeated: 1 and 2.
    expected = np.log((2 + 1) / (18 / 7 + 1))
    assert splits.repeat_log_ratio(histories, split, 5) == pytest.approx(expected)


def test_ties_are_shuffled_within_a_users_training_events() -> None:
    users = np.repeat(np.array([1, 2], dtype=np.int32), 8)
    # User 2 begins at the time at which user 1 ends: no tie of theirs.
    times = np.array([1, 2, 2, 2, 2, 3, 4, 4, 4, 5, 5, 5, 5, 6, 7, 7], dtype=np.int64)
    histories = build_histories(users, np.arange(1, 17, dtype=np.int32), times)
    split = splits.split_leave_one_out(histories)
    met = set()
    for seed in range(200):
        shuffled = splits.shuffle_ties(histories, split, np.random.default_rng(seed)).items
        rows = shuffled.reshape(2, 8).tolist()
        for row, first in zip(rows, (1, 9), strict=True):
            assert sorted(row[1:5]) == [first + 1, first + 2, first + 3, first + 4]
            assert row[:1] + row[5:] == [first, first + 5, first + 6, first + 7]
        met.add(tuple(rows[0][1:5]))
    assert len(met) == 24


def test_popularity_by_hand() -> None:
    histories = make_histories([1, 2, 1], [3, 1])
    split = splits.split_all(histories)
    assert splits.item_popularity(histories, split, 4).tolist() == [0, 3, 1, 1]
    found = splits.item_popularity(histories, split, 4, targets_only=True)
    assert found.tolist() == [0, 2, 1, 0]  # RecBole counts no first events
