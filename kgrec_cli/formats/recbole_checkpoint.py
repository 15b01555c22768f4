"""RecBole's checkpoints (`*.pth`): read without running anything that is in them, and written.

A checkpoint is torch's zip archive: a pickle, which holds a Config object, and the bytes of each
tensor. `torch.load` refuses it or, told not to, runs what the file says; so it is read here. The
unpickler admits tensors; every class or function that the file names is an inert stub.
"""

import math
import pickle
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
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_SCALARS = ("f8", "f4", "f2", "i8", "i4", "i2", "b1")
_LEGACY_START = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_MOST_CONFIG_VALUES = 100_000


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
    """Stands for any object of the file that is no tensor: keeps what it is given, runs nothing."""

    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        """Takes any arguments, as whatever stood in the file would."""
        made = object.__new__(cls)
        made.args = args
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None:
        """Items of a list are dropped."""

    extend = add = update = append


@dataclass(frozen=True)
class _Storage:
    """The bytes of a tensor: their place in the archive and their type."""

    key: str
    kind: str


@dataclass(frozen=True)
class _Unread:
    """A tensor that is not read yet: optimizer states never are."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


class _Unpickler(pickle.Unpickler):
    """Makes plain values, `_Unread` tensors and `_Inert` objects; nothing else can come out."""

    def find_class(self, module: str, name: str) -> Any:
        """The few things that a checkpoint needs, none of which can do harm; a stub for others."""
        match module, name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return self.make_tensor
            case "torch._utils", "_rebuild_parameter":
                return self.make_parameter
            case "_codecs", "encode":
                return self.make_bytes
            case "numpy.core.multiarray" | "numpy._core.multiarray", "scalar":
                return self.make_scalar
        return type(name.rpartition(".")[2], (_Inert,), {})

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, as torch names them: ("storage", its class, its key, device, length)."""
        _, kind, key, *_ = pid
        return _Storage(str(key), str(getattr(kind, "__name__", kind)))

    def make_tensor(
        self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any
    ) -> _Unread:
        """What `torch._utils._rebuild_tensor_v2` would make, unread."""
        return _Unread(storage, offset, shape, strides)

    def make_parameter(self, data: Any, *rest: Any) -> Any:
        """A parameter is its tensor."""
        return data

    def make_bytes(self, text: str, encoding: str) -> bytes:
        """How pickle protocol 2 writes bytes."""
        return text.encode("latin1")

    def make_scalar(self, dtype: Any, data: bytes = b"") -> Any:
        """A numpy scalar as a Python number."""
        code = dtype.args[0] if isinstance(dtype, _Inert) and dtype.args else None
        return np.frombuffer(data, code)[0].item() if code in _SCALARS else _Inert()


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
        if _starts_like(path, _LEGACY_START):
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


def _starts_like(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _read_archive(
    archive: zipfile.ZipFile, file_size: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The pickled mapping of a checkpoint, and the tensors of its state_dict."""
    (name,) = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    prefix = name.removesuffix("data.pkl")
    if f"{prefix}byteorder" in archive.namelist():
        order = _read_member(archive, f"{prefix}byteorder")
        if order != b"little":
            raise KgrecError(f"its bytes are in {order!r} order, expected little")
    value = _Unpickler(BytesIO(_read_member(archive, name))).load()
    unread = value.get("state_dict") if isinstance(value, dict) else None
    if not isinstance(unread, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Unread) for name, tensor in unread.items()
    ):
        raise KgrecError("no state_dict of tensors in it; expected a RecBole checkpoint")
    weights: dict[str, Tensor] = {}
    n_left = file_size
    for key, tensor in unread.items():
        weights[key] = _read_tensor(archive, prefix, tensor, n_left)
        n_left -= weights[key].nbytes
    return value, weights


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member, which torch never compresses: so it is no larger than the file."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise KgrecError(f"{name} is compressed, as torch never writes it")
    return archive.read(name)


def _read_tensor(archive: zipfile.ZipFile, prefix: str, tensor: _Unread, most_bytes: int) -> Tensor:
    """A tensor with bytes of its own, at most `most_bytes` of them."""
    dtype = _DTYPES[tensor.storage.kind]
    shape = [int(size) for size in tensor.shape]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > most_bytes:
        raise KgrecError("its tensors are larger than the file")
    data = bytearray(_read_member(archive, f"{prefix}data/{tensor.storage.key}"))
    flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
    strides = [int(stride) for stride in tensor.strides]
    return flat.as_strided(shape, strides, int(tensor.offset)).clone()


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
        if isinstance(value, list | tuple):
            return all(is_plain(inner, depth - 1) for inner in value)
        if isinstance(value, dict):
            return all(
                isinstance(key, str) and is_plain(inner, depth - 1) for key, inner in value.items()
            )
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
    with writing(path) as temporary_path:
        torch.save(value, temporary_path)
