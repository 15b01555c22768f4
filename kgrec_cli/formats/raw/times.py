"""Times as people write them, numbers or dates, as numbers in the same order.

A form is read where nothing has to be guessed: `7/25/2012` tells that the month stands first, for
the whole column. Where no row tells, that is an error, and `--time-format` says it.
"""

import datetime as dt
import re

import polars as pl

from kgrec_cli.core.data.sanity import LARGEST_FLOAT_TIME
from kgrec_cli.errors import KgrecError, UsageError, shorten

DAY_S = 86_400
SAMPLE_ROWS = 1_000
FORMAT_HINT = "--time-format says how the times are written, for instance '%d.%m.%y %H:%M'"

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY = r"(?:(?:[Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at|[Ss]un)[a-z]*,? +)?"
_NAME = r"(?<name>[A-Za-z]{3,9})\.?"
_SECONDS = r"(?::(?<second>\d{2})(?:[.,](?<fraction>\d+))?)?"
_CLOCK = rf"(?<hour>\d{{1,2}})(?::(?<minute>\d{{2}}){_SECONDS})?\s*(?<half>[AaPp]\.?[Mm]\.?)?"
_ZONE = r"(?<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)"
_AFTER = rf"(?:(?:T|,? +|:){_CLOCK})?\s*{_ZONE}?"
_FORMS = tuple(
    f"^{form}$"
    for form in (
        rf"{_WEEKDAY}(?<year>\d{{4}})[-/.](?<month>\d{{1,2}})[-/.](?<day>\d{{1,2}}){_AFTER}",
        rf"{_WEEKDAY}(?<first>\d{{1,2}})[-/.](?<other>\d{{1,2}})[-/.](?<year>\d{{4}}){_AFTER}",
        rf"(?<first>\d{{1,2}}) (?<other>\d{{1,2}}), (?<year>\d{{4}}){_AFTER}",
        rf"{_WEEKDAY}(?<day>\d{{1,2}})[ /-]{_NAME},?[ /-](?<year>\d{{4}}){_AFTER}",
        rf"{_WEEKDAY}{_NAME} +(?<day>\d{{1,2}})(?:st|nd|rd|th)?,? +(?<year>\d{{4}}){_AFTER}",
        rf"{_WEEKDAY}{_NAME} +(?<day>\d{{1,2}}) +{_CLOCK}(?: +{_ZONE})? +(?<year>\d{{4}})",
        r"(?<year>\d{4})(?<month>\d\d)(?<day>\d\d)T(?<hour>\d\d)(?<minute>\d\d)"
        rf"(?:(?<second>\d\d)(?:[.,](?<fraction>\d+))?)?(?<half>)??{_ZONE}?",
    )
)
"""Dates, each with or without a time of day: 2012-07-25 08, 25/7/2012 or 7/25/2012, 07 25, 2012,
25 Jul 2012, July 25, 2012, Wed Jul 25 08:00:00 +0000 2012, 20120725T080000Z. `first` and `other`
are day and month.
"""


