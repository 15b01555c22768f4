"""`kgrec compare`: finished runs in; their metrics, differences and settings out, side by side."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.evaluation.bootstrap import (
    N_RESAMPLES,
    Difference,
    holm,
    paired_differences,
    user_means,
)
from kgrec_cli.core.evaluation.measure import Measured, gains
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.runs.held_out import HeldOut, evaluation_settings, load_held_out
from kgrec_cli.runs.recommender import Recommender
from kgrec_cli.runs.run_files import read_run_settings
from kgrec_cli.setting_blocks import METRICS
from kgrec_cli.stages.export.recbole import LOCAL_SETTINGS

VIEWS = ("test", "test_masked")
FEW_USERS = 30
# Settings that do not distinguish runs; what a preset sets is among the others.
NOT_COMPARED = {*LOCAL_SETTINGS, "metrics", "topk", "metric_decimal_place", "preset"}


@dataclass(frozen=True)
class Side:
    """One run, or the seeds of one configuration, measured on its test targets.

    Attributes:
        run_dirs: The run, or the run of each seed.
        seeds: Their seeds.
        settings: Name (of a block "block.name") to value, and `entity_vectors`: a hash of the
            frozen ones.
        items: The item tokens that are candidates.
        mode: Which of them are ranked (`eval_args.mode` of the test).
        metrics: By view, then by name; over the seeds the mean.
        n_targets: int64 (U,), test targets of each user.
        targets: By user token, in the order of `n_targets`: what the user's targets are and the
            items before them, as a hash.
        values: By view, then by metric of ranks: float64 (S, U), by seed the value of each user.
    """

    run_dirs: tuple[Path, ...]
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    items: frozenset[str]
    mode: str
    metrics: dict[str, dict[str, float]]
    n_targets: NDArray[np.int64]
    targets: dict[str, bytes]
    values: dict[str, dict[str, NDArray[np.float64]]]

    @property
    def name(self) -> str:
        """The run's name; of several seeds the first one's, with their number."""
        name, n_seeds = self.run_dirs[0].name, len(self.run_dirs)
        if n_seeds == 1:
            return name
        return f"{name.removesuffix(f'-seed{self.seeds[0]}')} x{n_seeds} seeds"

    @property
    def candidates(self) -> str:
        """The number of candidates, in words."""
        return f"{len(self.items):,} items ({self.mode})"


@dataclass(frozen=True)
class Pair:
    """A run beside the first one: differences by view, then by metric.

    `n_users` are compared: those with the same test targets and histories in both. `n_changed` have
    others, `n_in_one` have test targets in only one of the two.
    """

    n_users: int
    n_changed: int
    n_in_one: int
    differences: dict[str, dict[str, Difference]]


SHOWN = ("ndcg", "hit")


@dataclass(frozen=True)
class Change:
    """A difference as it is shown: of which run (from 2) and metric; p corrected for all shown."""

    number: int
    run: str
    view: str
    metric: str
    n_users: int
    difference: Difference
    p_holm: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """The runs as they are compared, a pair for each but the first, and settings that differ."""

    sides: list[Side]
    pairs: list[Pair]
    settings: dict[str, list[Any]]
    cutoff: int

    @property
    def setting_rows(self) -> list[list[Any]]:
        """Name and values of each setting that differs, as written: numbers with all digits."""
        return [
            [name, *(None if value is None else str(value) for value in values)]
            for name, values in self.settings.items()
        ]

    def changes(self) -> list[Change]:
        """The differences in `SHOWN` at the cutoff, of all pairs; Holm's p is of their number."""
        changes = [
            Change(number, side.name, view, metric, pair.n_users, pair.differences[view][metric])
            for number, (side, pair) in enumerate(zip(self.sides[1:], self.pairs, strict=True), 2)
            for view in VIEWS
            for metric in (f"{name}@{self.cutoff}" for name in SHOWN)
        ]
        corrected = holm([change.difference.p_value for change in changes])
        return [replace(change, p_holm=p) for change, p in zip(changes, corrected, strict=True)]


