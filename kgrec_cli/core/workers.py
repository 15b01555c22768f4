"""Several processes that train one model, as torchrun starts them: shards of users, and sums.

A process that ends closes its connections, so the others' next sum fails and none waits for it.
What it died of it leaves in torchrun's store; on each machine one process says it.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from kgrec_cli.core.data.histories import Histories
from kgrec_cli.core.data.shards import Borders, cut_shard
from kgrec_cli.core.data.splits import Split
from kgrec_cli.errors import KgrecError

MEET_S = 300
"""How long the processes wait for each other at the start."""
ERROR = "error"
T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process among those of one training.

    Attributes:
        number: From 0; number 0 alone writes, and reads what runs hold.
        count: 1 without torchrun.
        borders: Where all users' events lie, once the histories are shared out.
        store: Where a process says what it died of.
        is_restart: Whether torchrun has started this training again, after a process of it ended.
    """

    number: int = 0
    count: int = 1
    borders: Borders | None = None
    store: Any = None
    is_restart: bool = False

    def share_out(self, histories: Histories, split: Split) -> tuple[Histories, Split, "Workers"]:
        """This process's shard of the users, and the workers that know of the others'.

        Raises:
            KgrecError: There are fewer users than processes.
        """
        if self.count == 1:
            return histories, split, self
        histories, split, borders = cut_shard(histories, split, self.number, self.count)
        return histories, split, replace(self, borders=borders)

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors of one dtype, in place, by their sums over all processes.

        Raises:
            KgrecError: Another process is gone.
        """
        if self.count == 1:
            return
        given = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in given])
        with self._peers_alive():
            dist.all_reduce(flat)
        for tensor, total in zip(given, flat.split([t.numel() for t in given]), strict=True):  # type: ignore[no-untyped-call]
            tensor.copy_(total.view_as(tensor))

    def total(self, values: NDArray[Any]) -> NDArray[Any]:
        """The sum of an array over all processes."""
        summed = torch.from_numpy(values.copy())
        self.add_up([summed])
        return summed.numpy()

    def parts(self, own: T) -> list[T]:
        """The values of all processes, in the order of their numbers.

        Raises:
            KgrecError: Another process is gone.
        """
        if self.count == 1:
            return [own]
        values: list[Any] = [None] * self.count
        with self._peers_alive():
            dist.all_gather_object(values, own)
        return values

    def first(self, compute: Callable[[], T]) -> T:
        """What the first process computes: files that it has and other machines may not.

        Raises:
            KgrecError: As `compute`, or another process is gone.
        """
        value = [compute() if self.number == 0 else None]
        if self.count > 1:
            with self._peers_alive():
                dist.broadcast_object_list(value)
        return value[0]  # type: ignore[return-value]

    def check_same(self, what: str, digest: str) -> None:
        """Checks that all processes have read the same.

        Raises:
            KgrecError: Some have not.
        """
        digests = self.parts(digest)
        others = [str(number) for number, other in enumerate(digests) if other != digests[0]]
        if others:
            raise KgrecError(
                f"{what}: not the same for process 0 and for {', '.join(others)} of {self.count}; "
                "copy the folder of the data set to every machine"
            )

    def check_device(self, device: torch.device) -> None:
        """Checks that the device is one on which several processes train.

        Raises:
            KgrecError: It is a GPU.
        """
        if self.count > 1 and device.type != "cpu":
            raise KgrecError("several processes train on CPUs only: add --device cpu")

    @contextmanager
    def _peers_alive(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            line = "another process of this training has ended"
            with suppress(RuntimeError):  # the store went with the first machine
                if self.store is not None and self.store.check([ERROR]):
                    line = self.store.get(ERROR).decode()
            raise KgrecError(
                f"{line}; finished epochs are saved: `kgrec train --resume latest` resumes, "
                "`torchrun --max-restarts` does so by itself"
            ) from error


ALONE = Workers()


@contextmanager
def join_workers() -> Iterator[Workers]:
    """This process among those that torchrun started; alone without it.

    An error of one ends all. One process a machine says it; the errors of the others are empty.

    Raises:
        KgrecError: Not all have come.
    """
    count = count_processes()
    if count == 1:
        yield Workers(is_restart=_is_restart())
        return
    store, number, is_restart = _meet(count)
    dist.init_process_group("gloo", store=store, rank=number, world_size=count)
    machine = os.environ.get("GROUP_RANK", "0")
    try:
        yield Workers(number, count, store=store, is_restart=is_restart)
    except KgrecError as error:
        with suppress(RuntimeError):
            store.compare_set(ERROR, "", f"process {number} on machine {machine}: {error}")
            if store.add(f"told on {machine}", 1) > 1:
                error.args = ("",)
        raise
    finally:
        dist.destroy_process_group()


def count_processes() -> int:
    """How many processes torchrun started; 1 without it.

    Raises:
        KgrecError: Its environment variables make no sense.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 1
    rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        raise KgrecError(
            f"RANK={rank} WORLD_SIZE={size}: expected numbers, the first one below the second; "
            "torchrun sets both, so leave them alone"
        )
    return int(size)


def _meet(count: int) -> tuple[Any, int, bool]:
    """The store of all processes, this one's number, and whether they have met before.

    torchrun's store outlives a restart, and its count of restarts differs between machines: the one
    whose process died counts it, the others do not. So the first process names a meeting, the
    others say that they are there, and it closes with the list of those who came. What processes
    that ended have written is under other names.
    """
    own, until = uuid4().hex, time.monotonic() + MEET_S
    came: list[bytes] = []
    try:
        found, number, _ = next(rendezvous("env://", timeout=timedelta(seconds=MEET_S)))
        if number == 0:
            n_meetings = found.add("meetings", 1)
            found.set("meeting", own)
            for other in range(1, count):
                found.wait([f"{own} {other}"], timedelta(seconds=max(until - time.monotonic(), 1)))
                came.append(found.get(f"{own} {other}"))
            found.set(f"{own} closed", b" ".join([str(n_meetings).encode(), *came]))
            return PrefixStore(own, found), number, n_meetings > 1
        while time.monotonic() < until:
            meeting = found.get("meeting").decode()
            found.set(f"{meeting} {number}", own)
            if found.check([f"{meeting} closed"]):
                n_meetings, *came = found.get(f"{meeting} closed").split()
                if own.encode() in came:
                    return PrefixStore(meeting, found), number, int(n_meetings) > 1
            time.sleep(0.05)
        raise RuntimeError("no meeting")
    except (RuntimeError, ValueError) as error:
        raise KgrecError(
            f"not all of {count} processes (WORLD_SIZE) came within {MEET_S} s: start them by "
            "torchrun, on every machine with the same --nnodes and --rdzv-endpoint"
        ) from error


def _is_restart() -> bool:
    """Whether torchrun has started this only process again, after it ended."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
