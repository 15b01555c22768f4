"""Training GRU4RecKG: epochs of batches, validation, early stopping.

Everything random in an epoch follows from (seed, epoch), so a run that stopped after any epoch
continues to the numbers of one that did not.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from kgrec_cli.core.adam_state import pack_optimizer, unpack_optimizer
from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories, Ints
from kgrec_cli.core.data.shards import Borders
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.evaluation.measure import rank_metrics
from kgrec_cli.core.evaluation.ranking import draw_candidates, rank_targets, score_by
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.core.stored_tensors import all_finite, find_misfit, find_optimizer_misfit
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.core.training.gpu_epoch import GPUEpochRunner
from kgrec_cli.core.training.optimizer import build_optimizer
from kgrec_cli.core.workers import ALONE, Workers
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import EpochDone, OnEvent, Progress, ignore_event


@dataclass
class TrainingState:
    """All that a run needs to go on: what `fit` changes and a checkpoint keeps.

    Attributes:
        epoch: Finished epochs.
        model: Weights now.
        averaged: With `ema_decay` the averages of the weights and how many steps are in them.
        optimizer: Adam's state, as `torch.optim.Optimizer.state_dict` gives it; its settings are
            not read.
        best_epoch: The epoch whose validation score was best; 0 before the first evaluation.
        best_score: Its score, in `valid_metric`.
        best_model: Its weights, without frozen tables.
        n_not_better: Evaluations in a row that were not better.
        history: One row an epoch: epoch, loss, valid metrics, speed.
    """

    epoch: int = 0
    model: dict[str, Tensor] = field(default_factory=dict)
    averaged: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    best_score: float = -1.0
    best_model: dict[str, Tensor] = field(default_factory=dict)
    n_not_better: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def is_finished(self, settings: TrainingSettings) -> bool:
        """Whether training is over: all epochs done, or stopped early."""
        return self.epoch >= settings.epochs or self.n_not_better > settings.stopping_step


OnEpoch = Callable[[TrainingState, EpochDone], None]


def fit(
    model: GRU4RecKG,
    histories: Histories,
    split: Split,
    settings: TrainingSettings,
    *,
    device: torch.device,
    state: TrainingState | None = None,
    on_epoch: OnEpoch = lambda state, epoch: None,
    on_event: OnEvent = ignore_event,
    validate: bool = True,
    workers: Workers = ALONE,
) -> TrainingState:
    """Trains until early stopping or the last epoch, and leaves the best weights in the model.

    As in RecBole a score equal to the best counts as better, and training stops when more than
    `stopping_step` evaluations in a row were not better. With `ema_decay` the EMA of the weights
    is evaluated and saved.

    Differs from RecBole: where `eval_step` is larger than `epochs`, the last epoch is evaluated.

    Args:
        model: On `device`; its weights are the initial ones unless `state` is given. A `seen_bias`
            of 0 starts from what the training events say of repeats.
        histories: All histories, or this process's shard of them (`workers.share_out`).
        split: Which events train and which validate.
        settings: Everything else.
        device: Where to train.
        state: A state to go on from.
        on_epoch: Called after each epoch with the state (to save it) and the event; what it raises
            ends the training (pruning).
        on_event: Hears the progress within an epoch.
        validate: Whether to evaluate and to stop early; without it the last epoch is the best.
        workers: The processes that share every step and the validation; all come to the same state.

    Returns:
        The final state.

    Raises:
        KgrecError: No training target, or no validation target to stop by, or losses, weights or
            scores that are not finite. `on_epoch` has not seen that epoch.
    """
    whole = workers.borders or Borders(histories, split, 0)
    n_targets = splits.n_train_targets(whole.histories, whole.split)
    valid = splits.valid_targets(histories, split) if validate else np.zeros(0, dtype=np.int64)
    splits.check_targets(whole.histories, whole.split, validate=validate)
    optimizer = build_optimizer(model, settings, device, workers)
    state = state or TrainingState()
    if state.epoch == 0 and model.seen_bias is not None and not model.seen_bias.any():
        n_items = model.item_embedding.num_embeddings
        with torch.no_grad():
            ratio = splits.repeat_log_ratio(histories, split, n_items, workers.total)
            model.seen_bias.fill_(ratio)
    if state.epoch:
        model.load_state_dict(state.model)
        state.model = model.state_dict()  # those of the checkpoint are not kept beside them
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({**state.optimizer, "param_groups": groups})
    averaged = average_weights(model, settings.ema_decay) if settings.ema_decay else None
    if averaged is not None and state.epoch:
        averaged.load_state_dict(state.averaged)
    measured = cast(GRU4RecKG, model if averaged is None else averaged.module)
    after_step = (lambda: None) if averaged is None else partial(averaged.update_parameters, model)
    make_runner = EpochRunner if device.type == "cpu" else GPUEpochRunner
    runner = make_runner(model, optimizer, histories, split, settings, device, after_step, workers)
    while not state.is_finished(settings):
        began = time.perf_counter()
        epoch = state.epoch + 1
        loss = runner.run(epoch, n_targets, on_event)
        _check_weights(model, epoch, settings.learning_rate)
        trained_s = time.perf_counter() - began
        metrics: dict[str, float] = {}
        is_last_chance = epoch == settings.epochs < settings.eval_step
        if validate and (epoch % settings.eval_step == 0 or is_last_chance):
            metrics = validation_metrics(
                measured, histories, valid, settings, device, on_event, workers
            )
        state.epoch = epoch
        is_best = update_best(
            state, partial(trained_weights, measured), metrics, settings, validate=validate
        )
        elapsed_s = time.perf_counter() - began
        event = EpochDone(
            epoch=state.epoch,
            epochs=settings.epochs,
            loss=loss,
            targets_per_s=n_targets / trained_s,
            elapsed_s=elapsed_s,
            remaining_s=elapsed_s * (settings.epochs - state.epoch),
            best=is_best,
            valid=metrics,
        )
        state.model = model.state_dict()
        state.averaged = {} if averaged is None else averaged.state_dict()
        state.optimizer = optimizer.state_dict()
        state.history.append(
            {
                "epoch": state.epoch,
                "loss": loss,
                "valid": metrics,
                "targets_per_s": round(event.targets_per_s, 1),
                "elapsed_s": round(elapsed_s, 3),
            }
        )
        on_epoch(state, event)
    if state.best_model:
        model.load_state_dict(state.best_model, strict=False)  # frozen tables stay
    return state


def _check_weights(model: GRU4RecKG, epoch: int, learning_rate: float) -> None:
    """Checks that the weights are finite: the last step of an epoch can spoil them unnoticed."""
    if not all(all_finite(weight.detach()) for weight in model.parameters()):
        raise KgrecError(
            f"epoch {epoch}: weights that are not finite numbers; a lower learning_rate (now "
            f"{learning_rate:g}) is the usual cure"
        )


def trained_weights(model: GRU4RecKG) -> dict[str, Tensor]:
    """The weights that training changes, by name: all but frozen tables. No copies."""
    return {
        name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad
    }


def average_weights(model: GRU4RecKG, decay: float) -> AveragedModel:
    """Weights that follow the model's by `update_parameters`, after every step of the optimizer.

    Exponential moving averages (Polyak & Juditsky 1992) whose decay begins low: after n steps it
    is (1 + n) / (10 + n) and `decay` at most, so they are over the last ninth of the steps or so,
    however many an epoch has (Shamir & Zhang 2013 average so; TensorFlow's rule and numbers).
    """

    def follow(averages: Any, weights: Any, _: Any) -> None:
        n_steps = int(averaged.n_averaged)  # on the CPU, so that nothing waits for the device
        share = max(1 - decay, 9 / (n_steps + 10))
        torch._foreach_lerp_(averages, weights, share)

    averaged = AveragedModel(model, multi_avg_fn=follow)
    for module in averaged.modules():
        if isinstance(module, torch.nn.GRU):
            module.flatten_parameters()  # a copy's weights lie apart, which cuDNN is slow with
    return averaged


def update_best(
    state: TrainingState,
    weights: Callable[[], dict[str, Tensor]],
    metrics: dict[str, float],
    settings: TrainingSettings,
    *,
    validate: bool = True,
) -> bool:
    """Keeps the weights when the epoch is the best so far, and counts those that are not."""
    score = metrics.get(settings.valid_metric.casefold())
    if validate and score is None:
        return False
    if not validate or (score is not None and score >= state.best_score):
        state.best_score = 0.0 if score is None else score
        state.best_epoch = state.epoch
        state.best_model = {}  # first, so that the memory never holds two
        state.best_model = {name: value.clone() for name, value in weights().items()}
        state.n_not_better = 0
        return validate
    state.n_not_better += 1
    return False


def validation_metrics(
    model: GRU4RecKG,
    histories: Histories,
    targets: Ints,
    settings: TrainingSettings,
    device: torch.device,
    on_event: OnEvent = ignore_event,
    workers: Workers = ALONE,
) -> dict[str, float]:
    """The metrics of ranks for some targets, seen items not masked; `valid_metric` comes first."""
    model.eval()
    n_items = model.item_embedding.num_embeddings
    ranking = rank_targets(
        score_by(model, histories, max_length=settings.MAX_ITEM_LIST_LENGTH, device=device),
        histories,
        targets,
        n_items=n_items,
        eval_batch_size=settings.eval_batch_size,
        candidates=draw_candidates(
            settings.eval_args.mode_of("valid"), histories, targets, n_items, settings.seed, workers
        ),
        masked=False,
        on_chunk=lambda n_done: on_event(
            Progress("validation", n_done, len(targets), "ranked", passing=True)
        ),
        workers=workers,
    )
    name, _, cutoff = settings.valid_metric.partition("@")
    values = rank_metrics(ranking.ranks, [name], [int(cutoff)])
    return values | rank_metrics(ranking.ranks, settings.metrics, settings.topk)


def pack_state(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state as tensors by name and a JSON value, for a checkpoint file."""
    weights = {"model": state.model, "best": state.best_model, "averaged": state.averaged}
    tensors = {
        f"{kind}.{name}": value
        for kind, of_kind in weights.items()
        for name, value in of_kind.items()
    }
    meta = {
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
        "n_not_better": state.n_not_better,
        "history": state.history,
    }
    return tensors | pack_optimizer(state.optimizer, "optimizer"), meta


def unpack_state(tensors: dict[str, Tensor], meta: dict[str, Any]) -> TrainingState:
    """The state that `pack_state` packed."""
    weights: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "averaged": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind in weights:
            weights[kind][rest] = value
    return TrainingState(
        epoch=meta["epoch"],
        model=weights["model"],
        averaged=weights["averaged"],
        optimizer=unpack_optimizer(tensors, "optimizer", []),
        best_epoch=meta["best_epoch"],
        best_score=meta["best_score"],
        best_model=weights["best"],
        n_not_better=meta["n_not_better"],
        history=meta["history"],
    )


def find_state_misfit(state: TrainingState, model: GRU4RecKG, *, has_average: bool) -> str | None:
    """Why a state is not of this model, in a few words; None when it is.

    Args:
        state: After one epoch or more.
        model: A new one, of the same settings.
        has_average: Whether `ema_decay` is set.
    """
    weights = model.state_dict()
    trained = trained_weights(model)  # earlier versions kept the frozen tables too
    best = {name: weights[name] for name in weights if name in trained | state.best_model}
    averages = {f"module.{name}": weight for name, weight in weights.items()} | {
        "n_averaged": torch.tensor(0)
    }
    parameters = [weight for weight in model.parameters() if weight.requires_grad]
    return (
        find_misfit(state.model, weights)
        or find_misfit(state.best_model, best if state.best_epoch else {})
        or find_misfit(state.averaged, averages if has_average else {})
        or find_optimizer_misfit(state.optimizer["state"], parameters)
    )
