"""Windows and rows: every target once, with what stands before it, and no padding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories
from kgrec_cli.core.model.gru import PackedRows, last_positions
from kgrec_cli.core.training import batches
from tests.core.data.test_histories import logs, make_histories


def unpack(rows: PackedRows, values: np.ndarray | None = None) -> list[list[int]]:
    """What is packed, row by row."""
    values = rows.items if values is None else values
    found: list[list[int]] = [[] for _ in range(rows.sizes[0])]
    place = iter(values.tolist())
    for size in rows.sizes:
        for row in range(size):
            found[row].append(next(place))
    return found


def rows_of(batch: batches.Batch) -> list[tuple[list[int], list[int], list[int]]]:
    """Each row of a batch: what is read before, what is read, what follows (0 for no loss)."""
    found = []
    for chunk in batch.chunks:
        inputs, targets = unpack(chunk.rows), unpack(chunk.rows, chunk.targets)
        before: list[list[int]] = [[] for _ in inputs]
        if chunk.context is not None:
            for row, items in zip(chunk.context_of, unpack(chunk.context), strict=True):
                before[row] = items
        found += zip(before, inputs, targets, strict=True)
    return found


def test_rows_are_packed_step_by_step() -> None:
    items = np.arange(10, 30, dtype=np.int32)
    rows, places = batches.pack_slices(items, np.array([2, 8, 0]), np.array([5, 10, 1]))
    assert rows.sizes == (3, 2, 1)
    assert rows.items.tolist() == [12, 18, 10, 13, 19, 14]
    assert places.tolist() == [2, 8, 0, 3, 9, 4]
    assert rows.items[last_positions(rows.sizes)].tolist() == [14, 19, 10]


@given(logs(), st.integers(1, 7), st.integers(1, 12), st.integers(0, 5), st.integers(0, 99))
def test_sequence_batches_meet_every_training_target_once_with_its_context(
    log: Histories, max_length: int, batch_size: int, context: int, seed: int
) -> None:
    split = splits.split_leave_one_out(log)
    met = []
    for batch in batches.sequence_batches(
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
    assert sorted(met) == log.items[splits.train_targets(log, split)].tolist()


def test_a_window_reads_its_context_without_loss() -> None:
    histories = make_histories(list(range(1, 13)))
    windows = batches.cut_windows(
        histories,
        splits.split_all(histories),
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
        windows = batches.cut_windows(
            histories,
            splits.split_all(histories),
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
    split = splits.split_leave_one_out(log)
    met = []
    for batch in batches.prefix_batches(
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
    assert sorted(met) == log.items[splits.train_targets(log, split)].tolist()