def parse_times(text: pl.Series, where: str = "", time_format: str | None = None) -> pl.Series:
    """Times as numbers that keep their order exactly; null where there is none.

    Whole numbers (any unit, within 64 bits) become Int64. Where some have fractions, or are written
    like 1e9, all become Float64, and from 2**53 on they count as unreadable. Dates become seconds
    since 1970 (UTC unless they say otherwise). A column is numbers or dates of one form: what most
    of its rows are; the others count as unreadable.

    Args:
        text: String.
        where: File and column, for errors.
        time_format: As for Python's `strptime`; None goes by the forms above.

    Raises:
        KgrecError: Dates of which no row tells whether day or month stands first, or where some
            rows say the one and some the other.
        UsageError: `time_format` is none.
    """
    if time_format is not None:
        return _parse_by_format(text, time_format)
    whole = text.cast(pl.Int64, strict=False)
    if not whole.null_count():
        return whole
    filled = text.filter(text != "")
    sample = filled.gather_every(max(1, len(filled) // SAMPLE_ROWS))
    n_fitting = [int(sample.str.contains(form).sum()) for form in _FORMS]
    if max(n_fitting) >= max(1, len(sample) - sample.cast(pl.Float64, strict=False).null_count()):
        return _parse_dates(text, _FORMS[n_fitting.index(max(n_fitting))], where)
    numbers = text.cast(pl.Float64, strict=False)
    in_range = (numbers.abs() < LARGEST_FLOAT_TIME).fill_null(False)
    numbers = numbers.set(~in_range, None)
    with_fraction = numbers.filter(whole.is_null())
    if (with_fraction == with_fraction.floor()).all():  # nulls do not count
        return whole.fill_null(numbers.cast(pl.Int64))
    return numbers


def is_date(text: pl.Series) -> pl.Series:
    """True where a text has one of the forms of a date."""
    return pl.DataFrame({"": text}).select(
        pl.any_horizontal(pl.col("").str.contains(form) for form in _FORMS)
    )[""]


def add_offsets(days: pl.Series, text: pl.Series, where: str) -> tuple[pl.Series, str]:
    """Times out of two columns, the day and the time within it, and the unit of the latter.

    An offset is HH:MM:SS or a number; numbers below 86,400 count as seconds, else below a
    thousand times that as milliseconds, and so on: the order is that of (day, offset) whichever.

    Args:
        days: Numbers of `parse_times`: seconds since 1970 of dates, or any number of a day.
        text: String, the offsets.
        where: File and column of the days, for errors.

    Returns:
        Int64 or Float64, null where one of the two is none: since 1970 in the offset's unit, where
        the days are dates; and "seconds", "milliseconds", "microseconds" or "nanoseconds".

    Raises:
        KgrecError: Numbers of days so large that no 64 bits hold the sum.
    """
    clock = text.str.extract_groups(rf"^{_CLOCK}$").struct.unnest()
    if clock["minute"].count() > clock.height // 2:
        seconds = pl.DataFrame(clock).select(_seconds_of_day())[:, 0]
        return _plus(days, seconds, DAY_S, where), "seconds"
    offsets = parse_times(text)
    offsets = offsets.set(offsets < 0, None)
    largest, unit = offsets.max() or 0, 1
    names = ["seconds", "milliseconds", "microseconds", "nanoseconds"]
    assert isinstance(largest, int | float)
    while largest >= DAY_S * unit and unit < 10**9:
        unit *= 1000
        names.pop(0)
    return _plus(days, offsets, DAY_S * unit, where), names[0]


def _plus(days: pl.Series, offsets: pl.Series, per_day: int, where: str) -> pl.Series:
    """Days as numbers of `per_day` each; dates (whole days in seconds) stay dates."""
    if (days % DAY_S == 0).all():
        days = days // DAY_S
    largest = days.abs().max() or 0
    assert isinstance(largest, int | float)
    if (largest + 1) * per_day >= 2**63:
        raise KgrecError(f"{where}: found {largest}, expected a date or the number of a day")
    return days * per_day + offsets


def _parse_by_format(text: pl.Series, time_format: str) -> pl.Series:
    try:
        dt.datetime.strptime("", time_format)
    except (ValueError, re.error) as error:  # the latter for one that names a thing twice
        if "does not match format" not in str(error):
            raise UsageError(f"--time-format '{time_format}': {error}") from error
    distinct = text.unique()
    moments = [_moment(value, time_format) for value in distinct]
    has_fraction = any(moment is not None and moment % 1 for moment in moments)
    kind: type[pl.DataType] = pl.Float64 if has_fraction else pl.Int64
    return text.replace_strict(distinct, pl.Series(moments).cast(kind), return_dtype=kind)


def _moment(text: str, time_format: str) -> float | None:
    """Seconds since 1970, UTC unless the text says otherwise."""
    try:
        moment = dt.datetime.strptime(text, time_format)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return moment.timestamp()


def _parse_dates(text: pl.Series, form: str, where: str) -> pl.Series:
    parts = text.str.extract_groups(form).struct.unnest()
    if "first" in parts.columns:
        parts = _order_day_and_month(parts, text, where)
    elif "name" in parts.columns:
        number = {name: str(place) for place, name in enumerate(_MONTHS, start=1)}
        name = pl.col("name").str.to_lowercase().str.head(3)
        parts = parts.with_columns(name.replace_strict(number, default=None).alias("month"))
    month, day = (pl.col(name).str.zfill(2) for name in ("month", "day"))
    date = pl.concat_str("year", month, day).str.to_date("%Y%m%d", strict=False)
    digits = pl.col("zone").str.replace_all(r"[^\d]", "")
    zone_s = digits.str.head(2).cast(pl.Int64, strict=False) * 3600
    zone_s += digits.str.slice(2).cast(pl.Int64, strict=False).fill_null(0) * 60
    zone_s = pl.when(pl.col("zone").str.starts_with("-")).then(-zone_s).otherwise(zone_s)
    clock = pl.when(pl.col("hour").is_null()).then(0).otherwise(_seconds_of_day())
    epoch_s = date.cast(pl.Int64) * DAY_S + clock - zone_s.fill_null(0)
    fraction = pl.concat_str(pl.lit("0."), "fraction").cast(pl.Float64).fill_null(0.0)
    seconds, fractions = parts.select(epoch_s.alias("s"), fraction.alias("f"))
    if (fractions == 0.0).all():
        return seconds
    return seconds.cast(pl.Float64) + fractions


def _seconds_of_day() -> pl.Expr:
    """Of the groups of _CLOCK; null where there is no such time."""
    hour, minute, second = (
        pl.col(name).cast(pl.Int64).fill_null(0) for name in ("hour", "minute", "second")
    )
    half = pl.col("half").str.to_lowercase().str.head(1)
    hour_of_day = hour % 12 + pl.when(half == "p").then(12).otherwise(0)
    is_time = (
        (minute < 60)
        & (second < 60)
        & pl.when(half.is_null()).then(hour < 24).otherwise(hour.is_between(1, 12))
    )
    hour = pl.when(half.is_null()).then(hour).otherwise(hour_of_day)
    return pl.when(is_time).then(hour * 3600 + minute * 60 + second)


def _order_day_and_month(parts: pl.DataFrame, text: pl.Series, where: str) -> pl.DataFrame:
    """The parts with columns day and month, in the order that the rows show."""
    is_day = parts.select(
        pl.col("first", "other").cast(pl.Int64).is_between(13, 31).fill_null(False)
    )
    example = text[int(parts["first"].is_not_null().arg_max() or 0)]
    if is_day["first"].any() and is_day["other"].any():
        one, two = (text[int(is_day[name].arg_max() or 0)] for name in ("first", "other"))
        raise KgrecError(
            f"{where}: '{shorten(one)}' has the day first, '{shorten(two)}' the month: times of "
            "two forms; --time-format with --on-bad-row skip reads those of one"
        )
    is_same = (parts["first"].cast(pl.Int64) == parts["other"].cast(pl.Int64)).all()
    if not (is_same or is_day["first"].any() or is_day["other"].any()):
        between = next(char for char in example if not char.isdigit())
        raise KgrecError(
            f"{where}: '{shorten(example)}' may be day{between}month or month{between}day, and no "
            "row tells: say it by --time-format, for instance "
            f"'{_example_format(example, 'dm')}' or '{_example_format(example, 'md')}'"
        )
    day, month = ("first", "other") if is_day["first"].any() else ("other", "first")
    return parts.rename({day: "day", month: "month"})


def _example_format(example: str, order: str) -> str:
    """The `--time-format` of a date that begins with day and month in that order."""
    has_half = re.search(r"[ap]\.?m\.?$", example, re.IGNORECASE) is not None
    codes = iter(
        [f"%{order[0]}", f"%{order[1]}", "%Y", "%I" if has_half else "%H", "%M", "%S", "%f"]
    )
    shown = re.sub(r"\d+", lambda _: next(codes, ""), example)
    return re.sub(r"[ap]\.?m\.?$", "%p", shown, flags=re.IGNORECASE)
