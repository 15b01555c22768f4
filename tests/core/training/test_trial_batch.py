"""Many trainings in one step: the numbers of each are those of a training alone."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from kgrec_cli.core.data.splits import split_leave_one_out, train_targets, valid_targets
from kgrec_cli.core.evaluation.ranking import rank_targets, score_by
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, build_model
from kgrec_cli.core.training.epoch import EpochRunner
from kgrec_cli.core.training.trial_batch import TrialBatch, rank_valid
from kgrec_cli.core.training.trial_rows import EpochRows, ValidRows
from kgrec_cli.events import ignore_event
from kgrec_cli.settings import Settings
from tests.core.training.test_gpu_epoch import CPU, N_ITEMS, make_histories

HISTORIES = make_histories()
SPLIT = split_leave_one_out(HISTORIES)
N_TARGETS = len(train_targets(HISTORIES, SPLIT))
BASE = {"embedding_size": 6, "hidden_size": 8, "train_batch_size": 60, "MAX_ITEM_LIST_LENGTH": 7,
        "epochs": 5}  # fmt: skip
TRIALS: list[dict[str, Any]] = [
    {"learning_rate": 0.01, "dropout_prob": 0.0, "seed": 1},
    {"learning_rate": 0.003, "dropout_prob": 0.3, "seed": 1},
    {"learning_rate": 0.02, "dropout_prob": 0.5, "seed": 7, "weight_decay": 0.01},
]
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "whole histories": {"MAX_ITEM_LIST_LENGTH": 50},
    "one step": {"train_batch_size": 10_000},
    "two layers": {"num_layers": 2},
    "trained vectors": {"freeze_kg": False},
    "padding drawn": {"recbole_compat": True, "train_batching": "sequence"},
    "layer norm, items of the graph, ties": {
        "layer_norm": True, "kg_items": True, "shuffle_ties": True, "hidden_dropout_prob": 0.2,
    },
}  # fmt: skip


def make_model(settings: Settings, width: int = 4) -> GRU4RecKG:
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, width)).astype(np.float32)
    vectors[0] = 0
    return build_model(settings, N_ITEMS, {"entity": vectors}, CPU).double()


def train_alone(settings: Settings, n_epochs: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    model = make_model(settings)
    optimizer = torch.optim.Adam(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True,
    )  # fmt: skip
    runner = EpochRunner(model, optimizer, HISTORIES, SPLIT, settings, CPU)
    losses = [runner.run(epoch, N_TARGETS, ignore_event) for epoch in range(1, n_epochs + 1)]
    return losses, model.state_dict()


def make_batch(width: int, settings: Settings, *, like_gpu: bool) -> TrialBatch:
    model = make_model(settings)
    rows = EpochRows(HISTORIES, SPLIT, settings, CPU)
    return TrialBatch(width, model, rows, CPU, like_gpu=like_gpu)


def train(batch: TrialBatch, *epochs: int) -> list[float]:
    batch.train(epochs)
    return (batch.losses() / N_TARGETS).tolist()


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize("like_gpu", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_each_trial_alone(name: str, like_gpu: bool) -> None:
    """Trials begin at different times; one leaves and another takes its place."""
    off = {"dropout_prob": 0.0, "hidden_dropout_prob": 0.0} if like_gpu else {}
    trials = [Settings.model_validate({**BASE, **t, **CASES[name], **off}) for t in TRIALS]
    alone = [train_alone(settings, n) for settings, n in zip(trials, (2, 3, 3), strict=True)]
    batch = make_batch(2, trials[0], like_gpu=like_gpu)
    batch.start(0, make_model(trials[0]), trials[0])
    first = [train(batch, 1, 0)[0]]
    batch.start(1, make_model(trials[1]), trials[1])
    second = train(batch, 2, 1)
    assert first + second[:1] == pytest.approx(alone[0][0], abs=1e-9)
    same(batch.weights_of(0), alone[0][1])
    batch.start(0, make_model(trials[2]), trials[2])
    third = [train(batch, 1, 2), train(batch, 2, 3)]
    assert [second[1], *(row[1] for row in third)] == pytest.approx(alone[1][0], abs=1e-9)
    same(batch.weights_of(1), alone[1][1])
    batch.resize([0], 1)
    last = train(batch, 3)
    assert [third[0][0], third[1][0], *last] == pytest.approx(alone[2][0], abs=1e-9)
    same(batch.weights_of(0), alone[2][1])


def test_dropout_of_a_gpu_does_not_depend_on_companions() -> None:
    settings = Settings.model_validate({**BASE, "dropout_prob": 0.5, "hidden_dropout_prob": 0.25})
    other = settings.model_copy(update={"learning_rate": 0.1, "dropout_prob": 0.1})
    found = []
    for companions in ([settings], [other, settings, other]):
        batch = make_batch(len(companions), settings, like_gpu=True)
        for slot, each in enumerate(companions):
            batch.start(slot, make_model(each), each)
        for epoch in (1, 2):
            train(batch, *[epoch] * len(companions))
        found.append(batch.weights_of(companions.index(settings)))
    same(found[1], found[0])


def test_dropout_of_a_gpu_drops_its_share() -> None:
    settings = Settings.model_validate({**BASE, "dropout_prob": 0.25})
    batch = make_batch(1, settings, like_gpu=True)
    batch.start(0, make_model(settings), settings)
    (factors, _) = batch._draw_like_gpu([(400, 100), (1, 0)])
    assert sorted(factors.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert float((factors == 0).double().mean()) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("name", ["defaults", "two layers", "layer norm, items of the graph, ties"])
def test_ranks_are_those_of_each_model_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgrec_cli.core.training.trial_rows.READ_NUMBERS", 7 * 7 * 6 * 3 * 8)
    trials = [Settings.model_validate({**BASE, **t, **CASES[name]}) for t in TRIALS]
    batch = make_batch(3, trials[0], like_gpu=True)
    models = [make_model(settings) for settings in trials]
    for slot, (model, settings) in enumerate(zip(models, trials, strict=True)):
        batch.start(slot, model, settings)
    train(batch, 1, 1, 1)
    targets = valid_targets(HISTORIES, SPLIT)
    found = rank_valid(batch, ValidRows(HISTORIES, targets, 7, batch.n_gates, CPU))
    for slot, model in enumerate(models):
        model.load_state_dict(batch.weights_of(slot))
        score = score_by(copy.deepcopy(model).eval(), HISTORIES, max_length=7, device=CPU)
        expected = rank_targets(score, HISTORIES, targets, n_items=N_ITEMS).ranks
        assert found[slot].tolist() == expected.tolist()
