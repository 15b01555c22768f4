"""RecBole's checkpoints (`*.pth`): read without running anything that is in them, and written.

A checkpoint is torch's zip archive: a pickle, which holds a Config object, and the bytes of each
tensor. RecBole writes pickle protocol 4, which `torch.load(weights_only=True)` does not know, and
with `weights_only=False` it runs what the file says. So the pickle is read by `pickle_records`:
every class and function that it names becomes a record of its call, and so does each tensor.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.formats.files import cannot_write, writing
from kgrec_cli.formats.pickle_records import Record, read_pickle

if TYPE_CHECKING:  # torch is loaded for a file with tensors in it: one without is refused at once
    from torch import Tensor

_DTYPES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
_LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # torch.serialization.MAGIC_NUMBER
_MOST_CONFIG_VALUES = 100_000
_MOST_DIMENSIONS = 8
_NO_WEIGHTS = "no state_dict of tensors in it; expected a RecBole checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    The config has the plain values of RecBole's settings. `epoch` is from 0, as RecBole counts; it
    and the score are None when the file does not say. `item_tokens`, the token of each item row
    with the padding first, is None in RecBole's own files.
    """

    weights: "dict[str, Tensor]"
    config: dict[str, Any]
    epoch: int | None = None
    best_valid_score: float | None = None
    item_tokens: list[str] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors and the plain settings of a RecBole checkpoint. Runs nothing that is in the file.

    Raises:
        KgrecError: The file is missing, or is no checkpoint of torch with a state_dict in it.
    """
    if not path.is_file():
        raise KgrecError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            value, weights = _Archive(archive, path.stat().st_size).read()
    except KgrecError as error:
        raise KgrecError(f"{path}: {error}") from error
    except Exception as error:  # whatever a damaged or hostile file makes zipfile and torch raise
        with path.open("rb") as file:
            is_legacy = file.read(len(_LEGACY_START)) == _LEGACY_START
        if is_legacy:
            raise KgrecError(
                f"{path}: in the format of torch before 1.6; where it was made, run "
                f"torch.save(torch.load('{path.name}'), '{path.name}') with a newer torch"
            ) from error
        reason = shorten(str(error) or type(error).__name__, 160)
        raise KgrecError(f"{path}: not a checkpoint that torch wrote ({reason})") from error
    epoch, score = value.get("epoch"), value.get("best_valid_score")
    tokens = value.get("item_tokens")
    is_tokens = isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)
    return Checkpoint(
        weights=weights,
        config=_plain_config(value.get("config")),
        epoch=epoch if isinstance(epoch, int) and epoch >= 0 else None,
        best_valid_score=float(score)
        if isinstance(score, int | float) and math.isfinite(score)
        else None,
        item_tokens=tokens if is_tokens else None,
    )


class _Archive:
    """The zip archive of a checkpoint. At most the bytes of the file are read from it in all."""

    def __init__(self, archive: zipfile.ZipFile, file_size: int) -> None:
        self.archive = archive
        self.n_to_read = self.n_to_copy = file_size
        self.storages: dict[str, bytearray] = {}

    def read(self) -> "tuple[dict[str, Any], dict[str, Tensor]]":
        """The pickled mapping of a checkpoint, and the tensors of its state_dict alone."""
        names = self.archive.namelist()
        (pickle_name,) = [name for name in names if name.split("/")[1:] == ["data.pkl"]]
        prefix = pickle_name.removesuffix("data.pkl")
        if f"{prefix}byteorder" in names:
            order = self.read_member(f"{prefix}byteorder")
            if order != b"little":
                raise KgrecError(f"its bytes are in {order[:20]!r} order, expected little")
        value = read_pickle(self.read_member(pickle_name))
        state = value.get("state_dict") if isinstance(value, dict) else None
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise KgrecError(_NO_WEIGHTS)
        return value, {name: self.read_tensor(prefix, record) for name, record in state.items()}

    def read_member(self, name: str) -> bytes:
        """The bytes of a member, which torch never compresses, nor lays over another one."""
        info = self.archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise KgrecError(f"{name} is compressed, as torch never writes it")
        self.n_to_read -= max(info.file_size, info.compress_size)
        if self.n_to_read < 0:
            raise KgrecError("its members are larger than the file")
        return self.archive.read(name)

    def read_tensor(self, prefix: str, record: Any) -> "Tensor":
        """The tensor of a recorded call, with bytes of its own."""
        if isinstance(record, Record) and record.name == "torch._utils._rebuild_parameter":
            record = record.args[0]
        if not isinstance(record, Record) or record.name != "torch._utils._rebuild_tensor_v2":
            raise KgrecError(_NO_WEIGHTS)
        import torch

        (_, storage_class, key, *_), offset, shape, strides, *_ = record.args
        dtype = getattr(torch, _DTYPES[storage_class.name])
        if len(shape) > _MOST_DIMENSIONS:
            raise KgrecError(f"a tensor of {len(shape):,} dimensions in it")
        self.n_to_copy -= math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or self.n_to_copy < 0:
            raise KgrecError("its tensors are larger than the file")
        if key not in self.storages:
            self.storages[key] = bytearray(self.read_member(f"{prefix}data/{key}"))
        data = self.storages[key]
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return flat.as_strided(shape, strides, offset).clone()


def _plain_config(config: Any) -> dict[str, Any]:
    """The plain values of a pickled Config (or of a plain mapping)."""
    state = config.state if isinstance(config, Record) else config
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
        is_finite = not isinstance(value, float) or math.isfinite(value)
        return is_finite and (value is None or isinstance(value, str | int | float))

    return {key: value for key, value in state.items() if isinstance(key, str) and is_plain(value)}


def write_checkpoint(path: Path, weights: Mapping[str, "Tensor"], more: Mapping[str, Any]) -> None:
    """Writes a checkpoint with RecBole's keys, of tensors and plain values only.

    `torch.load(path)` reads it with its safe default, `weights_only=True`.

    Args:
        path: Where to; whole or not at all.
        weights: Tensors by parameter name.
        more: Plain values beside them; they replace the keys that RecBole writes.
    """
    import torch

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
        try:
            torch.save(value, file)
        except RuntimeError as error:  # how torch says that the disk is full
            raise cannot_write(path, OSError("is the disk full?")) from error
