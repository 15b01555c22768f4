"""Slices of targets: groups and values worked out by hand."""

import numpy as np
import pytest

from kgrec_cli.core.data.histories import build_histories
from kgrec_cli.core.data.sanity import unit_of_times
from kgrec_cli.core.evaluation.slices import popularity_groups, slice_metrics, time_groups


def test_targets_are_measured_by_group() -> None:
    groups = {
        "first": np.array([True, False, False]),
        "others": np.array([False, True, True]),
        "none": np.zeros(3, dtype=bool),
    }
    assert slice_metrics(np.array([1, 3, 2]), groups, ["Hit", "MRR"], [2]) == {
        "first": {"n_targets": 1, "hit@2": 1.0, "mrr@2": 1.0},
        "others": {"n_targets": 2, "hit@2": 0.5, "mrr@2": 0.25},
    }


def test_each_group_holds_a_fifth_of_the_interactions() -> None:
    popularity = np.array([0, 1, 10, 2, 5, 1, 1])  # 20 in all, 4 a group
    groups = popularity_groups(popularity)
    members = {name: np.flatnonzero(items).tolist() for name, items in groups.items()}
    assert members == {
        "popularity 1/5 (top)": [2],  # 0 before it
        "popularity 2/5": [],
        "popularity 3/5": [4],  # 10 before it
        "popularity 4/5": [3],  # 15 before it
        "popularity 5/5 (tail)": [1, 5, 6],  # 17, 18 and 19
    }


@pytest.mark.parametrize("unit", [1, 1000])
def test_targets_are_sliced_by_ties_and_gaps(unit: int) -> None:
    start, hour, day = 880_000_000, 3600, 86_400
    seconds = [0, 0, 5, hour + 4, hour + 5, day + hour + 5, 0, day + hour + 5]
    histories = build_histories(
        np.array([1, 1, 1, 1, 1, 1, 2, 2], dtype=np.int32),
        np.arange(1, 9, dtype=np.int32),
        np.array([unit * (start + s) for s in seconds]),
    )
    # Of user 1 all but the first; the second has the first's time. Of user 2 the second event: it
    # has the time of user 1's last one, which is no tie.
    targets = np.array([1, 2, 3, 4, 5, 7])
    groups = time_groups(histories, targets)
    assert {name: targets[members].tolist() for name, members in groups.items()} == {
        "tied in time": [1],
        "not tied": [2, 3, 4, 5, 7],
        "gap under an hour": [2, 3, 4],  # 5 s, 3599 s, 1 s
        "gap under a day": [],
        "gap of a day or more": [5, 7],
    }


def test_a_target_before_an_event_of_its_time_is_tied_too() -> None:
    user, items = np.ones(4, dtype=np.int32), np.arange(1, 5, dtype=np.int32)
    histories = build_histories(user, items, np.array([1, 2, 2, 3]))
    groups = time_groups(histories, np.array([1, 2, 3]))
    assert {name: members.tolist() for name, members in groups.items()} == {
        "tied in time": [True, True, False],
        "not tied": [False, False, True],
    }  # 1, 2, 3 are no Unix times: no gaps


def test_positions_give_no_slices() -> None:
    user, items = np.ones(3, dtype=np.int32), np.arange(1, 4, dtype=np.int32)
    assert time_groups(build_histories(user, items, np.arange(3)), np.array([1, 2])) == {}


def test_the_unit_of_times_is_found_by_their_size() -> None:
    assert unit_of_times(np.array([874_724_710, 893_286_638])) == 1
    assert unit_of_times(np.array([874_724_710_000.5])) == 1e3
    assert unit_of_times(np.array([1, 893_286_638])) is None
    assert unit_of_times(np.arange(5)) is None
