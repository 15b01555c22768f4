"""Trials of a search that train together: those of equal shapes make the steps of one batch.

What `fit` is for one training: epochs, validation, early stopping, the best weights. Groups of
trials take turns; on a GPU each has a stream, and one is judged while the others compute.
"""

from collections.abc import Callable, Generator, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.evaluation.measure import rank_metrics
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.core.training.epoch import TrainingSettings, check_loss
from kgrec_cli.core.training.fit import TrainingState, update_best, validation_metrics
from kgrec_cli.core.training.trial_batch import TrialBatch, rank_valid
from kgrec_cli.core.training.trial_rows import EpochRows, ValidRows
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, Progress, ignore_event


def why_alone(settings: TrainingSettings, model: GRU4RecKG) -> str:
    """The setting for which trials train one by one; "" for none."""
    reasons = {
        "train_batching": settings.train_batching != "sequence",
        "loss_type": settings.loss_type != "CE",
        "clip_grad_norm": settings.clip_grad_norm is not None,
        "ema_decay": settings.ema_decay > 0,
        "seen_bias": model.seen_bias is not None,
        "residual": model.residual,
        "similarity": model.score_scale is not None,
        "enable_amp": settings.enable_amp,
        "eval_args": settings.eval_args.mode_of("valid") != "full",
    }
    return next((name for name, holds in reasons.items() if holds), "")


@dataclass
class Trial:
    """A trial of the pool: `model` has its initial weights, at the end its best ones."""

    number: int
    model: GRU4RecKG
    settings: TrainingSettings
    finish: Callable[[GRU4RecKG, TrainingState], Any]
    state: TrainingState = field(default_factory=TrainingState)

    @property
    def is_judged(self) -> bool:
        """Whether the epoch that comes next is evaluated."""
        epoch, settings = self.state.epoch + 1, self.settings
        return epoch % settings.eval_step == 0 or epoch == settings.epochs < settings.eval_step


@dataclass
class Group:
    """Trials of equal shapes; `slots` are those of the batch, `found` what an epoch gave."""

    batch: TrialBatch
    histories: Histories
    targets: np.ndarray
    n_targets: int
    stream: Any
    slots: list[Trial | None] = field(default_factory=list)
    waiting: list[Trial] = field(default_factory=list)
    rows: ValidRows | None = None
    found: tuple[Tensor, Tensor, Tensor | None] | None = None

    @property
    def trials(self) -> list[Trial]:
        """Those that train."""
        return [trial for trial in self.slots if trial is not None]


Message = tuple[int, tuple[int, float]] | tuple[int, Any]


