"""The state of Adam (and SparseAdam) as tensors by name, for a checkpoint file, and back.

`param_groups` of an optimizer's `state_dict()` are plain JSON values already; callers keep them.
"""

from typing import Any

import torch
from torch import Tensor

NOT_A_NUMBER = -1
"""Of a parameter in a damaged file; `find_optimizer_misfit` refuses it."""


def pack_optimizer(state_dict: dict[str, Any], prefix: str) -> dict[str, Tensor]:
    """The moments and step counts of each parameter, named "PREFIX.INDEX.SLOT".

    Args:
        state_dict: As `torch.optim.Optimizer.state_dict` returns it.
        prefix: First part of each name; without a dot.
    """
    return {
        f"{prefix}.{index}.{slot}": torch.as_tensor(value)
        for index, slots in state_dict["state"].items()
        for slot, value in slots.items()
    }


def unpack_optimizer(
    tensors: dict[str, Tensor], prefix: str, param_groups: list[dict[str, Any]]
) -> dict[str, Any]:
    """A state dict for `load_state_dict`, from what `pack_optimizer` returned.

    SparseAdam counts its steps in a Python int, Adam in a float tensor: a single integer becomes a
    Python int again.

    Args:
        tensors: May hold tensors of other prefixes; they are ignored.
        prefix: As it was packed with.
        param_groups: Of the packed state dict, or of a new optimizer with the same settings.
    """
    state: dict[int, dict[str, Tensor | int]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == prefix:
            index, _, slot = rest.partition(".")
            is_count = value.ndim == 0 and not value.is_floating_point()
            number = int(index) if index.isdecimal() and len(index) < 9 else NOT_A_NUMBER
            state.setdefault(number, {})[slot] = int(value) if is_count else value
    return {"state": state, "param_groups": param_groups}
