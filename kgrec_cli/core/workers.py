"""Several processes that train one model, as torchrun starts them: shares of the work, and sums."""

import os
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from kgrec_cli.errors import KgrecError


@dataclass(frozen=True)
class Workers:
    """This process among those of one training.

    Attributes:
        number: From 0; number 0 alone writes and speaks.
        count: 1 without torchrun.
    """

    number: int = 0
    count: int = 1

    @property
    def share(self) -> slice:
        """This process's part of a list that all have."""
        return slice(self.number, None, self.count)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors of one dtype, in place, by their sums over all processes.

        Raises:
            KgrecError: Another process is gone.
        """
        if self.count == 1:
            return
        given = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in given])
        with _peers_alive():
            dist.all_reduce(flat)
        for tensor, total in zip(given, flat.split([t.numel() for t in given]), strict=True):  # type: ignore[no-untyped-call]
            tensor.copy_(total.view_as(tensor))

    def interleave(self, own: NDArray[Any], n: int) -> NDArray[Any]:
        """The list (n, ...) of which every process has its `share`.

        Raises:
            KgrecError: Another process is gone.
        """
        if self.count == 1:
            return own
        parts: list[Any] = [None] * self.count
        with _peers_alive():
            dist.all_gather_object(parts, own)
        whole = np.empty((n, *own.shape[1:]), dtype=own.dtype)
        for number, part in enumerate(parts):
            whole[number :: self.count] = part
        return whole


ALONE = Workers()


def join_workers(device: torch.device) -> Workers:
    """This process among those that torchrun started; alone without it.

    Raises:
        KgrecError: The device is a GPU, on which several processes do not train yet; another
            process is gone.
    """
    count = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if count == 1:
        return ALONE
    if device.type != "cpu":
        raise KgrecError("several processes train on CPUs only: add --device cpu")
    if not dist.is_initialized():
        with _peers_alive():
            # torchrun's store outlives a restart: what the ended processes wrote must not be read.
            store, rank, _ = next(rendezvous("env://"))
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = PrefixStore(attempt, store)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=count)
    return Workers(dist.get_rank(), count)


def is_restart() -> bool:
    """Whether torchrun has started this training again, after a process of it ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def _peers_alive() -> Any:
    try:
        yield
    except RuntimeError as error:
        raise KgrecError(
            "another process of this training has ended; finished epochs are saved: "
            "`kgrec train --resume latest` resumes, `torchrun --max-restarts` does so by itself"
        ) from error
