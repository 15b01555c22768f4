"""Are the interactions fit for use? Fields that settings name, exact times, and what is doubtful.

`prepare` checked the files that it made, and recorded its warnings; those of others are checked
when they are loaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from kgrec_cli.core.data.sanity import LARGEST_FLOAT_TIME, missing_id_warnings, sanity_warnings
from kgrec_cli.dataset.files import recorded_warnings
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.formats.atomic import place, read_atomic, read_header
from kgrec_cli.settings import Settings


def time_field(path: Path, header: Mapping[str, str], settings: Settings) -> str | None:
    """The column of times in a file; None where the settings name none or only by their default.

    Raises:
        KgrecError: The settings name a column that is not there, or one that holds no numbers; the
            same for a column of ratings.
    """
    for field in ("TIME_FIELD", "RATING_FIELD"):
        name, default = getattr(settings, field), Settings.model_fields[field].default
        if name not in (None, default, *header):
            cure = "; null takes the rows' order" if field == "TIME_FIELD" else ""
            raise KgrecError(
                f"{path}: no column '{name}'; its header has "
                f"{shorten(', '.join(header), 150)} ({field} names it{cure})"
            )
    name = settings.TIME_FIELD
    if name is None or name not in header:
        return None
    if header[name] != "float":
        raise KgrecError(
            f"{path}, line 1: found {name}:{header[name]}, expected {name}:float, for a time is a "
            "number"
        )
    return name


def check_times(times: pl.Series, path: Path) -> None:
    """Checks that times (Int64 or Float64, from line 2 of the file on) can be ordered exactly.

    Raises:
        KgrecError: The first line whose time is not finite, or too large for a float.
    """
    if not times.dtype.is_float():
        return
    is_bad = ~(times.abs() < LARGEST_FLOAT_TIME).fill_null(True)
    if is_bad.any():
        row = int(is_bad.arg_max() or 0)
        raise KgrecError(
            f"{place(path, row)}: found the time {times[row]}, expected a finite number "
            "below 2^53 (or whole numbers of 64 bits only)"
        )


def doubts(
    table: pl.DataFrame, paths: Sequence[Path], digests: Sequence[str], settings: Settings
) -> list[str]:
    """Lines on what results rest on: of `prepare`, where it made the file, else of its checks.

    The table has user_id, item_id, timestamp: the rows of all files, unfiltered. The digests are
    the SHA-256 of the files.
    """
    header = read_header(paths[0], settings.field_separator)
    has_times = time_field(paths[0], header, settings) is not None
    recorded = recorded_warnings(paths[0], digests[0]) if len(paths) == 1 and has_times else None
    if recorded is not None:
        return recorded
    table = table.select("user_id", "item_id", "timestamp")
    separator, rating = settings.field_separator, settings.RATING_FIELD
    if all(read_header(path, separator).get(rating) == "float" for path in paths):
        ratings = pl.concat(
            [read_atomic(path, [rating], separator) for path in paths], how="vertical_relaxed"
        )
        if ratings.height == table.height:
            table = table.with_columns(ratings[rating].fill_null(0).alias("rating"))
    lines = [] if has_times else [_without_times(header, settings)]
    lines += sanity_warnings(table, has_times=has_times) + missing_id_warnings(table)
    return [f"{paths[0].name}: {line}" for line in lines]


def _without_times(header: Mapping[str, str], settings: Settings) -> str:
    from kgrec_cli.formats.raw.columns import has_name_of_time  # files of others only

    looks_so = [name for name, kind in header.items() if kind == "float" and has_name_of_time(name)]
    name = "" if settings.TIME_FIELD is None else f" '{settings.TIME_FIELD}'"
    line = f"no time column{name}: the rows' order is taken for the order in time"
    return f"{line}; is '{looks_so[0]}' the time (TIME_FIELD)?" if looks_so else line
