"""RecBole's pickles: tensors come out, nothing that is in the file runs."""

import codecs
import os
import pickle
import resource
import shutil
import time
import zipfile
from collections import OrderedDict
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.recbole_checkpoint import read_checkpoint, write_checkpoint


class ModelType(Enum):
    SEQUENTIAL = 3


class Config:
    """Like RecBole's: an object of a class that the reader does not have."""

    def __init__(self, values: dict) -> None:
        self.final_config_dict = values
        self.other = Path("x")
        self.model_class = torch.nn.GRU
        self.parameters = {"General": ["seed"]}


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class EvilState(dict):
    """A mapping whose construction would call eval."""

    def __reduce__(self):
        return eval, ("__import__('os').getcwd()",)


class Oversized:
    """A tensor of a gigabyte over a storage of four bytes."""

    def __reduce__(self):
        storage = torch.ones(1).untyped_storage()
        typed = torch.storage.TypedStorage(
            wrap_storage=storage, dtype=torch.float32, _internal=True
        )
        return torch._utils._rebuild_tensor_v2, (typed, 0, (2**28,), (1,), False, OrderedDict())


class OutOfBounds:
    """A tensor that would begin behind its storage."""

    def __reduce__(self):
        storage = torch.ones(1).untyped_storage()
        typed = torch.storage.TypedStorage(
            wrap_storage=storage, dtype=torch.float32, _internal=True
        )
        return torch._utils._rebuild_tensor_v2, (typed, 5000, (1,), (1,), False, OrderedDict())


class CodeInTorchScript(torch.nn.Module):
    """Its `__setstate__` is run by `torch.load`, whatever its `pickle_module`, and makes a file."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.zeros(1)

    def forward(self, x):
        return x

    @torch.jit.export
    def __getstate__(self):
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.training = state[1]
        self.weight = torch.from_file("ran", shared=True, size=4)


def save(path: Path, **more: object) -> Path:
    torch.save({"state_dict": {"a": torch.ones(1)}, "config": None, **more}, path)
    return path


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_recbole_writes_comes_out(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "a.pth"
    weights = OrderedDict(
        a=torch.arange(6.0).view(2, 3), b=torch.nn.Parameter(torch.ones(2)), c=torch.zeros(0, 2)
    )
    weights["view"] = torch.arange(12, dtype=torch.int64).view(3, 4).T[1:, ::2]
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2)).sum().backward()
    optimizer.step()
    plain = {"hidden_size": 3, "topk": [5], "eval_args": {"split": {"LS": "valid_and_test"}}}
    values = {**plain, "device": torch.device("cpu"), "MODEL_TYPE": ModelType.SEQUENTIAL}
    state = {
        "config": Config(values),
        "epoch": 3,
        "cur_step": 0,
        "best_valid_score": np.float64(0.25),
        "state_dict": weights,
        "other_parameter": None,
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, path, pickle_protocol=protocol)
    found = read_checkpoint(path)
    assert list(found.weights) == list(weights)
    assert all(torch.equal(found.weights[name], weights[name]) for name in weights)
    assert found.weights["view"].dtype == torch.int64
    assert found.config == plain
    assert (found.epoch, found.best_valid_score, found.item_tokens) == (3, 0.25, None)


@pytest.mark.parametrize("where", ["config", "optimizer", "epoch", "state_dict"])
def test_nothing_in_the_file_runs(tmp_path: Path, where: str) -> None:
    witness = tmp_path / "ran"
    path = save(tmp_path / "evil.pth", **{where: Evil(witness)})
    with pytest.raises(KgrecError) if where == "state_dict" else nullcontext():
        read_checkpoint(path)
    assert not witness.exists()
    torch.load(path, weights_only=False)  # the file is as bad as it should be
    assert witness.exists()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_in_the_file_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.jit.script(CodeInTorchScript()).save("evil.pth")
    Path("ran").unlink(missing_ok=True)
    with pytest.raises(KgrecError, match="no state_dict of tensors"):
        read_checkpoint(Path("evil.pth"))
    assert not Path("ran").exists()
    torch.jit.load("evil.pth")
    assert Path("ran").exists()


def test_eval_is_inert_too(tmp_path: Path) -> None:
    assert read_checkpoint(save(tmp_path / "evil.pth", config=EvilState())).config == {}


@pytest.mark.parametrize(
    "owner",
    [
        torch._utils._rebuild_tensor_v2,
        shutil.rmtree,
        codecs.encode,  # what the reader puts in its place is its own
        OrderedDict,
    ],
)
def test_state_cannot_be_put_into_functions_and_classes(tmp_path: Path, owner: Any) -> None:
    """The pickle's BUILD sets the `__defaults__` of what it names to (1,)."""
    names = f"{owner.__module__}\n{owner.__name__}\n".encode()
    pickled = b"\x80\x02c" + names + b"N}U\x0c__defaults__K\x01\x85s\x86b."
    before = getattr(owner, "__defaults__", None)
    path = tmp_path / "evil.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickled)
    with pytest.raises(KgrecError, match="not a checkpoint that torch wrote"):
        read_checkpoint(path)
    assert getattr(owner, "__defaults__", None) == before
    if before:  # of a function in Python: the pickle is as bad as it should be
        pickle.loads(pickled)
        assert owner.__defaults__ == (1,)
        owner.__defaults__ = before


