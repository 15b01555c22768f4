"""The only file that talks to a network: a registered file, fetched once into a cache folder.

The prepare stage calls `fetch` for what `formats.sources` registers. A cut download stays as
`NAME.part` and goes on from there; a file takes its name only when its checksum is right.
"""

import errno
import fcntl
import hashlib
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import platformdirs

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Progress, Warn

CACHE_VARIABLE = "KGREC_CACHE_DIR"
MIRROR_VARIABLE = "KGREC_MIRROR"
N_ATTEMPTS = 3

_CHUNK = 1 << 16
_TIMEOUT_S = 20.0
_PROGRESS_EVERY_S = 0.1


class Remote(Protocol):
    """What has to be known of a file to fetch it; `formats.sources.RemoteFile` is one."""

    @property
    def name(self) -> str:
        """Its file name in the cache."""

    @property
    def url(self) -> str:
        """Its address."""

    @property
    def what(self) -> str:
        """What it is, in a few words."""

    @property
    def option(self) -> str:
        """The option that takes a copy fetched by other means."""

    @property
    def algorithm(self) -> str:
        """That of the checksum, as hashlib names it."""

    @property
    def checksum(self) -> str | None:
        """Hex digest; None when only `checksum_url` tells it."""

    @property
    def checksum_url(self) -> str | None:
        """The address of a text that holds the digest."""


class _CutError(Exception):
    """The connection ended before the file did."""


class _RangeError(Exception):
    """The server cannot go on from where the partial file ends."""


def default_cache_dir() -> Path:
    """The folder of downloads: KGREC_CACHE_DIR, else the platform's place for caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("kgrec"))


def cached(remote: Remote, cache_dir: Path | None = None) -> Path | None:
    """The path of a whole copy in the cache, else None. Talks to no network.

    A copy counts when its checksum is right. Where none is registered, the one stored at its
    download counts; a copy put there by hand is then taken as it is.
    """
    path = _cache_path(remote, cache_dir)
    if not path.is_file():
        return None
    checksum = remote.checksum or _stored_checksum(path, remote.algorithm)
    if checksum is not None and _digest(path, remote.algorithm) != checksum:
        return None
    return path


def is_available(remote: Remote, *, cache_dir: Path | None = None, timeout_s: float = 5.0) -> bool:
    """True when the file is in the cache, or its server answers for it within `timeout_s`."""
    return cached(remote, cache_dir) is not None or _is_reachable(_address(remote.url), timeout_s)


def fetch(
    remote: Remote,
    *,
    on_event: OnEvent,
    cache_dir: Path | None = None,
    pause_s: float = 1.0,
) -> Path:
    """The path of the file in the cache, downloaded first when it is not there.

    KGREC_MIRROR (`http://host:port`, perhaps with a path) takes the place of the scheme and host of
    every address. A cut connection is tried again N_ATTEMPTS times in all, each going on where the
    last one ended. Two processes never write one file at a time: the second waits.

    Args:
        remote: The file.
        on_event: Hears Progress in bytes.
        cache_dir: Default: `default_cache_dir()`.
        pause_s: Seconds before the second attempt; doubled before each further one.

    Raises:
        KgrecError: No network, no such file there, a cut connection (what came is kept), a wrong
            checksum (what came is removed), or a cache folder that cannot be written.
    """
    path = cached(remote, cache_dir)
    if path is not None:
        return path
    path = _cache_path(remote, cache_dir)
    part_path = path.with_name(path.name + ".part")
    try:
        with _lock(path, on_event):
            ready = cached(remote, cache_dir)  # by the process that this one waited for
            if ready is not None:
                return ready
            if path.exists():
                on_event(Warn(f"{path}: its checksum is wrong; downloading it again"))
            checksum = remote.checksum or _remote_checksum(remote, path.parent)
            _complete(remote, part_path, checksum, on_event, pause_s)
            _store(path, part_path, remote, checksum)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "free some space" if error.errno == errno.ENOSPC else f"set {CACHE_VARIABLE}"
        raise KgrecError(f"{path.parent}: cannot write the download ({reason}); {hint}") from error
    return path


def _cache_path(remote: Remote, cache_dir: Path | None) -> Path:
    return (default_cache_dir() if cache_dir is None else cache_dir) / remote.name


def _address(url: str) -> str:
    """The address to ask: the registered one, or its path at the mirror."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        return url
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise KgrecError(f"{MIRROR_VARIABLE}: found '{mirror}', expected http://... or https://...")
    return mirror.rstrip("/") + urlsplit(url).path


