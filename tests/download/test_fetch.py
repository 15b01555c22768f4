import hashlib
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from kgrec_cli.download import cached, is_available
from kgrec_cli.events import Event, Progress, Warn
from tests.download.conftest import CONTENT, MD5, REMOTE, Behaviour, failure, get, visible

pytestmark = [  # no connection is left open
    pytest.mark.filterwarnings("error::ResourceWarning"),
    pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning"),
]


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
