"""The files of a run folder, one reader each: a value of the right shape, or one line of error.

`config.yaml` (resolved settings), `items.tsv` (the vocabulary: row n is item id n), `history.jsonl`
(one line an epoch), `environment.json`, `model.safetensors` (the best weights), `metrics.json`
(present once the run is finished), and while it runs `checkpoint.safetensors`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from kgrec_cli.bounded_yaml import read_yaml
from kgrec_cli.config import build_settings, merge
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.formats.atomic import read_atomic, read_header
from kgrec_cli.formats.files import (
    cannot_write,
    parse_json,
    read_json,
    write_json,
    write_text,
    writing,
)
from kgrec_cli.settings import Settings

CONFIG, ITEMS, HISTORY = "config.yaml", "items.tsv", "history.jsonl"
ENVIRONMENT, MODEL, METRICS = "environment.json", "model.safetensors", "metrics.json"
CHECKPOINT = "checkpoint.safetensors"
MOST_CHARS = 220  # of an error, before its cure
ITEM_TYPES = {"item_id": "token", "title": "token_seq", "entity_id": "token"}

Shape = TypeVar("Shape", bound="_Shape")
Count = Annotated[int, Field(ge=0, lt=2**31)]
Positive = Annotated[int, Field(ge=1, lt=2**31)]


class _Shape(BaseModel):
    """What a JSON value must hold at least; what it holds more is kept."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow", allow_inf_nan=False)


class Environment(_Shape):
    """`environment.json`: what a run was made with, as far as commands read it.

    `warm_start` is the folder of the run that its first weights are of.
    """

    inter_sha256: str
    on_all_data: bool = False
    n_users: int | None = None
    n_interactions: int | None = None
    warm_start: str | None = None


class Training(_Shape):
    """How a run was trained: in its `metrics.json`."""

    best_epoch: Count
    epochs: Positive
    on_all_data: bool


class RunMetrics(_Shape):
    """`metrics.json`: metrics by part, and more that `evaluate` has measured."""

    training: Training
    valid: dict[str, float] = {}
    test: dict[str, float] = {}
    explanations: dict[str, float] = {}


class WeightsMeta(_Shape):
    """The values that go with the weights of a run.

    Attributes:
        on_all_data: Nothing was held out.
        tables: The width of each branch's vectors but the items', by its name.
    """

    on_all_data: bool = False
    tables: dict[str, Positive] = {}


class EpochRow(_Shape):
    """A line of `history.jsonl`."""

    epoch: Positive
    loss: float
    valid: dict[str, float]
    elapsed_s: float


class CheckpointMeta(_Shape):
    """The values that go with the tensors of a checkpoint: the fields of `TrainingState`."""

    epoch: Positive
    best_epoch: Count
    best_score: float
    n_not_better: Count
    history: list[EpochRow]


class KGCheckpointMeta(_Shape):
    """The values that go with the tensors of a checkpoint of `pretrain-kg`."""

    made_from: dict[str, Any]
    losses: Annotated[list[float], Field(min_length=1)]
    scores: dict[int, float] = {}
    metrics: dict[str, float] = {}


def read_run_settings(run_dir: Path) -> Settings:
    """The settings that a run was trained with.

    Raises:
        KgrecError: Its `config.yaml` is missing or malformed.
    """
    path = run_dir / CONFIG
    with naming_the_cure(path):
        return build_settings(read_yaml(path), str(path))


def read_run_items(run_dir: Path) -> pl.DataFrame:
    """The vocabulary: String columns item_id, title, entity_id; row n (from 1) is item id n.

    Raises:
        KgrecError: The file is missing or malformed, or an item is empty or stands twice.
    """
    path = run_dir / ITEMS
    with naming_the_cure(path):
        if read_header(path) != ITEM_TYPES:
            raise KgrecError(f"{path}: its header is not {', '.join(ITEM_TYPES)}")
        table = read_atomic(path)
        items = table["item_id"]
        if items.is_empty() or items.null_count() or items.n_unique() < len(items):
            raise KgrecError(f"{path}: no item, an empty one, or one that stands twice")
    return table


def read_environment(run_dir: Path) -> Environment:
    """What a run was made with.

    Raises:
        KgrecError: Its `environment.json` is missing or damaged.
    """
    path = run_dir / ENVIRONMENT
    with naming_the_cure(path):
        return check_shape(Environment, read_json(path), path)


