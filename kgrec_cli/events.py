"""What stages and core tell while they work. The console draws these; tests collect them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Note:
    """A line worth knowing."""

    text: str


@dataclass(frozen=True)
class Warn:
    """A line that should not be overlooked.

    Attributes:
        text: The line.
        on_results: True when all results rest on it: `train` and `evaluate` repeat those of
            `prepare`.
    """

    text: str
    on_results: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a task is. A task of a new name opens a new bar; done == total closes it.

    Attributes:
        task: What is being done, for instance "download ml-100k".
        done: How much of it is done, in `unit`.
        total: How much there is; None when that is not known.
        unit: "bytes", "epochs", "batches", ...
        detail: A few words beside the bar, for instance the loss.
        passing: True when its end is not worth a line of its own.
    """

    task: str
    done: float
    total: float | None
    unit: str = ""
    detail: str = ""
    passing: bool = False


@dataclass(frozen=True)
class EpochDone:
    """One training epoch.

    Attributes:
        epoch: Its number, from 1.
        epochs: The most there can be.
        loss: Mean loss per target.
        valid: Validation metrics by name ("ndcg@10"); empty when this epoch was not evaluated.
        best: Whether its validation score is the best so far.
        targets_per_s: Training speed.
        elapsed_s: Seconds of this epoch, evaluation included.
        remaining_s: Estimate of the seconds left if training goes on to `epochs`.
    """

    epoch: int
    epochs: int
    loss: float
    targets_per_s: float
    elapsed_s: float
    remaining_s: float
    best: bool = False
    valid: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Forecast:
    """What a long training has ahead of it, told once, by its first seconds.

    Attributes:
        epoch_s: Seconds of an epoch, without validation.
        epochs: The most there can be of a training.
        runs: Trainings.
        memory: Bytes that the process had at most so far; 0 where that is not known.
    """

    epoch_s: float
    epochs: int
    runs: int
    memory: int


@dataclass(frozen=True)
class RunStarted:
    """A run is about to be trained.

    Attributes:
        run_dir: Its folder; the name of the folder is that of the run.
        dataset: The name of its data set.
        settings: Its settings by name.
        epoch: Epochs that are done already, of a run that is resumed.
    """

    run_dir: Path
    dataset: str
    settings: Mapping[str, Any]
    epoch: int = 0


@dataclass(frozen=True)
class RunDone:
    """A run is trained and measured.

    Attributes:
        epoch: Its best epoch.
        metrics: By part and name: `test_masked/ndcg@10`.
    """

    epoch: int
    metrics: Mapping[str, float]


Event = Note | Warn | Progress | EpochDone | Forecast | RunStarted | RunDone
OnEvent = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """The listener of those who do not listen."""
