"""A web server that behaves as a test says, and a file to fetch from it."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kgrec_cli.download import RemoteFile, fetch
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """How the server of a test behaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    knows_ranges: bool = True
    cut_after: list[int] = field(default_factory=list)  # bytes, one entry for each request
    failures: list[int] = field(default_factory=list)  # statuses, one entry for each request
    tells_length: bool = True
    wrong_start: bool = False
    delay_s: float = 0.0
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        behaviour = self.behaviour
        wanted = self.headers.get("Range")
        behaviour.requests.append((self.command, self.path, wanted))
        time.sleep(behaviour.delay_s)
        content = behaviour.files.get(self.path)
        status = behaviour.failures.pop(0) if behaviour.failures else 200
        if status != 200 or content is None:
            self.send_error(status if status != 200 else 404)
            return
        start = 0
        if wanted and behaviour.knows_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
            if start >= len(content):
                self.send_error(416)
                return
        body = content[start:]
        self.send_response(206 if wanted and behaviour.knows_ranges else 200)
        if wanted and behaviour.knows_ranges:
            said = start + 1 if behaviour.wrong_start else start
            self.send_header("Content-Range", f"bytes {said}-{len(content) - 1}/{len(content)}")
        if behaviour.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            if behaviour.cut_after:
                body = body[: behaviour.cut_after.pop(0)]
            self.wfile.write(body)


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour(files={"/sets/x.zip": CONTENT})


@pytest.fixture
def mirror(behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server on this machine, set as mirror."""
    handler = type("TestHandler", (Handler,), {"behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("KGREC_MIRROR", address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


REMOTE = RemoteFile(
    name="x.zip",
    url="https://nowhere.invalid/sets/x.zip",
    what="the set x",
    option="--raw PATH",
    algorithm="md5",
    checksum=MD5,
)


def get(remote: RemoteFile, cache_dir: Path, events: list[Event] | None = None) -> Path:
    listener = events.append if events is not None else (lambda _: None)
    return fetch(remote, on_event=listener, cache_dir=cache_dir, pause_s=0.001)


def failure(remote: RemoteFile, cache_dir: Path) -> str:
    with pytest.raises(KgrecError) as caught:
        get(remote, cache_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