@contextmanager
def _lock(path: Path, on_event: OnEvent) -> Iterator[None]:
    """Holds the right to write `path`. The system gives it back when the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_event(Note(f"waiting for another process that downloads {path.name}"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _complete(
    remote: Remote, part_path: Path, checksum: str, on_event: OnEvent, pause_s: float
) -> None:
    """Makes `part_path` the whole file, with the right checksum."""
    began_before = part_path.exists()
    if began_before and _digest(part_path, remote.algorithm) == checksum:
        return
    _download(remote, part_path, on_event, pause_s)
    if began_before and _digest(part_path, remote.algorithm) != checksum:
        on_event(Warn(f"{part_path}: began with another version; downloading all of it again"))
        part_path.unlink()
        _download(remote, part_path, on_event, pause_s)
    found = _digest(part_path, remote.algorithm)
    if found != checksum:
        part_path.unlink()
        raise KgrecError(
            f"{_address(remote.url)}: found {remote.algorithm} {found}, expected {checksum}; what "
            f"came is removed: run it again, or give a copy by {remote.option}"
        )


def _download(remote: Remote, part_path: Path, on_event: OnEvent, pause_s: float) -> None:
    """Fills `part_path` with the whole file, going on from what it holds."""
    address = _address(remote.url)
    attempt = 1
    while True:
        try:
            _receive(address, f"download {remote.name}", part_path, on_event)
            return
        except _RangeError:
            part_path.unlink()  # the next attempt begins anew, at no cost of patience
            continue
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == N_ATTEMPTS:
                raise _unreachable(remote, f"HTTP {error.code}", part_path.parent) from error
        except _CutError as error:
            if attempt == N_ATTEMPTS:
                done = part_path.stat().st_size if part_path.exists() else 0
                raise KgrecError(
                    f"{address}: the connection was cut after {done:,} bytes ({error}); they are "
                    "kept, run the same command again to go on from there"
                ) from error
        except (urllib.error.URLError, ValueError) as error:
            raise _unreachable(remote, _reason(error), part_path.parent) from error
        time.sleep(pause_s * 2 ** (attempt - 1))
        attempt += 1


def _receive(address: str, task: str, part_path: Path, on_event: OnEvent) -> None:
    """One request: appends what comes to `part_path`."""
    start = part_path.stat().st_size if part_path.exists() else 0
    headers = {"User-Agent": "kgrec"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(address, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _RangeError from error
        raise
    except urllib.error.URLError:
        raise
    except (http.client.HTTPException, OSError) as error:  # after the connection was made
        raise _CutError(str(error) or type(error).__name__) from error
    with response:
        if start and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0  # a server that knows no ranges sends all of it
        elif start and not _begins_at(response, start):
            raise _RangeError
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        done = _save(response, part_path, start, total, task, on_event)
    if total is not None and done < total:
        raise _CutError(f"of {total:,}")


def _save(
    response: http.client.HTTPResponse,
    part_path: Path,
    start: int,
    total: int | None,
    task: str,
    on_event: OnEvent,
) -> int:
    """Writes the body behind the first `start` bytes of `part_path`; the new size comes back."""
    done = start
    told_at = 0.0
    with part_path.open("ab" if start else "wb") as file:
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (http.client.HTTPException, OSError) as error:
                raise _CutError(str(error) or type(error).__name__) from error
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            now = time.monotonic()
            if now - told_at >= _PROGRESS_EVERY_S:
                on_event(Progress(task, done, total, "bytes"))
                told_at = now
    on_event(Progress(task, done, done if total is None else total, "bytes"))
    return done


def _begins_at(response: http.client.HTTPResponse, start: int) -> bool:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return match is not None and int(match[1]) == start


def _remote_checksum(remote: Remote, cache_dir: Path) -> str:
    """The digest that the server tells for a file without a registered one."""
    if remote.checksum_url is None:
        raise ValueError(f"{remote.name}: no checksum registered")
    address = _address(remote.checksum_url)
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as response:
            text = response.read(_CHUNK).decode("utf-8", errors="replace")
    except urllib.error.HTTPError as error:
        raise _unreachable(remote, f"its checksum: HTTP {error.code}", cache_dir) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(remote, _reason(error), cache_dir) from error
    n_digits = 2 * hashlib.new(remote.algorithm).digest_size
    digest = re.search(rf"(?<![0-9a-fA-F])[0-9a-fA-F]{{{n_digits}}}(?![0-9a-fA-F])", text)
    if digest is None:
        raise KgrecError(f"{address}: found no {remote.algorithm} in it; try again later")
    return digest[0].lower()


def _unreachable(remote: Remote, reason: str, cache_dir: Path) -> KgrecError:
    return KgrecError(
        f"cannot download {remote.what} ({reason}): get {_address(remote.url)} by other means and "
        f"give it by {remote.option}, or put it into {cache_dir}"
    )


def _reason(error: Exception) -> str:
    """The few words of an error that say why, out of urllib's wrapping."""
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _store(path: Path, part_path: Path, remote: Remote, checksum: str) -> None:
    """Gives the whole file its name; notes the checksum where none is registered."""
    with part_path.open("rb+") as file:
        os.fsync(file.fileno())
    if remote.checksum is None:
        note_path = _note_path(path, remote.algorithm)
        note_path.write_text(f"{checksum}  {remote.name}\n", encoding="utf-8")
    part_path.replace(path)


def _note_path(path: Path, algorithm: str) -> Path:
    return path.with_name(f"{path.name}.{algorithm}")


def _stored_checksum(path: Path, algorithm: str) -> str | None:
    note_path = _note_path(path, algorithm)
    return note_path.read_text(encoding="utf-8").split()[0] if note_path.is_file() else None


def _is_reachable(address: str, timeout_s: float) -> bool:
    """True when the server answers a HEAD request well (or knows no HEAD), in time.

    In a thread of its own, since looking up a host name has no timeout.
    """
    answers: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "kgrec"})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s):
                answers.append(True)
        except urllib.error.HTTPError as error:
            answers.append(error.code in (405, 501))
        except (OSError, http.client.HTTPException, ValueError):
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answers == [True]
