"""RecBole's checkpoints (`*.pth`): pickles, read without running anything that is in them.

A checkpoint holds tensors and a Config object. The unpickler here admits tensors; every other class
or function named in the file becomes an inert stub that keeps what it was given and does nothing.
"""

import pickle
import types
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import writing

_ADMITTED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
}


class Inert:
    """Stands for any object of a checkpoint that is no tensor; keeps its state, runs nothing."""

    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        """Takes any arguments, as whatever stood in the file would."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __setstate__(self, state: Any) -> None:
        """Keeps the state."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Items of a mapping are dropped."""

    def append(self, value: Any) -> None:
        """Items of a list are dropped."""

    def extend(self, values: Any) -> None:
        """Items of a list are dropped."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The few functions that make tensors; an inert class for everything else."""
        return _ADMITTED.get((module, name)) or type(name.rpartition(".")[2], (Inert,), {})


_PICKLE = types.SimpleNamespace(
    Unpickler=_Unpickler, load=None, loads=None, __name__="kgrec_inert_pickle"
)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        weights: Tensors by parameter name.
        config: RecBole's settings, as far as they are plain values; empty when there are none.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors and the plain settings of a RecBole checkpoint. Runs nothing that is in the file.

    Raises:
        KgrecError: The file is missing, or is no checkpoint of torch with a state_dict in it.
    """
    if not path.is_file():
        raise KgrecError(f"{path}: no such file")
    try:
        value = torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise KgrecError(f"{path}: not a checkpoint that torch wrote ({reason})") from error
    weights = value.get("state_dict") if isinstance(value, dict) else None
    if not isinstance(weights, Mapping) or not all(
        isinstance(tensor, Tensor) for tensor in weights.values()
    ):
        raise KgrecError(f"{path}: no state_dict of tensors in it; expected a RecBole checkpoint")
    return Checkpoint(dict(weights), _plain_config(value.get("config")))


def _plain_config(config: Any) -> dict[str, Any]:
    """The plain values of a pickled Config (or of a plain mapping)."""
    state = config.state if isinstance(config, Inert) else config
    if isinstance(state, Mapping):
        state = state.get("final_config_dict", state)
    if not isinstance(state, Mapping):
        return {}
    return {str(key): value for key, value in state.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    return value is None or isinstance(value, str | int | float | bool)


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], more: Mapping[str, Any]) -> None:
    """Writes a checkpoint with RecBole's keys, of tensors and plain values only.

    `torch.load(path)` reads it with its safe default, `weights_only=True`.
    """
    value = {
        "epoch": 0,
        "cur_step": 0,
        "best_valid_score": None,
        "other_parameter": None,
        "optimizer": None,
        **more,
        "state_dict": OrderedDict((name, tensor.cpu()) for name, tensor in weights.items()),
    }
    with writing(path) as temporary_path:
        torch.save(value, temporary_path)