def read_metrics(run_dir: Path) -> RunMetrics:
    """The metrics of a finished run.

    Raises:
        KgrecError: Its `metrics.json` is missing or damaged.
    """
    path = run_dir / METRICS
    with naming_the_cure(path):
        return check_shape(RunMetrics, read_json(path), path)


def read_history(run_dir: Path) -> list[EpochRow]:
    """The epochs of a run's training in order; none of a run that was imported.

    Raises:
        KgrecError: Its `history.jsonl` is damaged.
    """
    path = run_dir / HISTORY
    if not path.is_file():
        return []
    with naming_the_cure(path):
        try:
            values = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise KgrecError(
                f"{path}: not a JSON line an epoch ({shorten(str(error), 80)})"
            ) from error
        return [check_shape(EpochRow, value, path) for value in values]


def read_weights(run_dir: Path) -> tuple[dict[str, Tensor], WeightsMeta]:
    """The best weights of a run by parameter name, on the CPU, and the values that go with them.

    Raises:
        KgrecError: Its `model.safetensors` is missing or damaged.
    """
    path = run_dir / MODEL
    with naming_the_cure(path):
        tensors, meta = read_tensors(path)
        return tensors, check_shape(WeightsMeta, meta or {}, path)


def read_checkpoint(run_dir: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON value that `pack_state` packed.

    Raises:
        KgrecError: Its `checkpoint.safetensors` is missing or damaged.
    """
    path = run_dir / CHECKPOINT
    with naming_the_cure(path):
        tensors, meta = read_tensors(path)
        checked = check_shape(CheckpointMeta, meta, path)
        epochs = [row.epoch for row in checked.history]
        if epochs != list(range(1, checked.epoch + 1)) or checked.best_epoch > checked.epoch:
            raise KgrecError(f"{path}: its history is not that of {checked.epoch} epochs")
    return tensors, meta


def check_shape(kind: type[Shape], value: Any, path: Path) -> Shape:
    """A value of a file in its shape.

    Raises:
        KgrecError: The line names the file and the first thing that is not as it should be.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = shorten(".".join(map(str, problem["loc"])))
        raise KgrecError(f"{path}: {where + ': ' if where else ''}{problem['msg']}") from error


@contextmanager
def naming_the_cure(path: Path) -> Iterator[None]:
    """Adds to an error about a file of a run what to do about it.

    Raises:
        KgrecError: The one that was raised within, and the cure.
    """
    try:
        yield
    except KgrecError as error:
        is_checkpoint = path.name.endswith(CHECKPOINT)
        cure = "remove it to start from the first epoch" if is_checkpoint else "train anew"
        found = shorten(str(error), MOST_CHARS)
        raise KgrecError(f"{found}; put back a copy of it, or {cure}") from error


def write_history(run_dir: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON line per epoch."""
    lines = (json.dumps(row, allow_nan=False) + "\n" for row in rows)
    write_text(run_dir / HISTORY, "".join(lines))


def merge_metrics(run_dir: Path, values: Mapping[str, Any]) -> None:
    """Puts `values` over those in `metrics.json`, block by block: other cutoffs there stay.

    Raises:
        KgrecError: It is damaged.
        CannotWrite: It cannot be written.
    """
    metrics = read_metrics(run_dir).model_dump(exclude_unset=True)
    write_json(run_dir / METRICS, merge(metrics, values))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON value in one safetensors file, whole or not at all.

    The same tensors and the same value give the same bytes.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with writing(path) as temporary_path:
        try:
            save_file(plain, temporary_path, {"meta": json.dumps(meta, allow_nan=False)})
        except SafetensorError as error:
            raise cannot_write(path, OSError(str(error))) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors (on the CPU) and the JSON value in a safetensors file.

    Raises:
        KgrecError: The file is missing or is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = (file.metadata() or {}).get("meta", "null")
        return load_file(path), parse_json(meta)
    except FileNotFoundError as error:
        raise KgrecError(f"{path}: no such file") from error
    except (SafetensorError, OSError, ValueError) as error:
        reason = shorten(str(error), 80)
        raise KgrecError(f"{path}: not a whole safetensors file ({reason})") from error
