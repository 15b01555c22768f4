"""The GRUs of `gru` on CUDA, by `torch.nn.GRU` over packed sequences (cuDNN)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


def run_grus(
    grus: Sequence[nn.GRU],
    inputs: Sequence[Tensor],
    sizes: tuple[int, ...],
    start: Tensor | None = None,
) -> Tensor:
    """As `gru.run_grus`."""
    batch_sizes = torch.tensor(sizes)
    outputs = [
        gru(
            PackedSequence(vectors, batch_sizes),
            None if start is None else start[:, branch].contiguous(),
        )[0].data
        for branch, (gru, vectors) in enumerate(zip(grus, inputs, strict=True))
    ]
    return torch.cat(outputs, dim=-1)


@torch.no_grad()
def last_states(grus: Sequence[nn.GRU], inputs: Sequence[Tensor], sizes: tuple[int, ...]) -> Tensor:
    """As `gru.last_states`."""
    batch_sizes = torch.tensor(sizes)
    packed = [PackedSequence(vectors, batch_sizes) for vectors in inputs]
    return torch.stack([gru(rows)[1] for gru, rows in zip(grus, packed, strict=True)], dim=1)
