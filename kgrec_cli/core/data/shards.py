"""Shards: of all users' histories those that one of several processes keeps.

A shard is a block of neighbouring users. With the borders of all users' events every process draws
the steps of the whole, and takes the rows of its own users.
"""

from dataclasses import dataclass, replace

import numpy as np

from kgrec_cli.core.data.histories import Histories, Ints
from kgrec_cli.core.data.splits import Split
from kgrec_cli.errors import KgrecError


@dataclass(frozen=True)
class Borders:
    """Where all users' events lie: what a process keeps of those that are not its own.

    Attributes:
        histories: Offsets and nothing else.
        split: Of all users.
        first_event: Which of all events is the first of the shard.
    """

    histories: Histories
    split: Split
    first_event: int

    def own(self, events: Ints, n_own: int) -> tuple[Ints, Ints]:
        """Those of some of all events that are the shard's.

        Args:
            events: int64 (E,).
            n_own: Events of the shard.

        Returns:
            int64, their places in `events`; int64, which events of the shard they are.
        """
        events = events - self.first_event
        places = np.flatnonzero((events >= 0) & (events < n_own))
        return places, events[places]


def shard_borders(offsets: Ints, count: int) -> Ints:
    """The first user of each shard, and U: int64 (count + 1,).

    Shards have about equal numbers of events, and one user at least.

    Args:
        offsets: int64 (U + 1,), of `Histories`.
        count: Shards.

    Raises:
        KgrecError: There are fewer users.
    """
    n_users = len(offsets) - 1
    if n_users < count:
        raise KgrecError(f"{count} processes for {n_users} users: start fewer processes")
    wanted = np.arange(count + 1) * int(offsets[-1]) // count
    numbers = np.arange(count + 1)
    borders = np.searchsorted(offsets, wanted)
    borders = np.maximum.accumulate(borders - numbers).clip(0, n_users - count) + numbers
    return np.asarray(borders, dtype=np.int64)


def cut_shard(
    histories: Histories, split: Split, number: int, count: int
) -> tuple[Histories, Split, Borders]:
    """Shard `number` of `count`: copies, so that the memory of the whole can be given back."""
    first, last = shard_borders(histories.offsets, count)[number : number + 2]
    begin, end = (int(event) for event in histories.offsets[[first, last]])
    own = Histories(
        items=histories.items[begin:end].copy(),
        offsets=histories.offsets[first : last + 1] - begin,
        times=histories.times[begin:end].copy(),
        user_ids=histories.user_ids[first:last].copy(),
    )
    own_split = replace(
        split,
        train_end=split.train_end[first:last] - begin,
        valid_end=split.valid_end[first:last] - begin,
    )
    none = np.zeros(0, np.int32)
    borders = Histories(none, histories.offsets, none.astype(np.int64), none)
    return own, own_split, Borders(borders, split, begin)
