"""Branches side by side on a GPU, where each is one `torch.nn.GRU` over rows of one length.

cuDNN's fast algorithms take no packed rows (`RNN.cpp` of PyTorch), so rows are padded there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kgrec_cli.core.gpu_steps import look_up


class DenseRows(NamedTuple):
    """Rows of one length, position by position, as cuDNN reads them; item 0 is padding.

    Attributes:
        items: int (L, B), padding anywhere.
        context: int (C, B), what each row read before, without gradients, padding first; None for
            nothing.
        order: int64 (L * B,), the places of `items` by item, for a fast gradient; None without.
    """

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
