import hashlib
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kgrec_cli.download import RemoteFile, cached, default_cache_dir, fetch, is_available
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note, Progress, Warn
from kgrec_cli.stages.prepare.sources import DATASETS

pytestmark = [  # no connection is left open
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]

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


def test_a_file_comes_once_and_whole(
    mirror: str, behaviour: Behaviour, tmp_path: Path, events: list[Event]
) -> None:
    assert cached(REMOTE, tmp_path) is None
    path = get(REMOTE, tmp_path / "new", events)
    assert path == tmp_path / "new" / "x.zip"
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["x.zip"]
    assert events[-1] == Progress("download x.zip", len(CONTENT), len(CONTENT), "bytes")
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert cached(REMOTE, tmp_path / "new") == path
    assert get(REMOTE, tmp_path / "new") == path
    assert behaviour.requests == [("GET", "/sets/x.zip", None)]


def test_the_cache_folder_is_named_by_the_environment(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "here"))
    assert default_cache_dir() == tmp_path / "here"
    assert fetch(REMOTE, on_event=lambda _: None) == tmp_path / "here" / "x.zip"
    assert cached(REMOTE) == tmp_path / "here" / "x.zip"
    monkeypatch.delenv("KGREC_CACHE_DIR")
    assert default_cache_dir().name == "kgrec"


def test_a_wrong_checksum_leaves_nothing(mirror: str, tmp_path: Path) -> None:
    message = failure(replace(REMOTE, checksum="0" * 32), tmp_path)
    assert f"found md5 {MD5}, expected {'0' * 32}" in message
    assert "--raw PATH" in message
    assert visible(tmp_path) == []


