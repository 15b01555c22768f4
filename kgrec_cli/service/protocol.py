"""uvicorn's HTTP protocol with bounds on the head of a request: its size, and its time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 64 * 1024
HEAD_S = 10.0


class BoundedProtocol(HttpToolsProtocol):
    """One connection. One that sends no whole head in time, or too long a one, is closed."""

    _n_head = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begins to wait for a first head."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts the bytes of a head."""
        if self._deadline is not None:
            self._n_head += len(data)
            if self._n_head > MAX_HEAD + len(data):
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Another head has begun."""
        self._end_head()
        self._begin_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole; the body is the guard's."""
        self._end_head()
        super().on_headers_complete()

    def _begin_head(self) -> None:
        self._n_head = 0
        self._deadline = self.loop.call_later(HEAD_S, self.transport.close)

    def _end_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
