"""The study of a search: its trials in a database, opened, checked and read back.

Optuna's tables hold them. A damaged database, or one made by another search, is one line.
"""

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna import samplers
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from kgrec_cli.core.tuning.report import SearchTrial, not_finite
from kgrec_cli.errors import KgrecError, shorten


@contextmanager
def open_study(
    storage_url: str, study_name: str, made_with: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[optuna.Study, list[SearchTrial]]]:
    """The study, made if it is not there, and its finished trials.

    Trials that were running when their process ended are queued again.

    Raises:
        KgrecError: What the database says is wrong, within the `with` block, too; a study that is
            damaged or was made with something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None
    where = re.sub(r"/.*@", "/***@", storage_url)  # a password stays unseen
    try:
        address = make_url(storage_url)
        where = address.render_as_string().removeprefix("sqlite:///")
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                storage = RDBStorage(address.render_as_string(hide_password=False))
                study = optuna.create_study(
                    storage=storage,
                    sampler=samplers.RandomSampler(),  # idle: every point is queued
                    study_name=study_name,
                    direction="maximize",
                    load_if_exists=True,
                )
                _check_made_with(study, made_with)
                _retry_interrupted(study)
                trials = _finished_trials(study)
            except (RuntimeError, ImportError) as error:  # made by another Optuna; no driver
                hint = "; install its driver (for PostgreSQL kgrec[postgresql])"
                hint = hint if isinstance(error, ImportError) else ""
                raise KgrecError(
                    f"{where}: cannot open the study's database ({_reason(error)}){hint}"
                ) from error
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise KgrecError(
                    f"{where}: the study is damaged ({shorten(_reason(error))}); restore its "
                    "database, or remove it to search anew"
                ) from error
            yield study, trials
    except ArgumentError as error:
        raise KgrecError(
            f"storage '{where}': {_reason(error)}; expected for instance sqlite:///study.db or "
            "postgresql://user@host/name"
        ) from error
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


def _check_made_with(study: optuna.Study, made_with: Mapping[str, Mapping[str, Any]]) -> None:
    """Notes in a new study what its scores depend on; an old one must be made with the same.

    Values are compared as JSON holds them (a tuple is a list).
    """
    if "made_with" not in study.user_attrs:
        if study.get_trials(deepcopy=False):
            raise KgrecError(f"study '{study.study_name}' was not made by kgrec; choose another")
        study.set_user_attr("made_with", made_with)
    for section, new in made_with.items():
        old = study.user_attrs["made_with"][section]
        for name in sorted(old.keys() | new.keys()):
            if name == "vectors_sha256" and name not in old:
                continue  # older studies do not say it
            was, now = (_show(values.get(name, "absent")) for values in (old, new))
            if was != now:
                raise KgrecError(
                    f"study '{study.study_name}' was made with {name} = {was}, found {now}: "
                    "go back to the first, or start a new study (rename the search file, or "
                    "remove the old study)"
                )


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _reason(error: BaseException) -> str:
    """The first line of the error at the bottom of the chain."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _retry_interrupted(study: optuna.Study) -> None:
    """Marks trials that were running when their process ended as failed, and queues their points.

    The queue comes first: ending between the two loses nothing.
    """
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    queued = [trial.user_attrs["params"] for trial in waiting]
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        point = trial.user_attrs["params"]
        if point not in queued and "error" not in trial.user_attrs:
            trial.user_attrs = {"params": point}  # of a copy: without metrics that were noted
            RetryHeartbeatStaleTrialCallback()(study, trial)
        study.tell(trial.number, state=TrialState.FAIL)


def _finished_trials(study: optuna.Study) -> list[SearchTrial]:
    """Complete, pruned and failed trials in the order of ending, without interrupted ones."""
    ended = [
        (trial.datetime_complete, trial.number, trial)
        for trial in study.get_trials(deepcopy=False)
        if trial.datetime_complete
        and (trial.state != TrialState.FAIL or "error" in trial.user_attrs)
    ]
    return [read_trial(trial, place) for place, (*_, trial) in enumerate(sorted(ended), start=1)]


def read_trial(trial: FrozenTrial, number: int) -> SearchTrial:
    """A finished trial, the `number`-th to end. An earlier kgrec took NaN for a result."""
    valid, test = trial.user_attrs.get("valid", {}), trial.user_attrs.get("test", {})
    problem = not_finite(trial.value, valid, test)
    error = trial.user_attrs.get("error", "") or problem
    is_pruned = trial.state == TrialState.PRUNED
    has_failed = bool(error) or trial.value is None
    return SearchTrial(
        number=number,
        state="pruned" if is_pruned else "failed" if has_failed else "complete",
        params=trial.user_attrs["params"],
        score=None if problem else trial.value,
        valid=valid,
        test=test,
        n_reports=trial.user_attrs.get("n_reports", len(trial.intermediate_values)),
        elapsed_s=trial.duration.total_seconds() if trial.duration else 0.0,
        error=error,
    )
