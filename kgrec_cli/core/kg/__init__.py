"""Triples in; entity vectors and ranks of held-out triples out. No paths, no files.

`methods` makes a PyKEEN model, `fit` trains it (some by the steps in `steps`), `holdout` ranks
triples that it has not seen. PyKEEN is imported in this room alone, and here first: without its log
lines, its warnings, and its folder in the user's home.
"""

import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pykeen() -> Iterator[None]:
    """Hides PyKEEN's log lines and warnings; none of them is about what the user did."""
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


def _import_pykeen() -> None:
    """The first import makes a folder (~/.data/pykeen): here in a place that is then removed."""
    home = os.environ.get("PYSTOW_HOME")
    with quiet_pykeen(), tempfile.TemporaryDirectory() as temporary:
        os.environ["PYSTOW_HOME"] = home or temporary
        try:
            importlib.import_module("pykeen.training")
        finally:
            if home is None:
                del os.environ["PYSTOW_HOME"]


_import_pykeen()