def test_sha256_is_checked_too(mirror: str, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert get(replace(REMOTE, algorithm="sha256", checksum=sha256), tmp_path).exists()
    assert "found sha256" in failure(
        replace(REMOTE, algorithm="sha256", checksum=MD5 * 2), tmp_path / "other"
    )


def test_a_cut_connection_is_taken_up_again(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.cut_after = [100_000, 50_000]
    assert get(REMOTE, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, _, wanted in behaviour.requests] == [
        None,
        "bytes=100000-",
        "bytes=150000-",
    ]


def test_what_came_is_kept_and_the_next_run_goes_on(
    mirror: str, behaviour: Behaviour, tmp_path: Path, events: list[Event]
) -> None:
    behaviour.cut_after = [100_000, 50_000, 0]
    message = failure(REMOTE, tmp_path)
    assert "cut after 150,000 bytes (of 512,000)" in message
    assert "run the same command again" in message
    assert visible(tmp_path) == ["x.zip.part"]
    assert cached(REMOTE, tmp_path) is None
    behaviour.requests.clear()
    assert get(REMOTE, tmp_path, events).read_bytes() == CONTENT
    assert behaviour.requests == [("GET", "/sets/x.zip", "bytes=150000-")]
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[0].done > 150_000
    assert {event.total for event in progress} == {len(CONTENT)}
    assert visible(tmp_path) == ["x.zip"]


def test_a_server_that_knows_no_ranges_begins_anew(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.knows_ranges = False
    behaviour.cut_after = [100_000]
    assert get(REMOTE, tmp_path).read_bytes() == CONTENT
    assert len(behaviour.requests) == 2


def test_a_server_that_goes_on_elsewhere_is_asked_for_all(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.wrong_start = True
    (tmp_path / "x.zip.part").write_bytes(CONTENT[:1000])
    assert get(REMOTE, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, _, wanted in behaviour.requests] == ["bytes=1000-", None]


def test_a_partial_file_of_another_version_is_given_up(
    mirror: str, behaviour: Behaviour, tmp_path: Path, events: list[Event]
) -> None:
    (tmp_path / "x.zip.part").write_bytes(b"another version")
    assert get(REMOTE, tmp_path, events).read_bytes() == CONTENT
    assert [event for event in events if isinstance(event, Warn)] != []


def test_a_partial_file_longer_than_the_file_is_given_up(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    (tmp_path / "x.zip.part").write_bytes(CONTENT + b"more")
    assert get(REMOTE, tmp_path).read_bytes() == CONTENT


def test_a_partial_file_that_is_whole_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "x.zip.part").write_bytes(CONTENT)
    assert get(REMOTE, tmp_path).read_bytes() == CONTENT
    assert visible(tmp_path) == ["x.zip"]


def test_without_a_told_length_the_checksum_decides(
    mirror: str, behaviour: Behaviour, tmp_path: Path, events: list[Event]
) -> None:
    behaviour.tells_length = False
    assert get(REMOTE, tmp_path, events).read_bytes() == CONTENT
    assert events[-1] == Progress("download x.zip", len(CONTENT), len(CONTENT), "bytes")
    behaviour.cut_after = [1000]
    assert "found md5" in failure(REMOTE, tmp_path / "other")


def test_what_is_not_there_is_said_at_once(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    message = failure(replace(REMOTE, url="https://nowhere.invalid/gone.zip"), tmp_path)
    assert "cannot download the set x (HTTP 404)" in message
    assert f"{mirror}/gone.zip" in message
    assert "--raw PATH" in message
    assert len(behaviour.requests) == 1


def test_a_server_in_trouble_is_asked_again(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    behaviour.failures = [503, 500]
    assert get(REMOTE, tmp_path).read_bytes() == CONTENT
    behaviour.failures = [503, 503, 503]
    assert "HTTP 503" in failure(REMOTE, tmp_path / "other")


def test_no_network_says_what_to_get_and_which_option_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("KGREC_MIRROR", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for checksum, checksum_url in ((MD5, None), (None, REMOTE.url + ".md5")):
            remote = replace(REMOTE, checksum=checksum, checksum_url=checksum_url)
            message = failure(remote, tmp_path)
            assert message.startswith("cannot download the set x (Connection refused): get http://")
            assert "/sets/x.zip by other means and give it by --raw PATH" in message
            assert str(tmp_path) in message
        assert not is_available(REMOTE, cache_dir=tmp_path)
    assert visible(tmp_path) == []


@pytest.mark.parametrize("text", [f"MD5 (x.zip) = {MD5}\n", f"{MD5.upper()}  x.zip\n", MD5])
def test_a_checksum_that_is_not_registered_is_asked_for(
    mirror: str, behaviour: Behaviour, tmp_path: Path, text: str
) -> None:
    behaviour.files["/sets/x.zip.md5"] = text.encode()
    remote = replace(REMOTE, checksum=None, checksum_url=REMOTE.url + ".md5")
    path = get(remote, tmp_path)
    assert path.read_bytes() == CONTENT
    behaviour.requests.clear()
    assert get(remote, tmp_path) == path
    assert behaviour.requests == []
    path.write_bytes(b"damaged")
    assert cached(remote, tmp_path) is None


def test_an_asked_for_checksum_that_is_wrong_or_missing(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    remote = replace(REMOTE, checksum=None, checksum_url=REMOTE.url + ".md5")
    assert "its checksum: HTTP 404" in failure(remote, tmp_path)
    behaviour.files["/sets/x.zip.md5"] = b"<html>welcome to the hotel</html>"
    assert "found no md5" in failure(remote, tmp_path)
    behaviour.files["/sets/x.zip.md5"] = b"0" * 32
    assert "expected 0000" in failure(remote, tmp_path)
    assert visible(tmp_path) == []


def test_a_copy_put_there_by_hand_counts_when_it_is_right(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(CONTENT)
    assert get(REMOTE, tmp_path) == tmp_path / "x.zip"
    unpinned = replace(REMOTE, checksum=None, checksum_url=REMOTE.url + ".md5")
    assert cached(unpinned, tmp_path) == tmp_path / "x.zip"


def test_a_damaged_copy_is_replaced(
    mirror: str, behaviour: Behaviour, tmp_path: Path, events: list[Event]
) -> None:
    (tmp_path / "x.zip").write_bytes(b"damaged")
    assert get(REMOTE, tmp_path, events).read_bytes() == CONTENT
    assert isinstance(events[0], Warn)
    (tmp_path / "x.zip").write_bytes(b"damaged")
    behaviour.files.clear()
    failure(REMOTE, tmp_path)
    assert (tmp_path / "x.zip").read_bytes() == b"damaged"  # not made worse


def test_two_at_a_time_download_once(
    mirror: str, behaviour: Behaviour, tmp_path: Path, events: list[Event]
) -> None:
    behaviour.delay_s = 0.2
    threads = [threading.Thread(target=get, args=(REMOTE, tmp_path, events)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x.zip").read_bytes() == CONTENT
    assert len(behaviour.requests) == 1
    assert [type(event) for event in events].count(Note) == 1


def test_a_cache_folder_that_cannot_be_made(mirror: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = failure(REMOTE, tmp_path / "file" / "cache")
    assert "cannot write the download" in message
    assert "KGREC_CACHE_DIR" in message


def test_availability(mirror: str, behaviour: Behaviour, tmp_path: Path) -> None:
    assert is_available(REMOTE, cache_dir=tmp_path)
    assert behaviour.requests == [("HEAD", "/sets/x.zip", None)]
    gone = replace(REMOTE, url="https://nowhere.invalid/gone.zip")
    assert not is_available(gone, cache_dir=tmp_path)
    behaviour.failures = [501]  # a server that knows no HEAD, but is there
    assert is_available(REMOTE, cache_dir=tmp_path)
    behaviour.failures = [503]
    assert not is_available(REMOTE, cache_dir=tmp_path)
    (tmp_path / "gone.zip").write_bytes(CONTENT)
    assert is_available(replace(gone, name="gone.zip"), cache_dir=tmp_path)


@pytest.mark.parametrize("slow", ["server", "lookup"])
def test_availability_is_known_in_time(
    mirror: str,
    behaviour: Behaviour,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slow: str,
) -> None:
    look_up = socket.getaddrinfo

    def look_up_slowly(*arguments: Any, **more: Any) -> Any:
        time.sleep(1.0)
        return look_up(*arguments, **more)

    if slow == "lookup":  # of a host's name, which has no timeout
        monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)
    else:
        behaviour.delay_s = 1.0
    began = time.monotonic()
    assert not is_available(REMOTE, cache_dir=tmp_path, timeout_s=0.1)
    assert time.monotonic() - began < 0.8


def test_a_mirror_must_be_a_web_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGREC_MIRROR", "file:///etc")
    assert "KGREC_MIRROR: found 'file:///etc', expected http" in failure(REMOTE, tmp_path)


def test_a_mirror_with_a_path_stands_for_every_registered_host(
    mirror: str, behaviour: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGREC_MIRROR", f"{mirror}/copies/")
    behaviour.files["/copies/datasets/movielens/ml-1m.zip"] = CONTENT
    assert get(replace(DATASETS["ml-1m"], checksum=MD5), tmp_path).read_bytes() == CONTENT


def test_a_full_disk_is_said_and_what_came_is_kept(
    mirror: str, behaviour: Behaviour, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        message = failure(REMOTE, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message.startswith(f"{tmp_path}: cannot write the download")
    n_kept = (tmp_path / "x.zip.part").stat().st_size
    assert 0 < n_kept <= 200_000
    assert get(REMOTE, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, _, wanted in behaviour.requests] == [None, f"bytes={n_kept}-"]
