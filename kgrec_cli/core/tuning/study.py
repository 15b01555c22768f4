"""The study of a search: its trials in a database that several processes may share.

Optuna's tables hold them. A damaged database, or one made by another search, is one line.
"""

import json
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import optuna
from optuna import samplers
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from kgrec_cli.core.tuning.executors import Outcome, Pruned, TrialResult
from kgrec_cli.core.tuning.report import SearchTrial, not_finite
from kgrec_cli.core.tuning.space import Params, Space, decode_point, to_distributions
from kgrec_cli.errors import KgrecError, shorten

BEAT_S, STALE_S = 5.0, 30.0
"""How often a process says that it is there, and after what silence its trials are run again."""
HasEnded = Callable[[str], bool | None]


class SharedStudy:
    """A study that several processes search: each runs points that no other has.

    A trial is in the database, with its point and its process, from the first write on. Of trials
    of one point the first counts; who has another gives it up. So nobody has to wait for a lock.

    Args:
        study: Its trials.
        worker: The name of this process.
        has_ended: Whether the process of a name has ended; None where only its silence can tell.

    Attributes:
        live: The trials that count: those that run and those that have ended, none interrupted.
        interrupted: The params of points whose process ended.
        finished: The trials that have ended, in the order of ending.
    """

    def __init__(self, study: optuna.Study, worker: str, has_ended: HasEnded) -> None:
        self.study, self.worker, self.has_ended = study, worker, has_ended
        self.heard: dict[str, tuple[Any, float]] = {}
        self.known: dict[int, SearchTrial] = {}
        self.begun: set[int] = set()
        self.live: list[FrozenTrial] = []
        self.interrupted: list[Params] = []
        self.finished: list[SearchTrial] = []

    def read(self) -> None:
        """Reads what all processes have written; trials of processes that ended end, too."""
        trials = self.study.get_trials(deepcopy=False)
        gone = self._gone({_worker_of(trial) for trial in trials if self._is_elsewhere(trial)})
        lost = [
            trial
            for trial in trials
            if trial.state == TrialState.WAITING  # queued by an earlier kgrec
            or (self._is_elsewhere(trial) and _worker_of(trial) in gone)
        ]
        for trial in lost:
            self.give_up(trial._trial_id)
        if lost:
            trials = self.study.get_trials(deepcopy=False)
        self.live = [trial for trial in trials if _counts(trial)]
        params = [_params_of(trial) for trial in trials if not _counts(trial)]
        taken = {key_of(trial.params) for trial in self.live if params}
        self.interrupted = [point for point in params if point and key_of(point) not in taken]
        ended = [(t.datetime_complete, t.number, t) for t in self.live if t.datetime_complete]
        self.finished = [
            self._read_trial(trial, place) for place, (*_, trial) in enumerate(sorted(ended), 1)
        ]

    def _read_trial(self, trial: FrozenTrial, place: int) -> SearchTrial:
        known = self.known.get(trial.number)
        if known is None or known.number != place:
            known = self.known[trial.number] = read_trial(trial, place)
        return known

    @property
    def n_elsewhere(self) -> int:
        """Trials that run in other processes."""
        return sum(map(self._is_elsewhere, self.live))

    def _is_elsewhere(self, trial: FrozenTrial) -> bool:
        return trial.state == TrialState.RUNNING and trial._trial_id not in self.begun

    def _gone(self, workers: set[str]) -> set[str]:
        """Which of these processes have ended, or were silent for `STALE_S`."""
        ended = {worker: self.has_ended(worker) for worker in workers}
        gone = {worker for worker, has_ended in ended.items() if has_ended}
        if None in ended.values():
            attrs, now = self.study.user_attrs, time.monotonic()
            for worker in (worker for worker in ended if ended[worker] is None):
                beat = attrs.get(f"beat {worker}")
                if worker not in self.heard or self.heard[worker][0] != beat:
                    self.heard[worker] = beat, now
                elif now - self.heard[worker][1] > STALE_S:
                    gone.add(worker)
        return gone

    def begin(self, params: Params, space: Space, limit: int | None) -> optuna.Trial | None:
        """A new trial of a point; None if another process has it, or `limit` trials count."""
        new = optuna.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=to_distributions(space),
            user_attrs={"params": decode_point(space, params), "worker": self.worker},
        )
        trial_id = self.study._storage.create_new_trial(self.study._study_id, template_trial=new)
        self.begun.add(trial_id)
        trial = optuna.Trial(self.study, trial_id)
        self.read()
        before = [other for other in self.live if other.number < trial.number]
        alike = [other for other in before if other.params == params]
        is_taken = any(key_of(other.params) == key_of(params) for other in alike)
        if is_taken or (limit is not None and len(before) >= limit):
            self.give_up(trial_id)
            self.read()
            return None
        return trial

    def give_up(self, trial_id: int) -> None:
        """Ends a trial that does not count; its point is run again unless another has it."""
        with suppress(UpdateFinishedTrialError):  # by another process just now
            self.study._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def end(self, trial: optuna.Trial, outcome: Outcome, n_reports: int) -> SearchTrial | None:
        """Writes down how a trial ended, and how many scores it told that are not in the study.

        None if another process took it over.
        """
        if isinstance(outcome, TrialResult):
            problem = not_finite(outcome.score, outcome.valid, outcome.test)
            outcome = KgrecError(problem) if problem else outcome
        tell = partial(self.study.tell, trial, skip_if_finished=True)
        with suppress(UpdateFinishedTrialError):
            if n_reports:
                trial.set_user_attr("n_reports", n_reports)
            if isinstance(outcome, Pruned):
                tell(state=TrialState.PRUNED)
            elif isinstance(outcome, KgrecError):
                trial.set_user_attr("error", str(outcome))
                tell(state=TrialState.FAIL)
            else:
                trial.set_user_attr("valid", dict(outcome.valid))
                trial.set_user_attr("test", dict(outcome.test))
                tell(outcome.score)
        self.read()
        return self.known.get(trial.number)


