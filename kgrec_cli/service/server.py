"""Starts the service, takes up a run that was replaced, and ends without a dropped request."""

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from kgrec_cli.errors import KgrecError, UsageError, reason
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.runs.run_dir import find_run
from kgrec_cli.service.app import build_app
from kgrec_cli.service.measures import Measures
from kgrec_cli.service.served import load_served, signature_of
from kgrec_cli.service.service import Service

KEY_VARIABLE = "KGREC_API_KEY"
POLL_S = 1.0
DRAIN_S = 30
MAX_CONNECTIONS = 2000
IDLE_S = 65
"""Longer than the 60 s that proxies keep a connection by default."""
SWITCH_S = 0.0005
"""A thread that explains gives way to the event loop after this."""


@dataclass(frozen=True)
class Place:
    """Where a service listens."""

    host: str
    port: int
    api_key: str | None

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach it."""
        return not (self.host == "localhost" or self.host.startswith("127.") or self.host == "::1")


def serve(
    run: str | None, folder: Path, place: Place, *, on_event: OnEvent, began: float | None = None
) -> None:
    """Serves a run until SIGTERM or Ctrl-C; then answers what has come in, and returns.

    Args:
        run: The run, as `find_run` takes it. When another one is meant by it later, or its files
            have changed, that one is taken up.
        folder: The working folder.
        place: Where to listen.
        on_event: Is told when it is ready, and what happens meanwhile.
        began: When the process began, by `time.time`.

    Raises:
        KgrecError: No such run, a damaged one, or an address that cannot be used.
    """
    run_dir = find_run(folder, run)
    with _listen(place) as listener:
        loaded = signature_of(run_dir)  # before it is read, or a change meanwhile would be missed
        service = Service(load_served(run_dir, folder, on_event))
        measures = Measures(service)
        config = uvicorn.Config(
            build_app(
                service,
                measures,
                place.api_key,
                is_local=place.api_key is None and not place.is_public,
            ),
            log_level="error",
            access_log=False,
            ws="none",
            lifespan="off",
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=DRAIN_S,
            http=_http_protocol(),
        )
        watch = Watch(service, measures, run, folder, on_event, loaded)
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        seconds = "" if began is None else f", ready in {time.time() - began:.1f} s"
        n_items = len(service.served.run.items) - 1
        ready = f"{service.served.name}: {n_items:,} items at {address}{seconds}; Ctrl-C ends it"
        sys.setswitchinterval(SWITCH_S)
        gc.collect()
        gc.freeze()  # what libraries have made is not looked through again: that took 0.1 s
        for number in (signal.SIGINT, signal.SIGTERM):  # uvicorn's are over these
            signal.signal(number, lambda *_: None)
        _Server(config, watch, lambda: on_event(Note(ready))).run([listener])
    on_event(Note("ended; all requests that had come in were answered"))


class _Server(uvicorn.Server):
    """uvicorn's, which also watches the run and says when it is ready."""

    def __init__(self, config: uvicorn.Config, watch: "Watch", on_ready: Any) -> None:
        super().__init__(config)
        self._watch, self._on_ready = watch, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to watch."""
        await super().startup(sockets)
        self._watching = asyncio.create_task(self._watch.forever())
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Watches no longer; uvicorn answers what has come in."""
        self._watching.cancel()
        await super().shutdown(sockets)


class Watch:
    """Looks every second whether the run was replaced, and takes the new one up.

    `loaded` is the signature of what is served.
    """

    def __init__(
        self, service: Service, measures: Measures, run: str | None, folder: Path,
        on_event: OnEvent, loaded: tuple[object, ...],
    ) -> None:  # fmt: skip
        self._service, self._measures = service, measures
        self._run, self._folder, self._on_event = run, folder, on_event
        self._seen: Any = None
        self._current = loaded

    async def forever(self) -> None:
        """Looks again and again. Files that are still being written are waited for."""
        while True:
            await asyncio.sleep(POLL_S)
            before, self._seen = self._seen, await asyncio.to_thread(self._look)
            if self._seen is not None and self._seen == before != self._current:
                self._current = self._seen
                await self._take_up(self._seen[0])

    def _look(self) -> Any:
        with suppress(KgrecError, OSError):
            return signature_of(find_run(self._folder, self._run))
        return None

    async def _take_up(self, run_dir: Path) -> None:
        try:
            served = await asyncio.to_thread(load_served, run_dir, self._folder, self._on_event)
        except Exception as error:
            self._measures.reloads.labels("failed").inc()
            text = f"{run_dir.name} was replaced but cannot be read, the one before is served on"
            self._on_event(Warn(f"{text}: {error}"))
            return
        self._service.served = served
        self._measures.reloads.labels("taken up").inc()
        self._on_event(Note(f"{served.name}: taken up, {len(served.run.items) - 1:,} items"))


def read_api_key(path: Path | None) -> str | None:
    """The API key of a file or else of the environment; None for none.

    Raises:
        KgrecError: The file cannot be read, or holds no key.
    """
    if path is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise KgrecError(f"{path}: cannot be read ({reason(error)})") from error
    if not key or len(key.split()) > 1:
        raise KgrecError(f"{path}: expected one line, the API key")
    return key


def _listen(place: Place) -> socket.socket:
    try:
        family = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((place.host, place.port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--host {place.host} --port {place.port}: cannot listen there ({reason(error)}); "
            "--port 0 takes any free port"
        ) from error


def _http_protocol() -> Any:
    try:
        from kgrec_cli.service.protocol import BoundedProtocol
    except ImportError:  # no httptools on this system; h11 bounds a head itself
        return "h11"
    return BoundedProtocol
