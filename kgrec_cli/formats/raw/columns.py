"""Which column of a table is which, told by its name: RecBole's `name:type`, common names."""

from collections.abc import Sequence

from kgrec_cli.errors import UsageError, unknown_name

COMMON_NAMES = {
    "user": (
        "user_id", "user", "uid", "userid", "u", "customer_id", "customer", "visitor_id",
        "reviewer_id", "member_id", "session_id",
    ),
    "item": (
        "item_id", "item", "iid", "itemid", "i", "movie_id", "movie", "product_id", "product",
        "asin", "parent_asin", "book_id", "business_id", "track_id", "song_id", "artist_id",
        "news_id", "article_id",
    ),
    "rating": ("rating", "ratings", "score", "stars", "overall", "rate", "preference"),
    "time": (
        "timestamp", "time", "ts", "t", "datetime", "date", "unix_time", "unix_review_time",
        "event_time", "created_at",
    ),
    "id": ("item_id", "movie_id", "id", "item", "iid", "asin", "product_id", "book_id"),
    "title": ("title", "movie_title", "name", "label", "item_title"),
    "year": ("release_year", "year", "movie_year"),
    "genre": ("genres", "genre", "class", "categories", "category"),
}  # fmt: skip
"""What a column is -> names it goes by, the likeliest first; case and punctuation do not count."""


def plain_name(name: str) -> str:
    """A column's name without RecBole's type: "user_id:token" gives "user_id"."""
    base, separator, kind = name.strip().rpartition(":")
    return base if separator and kind in ("token", "token_seq", "float", "float_seq") else name


def has_names(fields: Sequence[str]) -> bool:
    """True when a first line names columns: none of its fields is a number."""
    return not any(_is_number(field) for field in fields)


def guess_column(kind: str, names: Sequence[str]) -> int | None:
    """The number of the column that goes by a common name of `kind`, None when there is none.

    Args:
        kind: A key of COMMON_NAMES.
        names: The columns' names.
    """
    folded = [_fold(name) for name in names]
    for common in COMMON_NAMES[kind]:
        if _fold(common) in folded:
            return folded.index(_fold(common))
    return None


def named_column(wanted: str, names: Sequence[str], *, where: str, option: str) -> int:
    """The number of the column that the user named.

    Args:
        wanted: Its name, or its number from 1.
        names: The columns' names; "1", "2", ... where the file names none.
        where: The file.
        option: What the name was given by.

    Raises:
        UsageError: No such column, with the nearest name.
    """
    for candidates in (list(names), [plain_name(name) for name in names]):
        if wanted in candidates:
            return candidates.index(wanted)
    plain = [plain_name(name) for name in names]
    if wanted.isdigit() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    message = unknown_name("column", wanted, plain)
    columns = "" if "choose one of" in message else f" (columns: {', '.join(plain)})"
    raise UsageError(f"{option}: {message}{columns} in {where}")


def _fold(name: str) -> str:
    return "".join(char for char in plain_name(name).casefold() if char.isalnum())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
