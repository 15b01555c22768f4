"""GRUs over rows of unequal length, as they are defined: what tests compare the fast paths with.

`gru_cpu`, `gru_batch` and `gru_dense` compute the same, fast on their device. The equations
are Cho et al. 2014's in cuDNN's variant: the reset gate multiplies after the matrix product. The
weights are those of `torch.nn.GRU` without bias.

Letters: P positions of all rows, B rows, G branches, D input width, H hidden size, K layers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class PackedRows(NamedTuple):
    """Rows that are read side by side, the longest first, step by step.

    Attributes:
        items: int (P,): the first item of every row, then the second of every row that has one, ...
        sizes: How many rows have a first, a second, ... item; descending, sums to P.
    """

    items: Tensor
    sizes: tuple[int, ...]


def pack(items: Tensor, lengths: Tensor) -> PackedRows:
    """Rows of a padded array, packed.

    Args:
        items: int (B, L), each row's items first.
        lengths: int64 (B,), descending, at least 1.
    """
    steps = torch.arange(int(lengths[0]), device=items.device)
    inside = steps[:, None] < lengths
    return PackedRows(items.t()[: len(steps)][inside], tuple(inside.sum(1).tolist()))


def gru_step(inputs: Tensor, states: Tensor, w_ih: Tensor, w_hh: Tensor) -> Tensor:
    """The next states, float (B, H), from inputs (B, D), states (B, H) and a layer's weights."""
    reset_in, update_in, new_in = (inputs @ w_ih.T).chunk(3, dim=-1)
    reset_state, update_state, new_state = (states @ w_hh.T).chunk(3, dim=-1)
    reset = torch.sigmoid(reset_in + reset_state)
    update = torch.sigmoid(update_in + update_state)
    new = torch.tanh(new_in + reset * new_state)
    return (1 - update) * new + update * states


def run_layer(
    inputs: Tensor, weights: Sequence[Tensor], sizes: Sequence[int], start: Tensor | None
) -> Tensor:
    """The states of one layer after every position, float (P, H); `start` (B, H) or zeros."""
    w_ih, w_hh = weights
    states = inputs.new_zeros(sizes[0], w_hh.shape[1]) if start is None else start
    steps = []
    for step in torch.split(inputs, list(sizes)):
        states = gru_step(step, states[: len(step)], w_ih, w_hh)
        steps.append(states)
    return torch.cat(steps)


def run_grus(
    grus: Sequence[nn.GRU],
    inputs: Sequence[Tensor],
    sizes: tuple[int, ...],
    start: Tensor | None = None,
) -> Tensor:
    """The states of all branches after every position; gradients flow, but not into `start`.

    Args:
        grus: G GRUs of equal hidden size and number of layers, without bias.
        inputs: For each a float (P, D) in the order of `PackedRows`.
        sizes: As `PackedRows.sizes`.
        start: float (K, G, B, H), the states before the first step; None for zeros.

    Returns:
        float (P, G * H).
    """
    outputs = []
    for branch, (gru, states) in enumerate(zip(grus, inputs, strict=True)):
        for layer, weights in enumerate(gru.all_weights):
            before = None if start is None else start[layer, branch].detach()
            states = run_layer(states, weights, sizes, before)
        outputs.append(states)
    return torch.cat(outputs, dim=-1)


@torch.no_grad()
def last_states(grus: Sequence[nn.GRU], inputs: Sequence[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """The states of all layers and branches after each row's last position, float (K, G, B, H).

    Args:
        grus: As for `run_grus`.
        inputs: As for `run_grus`.
        sizes: As `PackedRows.sizes`.
    """
    last, found = last_positions(sizes), []
    for gru, states in zip(grus, inputs, strict=True):
        layers = []
        for weights in gru.all_weights:
            states = run_layer(states, weights, sizes, None)
            layers.append(states[last])
        found.append(torch.stack(layers))
    return torch.stack(found, dim=1)


def last_positions(sizes: tuple[int, ...]) -> Tensor:
    """int64 (B,), the position of each row's last item."""
    of_step = torch.tensor(sizes)
    rows = torch.arange(sizes[0])
    n_steps = (of_step[:, None] > rows).sum(0)
    return (of_step.cumsum(0) - of_step)[n_steps - 1] + rows