def run_compare(
    run_dirs: Sequence[Path],
    folder: Path,
    *,
    group: bool = True,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> Comparison:
    """Ranks the test targets of finished runs and compares each run with the first, user by user.

    With `group`, seeds of one configuration (settings equal but for `seed`) count as one run, and
    the intervals hold their spread.

    Raises:
        UsageError: Fewer than two runs, one named twice, or all of them seeds of one configuration.
        KgrecError: A run without test targets, one whose data set is missing or has changed, two
            without a user in common.
    """
    if len(run_dirs) < 2:
        raise UsageError("compare takes two runs or more")
    for number, run_dir in enumerate(run_dirs):
        if run_dir.resolve() in [other.resolve() for other in run_dirs[:number]]:
            raise UsageError(f"{run_dir}: named twice; compare takes different runs")
    settings = [read_run_settings(run_dir) for run_dir in run_dirs]
    topk = sorted({cutoff for of_run in settings for cutoff in of_run.topk})
    sides: list[Side] = []
    for run_dir in run_dirs:
        held_out = load_held_out(
            run_dir,
            folder,
            evaluation_settings(run_dir, {"topk": topk}),
            device=device,
            threads=threads,
            on_event=on_event,
        )
        side = _measure(held_out, on_event)
        matches = [number for number, other in enumerate(sides) if group and _is_seed(side, other)]
        if matches:
            sides[matches[0]] = _add_seed(sides[matches[0]], side)
        else:
            sides.append(side)
    if len(sides) == 1:
        raise UsageError(
            "all of these are seeds of one configuration; --no-group compares them one by one"
        )
    pairs = [_compare(sides[0], side, on_event) for side in sides[1:]]
    return Comparison(sides, pairs, _differing(sides), settings[0].shown_cutoff)


def _measure(held_out: HeldOut, on_event: OnEvent) -> Side:
    """One run, measured on its test targets."""
    recommender, dataset = held_out.recommender, held_out.dataset
    run_dir, settings = recommender.run_dir, recommender.settings
    n_items = len(dataset.items) - 1
    on_event(Note(f"{run_dir.name}: ranking the test targets among {n_items:,} items"))
    measured = held_out.measure("test")
    if not measured.metrics:
        raise KgrecError(f"{run_dir}: its test part is empty, so there is nothing to compare")
    owners = dataset.histories.owners[measured.targets]
    _, rows = np.unique(dataset.histories.user_ids[owners], return_inverse=True)
    return Side(
        run_dirs=(run_dir,),
        seeds=(settings.seed,),
        settings=_describe(recommender),
        items=frozenset(dataset.items.tokens[1:]),
        mode=settings.eval_args.mode_of("test"),
        metrics=measured.metrics,
        n_targets=np.bincount(rows),
        targets=_hash_targets(measured, dataset),
        values={
            view: {
                f"{metric.casefold()}@{k}": user_means(rows, gains(metric, of_view, k))[None]
                for metric in METRICS
                for k in settings.topk
            }
            for view, of_view in measured.views.items()
        },
    )


def _hash_targets(measured: Measured, dataset: Dataset) -> dict[str, bytes]:
    """By user token, in the order of user ids: the targets and all items before them, hashed."""
    histories = dataset.histories
    tokens = np.array(dataset.items.tokens, dtype=object)
    numbers, firsts = np.unique(histories.owners[measured.targets], return_index=True)
    hashes: dict[int, Any] = {}
    for number, targets in zip(numbers, np.split(measured.targets, firsts[1:]), strict=True):
        begin = histories.offsets[number]
        items = tokens[histories.items[begin : targets[-1] + 1]].tolist()
        of_user = hashes.setdefault(int(histories.user_ids[number]), hashlib.blake2b())
        of_user.update(repr(((targets - begin).tolist(), items)).encode())
    return {dataset.users.tokens[user]: hashes[user].digest() for user in sorted(hashes)}


def _describe(recommender: Recommender) -> dict[str, Any]:
    """The settings in one level, and a hash of frozen entity vectors."""
    settings, model = read_run_settings(recommender.run_dir), recommender.model
    frozen = model.branches[1:] if settings.freeze_kg else ()
    tables = [model.table_of(branch).weight.detach().cpu().numpy().tobytes() for branch in frozen]
    return {
        **dict(_flat(settings.model_dump(mode="json", exclude=NOT_COMPARED))),
        "entity_vectors": hashlib.blake2b(b"".join(tables)).hexdigest()[:8] if tables else None,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_seed(side: Side, other: Side) -> bool:
    """Whether a run is a further seed of a configuration."""
    return (
        side.seeds[0] not in other.seeds
        and side.targets == other.targets
        and {**side.settings, "seed": None} == {**other.settings, "seed": None}
    )


def _add_seed(side: Side, new: Side) -> Side:
    """The side with a further seed: in the means of its metrics, and in its values."""
    weight = 1 / (len(side.seeds) + 1)
    return replace(
        side,
        run_dirs=side.run_dirs + new.run_dirs,
        seeds=side.seeds + new.seeds,
        metrics={
            view: {
                name: old + weight * (new.metrics[view][name] - old) for name, old in row.items()
            }
            for view, row in side.metrics.items()
        },
        values={
            view: {name: np.concatenate([old, new.values[view][name]]) for name, old in row.items()}
            for view, row in side.values.items()
        },
    )


def _compare(first: Side, other: Side, on_event: OnEvent) -> Pair:
    if first.items != other.items or first.mode != other.mode:
        text = f"{other.name} ranks among {other.candidates}, {first.name} among {first.candidates}"
        on_event(Warn(f"{text}: other candidates alone make metrics differ"))
    places = {user: row for row, user in enumerate(other.targets)}
    users = [
        (row, places[user])
        for row, (user, targets) in enumerate(first.targets.items())
        if other.targets.get(user) == targets
    ]
    if not users:
        raise KgrecError(
            f"{other.name} has no user with the same test targets and history in common with "
            f"{first.name}: compare runs on one data set and one split"
        )
    if len(users) < FEW_USERS:
        on_event(Warn(f"{other.name}: only {len(users)} users compared, intervals are unreliable"))
    on_event(Note(f"{other.name}: {N_RESAMPLES:,} resamples of {len(users):,} users"))
    rows_first, rows_other = np.array(users).T
    names = [(view, name) for view in VIEWS for name in first.values[view]]
    columns_first, columns_other = (
        np.stack([side.values[view][name][:, rows] for view, name in names], axis=-1)
        for side, rows in ((first, rows_first), (other, rows_other))
    )
    results = paired_differences(columns_first, columns_other, first.n_targets[rows_first])
    by_name = dict(zip(names, results, strict=True))
    return Pair(
        n_users=len(users),
        n_changed=len(first.targets.keys() & other.targets.keys()) - len(users),
        n_in_one=len(first.targets.keys() ^ other.targets.keys()),
        differences={
            view: {name: by_name[view, name] for name in first.values[view]} for view in VIEWS
        },
    )


def _differing(sides: Sequence[Side]) -> dict[str, list[Any]]:
    """The settings that are not the same in all; `seed` is none where seeds are grouped."""
    names = dict.fromkeys(name for side in sides for name in side.settings)
    if any(len(side.seeds) > 1 for side in sides):
        names.pop("seed")
    values = {name: [side.settings.get(name) for side in sides] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}
