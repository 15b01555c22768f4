"""Histories, splits and batches: hand-computed cases and properties over random logs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core import sequences
from kgrec_cli.core.sequences import Histories, build_histories


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
    split = sequences.split_leave_one_out(histories)
    items = histories.items
    assert items[sequences.train_targets(histories, split)].tolist() == [2, 3, 7, 10]
    assert items[sequences.valid_targets(histories, split)].tolist() == [4]
    assert items[sequences.test_targets(histories, split)].tolist() == [5, 8]


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
    split = sequences.split_ratio(histories, (0.8, 0.1, 0.1))
    counts = (
        len(sequences.train_targets(histories, split)),
        len(sequences.valid_targets(histories, split)),
        len(sequences.test_targets(histories, split)),
    )
    assert counts == expected


def test_temporal_split_by_hand() -> None:
    users = np.array([1, 1, 1, 2, 2, 2, 3, 3, 3, 3], dtype=np.int32)
    times = np.array([1, 2, 9, 1, 8, 8, 7, 8, 9, 10], dtype=np.int64)
    items = np.arange(1, 11, dtype=np.int32)
    histories = build_histories(users, items, times)
    split = sequences.split_temporal(histories, (0.4, 0.4, 0.2))
    # sorted times: 1 1 2 7 | 8 8 8 9 | 9 10: training before 8, validation before 9 (ties go late)
    chosen = histories.items
    assert chosen[sequences.train_targets(histories, split)].tolist() == [2]
    assert chosen[sequences.valid_targets(histories, split)].tolist() == [5, 6, 8]
    assert chosen[sequences.test_targets(histories, split)].tolist() == [3, 9, 10]


@given(logs(), st.sampled_from(["LS", "RS", "time"]))
def test_a_split_loses_no_target_and_parts_follow_each_other(log: Histories, kind: str) -> None:
    split = {
        "LS": sequences.split_leave_one_out,
        "RS": lambda h: sequences.split_ratio(h, (0.7, 0.2, 0.1)),
        "time": lambda h: sequences.split_temporal(h, (0.7, 0.2, 0.1)),
    }[kind](log)
    parts = [
        sequences.train_targets(log, split),
        sequences.valid_targets(log, split),
        sequences.test_targets(log, split),
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
    split = sequences.split_temporal(log, (0.6, 0.2, 0.2))
    owners = log.owners
    position = np.arange(len(log.items))
    train = log.times[position < split.train_end[owners]]
    test = log.times[position >= split.valid_end[owners]]
    if len(train) and len(test):
        assert train.max() < test.min()


def test_prefixes_by_hand() -> None:
    histories = make_histories([1, 2, 3, 4], [5, 6])
    items, lengths = sequences.prefixes(histories, np.array([1, 3, 5, 6]), max_length=2)
    assert items.tolist() == [[1, 0], [2, 3], [5, 0], [5, 6]]
    assert lengths.tolist() == [1, 2, 1, 2]


def unpack(rows: sequences.Rows, values: np.ndarray | None = None) -> list[list[int]]:
    """What is packed, row by row."""
    values = rows.items if values is None else values
    found: list[list[int]] = [[] for _ in range(rows.sizes[0])]
    place = iter(values.tolist())
    for size in rows.sizes:
        for row in range(size):
            found[row].append(next(place))
    return found


def rows_of(batch: sequences.Batch) -> list[tuple[list[int], list[int], list[int]]]:
    """Each row of a batch: what is read before, what is read, what follows (0 for no loss)."""
    found = []
    for part in batch.parts:
        inputs, targets = unpack(part.rows), unpack(part.rows, part.targets)
        before: list[list[int]] = [[] for _ in inputs]
        if part.before is not None:
            for row, items in zip(part.before_of, unpack(part.before), strict=True):
                before[row] = items
        found += zip(before, inputs, targets, strict=True)
    return found


def test_rows_are_packed_step_by_step() -> None:
    items = np.arange(10, 30, dtype=np.int32)
    rows = sequences.read_rows(items, np.array([2, 8, 0]), np.array([5, 10, 1]))
    assert rows.sizes == (3, 2, 1)
    assert rows.items.tolist() == [12, 18, 10, 13, 19, 14]
    assert rows.places.tolist() == [2, 8, 0, 3, 9, 4]
    assert rows.items[rows.last].tolist() == [14, 19, 10]


@given(logs(), st.integers(1, 7), st.integers(1, 12), st.integers(0, 5), st.integers(0, 99))
def test_sequence_batches_meet_every_training_target_once_with_its_context(
    log: Histories, max_length: int, batch_size: int, context: int, seed: int
) -> None:
    split = sequences.split_leave_one_out(log)
    met = []
    for batch in sequences.sequence_batches(
        log,
        split,
        max_length=max_length,
        batch_size=batch_size,
        context=context,
        rng=np.random.default_rng(seed),
    ):
        assert batch.n_targets == sum(len(targets) for _, _, targets in rows_of(batch))
        for before, inputs, targets in rows_of(batch):
            # items are numbered in log order, so a target follows its input by one
            assert targets == [item + 1 for item in inputs]
            assert len(targets) <= max_length
            firsts = log.items[log.offsets[:-1]]
            start = int(firsts[firsts <= inputs[0]].max())
            assert before == list(range(max(start, inputs[0] - context), inputs[0]))
            met += targets
    assert sorted(met) == log.items[sequences.train_targets(log, split)].tolist()


def test_a_window_reads_its_context_without_loss() -> None:
    histories = make_histories(list(range(1, 13)))
    windows = sequences.cut_windows(
        histories,
        sequences.split_all(histories),
        max_length=4,
        context=2,
        rng=np.random.default_rng(0),
    )
    for start, first, end in zip(windows.starts, windows.first_targets, windows.ends, strict=True):
        assert first - 1 - start == min(2, first - 1)
        assert 1 <= end - first <= 4


def test_short_histories_are_one_window_without_phase() -> None:
    histories = make_histories([1, 2, 3, 4, 5], [6, 7])
    for seed in range(5):
        windows = sequences.cut_windows(
            histories,
            sequences.split_all(histories),
            max_length=4,
            context=4,
            rng=np.random.default_rng(seed),
        )
        assert windows.first_targets.tolist() == [1, 6]
        assert windows.ends.tolist() == [5, 7]


@given(logs(), st.integers(1, 7), st.integers(0, 99))
def test_prefix_batches_meet_every_training_target_once(
    log: Histories, max_length: int, seed: int
) -> None:
    split = sequences.split_leave_one_out(log)
    met = []
    for batch in sequences.prefix_batches(
        log, split, max_length=max_length, batch_size=5, rng=np.random.default_rng(seed)
    ):
        assert batch.n_targets == len(rows_of(batch))
        for before, inputs, targets in rows_of(batch):
            assert before == []
            firsts = log.items[log.offsets[:-1]]
            start = int(firsts[firsts <= inputs[0]].max())
            assert inputs == list(range(max(start, inputs[-1] + 1 - max_length), inputs[-1] + 1))
            assert targets == [0] * (len(inputs) - 1) + [inputs[-1] + 1]
            met.append(targets[-1])
    assert sorted(met) == log.items[sequences.train_targets(log, split)].tolist()
