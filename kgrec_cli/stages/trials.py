"""The objective of a search: a point of its space is trained, and gives its scores.

One by one, or many points of equal shapes as one batch.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kgrec_cli.config import build_settings, merge, narrow
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure_model
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.fit import TrainingState, fit
from kgrec_cli.core.training.trial_pool import Trial, TrialPool, why_alone
from kgrec_cli.core.tuning import executors
from kgrec_cli.dataset.features import FeatureTables, load_feature_tables
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import EpochDone, Note, OnEvent, Progress, ignore_event
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.settings import Settings

NOT_TUNED = ("dataset", "data_path", "checkpoint_dir", "device", "threads", "preset", "pretrain_kg")
"""Settings that are the same for all trials; so are those of the data, which is loaded once."""
EACH_ITS_OWN = (
    "learning_rate", "weight_decay", "dropout_prob", "hidden_dropout_prob", "seed", "epochs",
    "stopping_step", "eval_step",
)  # fmt: skip
"""Settings in which the trials of one batch may differ."""


def with_point(settings: Settings, point: Mapping[str, Any], where: str) -> Settings:
    """The settings with the values of a point; errors begin with `where`."""
    return build_settings(merge(settings.model_dump(mode="json"), point), where)


def load_objective(settings: Settings, folder: Path, n_threads: int) -> "Trials":
    """The objective of a worker process, which loads the data itself."""
    if settings.threads is None:
        settings = settings.model_copy(update={"threads": n_threads})
    set_up_cpu(settings)
    dataset = load_dataset(settings, folder, ignore_event)
    return Trials(settings, dataset, folder, ignore_event)


class Trials:
    """The function that trains one point of the space and gives its scores."""

    def __init__(
        self, settings: Settings, dataset: Dataset, folder: Path, on_event: OnEvent
    ) -> None:
        self.settings, self.dataset, self.folder = settings, dataset, folder
        self.device, self.on_event = choose_device(settings.device), on_event
        self.tables: dict[tuple[str, int], FeatureTables] = {}

    def prepare(self, point: dict[str, Any]) -> tuple[Settings, GRU4RecKG, Split]:
        """The settings of a point, an untrained model and a split of the data."""
        tried = with_point(self.settings, point, "trial")
        key = (tried.model, tried.embedding_size)
        if key not in self.tables:
            self.tables[key] = load_feature_tables(tried, self.dataset, self.folder, self.on_event)
        n_items, model_settings = len(self.dataset.items), narrow(tried, ModelSettings)
        model = build_model(model_settings, n_items, self.tables[key], self.device)
        return tried, model, split_dataset(tried, self.dataset)

    def finish(
        self, tried: Settings, split: Split, model: GRU4RecKG, state: TrainingState
    ) -> executors.TrialResult:
        """The result of a training that is over; the model has its best weights."""
        valid = state.history[state.best_epoch - 1]["valid"]
        measuring, histories = narrow(tried, MeasureSettings), self.dataset.histories
        test = measure_model(model, histories, split, measuring, parts=("test",))["test"]
        return executors.TrialResult(
            valid=valid,
            test=test.metrics.get("test", {}),
            score=valid[tried.valid_metric.casefold()],
        )

    def __call__(self, point: dict[str, Any], report: executors.Report) -> executors.TrialResult:
        """Trains a point alone."""
        tried, model, split = self.prepare(point)
        metric = tried.valid_metric.casefold()

        def report_epoch(state: TrainingState, event: EpochDone) -> None:
            best = f"best {metric} {state.best_score:.4f}"
            done = Progress("this trial", event.epoch, event.epochs, "epochs", best, passing=True)
            self.on_event(done)
            if event.valid:
                report(event.epoch, event.valid[metric])

        state = fit(
            model,
            self.dataset.histories,
            split,
            narrow(tried, TrainingSettings),
            device=self.device,
            on_epoch=report_epoch,
        )
        self.on_event(Progress("this trial", tried.epochs, tried.epochs, "epochs", passing=True))
        return self.finish(tried, split, model, state)


class BatchedTrials(Trials):
    """Trains points together: those of equal shapes and shared settings make one batch."""

    def run(
        self, n_at_once: int, points: executors.Points, should_prune: executors.ShouldPrune
    ) -> executors.Outcomes:
        """The executor; points that cannot train with others are trained at once."""
        pool, noted = TrialPool(self.device, self.on_event), set[str]()
        while True:
            failed = []  # told when the others have begun, so that the search goes on
            while pool.n_running < n_at_once and (trial := next(points, None)):
                number, point = trial
                try:
                    reason = self._add(pool, number, point)
                except KgrecError as error:
                    failed.append((number, error))
                    continue
                if reason and reason not in noted:
                    noted.add(reason)
                    self.on_event(Note(f"{reason} is not for batches: such trials train alone"))
                if reason:
                    report = executors.reporting(number, should_prune)
                    yield number, executors.attempt(self, point, report)
            yield from failed
            if not pool.n_running:
                return
            for number, message in pool.advance():
                if not isinstance(message, tuple):
                    yield number, message
                elif should_prune(number, *message):
                    pool.drop(number)
                    yield number, executors.Pruned()

    def _add(self, pool: TrialPool, number: int, point: dict[str, Any]) -> str:
        """Puts a trial into the pool; the setting for which it trains alone, "" for none."""
        tried, model, split = self.prepare(point)
        settings = narrow(tried, TrainingSettings)
        reason = why_alone(settings, model)
        if not reason:
            key = tried.model_dump_json(exclude={*NOT_TUNED, *EACH_ITS_OWN})
            trial = Trial(number, model, settings, partial(self.finish, tried, split))
            has_dropout = tried.hidden_dropout_prob > 0
            pool.add((key, has_dropout), trial, self.dataset.histories, split)
        return reason
