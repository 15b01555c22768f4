"""What stages and core tell while they work. The console draws these; tests collect them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


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


Event = Note | Warn | Progress | EpochDone
OnEvent = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """The listener of those who do not listen."""
