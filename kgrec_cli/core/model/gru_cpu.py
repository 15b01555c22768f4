"""The GRUs of `gru`, fast on a CPU: all branches in one pass, no step spent on padding.

On a CPU a GRU spends less time in matrix products than in the operations between them. So the steps
are written out, each intermediate is stored once, and the gradients are written out too.

Letters as in `gru`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kgrec_cli.core.model.gru import PackedRows, last_positions

BLOCK_STEPS = 4
"""Steps whose gradients are made ready at once: enough to share out, few enough for the cache."""


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
    return states.transpose(0, 1).flatten(1)


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
def inputs_by_item(gru: nn.GRU, vectors: Tensor) -> Tensor:
    """What a GRU's first layer adds for each item, float (N, 4H), from vectors (N, D).

    Of the reset and the update gate, zeros for the candidate's recurrent part, twice the
    candidate's.
    """
    products = vectors @ gru.all_weights[0][0].T
    reset, update, candidate = products.chunk(3, dim=-1)
    return torch.cat([reset, update, torch.zeros_like(reset), 2 * candidate], dim=-1)


@torch.no_grad()
def last_states_by_item(
    grus: Sequence[nn.GRU], inputs: Sequence[Tensor], rows: PackedRows
) -> Tensor:
    """As `last_states`, for GRUs of one layer on the CPU whose input depends on the item alone.

    Only the last state is stored, and the products of the inputs are computed once per item.

    Args:
        grus: G GRUs of one layer.
        inputs: For each a float (N, 4H), what `inputs_by_item` makes of every item's vector.
        rows: Rows of items.

    Returns:
        float (1, G, B, H).
    """
    hidden, n_rows = grus[0].hidden_size, rows.sizes[0]
    states = inputs[0].new_zeros(len(grus), n_rows, hidden)
    room, minus_one = inputs[0].new_empty(n_rows, 4 * hidden), inputs[0].new_tensor(-1.0)
    for gru, of_items, state in zip(grus, inputs, states, strict=True):
        weight = gru.all_weights[0][1].t().contiguous()
        for items in torch.split(rows.items, list(rows.sizes)):
            gates, before = room[: len(items)], state[: len(items)]
            torch.index_select(of_items, 0, items, out=gates)
            gates[:, : 3 * hidden].addmm_(before, weight)
            gates[:, : 2 * hidden].sigmoid_()
            reset, update, recurrent, candidate = gates.chunk(4, dim=-1)
            # As in `_Layer`: tanh by a sigmoid.
            candidate.addcmul_(reset, recurrent, value=2).sigmoid_()
            torch.add(minus_one, candidate, alpha=2, out=candidate)
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
        from_states = torch.stack(w_hh).mT
        first = new(n, sizes[0], hidden).zero_() if start is None else start
        before, minus_one = first, inputs[0].new_tensor(-1.0)
        parts = gates, gates[..., : 2 * hidden], *gates.chunk(3, dim=-1), candidate, states
        steps = _steps(sizes, *parts)
        for gate, switches, reset, update, recurrent, new_state, state in steps:
            if before.shape[1] != gate.shape[1]:
                before = before[:, : gate.shape[1]]
            gate.baddbmm_(before, from_states)
            switches.sigmoid_()
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
        factors = slopes.view(n, -1, 3, hidden)
        update = gates[..., hidden : 2 * hidden]
        steps = list(_steps(sizes, grad, grad[:, :, None], slopes, factors, update))
        for begin in reversed(range(0, len(sizes), BLOCK_STEPS)):
            end = min(begin + BLOCK_STEPS, len(sizes))
            span = slice(sum(sizes[:begin]), sum(sizes[:end]))
            block = slopes[:, span], for_candidate[:, span]
            _set_factors(gates[:, span], candidate[:, span], states[:, span], *block)
            for number in range(end - 1, begin - 1, -1):
                of_step, of_gates, slope, factor, share = steps[number]
                factor.mul_(of_gates)
                if number:
                    earlier = steps[number - 1][0][:, : sizes[number]]
                    earlier.addcmul_(of_step, share).baddbmm_(slope, w_hh)
            block[1].mul_(grad[:, span])
        before = zip(torch.split(states, list(sizes), dim=1), sizes[1:], strict=False)
        states_read = torch.cat([first, *(part[:, :size] for part, size in before)], dim=1)
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
        grad_hh = slopes.mT @ states_read
        return (None, None, *grad_inputs, *grad_ih, *grad_hh)


def _steps(sizes: tuple[int, ...], *parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """What each step has of tensors whose second dimension is P."""
    return zip(*(torch.split(part, list(sizes), dim=1) for part in parts), strict=True)


def _set_factors(
    gates: Tensor, candidate: Tensor, states: Tensor, slopes: Tensor, for_candidate: Tensor
) -> None:
    """Writes what the gradient of a state is multiplied by to become those before non-linearities.

    Args:
        gates: float (G, P, 3H): r, z, the candidate's recurrent part a.
        candidate: float (G, P, H), n.
        states: float (G, P, H), (1 - z) n + z (the state before).
        slopes: float (G, P, 3H), written: for r, z and a.
        for_candidate: float (G, P, H), written: for n.
    """
    reset, update, recurrent = gates.chunk(3, dim=-1)
    for_reset, for_update, for_recurrent = slopes.chunk(3, dim=-1)
    kept = 1 - update
    torch.sub(states, candidate, out=for_update).mul_(kept)  # states - n is z (before - n)
    torch.mul(candidate, candidate, out=for_candidate)
    torch.addcmul(kept, kept, for_candidate, value=-1, out=for_candidate)  # (1 - z)(1 - n^2)
    torch.mul(for_candidate, reset, out=for_recurrent)
    torch.addcmul(recurrent, recurrent, reset, value=-1, out=for_reset)  # a (1 - r)
    for_reset.mul_(for_recurrent)