@pytest.mark.parametrize("tensor", [Oversized(), OutOfBounds()])
def test_a_tensor_larger_than_its_bytes_is_refused(tmp_path: Path, tensor: object) -> None:
    path = save(tmp_path / "a.pth", state_dict={"a": tensor})
    with pytest.raises(KgrecError, match=r"larger than the file|out of bounds"):
        read_checkpoint(path)


def test_settings_without_an_end_are_left_out(tmp_path: Path) -> None:
    endless: list = []
    endless.append(endless)
    grown: list = ["x"] * 30
    for _ in range(4):
        grown = [grown] * 30  # 24 million values, in a few hundred bytes
    path = save(tmp_path / "a.pth", config={"seed": 1, "endless": endless, "grown": grown})
    assert read_checkpoint(path).config == {"seed": 1}


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", pickle.dumps("x" * 10**7))
    with pytest.raises(KgrecError, match=r"data\.pkl is compressed"):
        read_checkpoint(path)


def pickled_as(path: Path, pickled: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
    return path


HOSTILE = {
    # LONG_BINPUT: the value is object 0x0fffffff, and Python's reader makes so long a table
    "memo": b"\x80\x02Nr\xff\xff\xff\x0f.",
    "memo as text": b"\x80\x02Np268435455\n.",
    # a tuple of the last one twice, 60 times, as a key: its hash takes 2^60 steps
    "doubled key": b"\x80\x02})" + b"".join(b"q%c2\x86" % n for n in range(60)) + b"K\x01s.",
    "doubled set": b"\x80\x04\x8f()" + b"".join(b"q%c2\x86" % n for n in range(60)) + b"\x90.",
    "deep tuple as a key": b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.",
    "deep list": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "long number": b"\x80\x02\x8b" + (100_000).to_bytes(4, "little") + b"\x7f" * 100_000 + b".",
    "no end": b"\x80\x02N",
    "nothing": b"",
    "takes more than it has": b"\x80\x02N\x87.",
    "a mark is taken": b"\x80\x02(\x85.",
    "calls a number": b"\x80\x02K\x01)R.",
    "an extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_takes_neither_time_nor_memory(tmp_path: Path, name: str) -> None:
    path = pickled_as(tmp_path / "a.pth", HOSTILE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with pytest.raises(KgrecError, match=r"no state_dict|not a checkpoint") as caught:
        read_checkpoint(path)
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB
    assert len(str(caught.value).removeprefix(str(path))) < 250
    assert "\n" not in str(caught.value)


def test_a_member_that_lies_of_its_size_is_refused(tmp_path: Path) -> None:
    path = pickled_as(tmp_path / "a.pth", b"\x80\x02N.")
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 20 : at + 28] = b"\xff\xff\xff\x7f" * 2  # both sizes: 2 GB
    path.write_bytes(content)
    with pytest.raises(KgrecError, match="its members are larger than the file"):
        read_checkpoint(path)


def test_scores_that_are_no_number_are_left_out(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", best_valid_score=float("inf"), config={"dropout_prob": np.nan})
    found = read_checkpoint(path)
    assert (found.best_valid_score, found.config) == (None, {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"weights": 1}, "no state_dict of tensors in it"),
        ({"state_dict": {"a": 3}}, "no state_dict of tensors in it"),
        ({"state_dict": [torch.ones(1)]}, "no state_dict of tensors in it"),
        ([1, 2], "no state_dict of tensors in it"),
    ],
)
def test_another_content_is_one_line(tmp_path: Path, value: object, expected: str) -> None:
    path = tmp_path / "a.pth"
    torch.save(value, path)
    with pytest.raises(KgrecError, match=expected):
        read_checkpoint(path)


def test_another_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with pytest.raises(KgrecError, match="no such file"):
        read_checkpoint(path)
    path.write_bytes(b"hello")
    with pytest.raises(KgrecError, match="not a checkpoint that torch wrote"):
        read_checkpoint(path)
    whole = save(tmp_path / "b.pth").read_bytes()
    for length in (0, 20, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(KgrecError, match="not a checkpoint that torch wrote") as caught:
            read_checkpoint(path)
        assert "\n" not in str(caught.value)


def test_the_older_format_of_torch_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(KgrecError, match=r"before 1\.6; where it was made, run torch\.save"):
        read_checkpoint(path)


def test_what_is_written_loads_with_torchs_safe_default(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    more = {"config": {"seed": 1}, "item_tokens": ["[PAD]", "x"], "epoch": 4}
    write_checkpoint(path, {"a": torch.ones(2)}, more)
    value = torch.load(path, weights_only=True)
    assert torch.equal(value["state_dict"]["a"], torch.ones(2))
    recboles = {"config", "epoch", "cur_step", "best_valid_score", "other_parameter", "optimizer"}
    assert recboles < set(value)
    found = read_checkpoint(path)
    assert (found.config, found.item_tokens, found.epoch) == ({"seed": 1}, ["[PAD]", "x"], 4)
