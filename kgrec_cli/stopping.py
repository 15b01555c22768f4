"""Ctrl-C and SIGTERM end a command by one line and exit code 130 or 143, whatever it is doing.

While a stage is at work the signal is a KeyboardInterrupt: files are tidied up, and the line says
how to resume. At any other moment nothing has to be tidied up, and the process ends at once: an
import that is interrupted, or an interpreter on its way out, would make a traceback of it.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_is_working = False
_received: int | None = None


def install() -> None:
    """Takes over Ctrl-C and SIGTERM; what the caller of the process has switched off stays off."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    sys.unraisablehook = _on_unraisable


def received() -> int | None:
    """The signal that came in while a stage was at work, if one did."""
    return _received


@contextmanager
def working() -> Iterator[None]:
    """Within, a signal is a KeyboardInterrupt; a second one ends the process at once."""
    global _is_working
    was_working, _is_working = _is_working, True
    try:
        yield
    finally:
        _is_working = was_working


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _received
    if _is_working and _received is None:
        _received = number
        raise KeyboardInterrupt
    _end(number)


def _on_unraisable(unraisable: Any) -> None:
    """Where Python can only print a KeyboardInterrupt and go on, in a destructor for instance.

    There the signal comes again a moment later, so that the stage can tidy up.
    """
    global _received
    if _received is None or unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
    elif _is_working:
        number, _received = _received, None
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
    else:
        _end(_received)


def _end(number: int) -> None:
    # A bar at the foot of a terminal goes, and gives back the cursor that it has hidden.
    clear = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""
    os.write(2, f"{clear}error: stopped\n".encode())
    os._exit(128 + number)
