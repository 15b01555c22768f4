"""The settings: typed, strict, under RecBole's names.

`descriptions` says what each means, `config` reads them from files and options. A name that is not
here, nor in `recbole_keys`, is an error with the nearest valid one.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kgrec_cli.errors import unknown_name
from kgrec_cli.intervals import parse_intervals
from kgrec_cli.setting_blocks import (
    LIST_METRICS,
    METRICS,
    Count,
    Device,
    EvalArgs,
    GradientNorm,
    NegativeSampling,
    PathText,
    PretrainKGSettings,
    Size,
    Strict,
    without_nulls,
)

SSM_NEGATIVES: dict[str, Any] = {"distribution": "popularity", "sample_num": 4096, "alpha": 0.75}
"""The defaults of `train_neg_sample_args` with SSM."""

PRESETS: dict[str, dict[str, Any]] = {
    "best": {
        "seen_bias": True,
        "shuffle_ties": True,
        "layer_norm": True,
        "residual": True,
        "similarity": "cosine",
        "kg_items": True,
        "ema_decay": 0.999,
        "hidden_size": 256,
        "embedding_size": 256,
        "dropout_prob": 0.5,
        "learning_rate": 0.002,
    },
    "small": {
        "seen_bias": True,
        "shuffle_ties": True,
        "layer_norm": True,
        "kg_items": True,
        "ema_decay": 0.999,
        "stopping_step": 20,
    },
    "large": {
        "seen_bias": True,
        "shuffle_ties": True,
        "ema_decay": 0.999,
        "stopping_step": 20,
        "hidden_size": 256,
        "embedding_size": 128,
        "MAX_ITEM_LIST_LENGTH": 100,
        "hidden_dropout_prob": 0.3,
        "dropout_prob": 0.3,
        "learning_rate": 0.002,
    },
    "sparse": {
        "seen_bias": True,
        "residual": True,
        "similarity": "cosine",
        "layer_norm": True,
        "ema_decay": 0.999,
        "loss_type": "SSM",
        "embedding_size": 256,
        "dropout_prob": 0.5,
        "learning_rate": 0.002,
    },
}
"""Values of each preset, chosen by validation alone (docs/results.md): `best` over three film sets,
`large` for ml-1m, `sparse` for Beauty; `small` has the default sizes."""

RECBOLE_DEFAULTS = {
    "train_batching": "prefix",
    "topk": (10,),
    "valid_metric": "MRR@10",
    "metrics": ("Recall", "MRR", "NDCG", "Hit", "Precision"),
}
"""The defaults with `recbole_compat`."""


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, over those of the `preset` that they name."""
    preset = values.get("preset")
    return {**(PRESETS.get(preset, {}) if isinstance(preset, str) else {}), **values}