def key_of(params: Mapping[str, Any]) -> str:
    """Equal for equal points; True and 1 are two."""
    return repr(sorted(params.items()))


def _counts(trial: FrozenTrial) -> bool:
    return trial.state != TrialState.FAIL or "error" in trial.user_attrs


def _worker_of(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("worker", ""))


def _params_of(trial: FrozenTrial) -> Params:
    """The params of a trial; an earlier kgrec queued it with them."""
    return trial.params or trial.system_attrs.get("fixed_params", {})


@contextmanager
def open_study(
    storage_url: str,
    study_name: str,
    made_with: Mapping[str, Mapping[str, Any]],
    worker: str = "",
    has_ended: HasEnded = lambda worker: True,
) -> Iterator[SharedStudy]:
    """The study, made if it is not there, and read.

    A `worker` with a name says all the while that it is there; see `SharedStudy`.

    Raises:
        KgrecError: What the database says is wrong, within the `with` block, too; a study that is
            damaged or was made with something else.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage, is_open = None, False
    where = re.sub(r"/.*@", "/***@", storage_url)  # a password stays unseen
    try:
        address = make_url(storage_url)
        where = address.render_as_string().removeprefix("sqlite:///")
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                storage = _open_storage(address)
                study = optuna.create_study(
                    storage=storage,
                    sampler=samplers.RandomSampler(),  # idle: every point is queued
                    study_name=study_name,
                    direction="maximize",
                    load_if_exists=True,
                )
                _check_made_with(study, made_with)
                shared = SharedStudy(study, worker, has_ended)
                shared.read()
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
            is_open = True
            with _beating(study, worker):
                yield shared
    except ArgumentError as error:
        raise KgrecError(
            f"storage '{where}': {_reason(error)}; expected for instance sqlite:///study.db or "
            "postgresql://user@host/name"
        ) from error
    except (StorageInternalError, SQLAlchemyError) as error:
        failed = f"{where}: {'the' if is_open else 'cannot open the'} study's database"
        told = " failed ({}); finished trials stay in it" if is_open else " ({})"
        raise KgrecError(failed + told.format(_reason(error))) from error
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()


def _open_storage(address: URL) -> RDBStorage:
    """The database; when several processes make its tables at once, one does and the others wait.

    A SQLite file that another process writes is waited for.
    """
    arguments: dict[str, Any] = {}
    if address.get_backend_name() == "sqlite":
        arguments["connect_args"] = {"timeout": 60}
    for _ in range(10):
        try:
            return RDBStorage(address.render_as_string(hide_password=False), arguments)
        except SQLAlchemyError as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
        time.sleep(0.2)
    return RDBStorage(address.render_as_string(hide_password=False), arguments)


@contextmanager
def _beating(study: optuna.Study, worker: str) -> Iterator[None]:
    """Within, this process says every `BEAT_S` that it is there."""
    is_over = threading.Event()

    def beat() -> None:
        number = 0
        while not is_over.wait(BEAT_S if number else 0):
            number += 1
            with suppress(StorageInternalError, SQLAlchemyError):  # the search meets it, too
                study.set_user_attr(f"beat {worker}", number)

    thread = threading.Thread(target=beat, daemon=True)
    if worker:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        if worker:
            thread.join()


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
        worker=_worker_of(trial),
    )
