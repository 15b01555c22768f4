"""The same training: kgrec's `fit`, given RecBole's order of samples, ends in RecBole's weights."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks.recbole_side.data import CASES
from kgrec_cli.core.data import negatives
from kgrec_cli.core.data.splits import train_targets
from kgrec_cli.core.training import epoch as steps
from kgrec_cli.core.training import fit as training
from kgrec_cli.core.training.fit import TrainingState, fit
from tests.parity.conftest import N_EPOCHS, SCORE_SEQUENCES, STOPPING_STEP, RecBole
from tests.parity.ours import CPU, Ours, our_side, weights

pytestmark = pytest.mark.parity

EPOCHS = [name for name, case in CASES.items() if "epochs" in case["tell"]]
MODELS = ["ce-1-frozen", "ce-2-free"]


class RecBolesOrder:
    """Stands in for the generator of an epoch: its permutation is the one that RecBole drew."""

    def __init__(self, order: np.ndarray) -> None:
        self.order = order

    def permutation(self, targets: np.ndarray) -> np.ndarray:
        np.testing.assert_array_equal(np.sort(self.order), targets)
        return self.order


def orders_of_epochs(ours: Ours) -> Iterator[RecBolesOrder]:
    """RecBole's order of kgrec's targets, epoch by epoch."""
    targets = train_targets(ours.dataset.histories, ours.split)
    n_batches = len(ours.told.arrays["losses"]) // N_EPOCHS
    for epoch in range(N_EPOCHS):
        waiting = defaultdict(list)
        for target, sample in zip(targets, ours.samples(targets), strict=True):
            waiting[sample].append(target)
        order = [
            waiting[sample].pop()
            for number in range(epoch * n_batches, (epoch + 1) * n_batches)
            for sample in ours.their_samples(f"batch{number}.")
        ]
        yield RecBolesOrder(np.array(order))


def their_negatives(ours: Ours, number: int) -> torch.Tensor:
    """RecBole's negatives of a batch in the order in which kgrec's packed rows end."""
    told = ours.told.arrays
    lengths = told[f"batch{number}.length"]
    longest_first = np.argsort(-lengths, kind="stable")
    ends = np.argsort(lengths[longest_first], kind="stable")
    return ours.items(told[f"batch{number}.negative"][longest_first[ends]])[:, None]


@pytest.mark.parametrize("name", EPOCHS)
def test_epochs_of_prefix_batches_end_in_the_same_weights(
    recbole: RecBole, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in float64 without dropout, from the same weights, in the same order."""
    ours = our_side(recbole, name)
    told = ours.told.arrays
    n_batches = len(told["losses"]) // N_EPOCHS
    orders = orders_of_epochs(ours)
    monkeypatch.setattr(steps.np.random, "default_rng", lambda seed: next(orders))
    if ours.settings.loss_type == "BPR":
        numbers = iter(range(len(told["losses"])))
        monkeypatch.setattr(
            negatives, "sample_negatives", lambda *_, **__: their_negatives(ours, next(numbers))
        )
    state = fit(
        ours.model.double(),
        ours.dataset.histories,
        ours.split,
        ours.settings.model_copy(update={"epochs": N_EPOCHS}),
        device=CPU,
        validate=False,
    )
    sizes = [len(told[f"batch{number}.user"]) for number in range(n_batches)]
    their_loss = [
        np.average(losses, weights=sizes) for losses in told["losses"].reshape(N_EPOCHS, -1)
    ]
    assert [row["loss"] for row in state.history] == pytest.approx(their_loss, abs=1e-9)
    assert n_batches > 4
    before = weights(ours.told, "weight.", ours.item_map)
    for key, value in weights(ours.told, "after.", ours.item_map).items():
        torch.testing.assert_close(state.model[key], value, atol=1e-8, rtol=0)
        moved = not torch.equal(value.float(), before[key])
        assert moved is not (key == "entity_embedding.weight" and ours.settings.freeze_kg), key


def test_clipping_bites(recbole: RecBole) -> None:
    """Guards the test above: clipped and not clipped end apart."""
    clipped, plain = (recbole.case(name).arrays for name in ("epoch-clip", "epoch-unclipped"))
    after = "after.dense_layer.weight"
    assert np.abs(clipped[after] - plain[after]).max() > 1e-6


def test_training_stops_where_recbole_stops(recbole: RecBole) -> None:
    ours = our_side(recbole, "leave-one-out")
    settings = ours.settings.model_copy(update={"stopping_step": STOPPING_STEP, "epochs": 25})
    theirs = recbole.said("early_stopping")
    metric = settings.valid_metric.casefold()
    found = []
    for scores in SCORE_SEQUENCES:
        state = TrainingState()
        for score in scores:
            state.epoch += 1
            training.update_best(
                state, ours.model.state_dict, {metric: score}, settings, validate=True
            )
            if state.is_finished(settings):
                break
        found.append([state.best_score, state.best_epoch, state.epoch])
    assert found == theirs
    assert len({stopped_at for *_, stopped_at in theirs}) > 5


@pytest.mark.parametrize("name", MODELS)
def test_initial_values_are_drawn_alike(recbole: RecBole, name: str) -> None:
    """Not the same numbers, but the same spread in every parameter, the padding row included."""
    ours = our_side(recbole, name)
    theirs = weights(ours.told, "weight.", ours.item_map)
    for key, value in ours.fresh_model().state_dict().items():
        if key == "dense_layer.bias":
            assert not value.any()
            assert not theirs[key].any()
            continue
        assert float(value.std() / theirs[key].std()) == pytest.approx(1, abs=0.1), key
        assert float(value.abs().max() / theirs[key].abs().max()) == pytest.approx(1, abs=0.3), key
    padding = [
        table["item_embedding.weight"][0] for table in (ours.fresh_model().state_dict(), theirs)
    ]
    for row in padding:
        assert row.abs().min() > 0
