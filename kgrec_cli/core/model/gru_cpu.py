"""The GRUs of `gru`, fast on a CPU: all branches in one pass, no step spent on padding.

On a CPU a GRU spends less time in matrix products than in the operations between them. So the steps
are written out, each intermediate is stored once, and the gradients are written out too.

Letters as in `gru`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kgrec_cli.core.model.gru import PackedRows, last_positions


def run_grus(
    grus: Sequence[nn.GRU],
    inputs: Sequence[Tensor],
    sizes: tuple[int, ...],
    start: Tensor | None = None,
) -> Tensor:
    """As `gru.run_grus`."""
    outputs = tuple(inputs)
    for layer in range(grus[0].num_layers):
        weights = [gru.all_weights[layer][kind] for kind in (0, 1) for gru in grus]
        before = None if start is None else start[layer]
        states: Tensor = _Layer.apply(sizes, before, *outputs, *weights)  # type: ignore[no-untyped-call]
        outputs = states.unbind()
    return torch.cat(outputs, dim=-1)


@torch.no_grad()
def last_states(grus: Sequence[nn.GRU], inputs: Sequence[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """As `gru.last_states`."""
    last = last_positions(sizes)
    outputs, found = tuple(inputs), []
    for layer in range(grus[0].num_layers):
        weights = [gru.all_weights[layer][kind] for kind in (0, 1) for gru in grus]
        states: Tensor = _Layer.apply(sizes, None, *outputs, *weights)  # type: ignore[no-untyped-call]
        outputs = states.unbind()
        found.append(states[:, last])
    return torch.stack(found)


@torch.no_grad()
def last_states_by_item(
    grus: Sequence[nn.GRU], inputs: Sequence[Tensor], rows: PackedRows
) -> Tensor:
    """As `last_states`, for GRUs of one layer on the CPU whose input depends on the item alone.

    Only the last state is stored, and the products of the inputs are computed once per item.

    Args:
        grus: G GRUs of one layer.
        inputs: For each a float (N, 3H), every item's vector times its `weight_ih_l0`.
        rows: Rows of items.

    Returns:
        float (1, G, B, H).
    """
    hidden, n_rows = grus[0].hidden_size, rows.sizes[0]
    states = inputs[0].new_zeros(len(grus), n_rows, hidden)
    from_item, from_state = (inputs[0].new_empty(n_rows, 3 * hidden) for _ in range(2))
    for gru, of_items, state in zip(grus, inputs, states, strict=True):
        weight = gru.all_weights[0][1].t().contiguous()
        for items in torch.split(rows.items, list(rows.sizes)):
            n = len(items)
            before, gates, recurrent = state[:n], from_item[:n], from_state[:n]
            torch.index_select(of_items, 0, items, out=gates)
            torch.mm(before, weight, out=recurrent)
            gates[:, : 2 * hidden].add_(recurrent[:, : 2 * hidden]).sigmoid_()
            reset, update, candidate = gates.chunk(3, dim=-1)
            candidate.addcmul_(reset, recurrent[:, 2 * hidden :]).tanh_()
            torch.lerp(candidate, before, update, out=before)
    return states[None]


class _Layer(torch.autograd.Function):
    """One layer of all branches: inputs (P, D) each, start (G, B, H) -> states (G, P, H).

    Each branch's numbers lie together: the products of a step are one call, which torch carries out
    branch by branch.
    """

    @staticmethod
    def forward(ctx: Any, sizes: tuple[int, ...], start: Tensor | None, *tensors: Tensor) -> Tensor:
        n = len(tensors) // 3
        inputs, w_ih, w_hh = tensors[:n], tensors[n : 2 * n], tensors[2 * n :]
        n_positions, hidden = len(inputs[0]), w_hh[0].shape[1]
        new = inputs[0].new_empty
        # Reset gate, update gate and the candidate's recurrent part; candidate; state.
        gates = new(n, n_positions, 3 * hidden)
        gates[..., 2 * hidden :] = 0
        candidate, states = new(n, n_positions, hidden), new(n, n_positions, hidden)
        for branch in range(n):
            to_gates, to_candidate = torch.split(w_ih[branch], [2 * hidden, hidden])
            torch.mm(inputs[branch], to_gates.t(), out=gates[branch, :, : 2 * hidden])
            torch.mm(inputs[branch], (2 * to_candidate).t(), out=candidate[branch])
        from_states = torch.stack([weight.t() for weight in w_hh])
        first = new(n, sizes[0], hidden).zero_() if start is None else start
        before, minus_one = first, inputs[0].new_tensor(-1.0)
        cut = partial(torch.split, split_size_or_sections=list(sizes), dim=1)
        steps = zip(*map(cut, (gates, gates[..., : 2 * hidden], candidate, states)), strict=True)
        for gate, switches, new_state, state in steps:
            before = before[:, : gate.shape[1]]
            gate.baddbmm_(before, from_states)
            switches.sigmoid_()
            reset, update, recurrent = gate.chunk(3, dim=-1)
            # tanh(x) = 2 sigmoid(2 x) - 1, which takes half the time of torch.tanh.
            new_state.addcmul_(reset, recurrent, value=2).sigmoid_()
            torch.add(minus_one, new_state, alpha=2, out=new_state)
            before = torch.lerp(new_state, before, update, out=state)
        ctx.sizes = sizes
        ctx.save_for_backward(first, gates, candidate, states, *tensors)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, gates, candidate, states, *tensors = ctx.saved_tensors
        n = len(tensors) // 3
        inputs, w_ih, w_hh = tensors[:n], tensors[n : 2 * n], torch.stack(tensors[2 * n :])
        sizes, hidden = ctx.sizes, states.shape[2]
        grad = grad.clone(memory_format=torch.contiguous_format)
        # Gradients before the non-linearities: reset, update, recurrent part; candidate.
        slopes, for_candidate = torch.empty_like(gates), torch.empty_like(candidate)
        room = torch.empty_like(first)
        cut = partial(torch.split, split_size_or_sections=list(sizes), dim=1)
        steps = list(
            zip(*map(cut, (grad, gates, candidate, states, slopes, for_candidate)), strict=True)
        )
        for number in range(len(sizes) - 1, -1, -1):
            of_step, gate, new_state, state, slope, for_new = steps[number]
            reset, update, recurrent = gate.chunk(3, dim=-1)
            for_reset, for_update, for_recurrent = slope.chunk(3, dim=-1)
            scratch = room[:, : of_step.shape[1]]
            for_both = torch.addcmul(
                of_step, of_step, update, value=-1
            )  # of the candidate: grad (1 - z)
            torch.mul(for_both, new_state, out=scratch)
            torch.addcmul(for_both, scratch, new_state, value=-1, out=for_new)  # (1 - n^2)
            torch.mul(for_new, reset, out=for_recurrent)
            torch.mul(for_recurrent, recurrent, out=scratch)
            torch.addcmul(scratch, scratch, reset, value=-1, out=for_reset)  # r (1 - r)
            torch.sub(state, new_state, out=scratch)  # z (before - n)
            torch.mul(for_both, scratch, out=for_update)
            if number:
                earlier = steps[number - 1][0][:, : of_step.shape[1]]
                earlier.addcmul_(of_step, update).baddbmm_(slope, w_hh)
        before = [step[3][:, : sizes[number + 1]] for number, step in enumerate(steps[:-1])]
        states_read = torch.cat([first, *before], dim=1)
        grad_inputs: list[Tensor | None] = []
        grad_ih = []
        for branch in range(n):
            of_gates = slopes[branch, :, : 2 * hidden]
            of_candidate = for_candidate[branch]
            grad_weight = torch.empty_like(w_ih[branch])
            torch.mm(of_gates.t(), inputs[branch], out=grad_weight[: 2 * hidden])
            torch.mm(of_candidate.t(), inputs[branch], out=grad_weight[2 * hidden :])
            grad_ih.append(grad_weight)
            wanted = None
            if ctx.needs_input_grad[2 + branch]:
                wanted = of_gates @ w_ih[branch][: 2 * hidden]
                wanted.addmm_(of_candidate, w_ih[branch][2 * hidden :])
            grad_inputs.append(wanted)
        grad_hh = [slopes[branch].t() @ states_read[branch] for branch in range(n)]
        return (None, None, *grad_inputs, *grad_ih, *grad_hh)
