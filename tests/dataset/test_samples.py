"""Split files whose rows are samples: an item and the items before it."""

from pathlib import Path

import numpy as np
import pytest

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import prefixes, vocabulary_of
from kgrec_cli.core.data.splits import item_popularity
from kgrec_cli.core.training import batches
from kgrec_cli.dataset.load import load_dataset, split_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note
from kgrec_cli.settings import Settings
from tests.core.training.test_batches import rows_of
from tests.dataset.conftest import INTER, ROWS, SAMPLES, load, write, write_samples


def test_parts_that_are_samples(tmp_path: Path) -> None:
    write_samples(tmp_path)
    dataset, notes = load(tmp_path, benchmark_filename=["train", "valid", "test"])
    split = split_dataset(Settings(dataset="toy"), dataset)
    names = np.array(dataset.items.tokens)
    found = {}
    for part in ("train", "valid", "test"):
        targets = getattr(splits, f"{part}_targets")(dataset.histories, split)
        rows, _ = prefixes(dataset.histories, targets, 50)
        found[part] = [
            "".join(names[row[row > 0]]) + ">" + names[dataset.histories.items[target]]
            for row, target in zip(rows, targets, strict=True)
        ]
    assert found == {
        "train": ["x>y", "xy>z", "xy>z"],
        "valid": ["xyz>w"],
        "test": ["xyzw>v", "xyz>x"],
    }
    assert notes == []
    users = [dataset.users.tokens[user] for user in dataset.histories.user_ids]
    assert users == ["a", "b", "a", "a", "a", "b"]
    # what training counts are its targets, not what stands before them again and again
    popularity = item_popularity(dataset.histories, split, len(names))
    assert dict(zip(names, popularity.tolist(), strict=True)) == {
        "[PAD]": 0, "x": 0, "y": 1, "z": 2, "w": 0, "v": 0
    }  # fmt: skip


def test_windows_of_samples_are_their_targets(tmp_path: Path) -> None:
    write_samples(tmp_path)
    dataset, _ = load(tmp_path, benchmark_filename=["train", "valid", "test"])
    assert dataset.split is not None
    (batch,) = batches.sequence_batches(
        dataset.histories, dataset.split, max_length=50, batch_size=9, context=50,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    names = np.array(dataset.items.tokens)
    found = [
        ("".join(names[[*before, *row]]), "".join(names[wanted]))
        for before, row, wanted in rows_of(batch)
    ]
    assert sorted(found) == [("x", "y"), ("xy", "z"), ("xy", "z")]
    assert batch.n_targets == 3


def test_samples_of_unknown_items(tmp_path: Path) -> None:
    write_samples(tmp_path)
    write(tmp_path, "valid.inter", SAMPLES, [("a", "", "w"), ("a", "x", "y")])
    settings = Settings(dataset="toy", benchmark_filename=["train", "valid", "test"])
    events: list[Event] = []
    known = vocabulary_of(["x", "z"])
    dataset = load_dataset(settings, tmp_path, events.append, known)
    # y is unknown: x>y goes, xy>z becomes x>z; so do the samples of valid and of w>v
    split = dataset.split
    assert split is not None
    assert dataset.histories.items.tolist() == [1, 2, 1, 2, 1, 2, 1]
    assert len(splits.train_targets(dataset.histories, split)) == 2
    assert len(splits.valid_targets(dataset.histories, split)) == 0
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes[0] == "toy.valid.inter: 1 samples with nothing before their item: dropped"


def test_samples_beside_interactions_are_one_line(tmp_path: Path) -> None:
    write_samples(tmp_path)
    write(tmp_path, "test.inter", INTER, ROWS)
    with pytest.raises(KgrecError, match=r"toy\.test\.inter: no column 'item_id_list', though"):
        load(tmp_path, benchmark_filename=["train", "valid", "test"])
