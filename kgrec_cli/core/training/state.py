"""What a training is told, and what it must keep to go on: as tensors and JSON in a checkpoint."""

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from kgrec_cli.core.evaluation.measure import MeasureSettings
from kgrec_cli.settings import GradientNorm, NegativeSampling


@dataclass(frozen=True)
class TrainingSettings(MeasureSettings):
    """Batches, loss, optimiser and early stopping; what `MeasureSettings` holds is for validation.

    Attributes:
        negatives: Those of the losses BPR and SSM.
    """

    epochs: int = 300
    train_batch_size: int = 2048
    train_batching: Literal["sequence", "prefix"] = "sequence"
    shuffle_ties: bool = False
    loss_type: Literal["CE", "BPR", "SSM"] = "CE"
    negatives: NegativeSampling = field(default_factory=NegativeSampling)
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    clip_grad_norm: GradientNorm | None = None
    ema_decay: float = 0.0
    enable_amp: bool = False
    eval_step: int = 1
    stopping_step: int = 10
    valid_metric: str = "NDCG@10"


@dataclass
class TrainingState:
    """All that a run needs to go on: what `fit` changes and a checkpoint keeps.

    Attributes:
        epoch: Finished epochs.
        model: Weights now.
        averaged: With `ema_decay` the averages of the weights and how many steps are in them.
        optimizer: Adam's state, as `torch.optim.Optimizer.state_dict` gives it.
        best_epoch: The epoch whose validation score was best; 0 before the first evaluation.
        best_score: Its score, in `valid_metric`.
        best_model: Its weights.
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


def pack_state(state: TrainingState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state as tensors by name and a JSON value, for a checkpoint file."""
    tensors = {f"model.{name}": value for name, value in state.model.items()}
    tensors |= {f"best.{name}": value for name, value in state.best_model.items()}
    tensors |= {f"averaged.{name}": value for name, value in state.averaged.items()}
    for index, slots in state.optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
    meta = {
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
        "n_not_better": state.n_not_better,
        "history": state.history,
        "param_groups": state.optimizer["param_groups"],
    }
    return tensors, meta


def unpack_state(tensors: dict[str, Tensor], meta: dict[str, Any]) -> TrainingState:
    """The state that `pack_state` packed."""
    slots: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "averaged": {}}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, slot = rest.partition(".")
            slots.setdefault(int(index), {})[slot] = value
        else:
            weights[kind][rest] = value
    return TrainingState(
        epoch=meta["epoch"],
        model=weights["model"],
        averaged=weights["averaged"],
        optimizer={"state": slots, "param_groups": meta["param_groups"]},
        best_epoch=meta["best_epoch"],
        best_score=meta["best_score"],
        best_model=weights["best"],
        n_not_better=meta["n_not_better"],
        history=meta["history"],
    )
