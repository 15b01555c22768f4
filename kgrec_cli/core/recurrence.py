"""Several GRUs side by side over rows of unequal length, with no step spent on padding.

The weights are those of `torch.nn.GRU` without bias; its equations are kept (Cho et al. 2014, in
cuDNN's variant: the reset gate multiplies after the matrix product). On CUDA `torch.nn.GRU` runs
itself. On the CPU its time goes less into products than into what stands between them, so the
steps are written out here: all branches in one pass, every intermediate kept once, gradients by
hand.

Letters: P positions of all rows, B rows, G branches, D input width, H hidden size, K layers.
"""

from collections.abc import Sequence
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
        start: float (K, B, G, H), the states before the first step; None for zeros.

    Returns:
        float (P, G * H).
    """
    if inputs[0].is_cuda:
        batch_sizes = torch.tensor(sizes)
        parts = [
            gru(
                nn.utils.rnn.PackedSequence(vectors, batch_sizes),
                None if start is None else start[:, :, branch].contiguous(),
            )[0].data
            for branch, (gru, vectors) in enumerate(zip(grus, inputs, strict=True))
        ]
        return torch.cat(parts, dim=-1)
    outputs = tuple(inputs)
    for layer in range(grus[0].num_layers):
        states = _run_layer(grus, layer, outputs, sizes, None if start is None else start[layer])
        outputs = states.unbind(1)
    return states.flatten(1)


def _run_layer(
    grus: Sequence[nn.GRU],
    layer: int,
    inputs: Sequence[Tensor],
    sizes: tuple[int, ...],
    start: Tensor | None,
) -> Tensor:
    """One layer of all branches, float (P, G, H)."""
    weights = [getattr(gru, f"weight_{kind}_l{layer}") for kind in ("ih", "hh") for gru in grus]
    states: Tensor = _Layer.apply(sizes, start, *inputs, *weights)  # type: ignore[no-untyped-call]
    return states


def _by_step(parts: Sequence[Tensor], sizes: tuple[int, ...]) -> list[tuple[Tensor, ...]]:
    """Each tensor (P, ...) cut into its steps."""
    return [torch.split(part, list(sizes)) for part in parts]


def _cut(tensor: Tensor, *widths: int) -> tuple[Tensor, ...]:
    """The last dimension cut into pieces of these widths."""
    return torch.split(tensor, list(widths), dim=-1)


class _Layer(torch.autograd.Function):
    """One layer of all branches: inputs (P, D) each -> states (P, G, H)."""

    @staticmethod
    def forward(ctx: Any, sizes: tuple[int, ...], start: Tensor | None, *tensors: Tensor) -> Tensor:
        n = len(tensors) // 3
        inputs, w_ih, w_hh = tensors[:n], tensors[n : 2 * n], tensors[2 * n :]
        n_positions, hidden = len(inputs[0]), w_hh[0].shape[1]
        new = inputs[0].new_empty
        # Reset and update gates, candidate, its recurrent part, state: all steps, one step a slice.
        gates, candidate = new(n_positions, n, 2 * hidden), new(n_positions, n, hidden)
        recurrent, states = torch.empty_like(candidate), torch.empty_like(candidate)
        for branch in range(n):
            to_gates, to_candidate = _cut(w_ih[branch].t(), 2 * hidden, hidden)
            torch.mm(inputs[branch], to_gates, out=gates[:, branch])
            torch.mm(inputs[branch], to_candidate, out=candidate[:, branch])
        to_gates_hh = [weight[: 2 * hidden].t() for weight in w_hh]
        to_candidate_hh = [weight[2 * hidden :].t() for weight in w_hh]
        before = new(sizes[0], n, hidden).zero_() if start is None else start
        first = before
        parts = (gates, candidate, recurrent, states)
        for gate, new_state, from_before, state in zip(*_by_step(parts, sizes), strict=True):
            before = before[: len(gate)]
            for branch in range(n):
                own = before[:, branch]
                gate[:, branch].addmm_(own, to_gates_hh[branch])
                torch.mm(own, to_candidate_hh[branch], out=from_before[:, branch])
            gate.sigmoid_()
            new_state.addcmul_(gate[..., :hidden], from_before).tanh_()
            before = torch.lerp(new_state, before, gate[..., hidden:], out=state)
        ctx.sizes = sizes
        ctx.save_for_backward(first, gates, candidate, recurrent, states, *tensors)
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        first, gates, candidate, recurrent, states, *tensors = ctx.saved_tensors
        n = len(tensors) // 3
        inputs, w_ih, w_hh = tensors[:n], tensors[n : 2 * n], tensors[2 * n :]
        sizes, hidden = ctx.sizes, states.shape[2]
        grad = grad.clone(memory_format=torch.contiguous_format)
        # Gradients before the non-linearities: candidate, reset, update, recurrent part. The first
        # three belong to the inputs' weights, the last three to the states'.
        slopes = states.new_empty(len(states), n, 4 * hidden)
        room = torch.empty_like(first)
        parts = (grad, gates, candidate, recurrent, states, slopes)
        steps = list(zip(*_by_step(parts, sizes), strict=True))
        for number in range(len(sizes) - 1, -1, -1):
            own, gate, new_state, from_before, state, slope = steps[number]
            reset, update = _cut(gate, hidden, hidden)
            for_new, for_reset, for_update, for_recurrent = _cut(slope, *[hidden] * 4)
            scratch = room[: len(own)]
            kept = torch.addcmul(own, own, update, value=-1)  # of the candidate: grad (1 - z)
            torch.mul(kept, new_state, out=scratch)
            torch.addcmul(kept, scratch, new_state, value=-1, out=for_new)  # (1 - n^2)
            torch.mul(for_new, reset, out=for_recurrent)
            torch.mul(for_recurrent, from_before, out=scratch)
            torch.addcmul(scratch, scratch, reset, value=-1, out=for_reset)  # r (1 - r)
            torch.sub(state, new_state, out=scratch)  # z (before - n)
            torch.mul(kept, scratch, out=for_update)
            if number:
                earlier = steps[number - 1][0][: len(own)]
                earlier.addcmul_(own, update)
                for branch in range(n):
                    earlier[:, branch].addmm_(slope[:, branch, hidden:], w_hh[branch])
        before = [step[4][: sizes[number + 1]] for number, step in enumerate(steps[:-1])]
        read = torch.cat([first, *before])
        grad_inputs: list[Tensor | None] = []
        grad_ih, grad_hh = [], []
        for branch in range(n):
            of_inputs, of_states = slopes[:, branch, : 3 * hidden], slopes[:, branch, hidden:]
            turned = torch.cat([w_ih[branch][2 * hidden :], w_ih[branch][: 2 * hidden]])
            wanted = ctx.needs_input_grad[2 + branch]
            grad_inputs.append(of_inputs @ turned if wanted else None)
            found = of_inputs.t() @ inputs[branch]
            grad_ih.append(torch.cat([found[hidden:], found[:hidden]]))
            grad_hh.append(of_states.t() @ read[:, branch])
        return (None, None, *grad_inputs, *grad_ih, *grad_hh)


@torch.no_grad()
def last_states(grus: Sequence[nn.GRU], inputs: Sequence[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """The states of all layers and branches after each row's last position, without gradients.

    Args:
        grus: As for `run_grus`.
        inputs: As for `run_grus`.
        sizes: As `Packed.sizes`.

    Returns:
        float (K, B, G, H).
    """
    if inputs[0].is_cuda:
        batch_sizes = torch.tensor(sizes)
        read = [nn.utils.rnn.PackedSequence(vectors, batch_sizes) for vectors in inputs]
        return torch.stack([gru(own)[1] for gru, own in zip(grus, read, strict=True)], dim=2)
    last = last_positions(sizes)
    outputs, found = tuple(inputs), []
    for layer in range(grus[0].num_layers):
        states = _run_layer(grus, layer, outputs, sizes, None)
        outputs = states.unbind(1)
        found.append(states[last])
    return torch.stack(found)


def last_positions(sizes: tuple[int, ...]) -> Tensor:
    """int64 (B,), the position of each row's last item."""
    of_step = torch.tensor(sizes)
    rows = torch.arange(sizes[0])
    n_steps = (of_step[:, None] > rows).sum(0)
    return (of_step.cumsum(0) - of_step)[n_steps - 1] + rows
