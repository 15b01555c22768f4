"""`torch.nn.Dropout`, with random numbers that cost little on a CPU.

There `torch.nn.Dropout` draws 32 bits for each element, one after another: 1.3 ms for 2,000 x 64.
Here 16 bits decide, four elements a draw.
"""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Zeros with probability p while training, the rest divided by 1 - p.

    On a CPU p is rounded to a multiple of 2^-16. Random numbers come from torch's default
    generator.
    """

    def forward(self, vectors: Tensor) -> Tensor:
        """The vectors, float of any shape, some of their elements dropped."""
        n_dropped = round(self.p * 2**16)
        if vectors.device.type != "cpu" or not self.training or n_dropped in (0, 2**16):
            return super().forward(vectors)
        draws = torch.empty(-(-vectors.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: vectors.numel()].view(vectors.shape)
        factors = (bits >= n_dropped - 2**15).to(vectors.dtype)
        return vectors * factors.mul_(2**16 / (2**16 - n_dropped))
