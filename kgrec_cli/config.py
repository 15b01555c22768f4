"""Settings: typed, strict, under RecBole's names.

One `Settings` object holds all that `pretrain-kg`, `train`, `evaluate` and `tune` can be told.
It is resolved once, in this order (later wins): defaults, `kgrec.yaml` in the working folder,
`--config` files, options and `--set key=value`. A key that nobody knows is an error.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kgrec_cli.errors import KgrecError, UsageError, nearest, unknown_name

CONFIG_NAME = "kgrec.yaml"

METRICS = ("Recall", "MRR", "NDCG", "Hit", "Precision", "MAP")
LIST_METRICS = ("ItemCoverage", "AveragePopularity", "GiniIndex", "TailPercentage")

Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class PretrainKGSettings(_Strict):
    """The `pretrain_kg:` block: how entity vectors are made from the knowledge graph.

    Attributes:
        method: A PyKEEN model whose entities are vectors.
        embedding_size: Width of the vectors; None takes the model's `embedding_size`.
        epochs: Passes over the triples.
        batch_size: Triples a step.
        learning_rate: Adam's step size.
        negatives: Corrupted triples for each true one.
        seed: Seed of initial values, order and negatives.
    """

    method: str = "TransE"
    embedding_size: int | None = Field(default=None, ge=1)
    epochs: int = Field(default=50, ge=1)
    batch_size: int = Field(default=2048, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)
    negatives: int = Field(default=16, ge=1)
    seed: int = Field(default=2020, ge=0, lt=2**32)


class NegativeSampling(_Strict):
    """`train_neg_sample_args`: the negatives that the BPR loss compares with."""

    distribution: Literal["uniform", "popularity"] = "uniform"
    sample_num: int = Field(default=1, ge=1)


class EvalArgs(_Strict):
    """`eval_args`: how each user's history is split.

    `split` is `{LS: valid_and_test}` (each user's last item is test, the one before valid) or
    `{RS: [train, valid, test]}` (shares). With `group_by: user` shares are taken of every user's
    history; with `group_by: none` of the whole log in time, so that training knows no event later
    than any tested one.
    """

    split: dict[Literal["LS", "RS"], str | tuple[float, float, float]] = {"LS": "valid_and_test"}
    order: Literal["TO"] = "TO"
    mode: Literal["full"] = "full"
    group_by: Literal["user", "none"] | None = "user"

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if len(self.split) != 1:
            raise ValueError("split takes one of LS and RS")
        kind, value = next(iter(self.split.items()))
        if kind == "LS" and value != "valid_and_test":
            raise ValueError("LS takes valid_and_test")
        if kind == "RS":
            if isinstance(value, str):
                raise ValueError("RS takes three shares, for instance [0.8, 0.1, 0.1]")
            if min(value) < 0 or value[0] <= 0 or abs(sum(value) - 1) > 1e-6:
                raise ValueError("the shares of RS must be positive and sum to 1")
        return self


class Settings(_Strict):
    """Everything a run is made from. Names and defaults are RecBole's unless marked (kgrec).

    Attributes:
        dataset: Name of the data set; its files are `<data_path>/<dataset>/<dataset>.*`.
        model: GRU4RecKG, or GRU4Rec: the same network without the KG branch.
        MAX_ITEM_LIST_LENGTH: Most recent items of a history that the model reads.
        train_batching: `sequence` predicts at every position of a window in one pass (kgrec);
            `prefix` makes one row per target, as RecBole does.
        train_batch_size: Targets a step.
        stopping_step: Evaluations in a row without progress after which training stops.
        device: auto, cpu, cuda or cuda:N (kgrec; RecBole's use_gpu and gpu_id).
        threads: CPU threads; None leaves it to torch (kgrec).
        amp: Mixed precision on CUDA (RecBole's enable_amp).
    """

    dataset: str | None = None
    data_path: str = "dataset"
    checkpoint_dir: str = "saved"
    seed: int = Field(default=2020, ge=0, lt=2**32)
    device: Device = "auto"
    threads: int | None = Field(default=None, ge=1)
    enable_amp: bool = False

    model: Literal["GRU4RecKG", "GRU4Rec"] = "GRU4RecKG"
    embedding_size: int = Field(default=64, ge=1)
    hidden_size: int = Field(default=128, ge=1)
    num_layers: int = Field(default=1, ge=1)
    dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    freeze_kg: bool = True
    loss_type: Literal["CE", "BPR"] = "CE"
    train_neg_sample_args: NegativeSampling | None = None
    MAX_ITEM_LIST_LENGTH: int = Field(default=50, ge=1)

    epochs: int = Field(default=300, ge=1)
    train_batch_size: int = Field(default=2048, ge=1)
    train_batching: Literal["sequence", "prefix"] = "sequence"
    learner: Literal["adam"] = "adam"
    learning_rate: float = Field(default=0.001, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    eval_step: int = Field(default=1, ge=1)
    stopping_step: int = Field(default=10, ge=1)

    eval_args: EvalArgs = EvalArgs()
    eval_batch_size: int = Field(default=4096, ge=1)
    metrics: tuple[str, ...] = ("Recall", "MRR", "NDCG", "Hit", "Precision", "MAP")
    topk: tuple[Annotated[int, Field(ge=1)], ...] = (5, 10, 20)
    valid_metric: str = "NDCG@10"
    metric_decimal_place: int = Field(default=4, ge=1)

    pretrain_kg: PretrainKGSettings = PretrainKGSettings()

    @model_validator(mode="before")
    @classmethod
    def _older_names(cls, values: Any) -> Any:
        """RecBole's older `training_neg_sample_num: n` is uniform sampling of n items."""
        if isinstance(values, dict) and "training_neg_sample_num" in values:
            values = dict(values)
            number = values.pop("training_neg_sample_num")
            if values.get("train_neg_sample_args") is None and number:
                values["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": number}
        return values

    @field_validator("topk", mode="before")
    @classmethod
    def _one_k(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_metric(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        by_fold = {name.casefold(): name for name in (*METRICS, *LIST_METRICS)}
        for name in value:
            if name.casefold() not in by_fold:
                raise ValueError(unknown_name("metric", name, by_fold.values()))
        return tuple(by_fold[name.casefold()] for name in value)

    @field_validator("valid_metric")
    @classmethod
    def _known_valid_metric(cls, value: str) -> str:
        name, separator, cutoff = value.partition("@")
        if separator and not (cutoff.isdigit() and int(cutoff) > 0):
            raise ValueError("valid_metric takes METRIC@K, for instance NDCG@10")
        by_fold = {metric.casefold(): metric for metric in METRICS}
        if name.casefold() not in by_fold:
            raise ValueError(unknown_name("metric", name, METRICS))
        return f"{by_fold[name.casefold()]}@{cutoff or 10}"

    @model_validator(mode="after")
    def _loss_and_negatives(self) -> Self:
        if self.loss_type == "CE" and self.train_neg_sample_args is not None:
            raise ValueError(
                "loss_type CE compares with every item and takes no train_neg_sample_args; "
                "remove it or set loss_type: BPR"
            )
        return self

    @property
    def shown_cutoff(self) -> int:
        """The cutoff that tables show: that of `valid_metric` when it is one of `topk`."""
        cutoff = int(self.valid_metric.partition("@")[2])
        return cutoff if cutoff in self.topk else max(self.topk)

    @property
    def negatives(self) -> NegativeSampling:
        """The negative sampling of the BPR loss; one uniform negative unless told otherwise."""
        return self.train_neg_sample_args or NegativeSampling()


def setting_names() -> tuple[str, ...]:
    """Every key that a settings file may hold, those of the `pretrain_kg` block as `block.key`."""
    nested = (f"pretrain_kg.{name}" for name in PretrainKGSettings.model_fields)
    return (*Settings.model_fields, "training_neg_sample_num", *nested)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    Raises:
        KgrecError: The file is missing, not YAML, not a mapping, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise KgrecError(f"{path}: no such settings file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise KgrecError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    try:
        values = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise KgrecError(f"{path}{line}: not valid YAML: {problem}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise KgrecError(f"{path}: expected lines of 'key: value', found {type(values).__name__}")
    return values


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, with floats like 1e-3 read as floats, as RecBole does."""


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _add_float_resolver() -> None:
    import re

    pattern = re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$")
    _Loader.add_implicit_resolver("tag:yaml.org,2002:float", pattern, list("-+0123456789"))


_add_float_resolver()


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, read safely; `1e-3` is a float."""
    return yaml.load(text, Loader=_Loader)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """The mapping that `--set key=value ...` gives; values are YAML, `a.b=1` reaches into a block.

    Raises:
        UsageError: A text without '='.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"--set {assignment}: expected key=value")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {assignment}: the value is not valid YAML") from error
        block = values
        *parents, last = key.strip().split(".")
        for parent in parents:
            inner = block.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise UsageError(f"--set {assignment}: '{parent}' is set to a single value too")
            block = inner
        block[last] = value
    return values


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` on top; `pretrain_kg` and other mappings merge by key.

    `split` is replaced whole: {RS: ...} over {LS: ...} is a change of mind, not a union.
    """
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "split":
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def resolve_settings(
    *,
    folder: Path,
    config_paths: Iterable[Path] = (),
    options: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
    base: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of one command.

    Args:
        folder: The working folder; its `kgrec.yaml` is read when there is one.
        config_paths: `--config` files, later over earlier.
        options: Values typed as options; None values are left out.
        assignments: Texts of `--set`.
        base: Values that take the place of `kgrec.yaml`: those of a run to follow.

    Raises:
        KgrecError: A file that cannot be read, an unknown key or a value out of range, named with
            the file it came from.
    """
    merged: dict[str, Any] = dict(base or {})
    local_path = folder / CONFIG_NAME
    paths = [local_path] if base is None and local_path.is_file() else []
    for path in [*paths, *config_paths]:
        values = read_yaml(path)
        check_values(values, str(path))
        merged = merge(merged, values)
    typed = {key: value for key, value in (options or {}).items() if value is not None}
    try:
        merged = merge(merged, merge(typed, parse_assignments(assignments)))
        return build_settings(merged, "settings")
    except UsageError:
        raise
    except KgrecError as error:
        raise UsageError(str(error).removeprefix("settings: ")) from error


def check_values(values: Mapping[str, Any], where: str) -> None:
    """Checks one file's values by themselves, so that an error can name the file.

    Rules that need several keys at once wait for the merged settings.

    Raises:
        KgrecError: An unknown key or a value out of range.
    """
    values = {key: value for key, value in values.items() if key != "loss_type"}
    try:
        build_settings(values, where)
    except KgrecError as error:
        if "train_neg_sample_args; remove" not in str(error):
            raise


def build_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Checked settings from a mapping.

    Raises:
        KgrecError: `where: key: what was found, what was expected`.
    """
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as error:
        raise KgrecError(f"{where}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """The first problem of a pydantic error, in one line."""
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"] if isinstance(part, str)]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        names = setting_names() if len(location) == 1 else _block_names(location[0])
        return unknown_name("key", location[-1] if len(location) > 1 else key, names)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "literal_error":
        expected = str(problem.get("ctx", {}).get("expected", ""))
        guess = nearest(str(problem["input"]), expected.replace("'", "").split(" or "))
        hint = f"; did you mean {guess}?" if guess else ""
        return f"{key}: found {problem['input']!r}, expected {expected}{hint}"
    if problem["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: found {problem['input']!r}; {message[0].lower()}{message[1:]}"


def _block_names(block: str) -> tuple[str, ...]:
    annotation = Settings.model_fields[block].annotation if block in Settings.model_fields else None
    for model in (PretrainKGSettings, NegativeSampling, EvalArgs):
        if annotation is model or model in getattr(annotation, "__args__", ()):
            return tuple(model.model_fields)
    return ()


def write_config(settings: Settings) -> str:
    """Settings as YAML text that `--config` reads back to the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def choose_dataset(settings: Settings, folder: Path) -> Settings:
    """The settings with `dataset` filled in: as set, else the only one under `data_path`.

    Raises:
        KgrecError: None there, or several; the line lists them.
    """
    data_dir = folder / settings.data_path
    names = sorted(
        path.name for path in data_dir.glob("*") if (path / f"{path.name}.inter").is_file()
    )
    if settings.dataset is not None:
        if settings.dataset not in names:
            known = (
                unknown_name("data set", settings.dataset, names)
                if names
                else (f"no data set '{settings.dataset}' under {settings.data_path}/")
            )
            raise KgrecError(f"{known} (`kgrec prepare {settings.dataset}` makes it)")
        return settings
    if len(names) == 1:
        return settings.model_copy(update={"dataset": names[0]})
    if not names:
        raise KgrecError(
            f"no data set under {settings.data_path}/: start with `kgrec prepare ml-100k`"
        )
    raise KgrecError(
        f"several data sets under {settings.data_path}/: name one by --dataset ({', '.join(names)})"
    )
