"""The settings that are blocks of their own, and what their types are made of."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.functional_validators import AfterValidator

METRICS = ("Recall", "MRR", "NDCG", "Hit", "Precision", "MAP")
LIST_METRICS = (
    "ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"
)  # fmt: skip

Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]


def _short_names(text: str) -> str:
    if len(text) > 2000 or any(len(name.encode()) > 200 for name in re.split(r"[/\\]", text)):
        raise ValueError("expected file names of at most 200 bytes")
    return text


PathText = Annotated[str, AfterValidator(_short_names)]
"""What becomes a path, or the name of a file."""

Count = Annotated[int, Field(ge=1, lt=2**31)]
Size = Annotated[int, Field(ge=1, le=2**16)]
"""What a model is made of; more asks for memory that no machine has."""


class Strict(BaseModel):
    """Unknown names and null are no values."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: Any) -> Any:
        return without_nulls(cls, values)


def without_nulls(model: type[BaseModel], values: Any) -> Any:
    """The values; null, where the setting has no null of its own, is the default."""
    if not isinstance(values, dict):
        return values
    fields = model.model_fields
    return {
        name: value
        for name, value in values.items()
        if value is not None
        or name not in fields
        or type(None) in get_args(fields[name].annotation)
    }


class PretrainKGSettings(Strict):
    """`pretrain_kg`: how entity vectors are made from the knowledge graph."""

    method: str = "TransE"
    embedding_size: Size | None = None
    epochs: Count = 30
    batch_size: Count = 2048
    learning_rate: float = Field(default=0.01, gt=0)
    negatives: Annotated[int, Field(ge=1, le=2**20)] | None = None
    seed: int = Field(default=2020, ge=0, lt=2**32)


class NegativeSampling(Strict):
    """`train_neg_sample_args`: the negatives of BPR and SSM. The defaults are BPR's.

    Differs from RecBole: `dynamic` sampling among `candidate_num` is not supported.
    """

    distribution: Literal["uniform", "popularity"] = "uniform"
    sample_num: int = Field(default=1, ge=1, le=2**20)
    alpha: float = Field(default=1.0, gt=0)
    dynamic: Literal[False] = False
    candidate_num: Literal[0] = 0


class GradientNorm(Strict):
    """`clip_grad_norm`: gradients are scaled down to this norm."""

    max_norm: float = Field(gt=0)
    norm_type: float = Field(default=2.0, gt=0)


class EvalArgs(Strict):
    """`eval_args`: how each user's history is split, and what a target is ranked among."""

    split: dict[Literal["LS", "RS"], str | tuple[float, float, float]] = {"LS": "valid_and_test"}
    order: Literal["TO"] = "TO"
    mode: str | dict[str, str] = "full"
    group_by: Literal["user", "none"] | None = "user"

    @field_validator("mode", mode="before")
    @classmethod
    def _known_mode(cls, value: Any) -> Any:
        modes = value if isinstance(value, dict) else {"valid": value, "test": value}
        if not modes.keys() <= {"valid", "test"}:
            raise ValueError("takes one mode, or {valid: MODE, test: MODE}")
        for mode in modes.values():
            if not re.fullmatch(r"full|(uni|pop)[1-9]\d{0,8}", str(mode)):
                raise ValueError(f"found '{mode}', expected full, uniN or popN, such as uni100")
        same = {modes.get(part, "full") for part in ("valid", "test")}
        return same.pop() if len(same) == 1 else modes

    @field_validator("split", mode="before")
    @classmethod
    def _three_shares(cls, value: Any) -> Any:
        how = value.get("RS", (0, 0, 0)) if isinstance(value, dict) else (0, 0, 0)
        if not isinstance(how, list | tuple) or len(how) != 3:
            raise ValueError("RS takes three shares, for instance [0.8, 0.1, 0.1]")
        return value

    @field_validator("split")
    @classmethod
    def _known_split(cls, value: Any) -> Any:
        if len(value) != 1:
            raise ValueError("takes one of LS and RS")
        ((kind, how),) = value.items()
        if kind == "LS":
            if how not in ("valid_and_test", "valid_only", "test_only"):
                raise ValueError("LS takes valid_and_test, valid_only or test_only")
            return value
        if min(how) < 0 or how[0] <= 0:
            raise ValueError("the shares of RS cannot be negative, nor the first one zero")
        return {"RS": tuple(share / sum(how) for share in how)}

    def mode_of(self, part: str) -> str:
        """The mode of "valid" or "test"."""
        return self.mode if isinstance(self.mode, str) else self.mode.get(part, "full")


BLOCKS: dict[str, type[BaseModel]] = {
    "train_neg_sample_args": NegativeSampling,
    "clip_grad_norm": GradientNorm,
    "eval_args": EvalArgs,
    "pretrain_kg": PretrainKGSettings,
}
"""Settings that are blocks of their own."""
