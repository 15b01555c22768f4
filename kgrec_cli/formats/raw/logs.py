"""The files of a log that is no MovieLens set: one, or the parts in a folder, zip or pattern."""

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.formats.raw.files import RawFile, is_pattern, is_zip, list_raw_files
from kgrec_cli.formats.raw.item_lists import best_list

_LOG = re.compile(r"(u|ratings?)\.(data|dat|csv|tsv|txt|parquet|jsonl?)|.*\.inter")
"""Names that say which of several files in a folder is the log, in lower case."""
_NO_TABLE = re.compile(r"[._].*|(readme|licen[sc]e|changelog)\b.*|.*\.(md|pdf|crc)")
"""Names of what lies beside the parts of a table: Spark's `_SUCCESS`, a readme."""


class RawLog(NamedTuple):
    """The parts of a log in their order, and the item list beside it."""

    files: tuple[RawFile, ...]
    item_list: RawFile | None = None


def find_log(path: Path) -> RawLog:
    """The log at `path`: the file itself, or what a folder, a zip or a pattern holds.

    Of a folder or zip, the file that is called as MovieLens or RecBole call theirs ("ratings.csv",
    "x.inter") and the item list beside it; else all files, the parts of one table.

    Raises:
        KgrecError: No such path, no table there, or several that are called like a log.
    """
    if not path.is_dir() and not is_pattern(path) and not is_zip(RawFile(path)):
        return RawLog((RawFile(path),))
    files = [file for file in list_raw_files(path) if not _NO_TABLE.fullmatch(file.name)]
    if not files:
        raise KgrecError(f"{path}: holds no file of interactions")
    if is_pattern(path):
        return RawLog(tuple(files))
    named = [file for file in files if _LOG.fullmatch(file.name)]
    if len(named) > 1:
        places = ", ".join(file.where for file in named[:3])
        raise KgrecError(f"{path}: several logs ({places}); give one of them as --raw")
    if named:
        beside = [file for file in files if file.folder == named[0].folder]
        return RawLog((named[0],), best_list(beside))
    suffixes = {PurePosixPath(file.name).suffix for file in files}
    if len(suffixes) > 1:
        shown = ", ".join(shorten(PurePosixPath(file.where).name) for file in files[:3])
        more = ", ..." if len(files) > 3 else ""
        raise KgrecError(
            f"{path}: holds files of several kinds ({shown}{more}); give the interactions as --raw"
        )
    return RawLog(tuple(files))
