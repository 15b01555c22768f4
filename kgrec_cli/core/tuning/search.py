"""The search for good settings: points of a space, one trial each, kept in an Optuna study.

Optuna's samplers propose points, its pruners stop bad trials early, its database stores trials.
`run_search` knows no model: an executor (`executors.py`) runs the trials, `report.py` makes tables
and a chart.

Optuna 5 keeps three things only within Study.optimize, or not at all, so they are kept here by ask
and tell. A killed search resumes to the points of an uninterrupted one: each point comes from a new
sampler, seeded by how many came before. No point is run twice: a copy of the study in memory is
asked until it proposes a new one. An interrupted point comes first.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any, Literal

import optuna
from optuna import pruners, samplers
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from kgrec_cli.core.tuning.executors import RunTrials
from kgrec_cli.core.tuning.report import SearchTrial, best_trial, describe_trial
from kgrec_cli.core.tuning.space import (
    Params,
    Space,
    check_listable,
    count_points,
    to_distributions,
)
from kgrec_cli.core.tuning.study import HasEnded, SharedStudy, open_study
from kgrec_cli.errors import KgrecError, UsageError, unknown_name
from kgrec_cli.events import Note, OnEvent, Progress, Warn, ignore_event

SEARCHES: dict[str, Callable[..., samplers.BaseSampler]] = {
    "exhaustive": samplers.BruteForceSampler,
    "random": samplers.RandomSampler,
    "tpe": samplers.TPESampler,
}
PRUNERS: dict[str, Callable[[], pruners.BasePruner]] = {
    "none": pruners.NopPruner,
    "median": pruners.MedianPruner,
    "hyperband": pruners.HyperbandPruner,
    "asha": partial(pruners.SuccessiveHalvingPruner, min_resource=1),
}
DEFAULT_MAX_TRIALS = 100  # RecBole's max_evals, for searches that have no end of their own
POLL_S = 0.5
MAX_REPEATS = 20  # proposals of known points, after which the unknown ones are listed

StopReason = Literal["exhausted", "max_trials", "early_stop", "interrupted"]


@dataclass(frozen=True)
class SearchResult:
    """The state of a study after `run_search`.

    `trials` are all finished ones in the order of ending, `n_new` of them run by this call; `best`
    is the complete one with the best score, the first of equals.
    """

    trials: tuple[SearchTrial, ...]
    best: SearchTrial | None
    n_new: int
    stopped: StopReason


def run_search(
    space: Space,
    run_trials: RunTrials,
    *,
    storage_url: str,
    study_name: str,
    search: str = "exhaustive",
    max_trials: int | None = None,
    seed: int = 2020,
    pruner: str = "none",
    early_stop: int | None = None,
    settings: Mapping[str, Any] | None = None,
    worker: str = "",
    has_ended: HasEnded = lambda worker: True,
    on_event: OnEvent = ignore_event,
) -> SearchResult:
    """Runs trials until the space, `max_trials`, `early_stop` or Ctrl-C ends the search.

    The same call goes on with what the study holds, also while other processes search it: each
    takes points that no other has, and all end when no trial runs any more. The point of a trial
    whose process died is run again. No point is finished twice. A trial whose objective raises
    KgrecError counts as failed and the search goes on, unless no trial has completed yet.

    Args:
        space: Setting name to range.
        run_trials: The executor. With several trials at a time, which of them a pruner gives up
            and which points TPE proposes depends on who ends first.
        storage_url: SQLAlchemy URL of the study's database; a SQLite file's folder must exist.
        study_name: The study's name in it.
        search: `exhaustive` visits every point of choices once, shuffled by `seed` (so that a
            search cut short has seen all of the space); `random` draws without repeats; `tpe` is
            Optuna's tree-structured Parzen estimator after ten random points.
        max_trials: Finished trials at most, those of earlier calls included. None: all points of
            an exhaustive search, else 100.
        seed: Seed of the order or the draws.
        pruner: `none`; `median` gives up below the median of earlier trials at the same step,
            after five trials; `asha` is asynchronous successive halving (Li et al. 2020) at epochs
            1, 4, 16, ...; `hyperband` runs it at several widths.
        early_stop: Trials in a row without a better score that end the search (RecBole: 10).
        settings: What else the scores depend on, as JSON values; an existing study must agree.
        worker: The name of this process; none if no other searches the study.
        has_ended: Whether the process of another name has ended; None where only its silence tells.
        on_event: Told of each trial of this process.

    Raises:
        UsageError: An unknown search or pruner, or limits below 1.
        KgrecError: A space unfit for an exhaustive search; a study made with another space,
            or settings; an unusable database; the objective's own error while no trial
            has completed.
    """
    _check_arguments(space, search, pruner, max_trials, early_stop)
    made_with = {
        "space": {name: str(range_) for name, range_ in space.items()},
        "settings": {**(settings or {}), "direction": "maximize"},
    }
    with open_study(storage_url, study_name, made_with, worker, has_ended) as shared:
        shared.study.pruner = PRUNERS[pruner]()
        total = count_trials(space, search, max_trials)
        going = _Search(
            shared, space, search, seed, pruner, max_trials, early_stop, total, on_event
        )
        try:
            stopped = going.run(run_trials)
        except KeyboardInterrupt:
            stopped = "interrupted"
        finally:
            for trial in going.running.values():
                shared.give_up(trial._trial_id)
    best = best_trial(shared.finished)
    return SearchResult(tuple(shared.finished), best, going.n_new, stopped)


@dataclass
class _Search:
    """One process's part of a search; the arguments are those of `run_search`.

    Attributes:
        total: The most trials that there can be.
        running: This process's trials by their numbers.
        n_reports: Epochs of each that no pruner was asked about.
        last_step: The last epoch of each.
        n_new: How many trials this process has ended.
        at_once: Most trials that ran at a time, of all processes.
    """

    shared: SharedStudy
    space: Space
    search: str
    seed: int
    pruner: str
    max_trials: int | None
    early_stop: int | None
    total: int
    on_event: OnEvent
    running: dict[int, optuna.Trial] = field(default_factory=dict)
    n_reports: Counter[int] = field(default_factory=Counter)
    last_step: Counter[int] = field(default_factory=Counter)
    n_new: int = 0
    at_once: int = 1

    def run(self, run_trials: RunTrials) -> StopReason:
        """Runs trials until there is a reason to stop and no process has one running."""
        self.tell_progress()
        is_waiting = False
        while (stopped := self.stop_reason()) is None or self.shared.n_elsewhere:
            if stopped is None:
                self.end_trials(run_trials)
                self.shared.read()
                continue
            if not is_waiting:
                self.on_event(Note("no point is left: waiting for trials of other processes"))
                is_waiting = True
            time.sleep(POLL_S)
            self.shared.read()
            self.tell_progress()
        return stopped

    def stop_reason(self) -> StopReason | None:
        """Why no further trial begins; None when one does."""
        n_started, best = len(self.shared.live), best_trial(self.shared.finished)
        n_points, limit = count_points(self.space), _limit(self.search, self.max_trials)
        if n_points is not None and n_started >= n_points:
            return "exhausted"
        if limit is not None and n_started >= limit:
            return "max_trials"
        if self.early_stop and best and len(self.shared.finished) - best.number >= self.early_stop:
            return "early_stop"
        return None

    def points(self) -> Iterator[tuple[int, Params]]:
        """Begins a trial for each point that the executor takes."""
        self.shared.read()
        while self.stop_reason() is None:
            params = next(iter(self.shared.interrupted), None) or propose(
                self.shared.live, self.space, self.search, f"{self.seed}/{len(self.shared.live)}"
            )
            trial = self.shared.begin(params, self.space, _limit(self.search, self.max_trials))
            if trial is not None:
                self.running[trial.number] = trial
                yield trial.number, trial.user_attrs["params"]

    def should_prune(self, number: int, step: int, score: float) -> bool:
        """Notes the score of a trial after an epoch; whether to give the trial up."""
        is_new = step > self.last_step[number]  # else of a trial that is run again
        self.last_step[number] = max(step, self.last_step[number])
        if self.pruner == "none":  # nobody asks: a write an epoch would be slower than the epoch
            self.n_reports[number] += is_new
            return False
        try:
            if is_new:
                self.running[number].report(score, step)
            return self.running[number].should_prune()
        except UpdateFinishedTrialError:  # another process has taken it over
            return True

    def end_trials(self, run_trials: RunTrials) -> None:
        """Lets the executor run trials, and keeps their outcomes.

        Raises:
            KgrecError: All of the first trials failed.
        """
        with closing(run_trials(self.points(), self.should_prune)) as outcomes:
            for number, outcome in outcomes:
                self.at_once = max(self.at_once, len(self.running) + self.shared.n_elsewhere)
                trial = self.running.pop(number)
                ended = self.shared.end(trial, outcome, self.n_reports.pop(number, 0))
                if ended is None:
                    self.on_event(Warn("another process took a trial over: its result counts"))
                    continue
                self.n_new += 1
                line = describe_trial(ended)
                if ended.state != "failed":
                    self.on_event(Note(line))
                elif best_trial(self.shared.finished) or len(self.shared.finished) < self.at_once:
                    self.on_event(Warn(line))
                else:
                    raise KgrecError(line)
                self.tell_progress()

    def tell_progress(self) -> None:
        """Trials done of all, and the best score."""
        best = best_trial(self.shared.finished)
        detail = "" if best is None else f"best {best.score:.4f}"
        n_done = min(len(self.shared.finished), self.total)
        self.on_event(Progress("tune", n_done, self.total, "trials", detail))


def _limit(search: str, max_trials: int | None) -> int | None:
    """The most trials that the arguments allow; None where the points are the only limit."""
    return max_trials or (None if search == "exhaustive" else DEFAULT_MAX_TRIALS)


def count_trials(space: Space, search: str, max_trials: int | None, pruner: str = "none") -> int:
    """The most trials that a search can have; the arguments are those of `run_search`.

    Raises:
        KgrecError: As `run_search`.
    """
    _check_arguments(space, search, pruner, max_trials, None)
    limits = (_limit(search, max_trials), count_points(space))
    return min(n for n in limits if n is not None)


def propose(trials: Sequence[FrozenTrial], space: Space, search: str, seed: str) -> Params:
    """The params (see `decode_point`) of a point that no trial has, from these arguments alone.

    Args:
        trials: Those before it; running ones count. Not all points of the space.
        space: Setting name to range.
        search: One of `SEARCHES`.
        seed: Equal for equal draws.
    """
    generator = random.Random(seed)
    axes = to_distributions(space)
    if search == "exhaustive":
        return generator.choice(_unknown_points(trials, axes))
    sampler = SEARCHES[search](seed=generator.getrandbits(32))
    copy = optuna.create_study(sampler=sampler, direction="maximize")
    known = [trial.params for trial in trials]
    for trial in trials:
        copy.add_trial(
            optuna.create_trial(
                state=trial.state,
                value=trial.value,
                params=trial.params,
                distributions=axes,  # in today's order: BruteForceSampler takes no other
                intermediate_values=trial.intermediate_values,
            )
        )
    n_repeats = 0
    while (proposed := copy.ask(axes)).params in known:
        copy.tell(proposed, state=TrialState.FAIL)
        n_repeats += 1
        if n_repeats == MAX_REPEATS and count_points(space) is not None:
            copy.sampler = samplers.BruteForceSampler(seed=generator.getrandbits(32))
    return proposed.params


def _unknown_points(
    trials: Sequence[FrozenTrial], axes: Mapping[str, BaseDistribution]
) -> list[Params]:
    """The params of the points of choices that no trial has, in their order."""
    known = {tuple(repr(trial.params.get(name)) for name in axes) for trial in trials}
    options = [axis.choices for axis in axes.values() if isinstance(axis, CategoricalDistribution)]
    return [
        dict(zip(axes, values, strict=True))
        for values in product(*options)
        if tuple(map(repr, values)) not in known
    ]


def _check_arguments(
    space: Space, search: str, pruner: str, max_trials: int | None, early_stop: int | None
) -> None:
    if search not in SEARCHES:
        raise UsageError(unknown_name("search", search, SEARCHES))
    if pruner not in PRUNERS:
        raise UsageError(unknown_name("pruner", pruner, PRUNERS))
    for name, limit in (("max_trials", max_trials), ("early_stop", early_stop)):
        if limit is not None and limit < 1:
            raise UsageError(f"{name}: found {limit}, expected 1 or more")
    if search == "exhaustive":
        check_listable(space)
