"""`kgrec estimate`: some seconds of a training; how long all of it takes, and what room it needs.

What is measured is the training itself: real steps, a validation, the measurement at its end. None
of it is written.
"""

import math
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from kgrec_cli.config import narrow
from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure_model
from kgrec_cli.core.memory import free_memory, peak_memory
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.core.pace import Enough, Pace
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.fit import TrainingState, fit, trained_weights, validation_metrics
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import EpochDone, Note, OnEvent
from kgrec_cli.runs.run_dir import choose_device
from kgrec_cli.settings import Settings
from kgrec_cli.stages.train import get_ready

PROBE_S = 5.0
"""Seconds of training that are watched; a validation and a measurement get a third each."""


@dataclass(frozen=True)
class Estimate:
    """What a command would take.

    Attributes:
        epoch_s: Seconds of an epoch, its validation included.
        validation_s: Seconds of them that are validation.
        epochs: The most there can be.
        can_stop_early: Whether early stopping may end a training before.
        runs: Trainings: seeds, or trials of a search.
        before_s: Seconds until the first step: loading.
        after_s: Seconds after the last epoch of each training.
        memory: Bytes at the peak, of all processes.
        disk: Bytes of files at the peak: a checkpoint is replaced by a new one beside it.
        free_memory: Bytes that no program held before; None where the system does not say.
        free_disk: Bytes that are free in the folder.
        at_once: Trainings at a time.
    """

    epoch_s: float
    validation_s: float
    epochs: int
    can_stop_early: bool
    runs: int
    before_s: float
    after_s: float
    memory: int
    disk: int
    free_memory: int | None
    free_disk: int
    at_once: int = 1

    @property
    def total_s(self) -> float:
        """Seconds at most."""
        rounds = math.ceil(self.runs / self.at_once)
        return self.before_s + rounds * (self.epochs * self.epoch_s + self.after_s)

    def as_json(self) -> dict[str, Any]:
        """The values, and `total_s`."""
        return {**asdict(self), "total_s": self.total_s}

    def check_room(self) -> None:
        """Checks that it fits.

        Raises:
            KgrecError: The memory, or the disk, has less.
        """
        for kind, needed, free in (
            ("memory", self.memory, self.free_memory),
            ("disk", self.disk, self.free_disk),
        ):
            if free is not None and needed > free:
                raise KgrecError(
                    f"does not fit: about {needed / 1e9:.1f} GB of {kind}, there are "
                    f"{free / 1e9:.1f} GB free"
                )


@dataclass(frozen=True)
class _Probed:
    """Seconds of an epoch's training, a validation, the last measurement; bytes of a checkpoint."""

    train_s: float
    valid_s: float
    after_s: float
    checkpoint: int


def estimate_training(
    settings: Settings,
    folder: Path,
    *,
    n_seeds: int = 1,
    on_all_data: bool = False,
    warm_start: Path | None = None,
    on_event: OnEvent,
) -> Estimate:
    """What `run_train` with the same arguments would take.

    Raises:
        KgrecError: As `run_train`.
    """
    began, free = time.perf_counter(), free_memory()
    ready = get_ready(settings, folder, on_all_data, warm_start, on_event)
    model = ready.make_model(settings, on_event)
    before_s = time.perf_counter() - began
    on_event(Note(f"training for {PROBE_S:g} seconds; nothing is written"))
    probed = _probe(
        model, ready.dataset.histories, ready.split, settings, PROBE_S,
        validate=not on_all_data,
    )  # fmt: skip
    return Estimate(
        epoch_s=probed.train_s + probed.valid_s / settings.eval_step,
        validation_s=probed.valid_s / settings.eval_step,
        epochs=settings.epochs,
        can_stop_early=not on_all_data and settings.stopping_step < settings.epochs,
        runs=n_seeds,
        before_s=before_s,
        after_s=probed.after_s,
        memory=peak_memory(),
        disk=2 * probed.checkpoint,
        free_memory=free,
        free_disk=shutil.disk_usage(folder).free,
    )


def _probe(
    model: GRU4RecKG,
    histories: Histories,
    split: Split,
    settings: Settings,
    seconds: float,
    *,
    validate: bool,
) -> _Probed:
    """Trains for some seconds, validates and measures for a third of that each."""
    training, state, done = narrow(settings, TrainingSettings), TrainingState(), list[EpochDone]()
    measuring, device = narrow(settings, MeasureSettings), choose_device(settings.device)
    n_targets = len(splits.train_targets(histories, split))
    valid, test = splits.valid_targets(histories, split), splits.test_targets(histories, split)
    valid_s = after_s = 0.0
    pace = Pace(seconds, "epoch ")
    with suppress(Enough):
        fit(
            model, histories, split, training, device=device, state=state, validate=validate,
            on_epoch=lambda state, event: done.append(event), on_event=pace,
        )  # fmt: skip
    if not state.best_model:
        state.best_model = {n: value.clone() for n, value in trained_weights(model).items()}
    train_s = [n_targets / event.targets_per_s for event in done]
    if any(event.valid for event in done):
        pairs = zip(done, train_s, strict=True)
        valid_s = median(event.elapsed_s - of_it for event, of_it in pairs if event.valid)
    elif validate:
        valid_s = _time_of(
            lambda pace: validation_metrics(model, histories, valid, training, device, pace),
            Pace(seconds / 3, "validation"), len(valid),
        )  # fmt: skip
    if validate:
        after_s = _time_of(
            lambda pace: measure_model(
                model, histories, split, measuring, parts=("test",), on_event=pace
            ),
            Pace(seconds / 3, "test targets"), len(test),
        )  # fmt: skip
        after_s *= 1 + len(valid) / max(len(test), 1)
    return _Probed(
        train_s=median(train_s[1:] or train_s) if done else (pace.unit_s or 0) * n_targets,
        valid_s=valid_s,
        after_s=after_s,
        checkpoint=_checkpoint_bytes(model, has_average=settings.ema_decay > 0),
    )


def _time_of(work: Callable[[Pace], object], pace: Pace, n: int) -> float:
    """The seconds of some work on `n` units: all of it, or as far as `pace` lets it come."""
    began = time.perf_counter()
    with suppress(Enough):
        work(pace)
        return time.perf_counter() - began
    return (pace.unit_s or 0) * n


def _checkpoint_bytes(model: GRU4RecKG, *, has_average: bool) -> int:
    """Bytes of a checkpoint: weights and averages; of what is trained the best, two moments too."""
    weights: int = sum(weight.nbytes for weight in model.state_dict().values())
    trained: int = sum(weight.nbytes for weight in trained_weights(model).values())
    return (2 if has_average else 1) * weights + 3 * trained
