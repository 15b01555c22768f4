"""A registered file, fetched once into a cache folder.

This file and `query_service` are the only ones that reach for another machine.

The prepare stage calls `fetch` for what `stages.prepare.sources` registers. A cut download stays as
`NAME.part` and goes on from there; a file takes its name only when its checksum is right.
"""

import errno
import hashlib
import http.client
import os
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import platformdirs
from filelock import FileLock, Timeout

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Progress, Warn
from kgrec_cli.formats.files import digest_of, write_text

CACHE_VARIABLE = "KGREC_CACHE_DIR"
MIRROR_VARIABLE = "KGREC_MIRROR"
N_ATTEMPTS = 3

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 20.0
_PROGRESS_EVERY_S = 0.1
_AGENT = {"User-Agent": "kgrec"}


class _CutError(Exception):
    """The connection ended before the file did."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a public address, called `name` in the download cache too.

    `what` it is in a few words, `option` of `kgrec prepare` takes a copy fetched by other means.
    The checksum is a hex digest; None when only the text at `checksum_url` has it.
    """

    name: str
    url: str
    what: str
    option: str
    algorithm: Literal["sha256", "md5"]
    checksum: str | None = None
    checksum_url: str | None = None


def default_cache_dir() -> Path:
    """The folder of downloads: KGREC_CACHE_DIR, else the platform's place for caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("kgrec"))


def cached(remote: RemoteFile, cache_dir: Path | None = None) -> Path | None:
    """The path of a whole copy in the cache, else None. Talks to no network.

    A copy counts when its checksum is right. Where none is registered, the one stored at its
    download counts; a copy that you put there is then taken as it is.
    """
    path = _cache_path(remote, cache_dir)
    if not path.is_file():
        return None
    checksum, note_path = remote.checksum, _note_path(path, remote.algorithm)
    if checksum is None and note_path.is_file():
        checksum = note_path.read_text(encoding="utf-8").split()[0]
    is_right = checksum is None or digest_of(path, remote.algorithm) == checksum
    return path if is_right else None


def is_available(
    remote: RemoteFile, *, cache_dir: Path | None = None, timeout_s: float = 5.0
) -> bool:
    """True when the file is in the cache, or its server answers for it within `timeout_s`.

    A server that knows no HEAD request counts as well.
    """
    if cached(remote, cache_dir) is not None:
        return True
    request = urllib.request.Request(_address(remote.url), method="HEAD", headers=_AGENT)
    answers: list[bool] = []

    def ask() -> None:
        try:
            with _open(request, timeout_s):
                answers.append(True)
        except urllib.error.HTTPError as error:
            answers.append(error.code in (405, 501))
        except (OSError, http.client.HTTPException, ValueError):
            answers.append(False)

    # In a thread of its own, since looking up a host name has no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return answers == [True]


def fetch(
    remote: RemoteFile, *, on_event: OnEvent, cache_dir: Path | None = None, pause_s: float = 1.0
) -> Path:
    """The path of the file in the cache, downloaded first when it is not there.

    KGREC_MIRROR (`http://host:port`, perhaps with a path) takes the place of the scheme and host of
    every address. A cut connection is tried again N_ATTEMPTS times in all, each going on where the
    last one ended, after `pause_s` seconds, twice as long each time. Two processes never write one
    file at a time: the second waits. `on_event` receives Progress in bytes.

    Raises:
        KgrecError: No network, no such file there, a cut connection (a partial download stays), a
            wrong checksum (the download is removed), or a cache folder that cannot be written.
    """
    path = cached(remote, cache_dir)
    if path is not None:
        return path
    path = _cache_path(remote, cache_dir)
    part_path = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path, on_event):
            if cached(remote, cache_dir) is not None:  # by the process that this one waited for
                return path
            if path.exists():
                on_event(Warn(f"{path}: its checksum is wrong; downloading it again"))
            checksum = remote.checksum or _remote_checksum(remote, path.parent)
            _complete(remote, part_path, checksum, on_event, pause_s)
            if remote.checksum is None:
                write_text(_note_path(path, remote.algorithm), f"{checksum}  {remote.name}\n")
            part_path.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "free some space" if error.errno == errno.ENOSPC else f"set {CACHE_VARIABLE}"
        raise KgrecError(f"{path.parent}: cannot write the download ({reason}); {hint}") from error
    return path


def _cache_path(remote: RemoteFile, cache_dir: Path | None) -> Path:
    return (default_cache_dir() if cache_dir is None else cache_dir) / remote.name


def _note_path(path: Path, algorithm: str) -> Path:
    """Where the checksum of a download stands that has no registered one."""
    return path.with_name(f"{path.name}.{algorithm}")


def _address(url: str) -> str:
    """The address to ask: the registered one, or its path at the mirror."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        return url
    if urlsplit(mirror).scheme not in ("http", "https"):
        raise KgrecError(f"{MIRROR_VARIABLE}: found '{mirror}', expected http://... or https://...")
    return mirror.rstrip("/") + urlsplit(url).path


