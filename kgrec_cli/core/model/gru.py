"""Several GRUs side by side over rows of unequal length, with no step spent on padding.

The weights are those of `torch.nn.GRU` without bias; its equations are kept (Cho et al. 2014, in
cuDNN's variant: the reset gate multiplies after the matrix product). On CUDA `torch.nn.GRU` runs
itself. On the CPU its time goes less into products than into what stands between them, so the
steps are written out here: all branches in one pass, every intermediate kept once, gradients by
hand.

Letters: P positions of all rows, B rows, G branches, D input width, H hidden size, K layers.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Packed(NamedTuple):
    """Rows that are read side by side, the longest first, step by step.

    Attributes:
        items: int (P,): the first item of every row, then the second of every row that has one, ...
        sizes: How many rows have a first, a second, ... item; descending, sums to P.
    """

    items: Tensor
    sizes: tuple[int, ...]


def pack(items: Tensor, lengths: Tensor) -> Packed:
    """Rows of a padded array as `Packed`.

    Args:
        items: int (B, L), each row's items first.
        lengths: int64 (B,), descending, at least 1.
    """
    steps = torch.arange(int(lengths[0]), device=items.device)
    inside = steps[:, None] < lengths
    return Packed(items.t()[: len(steps)][inside], tuple(inside.sum(1).tolist()))


def run_grus(
    grus: Sequence[nn.GRU],
    inputs: Sequence[Tensor],
    sizes: tuple[int, ...],
    start: Tensor | None = None,
) -> Tensor:
    """The states of all branches after every position; gradients flow, but not into `start`.

    Args:
        grus: G GRUs of equal hidden size and number of layers, without bias.
        inputs: For each a float (P, D) in the order of `Packed`.
        sizes: As `Packed.sizes`.
        start: float (K, G, B, H), the states before the first step; None for zeros.

    Returns:
        float (P, G * H).
    """
    if inputs[0].is_cuda:
        batch_sizes = torch.tensor(sizes)
        parts = [
            gru(
                nn.utils.rnn.PackedSequence(vectors, batch_sizes),
                None if start is None else start[:, branch].contiguous(),
            )[0].data
            for branch, (gru, vectors) in enumerate(zip(grus, inputs, strict=True))
        ]
        return torch.cat(parts, dim=-1)
    outputs = tuple(inputs)
    for layer in range(grus[0].num_layers):
        states = _run_layer(grus, layer, outputs, sizes, None if start is None else start[layer])
        outputs = states.unbind()
    return torch.cat(outputs, dim=-1)


def _run_layer(
    grus: Sequence[nn.GRU],
    layer: int,
    inputs: Sequence[Tensor],
    sizes: tuple[int, ...],
    start: Tensor | None,
) -> Tensor:
    """One layer of all branches, float (G, P, H)."""
    weights = [getattr(gru, f"weight_{kind}_l{layer}") for kind in ("ih", "hh") for gru in grus]
    states: Tensor = _Layer.apply(sizes, start, *inputs, *weights)  # type: ignore[no-untyped-call]
    return states


def _by_step(parts: Sequence[Tensor], sizes: tuple[int, ...]) -> Iterator[tuple[Tensor, ...]]:
    """Each tensor (G, P, ...) cut into its steps."""
    return zip(*(torch.split(part, list(sizes), dim=1) for part in parts), strict=True)


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
        parts = (gates, gates[..., : 2 * hidden], candidate, states)
        for gate, switches, new_state, state in _by_step(parts, sizes):
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
        parts = (grad, gates, candidate, states, slopes, for_candidate)
        steps = list(_by_step(parts, sizes))
        for number in range(len(sizes) - 1, -1, -1):
            own, gate, new_state, state, slope, for_new = steps[number]
            reset, update, recurrent = gate.chunk(3, dim=-1)
            for_reset, for_update, for_recurrent = slope.chunk(3, dim=-1)
            scratch = room[:, : own.shape[1]]
            kept = torch.addcmul(own, own, update, value=-1)  # of the candidate: grad (1 - z)
            torch.mul(kept, new_state, out=scratch)
            torch.addcmul(kept, scratch, new_state, value=-1, out=for_new)  # (1 - n^2)
            torch.mul(for_new, reset, out=for_recurrent)
            torch.mul(for_recurrent, recurrent, out=scratch)
            torch.addcmul(scratch, scratch, reset, value=-1, out=for_reset)  # r (1 - r)
            torch.sub(state, new_state, out=scratch)  # z (before - n)
            torch.mul(kept, scratch, out=for_update)
            if number:
                earlier = steps[number - 1][0][:, : own.shape[1]]
                earlier.addcmul_(own, update).baddbmm_(slope, w_hh)
        before = [step[3][:, : sizes[number + 1]] for number, step in enumerate(steps[:-1])]
        read = torch.cat([first, *before], dim=1)
        grad_inputs: list[Tensor | None] = []
        grad_ih = []
        for branch in range(n):
            of_gates = slopes[branch, :, : 2 * hidden]
            of_candidate = for_candidate[branch]
            own_ih = torch.empty_like(w_ih[branch])
            torch.mm(of_gates.t(), inputs[branch], out=own_ih[: 2 * hidden])
            torch.mm(of_candidate.t(), inputs[branch], out=own_ih[2 * hidden :])
            grad_ih.append(own_ih)
            wanted = None
            if ctx.needs_input_grad[2 + branch]:
                wanted = of_gates @ w_ih[branch][: 2 * hidden]
                wanted.addmm_(of_candidate, w_ih[branch][2 * hidden :])
            grad_inputs.append(wanted)
        grad_hh = [slopes[branch].t() @ read[branch] for branch in range(n)]
        return (None, None, *grad_inputs, *grad_ih, *grad_hh)


@torch.no_grad()
def last_states(grus: Sequence[nn.GRU], inputs: Sequence[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """The states of all layers and branches after each row's last position, without gradients.

    Args:
        grus: As for `run_grus`.
        inputs: As for `run_grus`.
        sizes: As `Packed.sizes`.

    Returns:
        float (K, G, B, H).
    """
    if inputs[0].is_cuda:
        batch_sizes = torch.tensor(sizes)
        read = [nn.utils.rnn.PackedSequence(vectors, batch_sizes) for vectors in inputs]
        return torch.stack([gru(own)[1] for gru, own in zip(grus, read, strict=True)], dim=1)
    last = last_positions(sizes)
    outputs, found = tuple(inputs), []
    for layer in range(grus[0].num_layers):
        states = _run_layer(grus, layer, outputs, sizes, None)
        outputs = states.unbind()
        found.append(states[:, last])
    return torch.stack(found)


@torch.no_grad()
def last_states_by_item(grus: Sequence[nn.GRU], inputs: Sequence[Tensor], read: Packed) -> Tensor:
    """As `last_states`, for GRUs of one layer on the CPU whose input depends on the item alone.

    No state but the last is kept, and the inputs' products are made once an item.

    Args:
        grus: G GRUs of one layer.
        inputs: For each a float (N, 3H), every item's vector times its `weight_ih_l0`.
        read: Rows of items.

    Returns:
        float (1, G, B, H).
    """
    hidden, n_rows = grus[0].hidden_size, read.sizes[0]
    states = inputs[0].new_zeros(len(grus), n_rows, hidden)
    from_item, from_state = (inputs[0].new_empty(n_rows, 3 * hidden) for _ in range(2))
    for gru, of_items, state in zip(grus, inputs, states, strict=True):
        weight = gru.all_weights[0][1].t().contiguous()
        for items in torch.split(read.items, list(read.sizes)):
            n = len(items)
            before, own, recurrent = state[:n], from_item[:n], from_state[:n]
            torch.index_select(of_items, 0, items, out=own)
            torch.mm(before, weight, out=recurrent)
            own[:, : 2 * hidden].add_(recurrent[:, : 2 * hidden]).sigmoid_()
            reset, update, candidate = own.chunk(3, dim=-1)
            candidate.addcmul_(reset, recurrent[:, 2 * hidden :]).tanh_()
            torch.lerp(candidate, before, update, out=before)
    return states[None]


def last_positions(sizes: tuple[int, ...]) -> Tensor:
    """int64 (B,), the position of each row's last item."""
    of_step = torch.tensor(sizes)
    rows = torch.arange(sizes[0])
    n_steps = (of_step[:, None] > rows).sum(0)
    return (of_step.cumsum(0) - of_step)[n_steps - 1] + rows
