"""RecBole's checkpoints (`*.pth`): read without running anything that is in them, and written.

A checkpoint is torch's zip archive: a pickle, which holds a Config object, and the bytes of each
tensor. RecBole writes pickle protocol 4, which `torch.load(weights_only=True)` does not know, and
with `weights_only=False` it runs what the file says. So the pickle is read here: every class and
function that it names becomes an inert record of what it is called with, and so do tensors.
"""

import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import writing

_DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_NUMPY_SCALARS = ("f8", "f4", "f2", "i8", "i4", "i2", "b1")
_LEGACY_START = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_MOST_CONFIG_VALUES = 100_000
_NO_WEIGHTS = "no state_dict of tensors in it; expected a RecBole checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        weights: Tensors by parameter name, on the CPU.
        config: RecBole's settings, as far as they are plain values; empty when there are none.
        epoch: The epoch of the weights, from 0 as RecBole counts; None when it does not say.
        best_valid_score: Its validation score; None when it does not say.
        item_tokens: The token of each item row, the padding first; None in RecBole's own files.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    epoch: int | None = None
    best_valid_score: float | None = None
    item_tokens: list[str] | None = None


class _Inert:
    """Stands for any object of the file: keeps what it is called with, runs nothing."""

    args: tuple[Any, ...]
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        made = object.__new__(cls)
        made.args = args
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, *values: Any) -> None:
        """Items of a list, a set or a mapping are dropped."""

    extend = add = update = __setitem__ = append


class _Unpickler(pickle.Unpickler):
    """Makes plain values and `_Inert` objects; nothing else can come out."""

    def find_class(self, module: str, name: str) -> Any:
        """A new inert class, named in full. Bound methods, unlike functions, take no attributes."""
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "_codecs", "encode":
                return self.make_bytes
            case "numpy.core.multiarray" | "numpy._core.multiarray", "scalar":
                return self.make_scalar
        return type(f"{module}.{name}", (_Inert,), {})

    def persistent_load(self, pid: Any) -> Any:
        """A storage stays as torch names it: ("storage", its class, its key, device, length)."""
        return pid

    def make_bytes(self, text: str, encoding: str) -> bytes:
        """How pickle protocol 2 writes bytes."""
        return text.encode("latin1")

    def make_scalar(self, dtype: Any, data: bytes = b"") -> Any:
        """A numpy scalar as a Python number."""
        code = dtype.args[0] if isinstance(dtype, _Inert) and dtype.args else None
        return np.frombuffer(data, code)[0].item() if code in _NUMPY_SCALARS else _Inert()


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors and the plain settings of a RecBole checkpoint. Runs nothing that is in the file.

    Raises:
        KgrecError: The file is missing, or is no checkpoint of torch with a state_dict in it.
    """
    if not path.is_file():
        raise KgrecError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            value, weights = _read_archive(archive, path.stat().st_size)
    except KgrecError as error:
        raise KgrecError(f"{path}: {error}") from error
    except Exception as error:  # whatever a damaged or hostile file makes zipfile and pickle raise
        with path.open("rb") as file:
            is_legacy = file.read(len(_LEGACY_START)) == _LEGACY_START
        if is_legacy:
            raise KgrecError(
                f"{path}: in the format of torch before 1.6; where it was made, run "
                f"torch.save(torch.load('{path.name}'), '{path.name}') with a newer torch"
            ) from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise KgrecError(f"{path}: not a checkpoint that torch wrote ({reason})") from error
    epoch, score = value.get("epoch"), value.get("best_valid_score")
    tokens = value.get("item_tokens")
    is_tokens = isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)
    return Checkpoint(
        weights=weights,
        config=_plain_config(value.get("config")),
        epoch=epoch if isinstance(epoch, int) else None,
        best_valid_score=float(score) if isinstance(score, int | float) else None,
        item_tokens=tokens if is_tokens else None,
    )


def _read_archive(
    archive: zipfile.ZipFile, file_size: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The pickled mapping of a checkpoint, and the tensors of its state_dict alone."""
    (pickle_name,) = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    prefix = pickle_name.removesuffix("data.pkl")
    if f"{prefix}byteorder" in archive.namelist():
        order = _read_member(archive, f"{prefix}byteorder")
        if order != b"little":
            raise KgrecError(f"its bytes are in {order!r} order, expected little")
    value = _unpickle(_read_member(archive, pickle_name))
    state = value.get("state_dict") if isinstance(value, dict) else None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise KgrecError(_NO_WEIGHTS)
    weights: dict[str, Tensor] = {}
    for name, record in state.items():
        weights[name] = _read_tensor(archive, prefix, record, file_size)
        file_size -= weights[name].nbytes
    return value, weights


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member, which torch never compresses: so it is no larger than the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise KgrecError(f"{name} is compressed, as torch never writes it")
    return archive.read(name)


def _unpickle(pickled: bytes) -> Any:
    """The value of a pickle. Six bytes of one can ask for a table of 4 billion objects: refused."""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(pickled):
            raise KgrecError(f"a pickle of {len(pickled)} bytes with {argument:,} objects in it")
    return _Unpickler(BytesIO(pickled)).load()


def _read_tensor(archive: zipfile.ZipFile, prefix: str, record: Any, most_bytes: int) -> Tensor:
    """The tensor of a recorded call, with bytes of its own, at most `most_bytes` of them."""
    if type(record).__name__ == "torch._utils._rebuild_parameter":
        record = record.args[0]
    if type(record).__name__ != "torch._utils._rebuild_tensor_v2":
        raise KgrecError(_NO_WEIGHTS)
    (_, storage_class, key, *_), offset, shape, strides, *_ = record.args
    dtype = _DTYPES[storage_class.__name__]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > most_bytes:
        raise KgrecError("its tensors are larger than the file")
    data = bytearray(_read_member(archive, f"{prefix}data/{key}"))
    flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    return flat.as_strided(shape, strides, offset).clone()


def _plain_config(config: Any) -> dict[str, Any]:
    """The plain values of a pickled Config (or of a plain mapping)."""
    state = config.state if isinstance(config, _Inert) else config
    if isinstance(state, dict):
        state = state.get("final_config_dict", state)
    if not isinstance(state, dict):
        return {}
    n_left = _MOST_CONFIG_VALUES

    def is_plain(value: Any, depth: int = 5) -> bool:
        nonlocal n_left
        n_left -= 1
        if n_left < 0 or depth == 0:
            return False
        if isinstance(value, dict):
            return all(isinstance(key, str) for key in value) and is_plain([*value.values()], depth)
        if isinstance(value, list | tuple):
            return all(is_plain(inner, depth - 1) for inner in value)
        return value is None or isinstance(value, str | int | float | bool)

    return {key: value for key, value in state.items() if isinstance(key, str) and is_plain(value)}


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], more: Mapping[str, Any]) -> None:
    """Writes a checkpoint with RecBole's keys, of tensors and plain values only.

    `torch.load(path)` reads it with its safe default, `weights_only=True`.

    Args:
        path: Where to; whole or not at all.
        weights: Tensors by parameter name.
        more: Plain values beside them; they replace the keys that RecBole writes.
    """
    value = {
        "config": {},
        "epoch": 0,
        "cur_step": 0,
        "best_valid_score": None,
        "other_parameter": None,
        "optimizer": None,
        **more,
        "state_dict": OrderedDict((name, tensor.cpu()) for name, tensor in weights.items()),
    }
    # To an open file: torch writes the name of a path into it, and this one is a random name.
    with writing(path) as temporary_path, temporary_path.open("wb") as file:
        torch.save(value, file)
