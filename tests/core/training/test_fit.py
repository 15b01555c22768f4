"""Training: a known answer, early stopping, determinism, resume to the same numbers."""

from typing import Any

import numpy as np
import pytest
import torch

from kgrec_cli.core.data.histories import Histories
from kgrec_cli.core.data.splits import repeat_log_ratio, split_all, split_leave_one_out
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training import fit as training
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.core.training.fit import (
    TrainingState,
    find_state_misfit,
    fit,
    pack_state,
    unpack_state,
)
from kgrec_cli.errors import KgrecError
from kgrec_cli.runs.run_dir import choose_device
from kgrec_cli.setting_blocks import NegativeSampling
from kgrec_cli.settings import Settings
from tests.core.data.test_histories import make_histories

CPU = torch.device("cpu")
CYCLE = Settings(
    model="GRU4Rec", embedding_size=16, hidden_size=16, learning_rate=0.02, train_batch_size=64,
    epochs=25, dropout_prob=0.0, topk=(1,), valid_metric="Hit@1",
)  # fmt: skip


def cycle(n_users: int = 24, n_items: int = 8) -> Histories:
    """Every user goes round 1 -> 2 -> ... -> n -> 1, from a place of their own."""
    return make_histories(
        *([1 + (user + step) % n_items for step in range(12)] for user in range(n_users))
    )


def train(
    settings: Settings, histories: Histories, **more
) -> tuple[TrainingState, torch.nn.Module]:
    kg = settings.model == "GRU4RecKG"
    tables = {"entity": np.eye(9, settings.embedding_size, dtype=np.float32)} if kg else {}
    model = build_model(settings, 9, tables, CPU)
    split = split_leave_one_out(histories)
    return fit(model, histories, split, settings, device=CPU, **more), model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train_batching": "prefix"},
        {"loss_type": "BPR", "train_neg_sample_args": {"sample_num": 4}},
        {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 4}},
        {"model": "GRU4RecKG", "freeze_kg": False},
        {"num_layers": 2},
        {"seen_bias": True},
        {"shuffle_ties": True},
        {"model": "GRU4RecKG", "kg_items": True},
        {"layer_norm": True},
    ],
    ids=[
        *("sequence", "prefix", "bpr", "ssm", "kg", "two-layers", "seen", "ties", "kg-items"),
        "layer-norm",
    ],
)
def test_a_small_model_learns_a_cycle(changes: dict) -> None:
    settings = Settings.model_validate({**CYCLE.model_dump(), **changes})
    state, _ = train(settings, cycle())
    assert state.best_score == 1.0


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    settings = CYCLE.model_copy(update={"epochs": 3, "dropout_prob": 0.2})
    first, second = (train(settings, cycle())[0] for _ in range(2))
    other, _ = train(settings.model_copy(update={"seed": 1}), cycle())
    losses = [[row["loss"] for row in state.history] for state in (first, second, other)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize("batching", ["sequence", "prefix"])
def test_the_number_for_seen_items_follows_what_the_data_repeat(batching: str) -> None:
    changes = {"seen_bias": True, "epochs": 8, "train_batching": batching}
    settings = CYCLE.model_copy(update=changes)
    lists = np.random.default_rng(0).permuted(np.tile(np.arange(1, 9), (40, 1)), axis=1)
    never, _ = train(settings, make_histories(*lists.tolist()))
    again = make_histories(*np.repeat(lists[:, :4], 3, axis=1).tolist())
    often, _ = train(settings, again)
    assert never.model["seen_bias"] < -4 < 0.5 < often.model["seen_bias"]
    for state, histories in ((never, make_histories(*lists.tolist())), (often, again)):
        initial = repeat_log_ratio(histories, split_leave_one_out(histories), 9)
        assert abs(float(state.model["seen_bias"]) - initial) > 0.005  # it was trained


def test_bpr_draws_negatives_by_popularity_when_told() -> None:
    """Item 4 is the target; of the others' 41 events item 1 has 30, item 2 has 10, item 3 one."""
    histories = make_histories([1] * 30 + [2] * 10 + [3, 4])
    negatives = NegativeSampling(distribution="popularity", sample_num=4_000)
    settings = TrainingSettings(loss_type="BPR", negatives=negatives)
    model = build_model(ModelSettings(embedding_size=4, hidden_size=4), 5, {}, CPU)
    optimizer = torch.optim.Adam(model.parameters())
    runner = EpochRunner(model, optimizer, histories, split_all(histories), settings, CPU)
    generator = torch.Generator().manual_seed(0)
    drawn = runner.sample_negatives(torch.tensor([4]), generator=generator)
    shares = torch.bincount(drawn.flatten(), minlength=5) / 4_000
    torch.testing.assert_close(shares, torch.tensor([0, 30, 10, 1, 0]) / 41, rtol=0, atol=0.03)


class Kill(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 3])
@pytest.mark.parametrize(
    "more",
    [
        {"loss_type": "CE"},
        {"loss_type": "BPR"},
        {"loss_type": "SSM"},
        {"loss_type": "SSM", "learner": "sparse_adam", "freeze_kg": False},
        {"seen_bias": True, "shuffle_ties": True, "ema_decay": 0.9},
    ],
    ids=["ce", "bpr", "ssm", "sparse", "options"],
)
def test_a_run_that_was_killed_resumes_to_the_same_numbers(stop_after: int, more: dict) -> None:
    changes = {"epochs": 6, "dropout_prob": 0.3, "model": "GRU4RecKG", **more}
    settings = CYCLE.model_copy(update=changes)
    whole, whole_model = train(settings, cycle())
    kept = {}

    def kill(state: TrainingState, event: object) -> None:
        kept["tensors"], kept["meta"] = pack_state(state)
        kept["tensors"] = {name: value.clone() for name, value in kept["tensors"].items()}
        if state.epoch == stop_after:
            raise Kill

    with pytest.raises(Kill):
        train(settings, cycle(), on_epoch=kill)
    state = unpack_state(kept["tensors"], kept["meta"])
    resumed, model = train(settings, cycle(), state=state)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    assert resumed.best_epoch == whole.best_epoch
    for name, value in whole_model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_early_stopping_counts_as_recbole(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.1, 0.3, 0.3, 0.2, 0.2, 0.2, 0.9])
    monkeypatch.setattr(training, "validation_metrics", lambda *args: {"hit@1": next(scores)})
    settings = CYCLE.model_copy(update={"stopping_step": 2})
    state, _ = train(settings, cycle())
    # equal counts as better (epoch 3); three worse in a row exceed stopping_step 2 (epoch 6)
    assert (state.best_epoch, state.epoch) == (3, 6)


