"""Adam's state through tensors by name: what goes in comes out, and other tensors are ignored."""

import pytest
import torch
from torch.optim import Adam, SparseAdam

from kgrec_cli.core.adam_state import pack_optimizer, unpack_optimizer


def stepped(make, sparse: bool):
    """An optimizer of two tables after three steps; the second table was never used."""
    tables = [torch.nn.Embedding(5, 2, sparse=sparse) for _ in range(2)]
    optimizer = make([table.weight for table in tables], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        tables[0](torch.tensor([1, 3])).sum().backward()
        optimizer.step()
    return optimizer


@pytest.mark.parametrize(("make", "sparse"), [(Adam, False), (SparseAdam, True)])
def test_what_is_packed_is_unpacked(make, sparse: bool) -> None:
    state_dict = stepped(make, sparse).state_dict()
    tensors = pack_optimizer(state_dict, "adam")
    assert set(tensors) == {f"adam.0.{slot}" for slot in ("step", "exp_avg", "exp_avg_sq")}
    assert tensors["adam.0.step"].item() == 3
    tensors |= {"model.0.weight": torch.zeros(1), "adamant.0.step": torch.zeros(())}
    found = unpack_optimizer(tensors, "adam", state_dict["param_groups"])
    assert found["param_groups"] == state_dict["param_groups"]
    assert found["state"].keys() == state_dict["state"].keys() == {0}
    for slot, value in state_dict["state"][0].items():
        assert type(found["state"][0][slot]) is type(value)
        assert torch.equal(torch.as_tensor(found["state"][0][slot]), torch.as_tensor(value))


@pytest.mark.parametrize(("make", "sparse"), [(Adam, False), (SparseAdam, True)])
def test_an_optimizer_that_never_stepped_has_no_tensors(make, sparse: bool) -> None:
    state_dict = make([torch.nn.Embedding(5, 2, sparse=sparse).weight], lr=0.1).state_dict()
    assert pack_optimizer(state_dict, "adam") == {}
    assert unpack_optimizer({}, "adam", state_dict["param_groups"]) == state_dict
