"""The GRUs of `gru` for many models at a time: weights have a leading dimension.

As `gru_cpu`, with the gradients written out; every size is fixed, so that a GPU can replay it.

Letters as in `gru`; n GRUs, of all models and branches.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def run_layer(inputs: Tensor, w_hh: Tensor, sizes: tuple[int, ...], start: Tensor | None) -> Tensor:
    """The states of one layer after every position, float (n, P, H); no gradient for `start`.

    Args:
        inputs: float (n, P, 3H), what is read, times the input weights.
        w_hh: float (n, 3H, H).
        sizes: As `PackedRows.sizes`.
        start: float (n, B, H), or None for zeros.
    """
    states: Tensor = _Layer.apply(inputs, w_hh, sizes, start)  # type: ignore[no-untyped-call]
    return states


@torch.no_grad()
def last_states(
    inputs: Tensor, w_ih: Sequence[Tensor], w_hh: Sequence[Tensor], sizes: tuple[int, ...]
) -> Tensor:
    """The states after the last position of rows whose padding comes first: float (K, n, B, H).

    Args:
        inputs: float (n, P, D), zero at padding, where a state stays zero.
        w_ih: Of each layer, float (n, 3H, D) or (n, 3H, H).
        w_hh: Of each layer, float (n, 3H, H).
        sizes: How many rows have begun at a step; ascending, sums to P.
    """
    n, hidden = len(inputs), w_hh[0].shape[2]
    states = inputs.new_zeros(len(w_hh), n, sizes[-1], hidden)
    for read in torch.split(inputs @ w_ih[0].mT, list(sizes), dim=1):
        gates = read
        for layer, weight in enumerate(w_hh):
            before = states[layer, :, : gates.shape[1]]
            recurrent = before @ weight.mT
            switches = (gates[..., : 2 * hidden] + recurrent[..., : 2 * hidden]).sigmoid_()
            reset, update = switches.chunk(2, dim=-1)
            new = torch.addcmul(gates[..., 2 * hidden :], reset, recurrent[..., 2 * hidden :])
            torch.lerp(new.tanh_(), before, update, out=before)
            if layer + 1 < len(w_hh):
                gates = before @ w_ih[layer + 1].mT
    return states


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, w_hh: Tensor, sizes: tuple[int, ...], start: Tensor | None
    ) -> Tensor:
        n, n_positions, hidden = len(inputs), inputs.shape[1], w_hh.shape[2]
        gates, candidate = inputs.clone(), inputs[..., 2 * hidden :].clone()
        gates[..., 2 * hidden :] = 0  # becomes the candidate's recurrent part
        states = inputs.new_empty(n, n_positions, hidden)
        first = inputs.new_zeros(n, sizes[0], hidden) if start is None else start
        before = first
        for gate, new, state in _cut(sizes, gates, candidate, states):
            before = before[:, : gate.shape[1]]
            gate.baddbmm_(before, w_hh.mT)
            gate[..., : 2 * hidden].sigmoid_()
            reset, update, recurrent = gate.chunk(3, dim=-1)
            new.addcmul_(reset, recurrent).tanh_()
            state.copy_(torch.lerp(new, before, update))
            before = state
        ctx.sizes = sizes
        ctx.save_for_backward(first, gates, candidate, states, w_hh)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, gates, candidate, states, w_hh = ctx.saved_tensors
        hidden = states.shape[2]
        grad = grad.clone(memory_format=torch.contiguous_format)
        slopes, of_candidate = torch.empty_like(gates), torch.empty_like(candidate)
        steps = _cut(ctx.sizes, grad, gates, candidate, states, slopes, of_candidate)
        for number in range(len(steps) - 1, -1, -1):
            of_step, gate, new, state, slope, for_new = steps[number]
            reset, update, recurrent = gate.chunk(3, dim=-1)
            for_reset, for_update, for_recurrent = slope.chunk(3, dim=-1)
            for_both = torch.addcmul(of_step, of_step, update, value=-1)
            for_new.copy_(torch.addcmul(for_both, for_both * new, new, value=-1))
            for_recurrent.copy_(for_new * reset)
            part = for_recurrent * recurrent
            for_reset.copy_(torch.addcmul(part, part, reset, value=-1))
            for_update.copy_(for_both * (state - new))  # state - new = z (before - new)
            if number:
                earlier = steps[number - 1][0][:, : of_step.shape[1]]
                earlier.addcmul_(of_step, update).baddbmm_(slope, w_hh)
        ends = [
            state[:, :size]
            for (*_, state, _, _), size in zip(steps[:-1], ctx.sizes[1:], strict=True)
        ]
        grad_w_hh = slopes.mT @ torch.cat([first, *ends], dim=1)
        slopes[..., 2 * hidden :] = of_candidate
        return slopes, grad_w_hh, None, None


def _cut(sizes: tuple[int, ...], *tables: Tensor) -> list[tuple[Tensor, ...]]:
    """The tables (n, P, ...), step by step."""
    return list(zip(*(torch.split(table, list(sizes), dim=1) for table in tables), strict=True))
