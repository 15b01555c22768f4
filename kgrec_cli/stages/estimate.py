"""`kgrec estimate`: some seconds of a training; how long all of it takes, and what room it needs.

What is measured is the training itself: real steps, a validation, the measurement at its end. None
of it is written.
"""

import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch

from kgrec_cli.config import narrow
from kgrec_cli.core.cores import free_cores, share_cores, usable_cores
from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.evaluation.measure import PARTS, MeasureSettings, measure_model, part_targets
from kgrec_cli.core.memory import free_memory, peak_memory
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.core.pace import Enough, Pace
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.fit import TrainingState, fit, trained_weights, validation_metrics
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import EpochDone, Note, OnEvent, Warn
from kgrec_cli.runs.run_dir import choose_device
from kgrec_cli.settings import Settings
from kgrec_cli.stages.train import get_ready

PROBE_S = 5.0
"""Seconds of training that are watched; a validation and a measurement get a third each."""
N_POINTS = 4
"""Points of a search that share these seconds."""


@dataclass
class Estimate:
    """What a command would take.

    Attributes:
        folder: Where it would write.
        epochs: Of a training, at most.
        runs: Trainings: seeds, or trials of a search.
        at_once: Trainings at a time.
        can_stop_early: Whether early stopping may end a training before.
        before_s: Seconds until the first step: loading.
        epoch_s: Seconds of an epoch, its validation included.
        validation_s: Seconds of them that are validation.
        after_s: Seconds after the last epoch of each training.
        memory: Bytes at the peak, of all processes.
        disk: Bytes of files at the peak: a checkpoint is replaced by a new one beside it.
        free_memory: Bytes that no program held before; None where the system does not say.
        free_disk: Bytes that are free in the folder.
    """

    folder: Path
    epochs: int
    runs: int = 1
    at_once: int = 1
    can_stop_early: bool = True
    before_s: float = 0.0
    epoch_s: float = 0.0
    validation_s: float = 0.0
    after_s: float = 0.0
    memory: int = 0
    disk: int = 0
    free_memory: int | None = field(default_factory=free_memory)
    free_disk: int = 0
    began: float = field(default_factory=time.perf_counter)

    @property
    def total_s(self) -> float:
        """Seconds at most."""
        rounds = math.ceil(self.runs / self.at_once)
        return self.before_s + rounds * (self.epochs * self.epoch_s + self.after_s)

    def as_json(self) -> dict[str, Any]:
        """The values, and `total_s`."""
        values = {**asdict(self), "total_s": self.total_s}
        return {name: value for name, value in values.items() if name not in ("folder", "began")}

    def begin(self, on_event: OnEvent) -> None:
        """What is loaded is there. Says what comes, and whether other programs slow it down."""
        self.before_s = time.perf_counter() - self.began
        self.free_disk = shutil.disk_usage(self.folder).free
        n_free, n_threads = free_cores(), torch.get_num_threads()
        if n_free is not None and n_free < n_threads - 0.5:
            text = f"other programs leave {n_free:.1f} of {usable_cores():g} cores"
            on_event(Warn(f"{text}: the seconds are those of a busy machine"))
        on_event(Note(f"training for {PROBE_S:g} seconds; nothing is written"))

    def check_room(self) -> None:
        """Checks that it fits.

        Raises:
            KgrecError: The memory, or the disk, has less.
        """
        fewer = "fewer --jobs, or " if self.at_once > 1 else ""
        for kind, needed, free in (
            ("memory", self.memory, self.free_memory),
            ("disk", self.disk, self.free_disk),
        ):
            if free is not None and needed > free:
                raise KgrecError(
                    f"does not fit: about {needed / 1e9:.1f} GB of {kind}, and {free / 1e9:.1f} GB "
                    f"are free; {fewer}a smaller embedding_size takes less"
                )


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
    found = Estimate(folder, settings.epochs, n_seeds)
    validates = settings.validates and not on_all_data
    found.can_stop_early = validates and settings.stopping_step < settings.epochs
    ready = get_ready(settings, folder, on_all_data, warm_start, on_event)
    model = ready.make_model(settings, on_event)
    found.begin(on_event)
    parts = () if on_all_data else settings.measured_parts
    times = _probe(model, ready.dataset.histories, ready.split, settings, PROBE_S, parts)
    found.epoch_s, found.validation_s, found.after_s = times
    weights = sum(weight.nbytes for weight in model.state_dict().values())
    trained = sum(weight.nbytes for weight in trained_weights(model).values())
    averaged = weights if settings.ema_decay else 0
    checkpoint = weights + averaged + 3 * trained  # of what is trained the best, two moments too
    found.memory, found.disk = peak_memory(), 2 * checkpoint
    return found