def test_the_best_weights_are_left_in_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.9, 0.1])
    monkeypatch.setattr(training, "validation_metrics", lambda *args: {"hit@1": next(scores)})
    seen = []

    def remember(state: TrainingState, event: object) -> None:
        seen.append(state.model["dense_layer.weight"].clone())

    _, model = train(CYCLE.model_copy(update={"epochs": 3}), cycle(), on_epoch=remember)
    assert torch.equal(model.dense_layer.weight, seen[1])
    assert not torch.equal(model.dense_layer.weight, seen[2])


@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_averaged_weights_are_measured_and_kept(
    decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, measured = [], []
    init = training.EpochRunner.__init__

    def remember_steps(
        runner: training.EpochRunner, model: Any, optimizer: Any, *more: Any
    ) -> None:
        init(runner, model, optimizer, *more)
        weight = model.dense_layer.weight
        optimizer.register_step_post_hook(lambda *_: weights.append(weight.detach().clone()))

    def measure(model: Any, *given: Any) -> dict[str, float]:
        measured.append(model.dense_layer.weight.detach().clone())
        return {"hit@1": [0.1, 0.3, 0.2][len(measured) - 1]}

    monkeypatch.setattr(training.EpochRunner, "__init__", remember_steps)
    monkeypatch.setattr(training, "validation_metrics", measure)
    changes = {"ema_decay": decay, "epochs": 3, "train_batch_size": 32}
    _, model = train(CYCLE.model_copy(update=changes), cycle())
    average, averages = weights[0], []
    for n_before, weight in enumerate(weights):
        average = average + max(1 - decay, 9 / (n_before + 10)) * (weight - average)
        averages.append(average)
    n_steps = len(weights) // 3
    assert n_steps > 4
    for found, expected in zip(measured, averages[n_steps - 1 :: n_steps], strict=True):
        assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(model.dense_layer.weight, measured[1])


def test_eval_step_leaves_epochs_without_metrics() -> None:
    state, _ = train(CYCLE.model_copy(update={"epochs": 4, "eval_step": 2}), cycle())
    assert [bool(row["valid"]) for row in state.history] == [False, True, False, True]


def test_a_fit_on_all_data_takes_the_last_epoch() -> None:
    settings = CYCLE.model_copy(update={"epochs": 2})
    model = build_model(settings, 9, {}, CPU)
    state = fit(model, cycle(), split_all(cycle()), settings, device=CPU, validate=False)
    assert state.best_epoch == state.epoch == 2


def test_frozen_vectors_stay_and_free_ones_move() -> None:
    for freeze in (True, False):
        settings = CYCLE.model_copy(update={"model": "GRU4RecKG", "freeze_kg": freeze, "epochs": 1})
        _, model = train(settings, cycle())
        moved = not torch.equal(model.entity_embedding.weight, torch.eye(9, 16))
        assert moved is not freeze


def test_an_empty_part_is_one_clear_line() -> None:
    with pytest.raises(KgrecError, match="validation part is empty"):
        train(CYCLE, make_histories([1, 2, 3], [4, 5]))
    with pytest.raises(KgrecError, match="training part is empty"):
        train(CYCLE, make_histories([1], [2]))


def test_a_loss_that_is_not_a_number_is_one_clear_line() -> None:
    with pytest.raises(KgrecError, match="lower learning_rate"):
        train(CYCLE.model_copy(update={"learning_rate": 1e30}), cycle())


def test_a_device_that_is_not_there_is_one_clear_line() -> None:
    assert choose_device("cpu") == CPU
    with pytest.raises(KgrecError, match="CUDA devices"):
        choose_device("cuda:99")


def test_weights_that_the_last_step_spoils_end_the_training_before_they_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loss of the epoch is finite: it is computed before the step."""
    kept = []
    run = EpochRunner.run

    def run_and_spoil(self: EpochRunner, epoch: int, *more: Any) -> float:
        loss = run(self, epoch, *more)
        if epoch == 3:
            with torch.no_grad():
                self.model.dense_layer.bias[1] = torch.nan
        return loss

    monkeypatch.setattr(EpochRunner, "run", run_and_spoil)
    with pytest.raises(KgrecError, match=r"^epoch 3: weights .* not finite .* lower learning_rate"):
        train(CYCLE, cycle(), on_epoch=lambda state, event: kept.append(state.epoch))
    assert kept == [1, 2]


@pytest.mark.parametrize(
    ("epochs", "eval_step", "evaluated"), [(3, 5, [3]), (3, 3, [3]), (5, 2, [2, 4]), (1, 9, [1])]
)
def test_the_last_epoch_is_evaluated_when_eval_step_is_larger(
    epochs: int, eval_step: int, evaluated: list[int]
) -> None:
    settings = CYCLE.model_copy(update={"epochs": epochs, "eval_step": eval_step})
    state, _ = train(settings, cycle())
    assert [row["epoch"] for row in state.history if row["valid"]] == evaluated
    assert state.best_epoch in evaluated


def test_a_frozen_table_is_not_kept_twice_and_older_checkpoints_that_did_are_taken() -> None:
    settings = CYCLE.model_copy(update={"epochs": 1, "model": "GRU4RecKG"})
    state, model = train(settings, cycle())
    table = model.state_dict()["entity_embedding.weight"]
    assert "entity_embedding.weight" in state.model
    assert "entity_embedding.weight" not in state.best_model
    assert find_state_misfit(state, model, has_average=False) is None
    state.best_model["entity_embedding.weight"] = table
    assert find_state_misfit(state, model, has_average=False) is None
    state.best_model["entity_embedding.weight"] = table[:-1]
    assert "is 8 x 16" in str(find_state_misfit(state, model, has_average=False))