class Settings(Strict):
    """All settings of a run. A preset changes defaults; every value that is set overrides it."""

    dataset: PathText | None = None
    data_path: PathText = "dataset"
    checkpoint_dir: PathText = "saved"
    seed: int = Field(default=2020, ge=0, lt=2**32)
    device: Device = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    enable_amp: bool = False
    allow_tf32: bool = False
    recbole_compat: bool = False
    preset: str | None = None

    field_separator: str = "\t"
    seq_separator: str = " "
    USER_ID_FIELD: str = "user_id"
    ITEM_ID_FIELD: str = "item_id"
    RATING_FIELD: str = "rating"
    TIME_FIELD: str | None = "timestamp"
    HEAD_ENTITY_ID_FIELD: str = "head_id"
    TAIL_ENTITY_ID_FIELD: str = "tail_id"
    RELATION_ID_FIELD: str = "relation_id"
    ENTITY_ID_FIELD: str = "entity_id"
    load_col: dict[str, tuple[str, ...] | Literal["*"]] | None = None
    unload_col: dict[str, tuple[str, ...] | Literal["*"]] | None = None
    additional_feat_suffix: tuple[PathText, ...] | None = None
    preload_weight: dict[str, str] | None = None
    alias_of_entity_id: tuple[str, ...] = ("ent_id",)
    alias_of_item_id: tuple[str, ...] = ()
    alias_of_user_id: tuple[str, ...] = ()
    alias_of_relation_id: tuple[str, ...] = ()
    rm_dup_inter: Literal["first", "last"] | None = None
    val_interval: dict[str, str | tuple[str, ...]] | None = None
    filter_inter_by_user_or_item: bool | None = None
    user_inter_num_interval: str | None = None
    item_inter_num_interval: str | None = None
    benchmark_filename: tuple[PathText, ...] | None = None

    model: Literal["GRU4RecKG", "GRU4Rec"] = "GRU4RecKG"
    embedding_size: Size = 64
    hidden_size: Size = 128
    num_layers: int = Field(default=1, ge=1, le=100)
    dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    hidden_dropout_prob: float = Field(default=0.0, ge=0, lt=1)
    layer_norm: bool = False
    residual: bool = False
    similarity: Literal["dot", "cosine"] = "dot"
    freeze_kg: bool = True
    loss_type: Literal["CE", "BPR", "SSM"] = "CE"
    train_neg_sample_args: NegativeSampling | None = None
    MAX_ITEM_LIST_LENGTH: int = Field(default=50, ge=1, le=10**6)
    seen_bias: bool = False
    kg_items: bool = False

    epochs: Count = 300
    train_batch_size: Count = 2048
    train_batching: Literal["sequence", "prefix"] = "sequence"
    shuffle_ties: bool = False
    learner: Literal["adam", "sparse_adam"] = "adam"
    learning_rate: float = Field(default=0.001, gt=0)
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip_grad_norm: GradientNorm | None = None
    eval_step: Count = 1
    stopping_step: Count = 10

    eval_args: EvalArgs = EvalArgs()
    eval_batch_size: Count = 4096
    metrics: tuple[str, ...] = METRICS
    topk: Annotated[tuple[Count, ...], Field(min_length=1)] = (5, 10, 20)
    valid_metric: str = "NDCG@10"
    metric_decimal_place: int = Field(default=4, ge=1, le=20)

    pretrain_kg: PretrainKGSettings = PretrainKGSettings()

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        """Defaults that depend on values: those of SSM, of `recbole_compat`, of the preset."""
        if not isinstance(values, dict):
            return values
        values = without_nulls(cls, values)
        sampling = values.get("train_neg_sample_args")
        if values.get("loss_type") == "SSM" and isinstance(sampling, dict):
            values = {**values, "train_neg_sample_args": {**SSM_NEGATIVES, **sampling}}
        if values.get("recbole_compat"):
            values = {**RECBOLE_DEFAULTS, **values}
        return with_preset(values)

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str | None) -> str | None:
        if value is not None and value not in PRESETS:
            raise ValueError(unknown_name("preset", value, PRESETS))
        return value

    @field_validator(
        "additional_feat_suffix", "alias_of_entity_id", "alias_of_item_id", "alias_of_user_id",
        "alias_of_relation_id", "benchmark_filename", "topk", "metrics", mode="before",
    )  # fmt: skip
    @classmethod
    def _one_value(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int | str) else value

    @field_validator("benchmark_filename")
    @classmethod
    def _three_parts(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(value) != 3:
            found = ", ".join(value)
            raise ValueError(
                f"found [{found}], three parts are needed: [train, valid, test]; the second "
                "chooses the best epoch"
            )
        return value

    @field_validator("field_separator", "seq_separator")
    @classmethod
    def _known_separator(cls, value: str, info: ValidationInfo) -> str:
        if value == r"\t":
            raise ValueError('found a backslash and a t; a tab is "\\t" in double quotes')
        if not value or any(mark in value for mark in '\r\n"'):
            raise ValueError(f"found {value!r}, expected a character such as '\\t' or ','")
        if info.field_name == "field_separator" and (len(value) > 1 or not value.isascii()):
            raise ValueError(f"found {value!r}, expected a single ASCII character")
        return value

    @field_validator("user_inter_num_interval", "item_inter_num_interval", mode="before")
    @classmethod
    def _interval(cls, value: Any) -> Any:
        """[2, 5] and, in Python, (2, 5) are RecBole's "[2,5]" and "(2,5)"."""
        if isinstance(value, list):
            return f"[{','.join(map(str, value))}]"
        return f"({','.join(map(str, value))})" if isinstance(value, tuple) else value

    @field_validator("user_inter_num_interval", "item_inter_num_interval", "val_interval")
    @classmethod
    def _is_interval(cls, value: Any) -> Any:
        for text in value.values() if isinstance(value, dict) else [value]:
            if isinstance(text, str):
                parse_intervals(text)
        return value

    @field_validator("val_interval", mode="before")
    @classmethod
    def _tokens(cls, value: Any) -> Any:
        """Of a list its members as text; of a Python tuple the open interval, as in RecBole."""
        if not isinstance(value, dict):
            return value
        return {
            field: cls._interval(chosen)
            if isinstance(chosen, tuple)
            else tuple(map(str, chosen))
            if isinstance(chosen, list)
            else chosen
            for field, chosen in value.items()
        }

    @field_validator("load_col", "unload_col", mode="before")
    @classmethod
    def _no_columns(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {suffix: columns or () for suffix, columns in value.items()}
        return value

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
        if separator and not re.fullmatch(r"[1-9]\d{0,8}", cutoff):
            raise ValueError("valid_metric takes METRIC@K, for instance NDCG@10")
        by_fold = {metric.casefold(): metric for metric in METRICS}
        if name.casefold() not in by_fold:
            raise ValueError(unknown_name("metric", name, METRICS))
        return f"{by_fold[name.casefold()]}@{cutoff or 10}"

    @model_validator(mode="after")
    def _fits_the_loss(self) -> Self:
        if self.loss_type == "CE" and self.train_neg_sample_args is not None:
            raise ValueError(
                "loss_type CE compares with every item and takes no train_neg_sample_args "
                "(older: neg_sampling); remove it or set loss_type: BPR (or SSM)"
            )
        if self.seen_bias and self.loss_type == "BPR":
            raise ValueError(
                "seen_bias is learned by a softmax, found BPR; "
                "set seen_bias: false or loss_type: CE (or SSM)"
            )
        of_all = ("kg_items", "weight_decay", "clip_grad_norm")
        unfit = [name for name in of_all if getattr(self, name)]
        unfit += [] if self.loss_type == "SSM" else [f"loss_type {self.loss_type}"]
        if self.learner == "sparse_adam" and unfit:
            raise ValueError(
                f"learner sparse_adam: found {' and '.join(unfit)}; it takes loss_type SSM, and no "
                "kg_items, weight_decay or clip_grad_norm: they need all items at every step; "
                "change them or set learner: adam"
            )
        return self

    @property
    def validates(self) -> bool:
        """Whether the split has a validation part; without one all epochs are trained."""
        how = self.eval_args.split.get("LS", "valid_and_test")
        return how != "test_only" or self.benchmark_filename is not None

    @property
    def measured_parts(self) -> tuple[str, ...]:
        """The parts that a run is measured on."""
        return ("valid", "test") if self.validates else ("test",)

    @property
    def drops_unlisted(self) -> bool:
        """Whether interactions of users and items without a row in `.user` or `.item` go."""
        chosen = self.filter_inter_by_user_or_item
        return self.recbole_compat if chosen is None else chosen

    @property
    def shown_cutoff(self) -> int:
        """The cutoff that tables show: that of `valid_metric` when it is one of `topk`."""
        cutoff = int(self.valid_metric.partition("@")[2])
        return cutoff if cutoff in self.topk else max(self.topk)

    @property
    def negatives(self) -> NegativeSampling:
        """The negatives of the loss; with BPR one uniform negative, if nothing else is set."""
        defaults = SSM_NEGATIVES if self.loss_type == "SSM" else {}
        return self.train_neg_sample_args or NegativeSampling.model_validate(defaults)
