"""The same data: rows kept, order, parts, histories and entity vectors are RecBole's."""

import numpy as np
import pytest

from benchmarks.recbole_side.data import CASES
from kgrec_cli.core.data.splits import test_targets as targets_of_test
from kgrec_cli.core.data.splits import train_targets, valid_targets
from tests.parity.conftest import RecBole
from tests.parity.ours import our_side

pytestmark = pytest.mark.parity

SAMPLED = [name for name, case in CASES.items() if "samples" in case["tell"]]
WITHOUT = {("valid-only", "test"), ("test-only", "valid"), ("ratio-no-test", "test")}


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize("name", SAMPLED)
def test_samples_of_each_part(recbole: RecBole, name: str, part: str) -> None:
    """User, history and target of every sample, in RecBole's order up to the order of users."""
    ours = our_side(recbole, name)
    cut = {"train": train_targets, "valid": valid_targets, "test": targets_of_test}[part]
    found = ours.samples(cut(ours.dataset.histories, ours.split))
    theirs = ours.their_samples(f"{part}.")
    assert sorted(found, key=by_user) == sorted(theirs, key=by_user)
    assert (len(found) > 0) == ((name, part) not in WITHOUT)


def by_user(sample: tuple) -> str:
    return sample[0]


@pytest.mark.parametrize("name", SAMPLED)
def test_items_and_their_entity_vectors(recbole: RecBole, name: str) -> None:
    ours = our_side(recbole, name)
    fresh = ours.fresh_model()
    theirs = ours.told.arrays["weight.entity_embedding.weight"]
    np.testing.assert_array_equal(
        fresh.table_of("entity").weight.detach().numpy()[ours.item_map], theirs
    )
    without_vector = np.flatnonzero((theirs[1:] == 0).all(axis=1)) + 1
    is_untidy = CASES[name]["dataset"] in ("ragged", "renamed", "vector-only")
    expected = {"i7", "i8"} & set(ours.told.said["items"]) if is_untidy else set()
    assert {ours.told.said["items"][item] for item in without_vector} == expected


def test_ragged_data_loses_the_items_that_recbole_drops(recbole: RecBole) -> None:
    """Guards the tests above: there is something to drop, and it is dropped."""
    ours = our_side(recbole, "ragged")
    gone = {f"i{item}" for item in range(7)}
    assert gone.isdisjoint(ours.told.said["items"])
    assert "loner" not in ours.dataset.users.tokens
    rows = (recbole.folder / "dataset" / "ragged" / "ragged.inter").read_text()
    assert all(f"\t{item}\t" in rows for item in gone)
    assert "loner" in rows


def test_every_filter_bites(recbole: RecBole) -> None:
    """Guards the tests above: no two filters leave the same rows."""
    names = [name for name in SAMPLED if CASES[name]["dataset"] == "ragged"]
    parts = {name: tuple(sorted(our_side(recbole, name).their_samples("train."))) for name in names}
    assert len(set(parts.values())) == len(names)


def test_the_bundled_ml_100k_has_ties_and_all_its_rows(recbole: RecBole) -> None:
    """Guards the tests above: real ties, and the counts that RecBole is known to keep."""
    ours = our_side(recbole, "bundled")
    histories = ours.dataset.histories
    same_user = np.diff(histories.owners) == 0
    assert (same_user & (np.diff(histories.times) == 0)).sum() > 40_000
    assert len(ours.told.said["items"]) == 1 + 1_598
    assert len(ours.told.arrays["train.user"]) == 94_725
