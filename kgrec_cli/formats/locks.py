"""One writer of a folder at a time, and no trace of those that were killed.

A file that is being written stands under a temporary name and is locked. The system unlocks it when
the process ends, however it ends; so a temporary file that nobody locks is what a killed command
left, and the next command that comes by removes it. Windows has no such locks: there it stays.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, has_fcntl

from kgrec_cli.errors import KgrecError

TEMPORARY = ".kgrec-tmp"
"""Ends the name of all that must not outlive the command that made it; it begins with a dot."""


class InUse(KgrecError):
    """Another process writes into a folder."""


def staging_path(folder: Path) -> Path:
    """The folder beside `folder` in which its next files are collected."""
    return folder.with_name(f".{folder.name}{TEMPORARY}")


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock{TEMPORARY}")


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Holds the right to write into a folder, which need not be there yet.

    Raises:
        InUse: Another process has it.
        KgrecError: The folder above cannot be written to.
    """
    path = _lock_path(folder)
    lock = FileLock(path)
    try:
        _acquire(lock, folder)
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):
                path.unlink()
                path.parent.rmdir()  # only when nothing was written into it
            lock.release()


def _acquire(lock: FileLock, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InUse(
            f"{folder}: another kgrec command is at work on it; wait until it has ended"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise KgrecError(f"{folder}: cannot write ({reason}); nothing has changed") from error


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Marks a temporary file as one that a process works with; it is gone afterwards."""
    if not has_fcntl:
        yield
        return
    try:
        with FileLock(path):
            yield
    finally:  # around the lock: a signal may come when its file has just been made
        path.unlink(missing_ok=True)


def is_in_use(path: Path) -> bool:
    """Whether a process that marked a file works with it still."""
    try:
        with FileLock(path).acquire(blocking=False):
            return False
    except Timeout:
        return True


def remove_leftovers(folder: Path) -> None:
    """Removes what killed commands left in a folder; what is being written stays."""
    if not has_fcntl:
        return
    for path in folder.glob(f".*{TEMPORARY}"):
        is_staging = path.is_dir()
        target = path.with_name(path.name[1:].removesuffix(TEMPORARY))
        lock_path = _lock_path(target) if is_staging else path
        with suppress(OSError, Timeout), FileLock(lock_path).acquire(blocking=False):
            if is_staging:
                shutil.rmtree(path)
            lock_path.unlink()
