"""All ways to compute GRUs agree with `torch.nn.GRU`: states and gradients, layers and branches."""

import math
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from kgrec_cli.core.model import gru, gru_cpu
from kgrec_cli.core.model.gru import pack

LENGTHS = [7, 5, 5, 2, 1]
SIZES = tuple(sum(length > step for length in LENGTHS) for step in range(7))
WIDTHS = (4, 5)
HIDDEN = 6
WAYS = pytest.mark.parametrize("way", [gru, gru_cpu], ids=["plain", "cpu"])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def make_grus(n_layers: int) -> list[nn.GRU]:
    return [nn.GRU(width, HIDDEN, n_layers, bias=False).double() for width in WIDTHS]


def make_inputs() -> list[Tensor]:
    n_positions = sum(LENGTHS)
    return [torch.randn(n_positions, width).double().requires_grad_() for width in WIDTHS]


def torchs_own(grus: list[nn.GRU], inputs: list[Tensor], start: Tensor | None) -> list[Tensor]:
    """States (P, G * H), and the states (K, G, B, H) after each row."""
    found = [
        layers(
            nn.utils.rnn.PackedSequence(vectors, torch.tensor(SIZES)),
            None if start is None else start[:, branch].contiguous(),
        )
        for branch, (layers, vectors) in enumerate(zip(grus, inputs, strict=True))
    ]
    return [
        torch.cat([states.data for states, _ in found], -1),
        torch.stack([h for _, h in found], 1),
    ]


def gradients(grus: list[nn.GRU], inputs: list[Tensor], states: Tensor) -> list[Tensor]:
    weight = torch.linspace(-1, 1, states.numel()).view(states.shape).double()
    leaves = [*inputs, *(parameter for layers in grus for parameter in layers.parameters())]
    return list(torch.autograd.grad((states * weight).sum(), leaves))


@WAYS
@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_states_and_gradients_are_torchs(way: ModuleType, n_layers: int, starts: bool) -> None:
    grus, inputs = make_grus(n_layers), make_inputs()
    start = torch.randn(n_layers, 2, len(LENGTHS), HIDDEN).double() if starts else None
    expected, _ = torchs_own(grus, inputs, start)
    found = way.run_grus(grus, inputs, SIZES, start)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for own, other in zip(
        gradients(grus, inputs, found), gradients(grus, inputs, expected), strict=True
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


@WAYS
@pytest.mark.parametrize("n_layers", [1, 2])
def test_last_states_are_those_after_each_row(way: ModuleType, n_layers: int) -> None:
    grus, inputs = make_grus(n_layers), make_inputs()
    _, expected = torchs_own(grus, inputs, None)
    found = way.last_states(grus, inputs, SIZES)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert not found.requires_grad


@WAYS
def test_inputs_that_need_no_gradient_get_none(way: ModuleType) -> None:
    grus, inputs = make_grus(1), make_inputs()
    inputs[1] = inputs[1].detach()
    way.run_grus(grus, inputs, SIZES).sum().backward()
    assert inputs[0].grad is not None
    assert inputs[1].grad is None
    assert grus[1].weight_ih_l0.grad is not None


def test_pack_by_hand() -> None:
    packed = pack(torch.tensor([[1, 2, 3], [4, 5, 0], [6, 0, 0]]), torch.tensor([3, 2, 1]))
    assert packed.items.tolist() == [1, 4, 6, 2, 5, 3]
    assert packed.sizes == (3, 2, 1)


def test_a_step_by_hand() -> None:
    """One number each: r = sigmoid(3), z = sigmoid(5), n = tanh(3 + r * 6), h = (1 - z) n + z."""
    inputs, states = torch.tensor([[1.0]]), torch.tensor([[1.0]])
    w_ih, w_hh = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.0], [3.0], [6.0]])
    reset, update = 1 / (1 + math.exp(-3)), 1 / (1 + math.exp(-5))
    expected = (1 - update) * math.tanh(3 + reset * 6) + update
    assert gru.gru_step(inputs, states, w_ih, w_hh).item() == pytest.approx(expected, rel=1e-6)


def test_states_by_item_are_those_of_the_plain_way() -> None:
    grus = make_grus(1)
    tables = [torch.randn(9, width).double() for width in WIDTHS]
    items = torch.randint(0, 9, (sum(LENGTHS),))
    expected = gru.last_states(grus, [table[items] for table in tables], SIZES)
    of_items = [gru_cpu.inputs_by_item(*pair) for pair in zip(grus, tables, strict=True)]
    found = gru_cpu.last_states_by_item(grus, of_items, gru.PackedRows(items, SIZES))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
