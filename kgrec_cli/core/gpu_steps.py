"""What steps on a GPU need: capture, and look-ups whose gradient is fast.

A GPU waits for Python rather than for arithmetic when a step is some hundred small operations. A
captured step is launched as one.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

EAGER_STEPS = 3
"""Steps before the capture: in them cuBLAS, cuDNN and the optimiser set themselves up."""


class CapturedStep:
    """A function without arguments and result, repeated: on a GPU it is captured and replayed.

    Its operations must not depend on numbers that the CPU would have to know, and it finds and
    leaves its tensors where they were. Elsewhere it is called.

    Args:
        step: What is repeated.
        device: Where its tensors are.
        generators: What it draws with beside the default generator.
    """

    def __init__(
        self,
        step: Callable[[], None],
        device: torch.device,
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        self.step = step
        self.device = device
        self.generators = generators
        self.graph: torch.cuda.CUDAGraph | None = None
        self.n_eager = 0

    def __call__(self) -> None:
        """Makes one step, or leaves it to the GPU to make."""
        if self.graph is None and self.device.type == "cuda" and self.n_eager >= EAGER_STEPS:
            self.graph = self._capture()
        if self.graph is not None:
            self.graph.replay()
            return
        self.n_eager += 1
        self.step()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """The step as a graph; nothing is computed. Unlike `torch.cuda.graph` it waits for nothing.

        No garbage is collected meanwhile: freeing a tensor of another graph would end the capture.
        """
        graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            graph.register_generator_state(generator)
        here = torch.cuda.current_stream(self.device)
        stream = here
        if here == torch.cuda.default_stream(self.device):  # which cannot be captured
            stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            stream.wait_stream(here)
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            with torch.cuda.stream(stream):
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self.step()
                finally:
                    graph.capture_end()
        finally:
            if was_enabled:
                gc.enable()
        if stream != here:
            here.wait_stream(stream)
        return graph


def look_up(ids: Tensor, table: Tensor, order: Tensor, *, skip_first: bool = False) -> Tensor:
    """As `functional.embedding`, its gradient summed row by row in a known order.

    Args:
        ids: int (...), rows of the table.
        table: float (N, D).
        order: int64, the places of `ids`, flattened, by row.
        skip_first: Row 0 gets no gradient.

    Returns:
        float (..., D).
    """
    vectors: Tensor = _LookUp.apply(table, ids, order, skip_first)  # type: ignore[no-untyped-call]
    return vectors


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, order: Tensor, skip_first: bool) -> Tensor:
        ctx.save_for_backward(ids, order)
        ctx.n_rows, ctx.skip_first = len(table), skip_first
        return torch.nn.functional.embedding(ids, table)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ids, order = ctx.saved_tensors
        rows = torch.arange(ctx.n_rows + 1, device=ids.device, dtype=ids.dtype)
        borders = torch.searchsorted(ids.flatten()[order], rows)
        if ctx.skip_first:
            borders = torch.maximum(borders, borders[1])
        in_order = grad.reshape(-1, grad.shape[-1]).index_select(0, order)
        sums = torch.segment_reduce(in_order, "sum", offsets=borders, unsafe=True, initial=0)
        return sums, None, None, None
