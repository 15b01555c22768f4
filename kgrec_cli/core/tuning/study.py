"""The Optuna study that keeps a search's trials: opened, read, and written to as trials end."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from kgrec_cli.core.tuning.report import Direction, SearchTrial
from kgrec_cli.core.tuning.space import Params, Space, check_made_with, encode_point, point_key
from kgrec_cli.core.tuning.workers import Outcome, Pruned, TrialResult
from kgrec_cli.errors import KgrecError

STATES: dict[TrialState, Literal["complete", "pruned", "failed"]] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@contextmanager
def open_study(
    storage_url: str,
    study_name: str,
    direction: Direction = "maximize",
    made_with: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[optuna.Study]:
    """An open study; one that is not there is made if `made_with` is given."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None
    where = storage_url
    try:
        url = make_url(storage_url)
        where = url.render_as_string(hide_password=True).removeprefix("sqlite:///")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            storage = _open_storage(storage_url, where)
            if made_with is None:
                study = _load_study(storage, study_name, where)
            else:
                study = optuna.create_study(
                    storage=storage,
                    sampler=optuna.samplers.RandomSampler(),  # idle: every point is queued
                    study_name=study_name,
                    direction=direction,
                    load_if_exists=True,
                )
                _check_made_with(study, made_with)
            yield study
    except UpdateFinishedTrialError as error:
        raise KgrecError(
            f"{where}: another process ended this trial; run one search of a study at a time"
        ) from error
    except (StorageInternalError, SQLAlchemyError) as error:
        raise KgrecError(
            f"{where}: the study's database failed ({_reason(error)}); finished trials stay in it"
        ) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def read_trials(storage_url: str, study_name: str) -> list[SearchTrial]:
    """The finished trials of an existing study, in the order of ending.

    Raises:
        KgrecError: No such study, or a database that cannot be used.
    """
    with open_study(storage_url, study_name) as study:
        return finished_trials(study)


def finished_trials(study: optuna.Study) -> list[SearchTrial]:
    """Complete, pruned and failed trials in the order of ending, without interrupted ones."""
    trials: list[SearchTrial] = []
    ended = [
        (trial.datetime_complete, trial.number, trial)
        for trial in study.get_trials(deepcopy=False)
        if trial.datetime_complete
    ]
    for _, _, trial in sorted(ended):
        error = trial.user_attrs.get("error", "")
        if trial.state not in STATES or (trial.state == TrialState.FAIL and not error):
            continue
        trials.append(
            SearchTrial(
                number=len(trials) + 1,
                state=STATES[trial.state],
                params=trial.user_attrs["params"],
                score=trial.value,
                valid=trial.user_attrs.get("valid", {}),
                test=trial.user_attrs.get("test", {}),
                n_reports=len(trial.intermediate_values),
                elapsed_s=trial.duration.total_seconds() if trial.duration else 0.0,
                error=error,
            )
        )
    return trials


def enqueue(study: optuna.Study, space: Space, point: Params) -> None:
    """Puts a point into the study's queue; the trial carries it from then on."""
    study.enqueue_trial(encode_point(space, point), user_attrs={"params": point})


def conclude(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    """Writes down how a trial ended."""
    if isinstance(outcome, TrialResult) and not math.isfinite(outcome.score):
        outcome = KgrecError(f"the score is {outcome.score}, expected a finite number")
    if isinstance(outcome, Pruned):
        study.tell(trial, state=TrialState.PRUNED)
    elif isinstance(outcome, KgrecError):
        trial.set_user_attr("error", str(outcome))
        study.tell(trial, state=TrialState.FAIL)
    else:
        trial.set_user_attr("valid", dict(outcome.valid))
        trial.set_user_attr("test", dict(outcome.test))
        study.tell(trial, outcome.score)


def retire_interrupted(study: optuna.Study, space: Space) -> None:
    """Marks trials that were running when their process ended as failed, and queues their points.

    The queue comes first: ending between the two loses nothing.
    """
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    queued = {point_key(trial.user_attrs["params"]) for trial in waiting}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        point = trial.user_attrs["params"]
        if point_key(point) not in queued and "error" not in trial.user_attrs:
            enqueue(study, space, point)
        study.tell(trial.number, state=TrialState.FAIL)


def _open_storage(storage_url: str, where: str) -> RDBStorage:
    try:
        return RDBStorage(storage_url)
    except (RuntimeError, ImportError) as error:  # made by another Optuna; no driver
        raise KgrecError(f"{where}: cannot open the study's database ({_reason(error)})") from error


def _load_study(storage: RDBStorage, study_name: str, where: str) -> optuna.Study:
    try:
        return optuna.load_study(storage=storage, study_name=study_name)
    except KeyError as error:
        raise KgrecError(f"{where}: no study '{study_name}'; `kgrec tune` makes it") from error


def _check_made_with(study: optuna.Study, made_with: Mapping[str, Mapping[str, Any]]) -> None:
    """Notes in a new study what its scores depend on; compares with what an old one notes."""
    if "made_with" not in study.user_attrs:
        if study.get_trials(deepcopy=False):
            raise KgrecError(f"study '{study.study_name}' was not made by kgrec; choose another")
        study.set_user_attr("made_with", made_with)
    check_made_with(study.study_name, study.user_attrs["made_with"], made_with)


def _reason(error: BaseException) -> str:
    """The first line of the error at the bottom of the chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__
