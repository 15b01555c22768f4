"""The cache of downloads, the mirror, and whether a file can be had."""

import resource
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kgrec_cli.download import cached, default_cache_dir, fetch, is_available
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.stages.prepare.sources import DATASETS
from tests.download.conftest import CONTENT, MD5, REMOTE, Behaviour, failure, get

pytestmark = [  # no connection is left open
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]


def test_the_cache_folder_is_named_by_the_environment(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KGREC_CACHE_DIR", str(tmp_path / "here"))
    assert default_cache_dir() == tmp_path / "here"
    assert fetch(REMOTE, on_event=lambda _: None) == tmp_path / "here" / "x.zip"
    assert cached(REMOTE) == tmp_path / "here" / "x.zip"
    monkeypatch.delenv("KGREC_CACHE_DIR")
    assert default_cache_dir().name == "kgrec"


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
