"""Branches side by side on a GPU, where each is one `torch.nn.GRU` over rows of one length.

cuDNN's fast algorithms take no packed rows (`RNN.cpp` of PyTorch), so rows are padded there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class DenseRows(NamedTuple):
    """Rows of one length; item 0 is padding.

    Attributes:
        items: int (B, L), padding anywhere.
        context: int (B, C), what each row read before, without gradients, padding in front; None
            for nothing.
        order: int64 (B * L,), the places of `items` by item, for a fast gradient; None without.
    """

    items: Tensor
    context: Tensor | None = None
    order: Tensor | None = None


def look_up(items: Tensor, table: Tensor, order: Tensor | None) -> Tensor:
    """The vectors of items (B, L) in a table (N, D): float (B, L, D); row 0 gets no gradient."""
    if order is None or not table.requires_grad:
        return functional.embedding(items, table, padding_idx=0)
    vectors: Tensor = _LookUp.apply(table, items, order)  # type: ignore[no-untyped-call]
    return vectors


class _LookUp(torch.autograd.Function):
    """Sums the gradients item by item in a known order, so nothing is sorted in a step."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, items: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(items, order)
        ctx.n_items = len(table)
        return functional.embedding(items, table)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        items, order = ctx.saved_tensors
        by_item = items.flatten()[order]
        numbers = torch.arange(ctx.n_items + 1, device=items.device, dtype=items.dtype)
        borders = torch.searchsorted(by_item, numbers)
        borders = torch.maximum(borders, borders[1])  # item 0 has none
        in_order = grad.flatten(0, 1).index_select(0, order)
        return (
            torch.segment_reduce(in_order, "sum", offsets=borders, unsafe=True, initial=0),
            None,
            None,
        )


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
