"""The search for good settings: points of a space, one trial each, kept in an Optuna study.

`run_search` knows no model: the tune stage hands it an objective (settings in, scores out) and the
ranges of a `hyper.test`; `core.search_study` keeps the trials, and `core.search_report` turns them
into tables and a chart.
A point is chosen from the seed and the finished trials alone, so a search that was killed and
started again visits the points of an uninterrupted one.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from kgrec_cli.core.tuning.report import Direction, SearchTrial, best_trial, describe_trial
from kgrec_cli.core.tuning.space import (
    Params,
    Space,
    check_listable,
    choice_options,
    count_points,
    describe_space,
    draw_point,
    list_points,
    log_bounds,
    multiple,
    multiples,
    point_key,
)
from kgrec_cli.core.tuning.study import (
    conclude,
    enqueue,
    finished_trials,
    open_study,
    retire_interrupted,
)
from kgrec_cli.core.tuning.workers import Team
from kgrec_cli.errors import KgrecError, UsageError, unknown_name
from kgrec_cli.events import Note, OnEvent, Progress, Warn, ignore_event

SEARCHES = ("exhaustive", "random", "tpe")
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "asha": partial(optuna.pruners.SuccessiveHalvingPruner, min_resource=1),
}
DEFAULT_MAX_TRIALS = 100  # RecBole's max_evals, for searches that have no end of their own
TPE_ATTEMPTS = 20  # proposals seen before, after which a point is drawn at random

Stopped = Literal["exhausted", "max_trials", "early_stop"]


@dataclass(frozen=True)
class SearchResult:
    """The state of a study after `run_search`.

    Attributes:
        trials: All finished trials, those of earlier calls included, in the order of ending.
        best: The complete trial with the best score (the first of equals), or None.
        n_new: How many of `trials` this call ran.
        stopped: Why it ended: every point visited, `max_trials` reached, or no progress.
    """

    trials: tuple[SearchTrial, ...]
    best: SearchTrial | None
    n_new: int
    stopped: Stopped


def run_search(
    space: Space,
    team: Team,
    *,
    storage_url: str,
    study_name: str,
    search: str = "exhaustive",
    max_trials: int | None = None,
    seed: int = 2020,
    pruner: str = "none",
    direction: Direction = "maximize",
    early_stop: int | None = None,
    settings: Mapping[str, Any] | None = None,
    on_event: OnEvent = ignore_event,
) -> SearchResult:
    """Runs trials until the space, `max_trials` or `early_stop` ends the search.

    The same call goes on with what the study holds; a trial that was running when its process died
    is marked failed and its point run again. No point is finished twice. A trial whose objective
    raises KgrecError counts as failed and the search goes on, unless no trial has completed yet.

    Args:
        space: Setting name to range.
        team: Runs the trials. Its objective gets a point and `report(step, score)`, to call once
            for each evaluated epoch. With several at a time, which trials a pruner gives up and
            which points TPE proposes depends on who ends first.
        storage_url: SQLAlchemy address of the study's database; a SQLite file's folder must exist.
        study_name: The study's name in it.
        search: `exhaustive` visits every point of choices once, in an order shuffled by `seed`
            (so that a search cut short has seen all of the space); `random` draws points without
            repeats; `tpe` is Optuna's tree-structured Parzen estimator after ten random points.
        max_trials: Finished trials at most, those of earlier calls included. None: all points of
            an exhaustive search, else 100.
        seed: Seed of the order or the draws.
        pruner: `none`; `median` gives up below the median of earlier trials at the same step,
            after five trials; `asha` is asynchronous successive halving (Li et al. 2020): of the
            trials that come to epoch 1, 4, 16, ... the best quarter goes on; `hyperband` runs it at
            several widths.
        direction: Whether a high or a low score is good.
        early_stop: Trials in a row without a better score after which the search ends
            (RecBole: always 10); None goes on.
        settings: What else the scores depend on, as JSON values; an existing study must agree.
        on_event: Told of each trial.

    Raises:
        UsageError: An unknown search or pruner, or limits below 1.
        KgrecError: A space unfit for an exhaustive search; a study made with another space,
            settings or direction; an unusable database; the objective's own error while no trial
            has completed.
    """
    _check_arguments(space, search, pruner, max_trials, early_stop)
    limit = max_trials or (None if search == "exhaustive" else DEFAULT_MAX_TRIALS)
    n_points = count_points(space)
    total = min(n for n in (limit, n_points) if n is not None)
    made_with = {
        "space": describe_space(space),
        "settings": {**(settings or {}), "direction": direction},
    }
    with open_study(storage_url, study_name, direction, made_with) as study:
        study.pruner = PRUNERS[pruner]()
        retire_interrupted(study, space)
        trials = finished_trials(study)
        n_before = len(trials)
        running: dict[int, optuna.Trial] = {}

        def judge(number: int, step: int, score: float) -> bool:
            running[number].report(score, step)
            return running[number].should_prune()

        while True:
            best = best_trial(trials, direction)
            detail = "" if best is None else f"best {best.score:.4f}"
            on_event(Progress("tune", min(len(trials), total), total, "trials", detail))
            stopped: Stopped | None = None
            while not stopped and len(running) < team.size:
                visited = {point_key(trial.params) for trial in trials}
                visited |= {point_key(trial.user_attrs["params"]) for trial in running.values()}
                if n_points is not None and len(visited) >= n_points:
                    stopped = "exhausted"
                elif limit is not None and len(trials) + len(running) >= limit:
                    stopped = "max_trials"
                elif early_stop and best and len(trials) - best.number >= early_stop:
                    stopped = "early_stop"
                else:
                    trial = _start_trial(study, space, team, search, seed, visited)
                    running[trial.number] = trial
            if stopped and not running:
                break
            number, outcome = team.next_outcome(judge)
            conclude(study, running.pop(number), outcome)
            trials = finished_trials(study)
            line = describe_trial(trials[-1])
            if trials[-1].state != "failed":
                on_event(Note(line))
            elif best is not None or len(trials) < team.size:
                on_event(Warn(line))
            else:
                raise KgrecError(line)
    return SearchResult(tuple(trials), best, len(trials) - n_before, stopped)


def suggest(trial: optuna.Trial, space: Space) -> Params:
    """The point of an Optuna trial, as setting name to value."""
    params: Params = {}
    for name, range_ in space.items():
        match range_.kind:
            case "choice":
                options = choice_options(range_)
                params[name] = range_.values[
                    options.index(trial.suggest_categorical(name, options))
                ]
            case "uniform":
                params[name] = trial.suggest_float(name, range_.low, range_.high)
            case "loguniform":
                low, high = log_bounds(range_)
                params[name] = trial.suggest_float(name, low, high, log=True)
            case "quniform":
                first, last = multiples(range_)
                params[name] = multiple(range_, trial.suggest_int(name, first, last))
    return params


def _next_point(
    study: optuna.Study, space: Space, search: str, seed: int, visited: set[str]
) -> Params:
    """A point that is not in `visited`, from the seed and the finished trials alone."""
    if search == "exhaustive":
        return next(point for point in list_points(space, seed) if point_key(point) not in visited)
    generator = random.Random(f"{seed}/{len(visited)}")
    if search == "tpe":
        point = _propose(study, space, generator.getrandbits(32), visited)
        if point is not None:
            return point
    while True:
        point = draw_point(space, generator)
        if point_key(point) not in visited:
            return point


def _propose(study: optuna.Study, space: Space, seed: int, visited: set[str]) -> Params | None:
    """A new point by TPE, asked of a copy in memory, so that refused ones leave no trace."""
    copy = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed), direction=study.direction
    )
    scored = (TrialState.COMPLETE, TrialState.PRUNED)
    copy.add_trials(study.get_trials(deepcopy=False, states=scored))
    for _ in range(TPE_ATTEMPTS):
        trial = copy.ask()
        point = suggest(trial, space)
        if point_key(point) not in visited:
            return point
        copy.tell(trial, state=TrialState.FAIL)
    return None


def _start_trial(
    study: optuna.Study, space: Space, team: Team, search: str, seed: int, visited: set[str]
) -> optuna.Trial:
    """Gives the next point of the queue to the team; an interrupted trial stays marked running."""
    if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        enqueue(study, space, _next_point(study, space, search, seed, visited))
    trial = study.ask()
    team.start(trial.number, suggest(trial, space))
    return trial


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
