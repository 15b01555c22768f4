"""Branches side by side on a GPU, where each is one `torch.nn.GRU` over rows of one length.

cuDNN's fast algorithms take no packed rows (`RNN.cpp` of PyTorch), so rows are padded there.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


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
