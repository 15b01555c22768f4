"""Are the tensors in a file those of this model and this optimizer? Asked before they are used."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def all_finite(tensor: Tensor) -> bool:
    """Whether all numbers of a tensor are finite; nearly always in one pass and without a copy."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def find_misfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """What is wrong with stored tensors, in a few words; None when nothing is.

    Args:
        tensors: As they were read.
        expected: A tensor of the right shape and type under each name; its values do not matter, so
            that those of a model on torch's device "meta" will do.
    """
    for name in expected.keys() - tensors.keys():
        return f"no {name} in it"
    for name, tensor in tensors.items():
        if name not in expected:
            return f"{name[:40]} is not of this model"
        like = expected[name]
        if tensor.shape != like.shape or tensor.dtype != like.dtype:
            return f"{name} is {_describe(tensor)}, expected {_describe(like)}"
        if not all_finite(tensor):
            return f"{name} holds numbers that are not finite"
    return None


def find_optimizer_misfit(
    state: Mapping[int, Mapping[str, Tensor | int]], parameters: Sequence[Tensor]
) -> str | None:
    """The same for the state of Adam or SparseAdam, as `unpack_optimizer` returns it.

    Args:
        state: By number of a parameter: step, exp_avg and exp_avg_sq. Parameters that were never
            used have none.
        parameters: Those that the optimizer updates.
    """
    for index, slots in state.items():
        if not 0 <= index < len(parameters) or slots.keys() != {"step", "exp_avg", "exp_avg_sq"}:
            return f"the optimizer's state {index} is not of this model"
        step = torch.as_tensor(slots["step"])
        if step.ndim or not torch.isfinite(step) or step < 1:
            return "the optimizer's count of steps is no number of steps"
        moments = {name: torch.as_tensor(slots[name]) for name in ("exp_avg", "exp_avg_sq")}
        misfit = find_misfit(moments, dict.fromkeys(moments, parameters[index]))
        if misfit:
            return f"the optimizer's state {index}: {misfit}"
    return None


def _describe(tensor: Tensor) -> str:
    """A tensor's shape and type: "12 x 8 float32"."""
    kind = str(tensor.dtype).removeprefix("torch.")
    return f"{' x '.join(map(str, tensor.shape)) or 'one number'} {kind}"
