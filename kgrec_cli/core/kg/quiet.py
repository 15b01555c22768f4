"""PyKEEN without its log lines, its warnings and its folders in the home of the user."""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pykeen() -> Iterator[None]:
    """No log lines and no warnings of PyKEEN's; none of them is about what the user did."""
    loggers = [logging.getLogger(name) for name in ("pykeen", "torch_max_mem", "pystow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def importing_pykeen() -> Iterator[None]:
    """Quiet; and the import makes its folders (~/.data/pykeen) in a place that is then removed."""
    given = os.environ.get("PYSTOW_HOME")
    with quiet_pykeen(), tempfile.TemporaryDirectory() as elsewhere:
        os.environ["PYSTOW_HOME"] = given or elsewhere
        try:
            yield
        finally:
            if given is None:
                del os.environ["PYSTOW_HOME"]
