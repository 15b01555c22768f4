"""Branches side by side on a GPU, where each is one `torch.nn.GRU` over rows of one length.

cuDNN's fast algorithms take no packed rows (`RNN.cpp` of PyTorch), so rows are padded there.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec_cli.core.gpu_steps import look_up

WAVE_ROWS = 132
"""cuDNN's fast GRU has one row on a multiprocessor, of which an H100 has so many. Rows that run at
the same time should be of about one length."""

for start_of_warning in ("RNN module weights are not part", "The AccumulateGrad node's stream"):
    warnings.filterwarnings("ignore", start_of_warning, UserWarning)


class Block(NamedTuple):
    """Rows of one length.

    Attributes:
        rows: B.
        length: L, the positions of each.
        context: C, what each reads before them, without gradients.
    """

    rows: int
    length: int
    context: int = 0


class DenseRows(NamedTuple):
    """Blocks of rows, one behind the other, each position by position; item 0 is padding.

    Attributes:
        blocks: Their sizes.
        items: int (P,), each block's L * B items; padding anywhere.
        context: int (Q,), each block's C * B items, padding first; None for nothing.
        order: int64 (P,), the places of `items` by item, for a fast gradient; None without.
    """

    blocks: Sequence[Block]
    items: Tensor
    context: Tensor | None = None
    order: Tensor | None = None


def look_up_items(items: Tensor, table: Tensor, order: Tensor | None) -> Tensor:
    """The vectors of items in a table (N, D): float (..., D), zero at padding.

    Without bias a GRU stays at zero on them. The padding's own vector is not zero: the softmax over
    all items trains it.
    """
    if order is None or not table.requires_grad:
        vectors = functional.embedding(items, table, padding_idx=0)
    else:
        vectors = look_up(items, table, order, skip_first=True)
    return vectors.masked_fill((items == 0).unsqueeze(-1), 0)


def side_by_side(branches: Sequence[Callable[[], Tensor]]) -> list[Tensor]:
    """The results of all branches, computed at the same time when they go into a CUDA graph.

    The steps of a GRU wait for each other and leave most of a GPU idle, so each branch gets a
    stream. Outside a graph they run one after the other: launching takes longer than computing.
    """
    if not torch.cuda.is_available() or not torch.cuda.is_current_stream_capturing():
        return [branch() for branch in branches]
    here = torch.cuda.current_stream()
    streams = [torch.cuda.Stream() for _ in branches[1:]]  # type: ignore[no-untyped-call]
    others = []
    for stream, branch in zip(streams, branches[1:], strict=True):
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            others.append(branch())
    results = [branches[0](), *others]
    for stream, result in zip(streams, others, strict=True):
        here.wait_stream(stream)
        result.record_stream(here)
    return results


def run_blocks(
    layers: nn.GRU, blocks: Sequence[Block], vectors: Tensor, context: Tensor | None
) -> Tensor:
    """The states after all positions, float (P, H).

    Args:
        layers: Without biases.
        blocks: The sizes of the blocks.
        vectors: float (P, D), what is read.
        context: float (Q, D), what is read before, without gradients; None for nothing.
    """

    def run(block: Block, vectors: Tensor, context: Tensor | None) -> Tensor:
        start = vectors.new_zeros(layers.num_layers, block.rows, layers.hidden_size)
        if context is not None and block.context:
            with torch.no_grad():
                read = context.view(block.context, block.rows, -1)
                start = layers(read.transpose(0, 1), start)[1]
        states = vectors.view(block.length, block.rows, -1)
        if block.rows < WAVE_ROWS or not torch.is_grad_enabled():
            of_rows: Tensor = layers(states.transpose(0, 1), start)[0]
            return of_rows.transpose(0, 1).flatten(0, 1)
        for (of_inputs, of_states), layer_start in zip(layers.all_weights, start, strict=True):
            inputs = functional.linear(states, of_inputs)
            states = _Recurrence.apply(inputs, of_states, layer_start[None])  # type: ignore[no-untyped-call]
        return states.flatten(0, 1)

    parts = torch.split(vectors, [block.length * block.rows for block in blocks])
    contexts: Sequence[Tensor | None] = [None] * len(blocks)
    if context is not None:
        contexts = torch.split(context, [block.context * block.rows for block in blocks])
    given = zip(blocks, parts, contexts, strict=True)
    return torch.cat(side_by_side([partial(run, *each) for each in given]))


class _Recurrence(torch.autograd.Function):
    """A layer of a GRU whose inputs are multiplied already: (L, B, 3H), (3H, H), (1, B, H).

    With many rows cuDNN's gradients of weights take longer than all else of a backward pass: it
    sums those of biases, which there are none of, on four multiprocessors. So it is given the
    identity as the weights of the inputs and asked for the gradient of the inputs alone. That is
    the gradient of the gates, and the weights' follows by one product.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        identity = torch.eye(inputs.shape[2], dtype=inputs.dtype, device=inputs.device)
        with torch.enable_grad():
            ctx.inputs = inputs.detach().requires_grad_()
            weights = [identity, weight.detach()]
            ctx.states = torch.gru(ctx.inputs, start, weights, False, 1, 0.0, True, False, False)[0]
        ctx.save_for_backward(weight, start)
        states: Tensor = ctx.states.detach()
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, start = ctx.saved_tensors
        size = weight.shape[1]
        (grad_inputs,) = torch.autograd.grad(ctx.states, ctx.inputs, grad)
        before = torch.cat([start, ctx.states.detach()[:-1]])
        reset = torch.sigmoid(ctx.inputs.detach()[..., :size] + before @ weight[:size].T)
        of_states = torch.cat(
            [grad_inputs[..., : 2 * size], grad_inputs[..., 2 * size :] * reset], -1
        )
        return grad_inputs, of_states.flatten(0, 1).T @ before.flatten(0, 1), None
