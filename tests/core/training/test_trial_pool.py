"""Trials that train together end as each does alone: scores, best weights, early stopping."""

from typing import Any

import pytest
import torch

from kgrec_cli.core.training.fit import fit
from kgrec_cli.core.training.trial_pool import Trial, TrialPool, why_alone
from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings
from tests.core.training.test_gpu_epoch import CPU
from tests.core.training.test_trial_batch import BASE, HISTORIES, SPLIT, make_model

POINTS: list[dict[str, Any]] = [
    {"learning_rate": 0.05, "num_layers": 1, "epochs": 9, "stopping_step": 1},
    {"learning_rate": 0.003, "num_layers": 2, "epochs": 3, "eval_step": 2},
    {"learning_rate": 0.001, "num_layers": 1, "epochs": 2, "eval_step": 5},
    {"learning_rate": 0.02, "num_layers": 1, "epochs": 5, "stopping_step": 1, "seed": 3},
    {"learning_rate": 0.02, "num_layers": 2, "epochs": 4, "dropout_prob": 0.3},
]


def at_point(point: dict[str, Any], *, like_gpu: bool) -> Settings:
    off = {"dropout_prob": 0.0} if like_gpu else {}
    return Settings.model_validate({**BASE, **point, **off})


def add(pool: TrialPool, number: int, settings: Settings) -> None:
    trial = Trial(number, make_model(settings), settings, lambda *found: list(found))
    pool.add(settings.num_layers, trial, HISTORIES, SPLIT)


@pytest.mark.parametrize("like_gpu", [False, True])
def test_each_ends_as_alone(like_gpu: bool) -> None:
    pool = TrialPool(CPU, like_gpu=like_gpu)
    waiting = list(enumerate(POINTS))
    found: dict[int, Any] = {}
    scores: dict[int, list[Any]] = {}
    while waiting or pool.n_running:
        while waiting and pool.n_running < 3:
            number, point = waiting.pop(0)
            add(pool, number, at_point(point, like_gpu=like_gpu))
        for number, message in pool.advance():
            if isinstance(message, tuple):
                scores.setdefault(number, []).append(message)
            else:
                found[number] = message
    for number, point in enumerate(POINTS):
        settings = at_point(point, like_gpu=like_gpu)
        model = make_model(settings)
        state = fit(model, HISTORIES, SPLIT, settings, device=CPU)
        trained, ended = found[number]
        assert (ended.epoch, ended.best_epoch) == (state.epoch, state.best_epoch)
        for row, expected in zip(ended.history, state.history, strict=True):
            assert row["loss"] == pytest.approx(expected["loss"], abs=1e-9)
            assert row["valid"] == expected["valid"]
        judged = [(row["epoch"], row["valid"]["ndcg@10"]) for row in state.history if row["valid"]]
        assert scores[number] == judged
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(trained.state_dict()[name], weight, rtol=0, atol=1e-9)


@pytest.mark.parametrize("like_gpu", [False, True])
def test_a_trial_that_diverges_fails_alone(like_gpu: bool) -> None:
    pool = TrialPool(CPU, like_gpu=like_gpu)
    add(pool, 0, at_point({"learning_rate": 1e300, "epochs": 3}, like_gpu=like_gpu))
    add(pool, 1, at_point({"learning_rate": 0.01, "epochs": 3}, like_gpu=like_gpu))
    outcomes = {}
    while pool.n_running:
        outcomes |= {n: m for n, m in pool.advance() if not isinstance(m, tuple)}
    assert isinstance(outcomes[0], KgrecError)
    assert "lower learning_rate (now 1e+300)" in str(outcomes[0])
    assert outcomes[1][1].epoch == 3


def test_a_trial_that_is_dropped_leaves_the_others() -> None:
    pool = TrialPool(CPU)
    for number in range(2):
        add(pool, number, at_point({"epochs": 3}, like_gpu=False))
    told = []
    while pool.n_running:
        for number, message in pool.advance():
            if isinstance(message, tuple):
                told.append((number, message[0]))
                if number == 0 and message[0] == 2:
                    pool.drop(0)
    assert told == [(0, 1), (1, 1), (0, 2), (1, 2), (1, 3)]


def test_what_trains_alone() -> None:
    settings = Settings(embedding_size=6, hidden_size=8)
    assert why_alone(settings, make_model(settings)) == ""
    for change in ({"loss_type": "BPR"}, {"ema_decay": 0.9}, {"seen_bias": True},
                   {"train_batching": "prefix"}, {"enable_amp": True}):  # fmt: skip
        settings = Settings.model_validate({"embedding_size": 6, "hidden_size": 8, **change})
        assert why_alone(settings, make_model(settings)) == next(iter(change))