class TrialPool:
    """Trains many trials at once, grouped by a key.

    Args:
        device: Where to train.
        on_event: Hears how many epochs were trained.
        like_gpu: As for `TrialBatch`.
    """

    def __init__(
        self,
        device: torch.device,
        on_event: OnEvent = ignore_event,
        *,
        like_gpu: bool | None = None,
    ) -> None:
        self.device, self.on_event = device, on_event
        self.like_gpu = device.type == "cuda" if like_gpu is None else like_gpu
        self.groups: dict[Hashable, Group] = {}
        self.rows: dict[Hashable, EpochRows] = {}
        self.n_trained = self.n_ended = self.n_at_most = 0  # epochs

    @property
    def n_running(self) -> int:
        """Trials that train or wait for a place."""
        return sum(len(group.trials) + len(group.waiting) for group in self.groups.values())

    def add(self, key: Hashable, trial: Trial, histories: Histories, split: Split) -> None:
        """Takes a trial in; those of one key have equal shapes, data and shared settings.

        Raises:
            KgrecError: No target to train on or to stop by.
        """
        if key not in self.groups:
            splits.check_targets(histories, split, validate=True)
            settings = trial.settings
            read_alike = (
                settings.MAX_ITEM_LIST_LENGTH, settings.train_batch_size, settings.shuffle_ties,
                repr(settings.eval_args),
            )  # fmt: skip
            if read_alike not in self.rows:
                self.rows[read_alike] = EpochRows(histories, split, settings, self.device)
            rows = self.rows[read_alike]
            batch = TrialBatch(0, trial.model, rows, self.device, like_gpu=self.like_gpu)
            n_targets = len(splits.train_targets(histories, split))
            is_gpu = self.device.type == "cuda"
            stream = torch.cuda.Stream(self.device) if is_gpu else None  # type: ignore[no-untyped-call]
            targets = splits.valid_targets(histories, split)
            self.groups[key] = Group(batch, histories, targets, n_targets, stream)
        self.groups[key].waiting.append(trial)
        self.n_at_most += trial.settings.epochs

    def drop(self, number: int) -> None:
        """Gives a trial up."""
        for group in self.groups.values():
            for slot, trial in enumerate(group.slots):
                if trial is not None and trial.number == number:
                    self._end(group, slot)

    def _end(self, group: Group, slot: int) -> None:
        """Makes a slot free; the epochs that are left of its trial count as done."""
        trial, group.slots[slot] = group.slots[slot], None
        if trial is not None:
            self.n_ended += trial.settings.epochs - trial.state.epoch

    def advance(self) -> Generator[Message, None, None]:
        """Trains an epoch in each group; yields (number, (epoch, score)) and (number, outcome).

        After a score the trial may be dropped. An outcome is what `finish` gave, or a KgrecError.
        """
        for group in list(self.groups.values()):
            with self._on_stream(group):
                if group.found is None:
                    self._launch(group)
                if len(self.groups) > 1 and group.stream is not None:
                    continue  # judged when the others have been launched, too
                yield from self._judge(group)
        for group in list(self.groups.values()):
            with self._on_stream(group):
                if group.found is not None:
                    yield from self._judge(group)
                    self._launch(group)

    @contextmanager
    def _on_stream(self, group: Group) -> Iterator[None]:
        with torch.cuda.stream(group.stream):
            yield

    def _launch(self, group: Group) -> None:
        """Begins an epoch of a group, and its evaluation."""
        self._fill(group)
        if not group.trials:
            return
        batch = group.batch
        batch.train([trial.state.epoch + 1 if trial else 0 for trial in group.slots])
        ranks = None
        if self.like_gpu and any(trial.is_judged for trial in group.trials):
            if group.rows is None:
                length = group.trials[0].settings.MAX_ITEM_LIST_LENGTH
                group.rows = ValidRows(
                    group.histories, group.targets, length, batch.n_gates, self.device
                )
            ranks = rank_valid(batch, group.rows)
        group.found = batch.losses().clone(), batch.are_finite(), ranks

    def _fill(self, group: Group) -> None:
        """Puts waiting trials into places; makes more of them, or fewer when many are empty."""
        n_wanted = len(group.trials) + len(group.waiting)
        is_roomy = n_wanted <= len(group.slots) * (2 / 3 if self.like_gpu else 1 - 1e-9)
        if n_wanted and (n_wanted > len(group.slots) or is_roomy):
            kept = [slot for slot, trial in enumerate(group.slots) if trial]
            group.batch.resize(kept, n_wanted)
            group.rows = None
            group.slots = [*group.trials, *[None] * len(group.waiting)]
        for slot, trial in enumerate(group.slots):
            if trial is None and group.waiting:
                group.slots[slot] = new = group.waiting.pop(0)
                group.batch.start(slot, new.model, new.settings)

    def _judge(self, group: Group) -> Generator[Message, None, None]:
        """Takes an epoch's results in, and ends the trials that are over."""
        if group.found is None:
            return
        losses, are_finite = (values.tolist() for values in group.found[:2])
        ranks = None if group.found[2] is None else group.found[2].numpy(force=True)
        group.found = None
        self.n_trained += len(group.trials)
        done, what = self.n_trained + self.n_ended, f"{self.n_running} trials at once"
        self.on_event(Progress("epochs", done, self.n_at_most, "epochs", what, passing=True))
        for slot, trial in enumerate(group.slots):
            if trial is None:
                continue
            state, settings = trial.state, trial.settings
            is_judged, epoch = trial.is_judged, state.epoch + 1
            try:
                loss = losses[slot] / group.n_targets
                check_loss(loss if are_finite[slot] else np.nan, epoch, settings.learning_rate)
                metrics = {}
                if is_judged:
                    metrics = self._metrics(
                        group, slot, trial, None if ranks is None else ranks[slot]
                    )
                state.epoch = epoch
                weights = lambda slot=slot: group.batch.weights_of(slot)  # noqa: E731
                update_best(state, weights, metrics, settings)
                state.history.append({"epoch": epoch, "loss": loss, "valid": metrics})
            except KgrecError as error:
                self._end(group, slot)
                yield trial.number, error
                continue
            if metrics:
                yield trial.number, (epoch, metrics[settings.valid_metric.casefold()])
            if group.slots[slot] is trial and state.is_finished(settings):
                self._end(group, slot)
                trial.model.load_state_dict(state.best_model)
                yield trial.number, trial.finish(trial.model, state)

    def _metrics(
        self, group: Group, slot: int, trial: Trial, ranks: np.ndarray | None
    ) -> dict[str, float]:
        """As `validation_metrics`."""
        settings = trial.settings
        if ranks is None:
            trial.model.load_state_dict(group.batch.weights_of(slot))
            return validation_metrics(
                trial.model, group.histories, group.targets, settings, self.device
            )
        if not ranks.all():
            raise KgrecError(
                "scores that are not finite numbers: the training has diverged; a lower "
                f"learning_rate (now {settings.learning_rate:g}) is the usual cure"
            )
        name, _, cutoff = settings.valid_metric.partition("@")
        values = rank_metrics(ranks, [name], [int(cutoff)])
        return values | rank_metrics(ranks, settings.metrics, settings.topk)