def _lock(path: Path, on_event: OnEvent) -> AbstractContextManager[object]:
    """Holds the right to write `path`. The system gives it back when the process ends."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        on_event(Note(f"waiting for another process that downloads {path.name}"))
        return lock.acquire()


def _complete(
    remote: RemoteFile, part_path: Path, checksum: str, on_event: OnEvent, pause_s: float
) -> None:
    """Makes `part_path` the whole file, with the right checksum, and on the disk."""
    began_before = part_path.exists()
    if not began_before or digest_of(part_path, remote.algorithm) != checksum:
        _download(remote, part_path, on_event, pause_s)
    digest = digest_of(part_path, remote.algorithm)
    if digest == checksum:
        with part_path.open("rb+") as file:
            os.fsync(file.fileno())
        return
    part_path.unlink()
    if not began_before:
        raise KgrecError(
            f"{_address(remote.url)}: found {remote.algorithm} {digest}, expected {checksum}; what "
            f"came is removed: run it again, or give a copy by {remote.option}"
        )
    on_event(Warn(f"{part_path}: began with another version; downloading all of it again"))
    _complete(remote, part_path, checksum, on_event, pause_s)


def _download(remote: RemoteFile, part_path: Path, on_event: OnEvent, pause_s: float) -> None:
    """Fills `part_path` with the whole file, going on from what it holds."""
    address = _address(remote.url)
    for attempt in range(1, N_ATTEMPTS + 1):
        try:
            _receive(address, f"download {remote.name}", part_path, on_event)
            return
        except _CutError as error:
            if attempt == N_ATTEMPTS:
                done = part_path.stat().st_size if part_path.exists() else 0
                raise KgrecError(
                    f"{address}: the connection was cut after {done:,} bytes ({error}); they are "
                    "kept, run the same command again to go on from there"
                ) from error
        except (urllib.error.URLError, ValueError) as error:
            is_passing = isinstance(error, urllib.error.HTTPError) and error.code >= 500
            if not is_passing or attempt == N_ATTEMPTS:
                raise _unreachable(remote, error, part_path.parent) from error
        time.sleep(pause_s * 2 ** (attempt - 1))


def _receive(address: str, task: str, part_path: Path, on_event: OnEvent) -> None:
    """One request: appends what comes to `part_path`, or begins it anew."""
    start = part_path.stat().st_size if part_path.exists() else 0
    headers = _AGENT | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(address, headers=headers)
    try:
        with _noticing_cuts():
            response = _open(request)
    except urllib.error.HTTPError as error:
        if not start or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part_path.unlink()
        _receive(address, task, part_path, on_event)
        return
    with response:
        if response.status == http.HTTPStatus.OK:
            start = 0  # a server that knows no ranges sends all of it
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if start and not goes_on:
            part_path.unlink()
            _receive(address, task, part_path, on_event)
            return
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        done, shown_at, chunk = start, 0.0, b"more"
        with part_path.open("ab" if start else "wb") as file:
            while chunk:
                with _noticing_cuts():
                    chunk = response.read(_CHUNK_BYTES)
                file.write(chunk)
                done += len(chunk)
                if time.monotonic() - shown_at >= _PROGRESS_EVERY_S:
                    on_event(Progress(task, done, total, "bytes"))
                    shown_at = time.monotonic()
    on_event(Progress(task, done, done if total is None else total, "bytes"))
    if total is not None and done < total:
        raise _CutError(f"of {total:,}")


def _open(
    request: urllib.request.Request, timeout_s: float = _TIMEOUT_S
) -> http.client.HTTPResponse:
    """The response of a server. An HTTPError keeps its code; its connection is closed."""
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    return response


@contextmanager
def _noticing_cuts() -> Iterator[None]:
    """Raises _CutError for what the server does wrong after the connection was made."""
    try:
        yield
    except urllib.error.URLError:
        raise
    except (http.client.HTTPException, OSError) as error:
        raise _CutError(str(error) or type(error).__name__) from error


def _remote_checksum(remote: RemoteFile, cache_dir: Path) -> str:
    """The digest from the server, for a file without a registered one."""
    if remote.checksum_url is None:
        raise ValueError(f"{remote.name}: no checksum registered")
    address = _address(remote.checksum_url)
    try:
        with _open(urllib.request.Request(address)) as response:
            text = response.read(_CHUNK_BYTES).decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(remote, error, cache_dir, asked="its checksum: ") from error
    n_digits = 2 * hashlib.new(remote.algorithm).digest_size
    digest = re.search(rf"(?<![0-9a-fA-F])[0-9a-fA-F]{{{n_digits}}}(?![0-9a-fA-F])", text)
    if digest is None:
        raise KgrecError(f"{address}: found no {remote.algorithm} in it; try again later")
    return digest[0].lower()


def _unreachable(
    remote: RemoteFile, error: Exception, cache_dir: Path, asked: str = ""
) -> KgrecError:
    """The one-line error for a file that cannot be had; `asked` is named where a server answers."""
    cause = getattr(error, "reason", error)  # urllib wraps it
    reason = getattr(cause, "strerror", None) or str(cause)
    if isinstance(error, urllib.error.HTTPError):
        reason = f"{asked}HTTP {error.code}"
    return KgrecError(
        f"cannot download {remote.what} ({reason}): get {_address(remote.url)} by other means and "
        f"give it by {remote.option}, or put it into {cache_dir}"
    )
