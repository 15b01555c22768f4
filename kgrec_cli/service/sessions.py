"""Sessions: the state of the GRUs after what a visitor did, so that a new event is one step."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from kgrec_cli.service.scorer import Floats
from kgrec_cli.service.served import Served

MAX_SESSIONS = 10_000
EXPIRY_S = 1800
MAX_EVENTS = 1000
"""Items of a session that are remembered: they are left out of its lists."""


@dataclass(eq=False)
class Session:
    """One session.

    Attributes:
        served: The run that `state` is of; another one reads the history anew.
        state: float (K, G, H); None before the first event.
        tokens: Its items, oldest first.
        used_at: When it was last used, by the clock of `Sessions`.
        lock: Its events come one after the other.
    """

    served: Served
    state: Floats | None = None
    tokens: list[str] = field(default_factory=list)
    used_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Sessions:
    """The sessions by name; those not used for long go first, and those older than EXPIRY_S."""

    def __init__(
        self, most: int = MAX_SESSIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._clock = most, clock
        self._by_name: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        """How many there are."""
        self._forget_old()
        return len(self._by_name)

    def open(self, served: Served) -> tuple[str, Session]:
        """A new session, and its name, which cannot be guessed."""
        self._forget_old()
        if len(self._by_name) >= self._most:
            self._by_name.popitem(last=False)
        name = secrets.token_urlsafe(16)
        self._by_name[name] = session = Session(served, used_at=self._clock())
        return name, session

    def get(self, name: str) -> Session | None:
        """The session of a name, if it is still there; it counts as used now."""
        self._forget_old()
        session = self._by_name.get(name)
        if session is not None:
            self._by_name.move_to_end(name)
            session.used_at = self._clock()
        return session

    def close(self, name: str) -> bool:
        """Forgets a session; False if there is none."""
        return self._by_name.pop(name, None) is not None

    def _forget_old(self) -> None:
        oldest = self._clock() - EXPIRY_S
        while self._by_name and next(iter(self._by_name.values())).used_at < oldest:
            self._by_name.popitem(last=False)
