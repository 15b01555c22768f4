"""Checks before every route: the API key, bounds on bodies and time, counts."""

import asyncio
import functools
import hmac
import time
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kgrec_cli.service.measures import Measures
from kgrec_cli.service.served import Refused

MAX_BODY = 256 * 1024
TIMEOUT_S = 10.0
OPEN_PATHS = frozenset({"/", "/health", "/openapi.json", "/docs"})
"""What needs no key: the page, which asks for it, and what a load balancer asks."""

HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Guard:
    """An ASGI application around another.

    Args:
        app: The routes.
        measures: Counts every request.
        api_key: What clients must send; None for nothing.
        timeout_s: Seconds that a request may take, its body included.
        is_local: Whether only hosts that `is_local_name` knows are answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        measures: Measures,
        api_key: str | None,
        timeout_s: float = TIMEOUT_S,
        *,
        is_local: bool = False,
    ) -> None:
        self._app, self._measures, self._timeout_s = app, measures, timeout_s
        self._is_local = is_local
        self._key = None if api_key is None else api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, n_read = time.perf_counter(), 0, 0

        async def bounded() -> Message:
            nonlocal n_read
            message = await receive()
            n_read += len(message.get("body", b""))
            if n_read > MAX_BODY:
                raise Refused(413, f"a body of more than {MAX_BODY:,} bytes")
            return message

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            if self._is_local and not is_local_name(_header(scope, b"host")):
                await _refuse(
                    noting, 403, "without an API key only localhost is answered: set KGREC_API_KEY"
                )
            elif not self._may_enter(scope):
                await _refuse(
                    noting, 401, "no or another API key: send it as Authorization: Bearer"
                )
            else:
                async with asyncio.timeout(self._timeout_s):
                    await self._app(scope, bounded, noting)
        except TimeoutError:
            if not status:
                await _refuse(noting, 503, f"no answer within {self._timeout_s:g} s")
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._measures.count(route, status, time.perf_counter() - began)

    def _may_enter(self, scope: Scope) -> bool:
        if self._key is None or scope["path"] in OPEN_PATHS:
            return True
        kind, _, key = _header(scope, b"authorization").partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


@functools.lru_cache(maxsize=64)
def is_local_name(host: bytes) -> bool:
    """Whether a Host header is localhost or an address: any other name may be a web page's.

    A page whose name is made to lead here (DNS rebinding) could otherwise read what is answered.
    """
    name = host.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    with suppress(ValueError):
        ip_address(name)
        return True
    return name in ("", "localhost") or name.endswith(".localhost")


async def _refuse(send: Send, status: int, error: str) -> None:
    body = orjson.dumps({"error": error})
    headers: list[Any] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
