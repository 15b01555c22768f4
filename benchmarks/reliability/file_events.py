"""The file events of this process, and its death before the n-th.

An event is an opening for writing, a rename, a removal, a new or a removed folder, a change of the
mode, an fsync, or a commit of a database, each before it happens: dying before the n-th is dying
after the one before it. Content that a library writes by itself lies between an opening and an
fsync.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

KINDS = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "rmdir",
    "os.chmod": "chmod",
}


def watch(folder: Path, die_at: int | None, log: Callable[[str], object]) -> None:
    """Counts the file events below `folder` from now on, which cannot be undone.

    Args:
        folder: The working folder of the process.
        die_at: SIGKILL comes before this event, the first being 1; None for never.
        log: Gets a line for each event: its kind and the name of the file.
    """
    n_events = 0

    def count(kind: str, path: object) -> None:
        nonlocal n_events
        n_events += 1
        if n_events == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        log(f"{kind} {Path(os.fsdecode(path)).name if isinstance(path, str | bytes) else ''}")

    def audit(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and is_below(path):
                count("open", path)
        elif name in KINDS:
            path = arguments[1 if name == "os.rename" else 0]
            if is_below(path):
                count(KINDS[name], path)

    def is_below(path: object) -> bool:
        """Whether a path is in the folder; a name alone is one in an open folder (shutil)."""
        if not isinstance(path, str | bytes):
            return False
        return (folder / os.fsdecode(path)).is_relative_to(folder)

    def count_fsync(fd: Any) -> None:
        """Without the real one, which a kill of the process alone does not need."""
        count("fsync", "")

    sys.addaudithook(audit)
    os.fsync = count_fsync
    event.listen(Engine, "commit", lambda connection: count("commit", ""))
