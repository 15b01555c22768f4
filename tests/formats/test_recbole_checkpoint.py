"""RecBole's pickles: tensors come out, nothing that is in the file runs."""

import os
from pathlib import Path

import pytest
import torch

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.recbole_checkpoint import read_checkpoint, write_checkpoint


class Config:
    """Like RecBole's: an object of a class that the reader does not have."""

    def __init__(self, values: dict) -> None:
        self.final_config_dict = values
        self.other = Path("x")


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class EvilState(dict):
    """A mapping whose construction would call eval."""

    def __reduce__(self):
        return eval, ("__import__('os').getcwd()",)


def test_tensors_and_plain_settings_come_out(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.nn.Parameter(torch.ones(2))}
    config = Config({"hidden_size": 3, "topk": [5], "device": torch.device("cpu")})
    torch.save({"state_dict": weights, "config": config, "epoch": 3}, path)
    found = read_checkpoint(path)
    assert torch.equal(found.weights["a"], weights["a"])
    assert torch.equal(found.weights["b"], torch.ones(2))
    assert found.config == {"hidden_size": 3, "topk": [5]}


@pytest.mark.parametrize("where", ["config", "optimizer", "state_dict"])
def test_nothing_in_the_file_runs(tmp_path: Path, where: str) -> None:
    path, witness = tmp_path / "evil.pth", tmp_path / "ran"
    value = {"state_dict": {"a": torch.ones(1)}, "config": None, "optimizer": None}
    torch.save({**value, where: Evil(witness)}, path)
    with pytest.raises(KgrecError) if where == "state_dict" else _nothing():
        read_checkpoint(path)
    assert not witness.exists()
    torch.load(path, weights_only=False)  # the file is as bad as it should be
    assert witness.exists()


class _nothing:  # noqa: N801
    def __enter__(self) -> None: ...
    def __exit__(self, *arguments: object) -> None: ...


def test_eval_is_inert_too(tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}, "config": EvilState()}, path)
    assert read_checkpoint(path).config == {}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"weights": 1}, "no state_dict of tensors in it"),
        ({"state_dict": {"a": 3}}, "no state_dict of tensors in it"),
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


def test_what_is_written_loads_with_torchs_safe_default(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    write_checkpoint(path, {"a": torch.ones(2)}, {"config": {"seed": 1}, "item_tokens": ["x"]})
    value = torch.load(path, weights_only=True)
    assert torch.equal(value["state_dict"]["a"], torch.ones(2))
    assert {"config", "epoch", "cur_step", "best_valid_score", "optimizer"} < set(value)
    assert read_checkpoint(path).config == {"seed": 1}
