"""The optimizers: Adam, and `sparse_adam`, whose step costs what it reads, not what there is."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.workers import Workers
from kgrec_cli.errors import KgrecError


def build_optimizer(
    model: GRU4RecKG, settings: TrainingSettings, device: torch.device, workers: Workers
) -> torch.optim.Adam:
    """The `learner` of a model. With `sparse_adam` the gradients of its tables become sparse.

    Raises:
        KgrecError: `sparse_adam` on a GPU or in several processes.
    """
    is_sparse = settings.learner == "sparse_adam"
    if is_sparse and (device.type != "cpu" or workers.count > 1):
        raise KgrecError(
            f"learner sparse_adam: found {workers.count} processes on {device.type}, it trains in "
            "one process on the CPU (--device cpu); learner: adam trains there"
        )
    for name in model.branches:
        model.table_of(name).sparse = is_sparse
    make = SparseAdam if is_sparse else torch.optim.Adam
    return make(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
        capturable=device.type == "cuda",
    )


class SparseAdam(torch.optim.Adam):
    """Adam that leaves alone the rows of a sparse gradient which are not in it.

    Their moments do not decay either, as in `torch.optim.SparseAdam` and FBGEMM's Adam of
    embedding tables. Parameters with a dense gradient get Adam's step. In one group.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step; the sparse gradients are used up by it."""
        (group,) = self.param_groups
        for weight in group["params"]:
            if weight.grad is not None and weight.grad.is_sparse:
                self._update_rows(weight, group)
                weight.grad = None
        super().step(closure)

    def _update_rows(self, weight: Tensor, group: dict[str, Any]) -> None:
        """Adam's step of the rows of a table (N, D) that are in its gradient."""
        (beta1, beta2), state = group["betas"], self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = (
                torch.zeros_like(weight),
                torch.zeros_like(weight),
            )
        state["step"] += 1
        n_steps = state["step"].item()
        grad = weight.grad.coalesce()  # type: ignore[union-attr]
        rows, values = grad.indices()[0], grad.values()
        mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"][rows].lerp_(values.square(), 1 - beta2)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        scale = square.div_(1 - beta2**n_steps).sqrt_().add_(group["eps"])
        rate = group["lr"] / (1 - beta1**n_steps)
        weight.index_copy_(0, rows, weight[rows].addcdiv_(mean, scale, value=-rate))