def estimate_search(
    settings: Settings,
    folder: Path,
    space_path: Path,
    *,
    search: str = "exhaustive",
    max_trials: int | None = None,
    pruner: str = "none",
    executor: str | None = None,
    jobs: int | None = None,
    address: str | None = None,
    on_event: OnEvent,
) -> Estimate:
    """What `run_tune` with the same arguments would take, by some points of the space.

    Trials of the executor batched are estimated as if they trained one by one, those of Ray as if
    this machine were its cluster. A pruner is not counted.

    Raises:
        KgrecError: As `run_tune`; a point that cannot be trained.
    """
    from kgrec_cli.core.tuning.search import count_trials, propose
    from kgrec_cli.core.tuning.space import decode_point
    from kgrec_cli.stages.trials import load_objective
    from kgrec_cli.stages.tune import check_executor, read_space

    check_executor(executor, jobs, address)
    space = read_space(settings, space_path, on_event).ranges
    found = Estimate(folder, settings.epochs, count_trials(space, search, max_trials, pruner))
    n_threads = torch.get_num_threads()
    if executor in ("processes", "ray") or (executor is None and (jobs or 1) > 1):
        at_once, n_threads = share_cores(jobs)
        found.at_once = min(at_once, found.runs)
        n_threads = 1 if executor == "ray" else n_threads
    trials = load_objective(settings, folder, n_threads)
    parent = peak_memory() if found.at_once > 1 else 0  # it has loaded the data, too
    found.begin(on_event)
    times = []
    for number in range(N_POINTS):
        point = decode_point(space, propose([], space, search, f"{settings.seed}/{number}"))
        tried, model, split = trials.prepare(point)
        found.epochs = max(found.epochs, tried.epochs)
        seconds = PROBE_S / N_POINTS
        times.append(_probe(model, trials.dataset.histories, split, tried, seconds, ("test",)))
    found.epoch_s, found.validation_s, found.after_s = map(mean, zip(*times, strict=True))
    found.memory = parent + found.at_once * peak_memory()
    return found


def estimate_pretraining(
    settings: Settings, folder: Path, *, validate: bool = False, on_event: OnEvent
) -> Estimate:
    """What `run_pretrain_kg` with the same arguments would take, by some batches of the triples.

    Ranking is left out.

    Raises:
        KgrecError: As `run_pretrain_kg`.
    """
    from kgrec_cli.core.kg.fit import fit_kg
    from kgrec_cli.stages.kg_triples import read_graph

    found = Estimate(folder, settings.pretrain_kg.epochs, 1 + validate, can_stop_early=False)
    kg, width, (entities, relations, triples) = read_graph(settings, folder)
    n_entities, n_batches = len(entities) - 1, -(-len(triples) // kg.batch_size)
    shuffled = np.random.default_rng(kg.seed).permutation(triples)
    found.begin(on_event)

    def time_epoch(n: int, seconds: float) -> float:
        ends: list[float] = []

        def after_epoch(*_: object) -> None:
            ends.append(time.perf_counter())
            if len(ends) > 2 and ends[-1] - ends[0] > seconds:
                raise Enough

        with suppress(Enough):
            fit_kg(
                shuffled[: n * kg.batch_size],
                n_entities=n_entities,
                n_relations=len(relations) - 1,
                settings=kg.model_copy(update={"epochs": 10**6}),
                embedding_size=width,
                device=choose_device(settings.device),
                on_epoch=after_epoch,
            )
        return median(np.diff(ends).tolist())

    n = min(n_batches, max(1, int(PROBE_S / 5 / time_epoch(1, PROBE_S / 10))))
    found.epoch_s = time_epoch(n, PROBE_S) * n_batches / n
    found.memory = peak_memory()
    found.disk = 9 * 4 * n_entities * width  # two checkpoints of three each, and a text of three
    return found


def _probe(
    model: GRU4RecKG,
    histories: Histories,
    split: Split,
    settings: Settings,
    seconds: float,
    parts: Sequence[str],
) -> tuple[float, float, float]:
    """Trains for some seconds, validates and measures for a third of that each.

    Args:
        model: Untrained.
        histories: All histories.
        split: How they are split.
        settings: Of the training.
        seconds: To train.
        parts: Those that are measured after the training; without any, nothing is validated.

    Returns:
        Seconds of an epoch, of its validation, and of the measurement of the parts.
    """
    training, state, done = narrow(settings, TrainingSettings), TrainingState(), list[EpochDone]()
    measuring, device = narrow(settings, MeasureSettings), choose_device(settings.device)
    validate = settings.validates and bool(parts)
    n_targets = len(splits.train_targets(histories, split))
    n_of = {part: len(part_targets(histories, split, part)) for part in PARTS}
    valid_s = after_s = 0.0
    pace, began = Pace(seconds, "epoch "), time.perf_counter()
    with suppress(Enough):
        fit(
            model, histories, split, training, device=device, state=state, validate=validate,
            on_epoch=lambda state, event: done.append(event), on_event=pace,
        )  # fmt: skip
    probed_s = time.perf_counter() - began
    if not state.best_model:
        state.best_model = {n: value.clone() for n, value in trained_weights(model).items()}
    train_s = [n_targets / event.targets_per_s for event in done]
    if any(event.valid for event in done):
        pairs = zip(done, train_s, strict=True)
        valid_s = median(event.elapsed_s - of_it for event, of_it in pairs if event.valid)
    elif validate:
        targets = part_targets(histories, split, "valid")
        valid_s = _time_of(
            lambda pace: validation_metrics(model, histories, targets, training, device, pace),
            Pace(seconds / 3, "validation"), n_of["valid"],
        )  # fmt: skip
    if parts:
        after_s = _time_of(
            lambda pace: measure_model(
                model, histories, split, measuring, parts=("test",), on_event=pace
            ),
            Pace(seconds / 3, "test targets"), n_of["test"],
        )  # fmt: skip
        after_s *= sum(n_of[part] for part in parts) / max(n_of["test"], 1)
    # Without a pace it was heard of at the end of an epoch alone.
    epoch_s = n_targets * pace.unit_s if pace.unit_s else probed_s
    epoch_s = median(train_s[1:] or train_s) if done else epoch_s
    valid_s /= settings.eval_step
    return epoch_s + valid_s, valid_s, after_s


def _time_of(work: Callable[[Pace], object], pace: Pace, n: int) -> float:
    """The seconds of some work on `n` units: all of it, or as far as `pace` lets it come."""
    began = time.perf_counter()
    with suppress(Enough):
        work(pace)
        return time.perf_counter() - began
    return n * pace.unit_s if pace.unit_s else time.perf_counter() - began
