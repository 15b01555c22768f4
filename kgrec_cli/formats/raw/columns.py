"""Which column of a table is which, by its name; and whether a first line is a header."""

import re
from collections.abc import Sequence

from kgrec_cli.errors import UsageError, nearest, shorten

_NAMES = {
    # of interactions
    "user": "userid user uid u? customerid customer? visitorid reviewerid memberid sessionid",
    "item": "itemid item iid? i? movieid movie? productid product? asin parentasin bookid "
    "businessid trackid songid artistid newsid articleid itemtoken isbn",
    "rating": "rating ratings score? stars? overall? rate? preference?",
    "time": "timestamp time? ts? t? datetime date? unixtime unixreviewtime eventtime createdat",
    # of items
    "id": "itemid movieid id? item iid? asin productid bookid parentasin trackid songid artistid "
    "businessid newsid articleid itemtoken isbn movie? product? book? track? song? artist?",
    "title": "title movietitle name? label? itemtitle",
    "year": "releaseyear year? movieyear",
    "genre": "genres? genre? class? categories? category?",
    # of graphs
    "head": "headid head headentity subject subj h? s? source? src? from? entity1? e1?",
    "relation": "relationid relation relationtype predicate pred rel r? p? property? edge? "
    "edgetype? label? type?",
    "tail": "tailid tail tailentity object obj t? o? target? dst? dest? to? entity2? e2?",
    "entity": "entityid entity entityuri uri iri freebaseid fbid dbpediauri dbpediaid wikidataid "
    "qid kgid mid? freebase? dbpedia? wikidata? node? nodeid? url? resource?",
}
"""What a column is -> names it goes by, the likeliest first; without case and punctuation.

A name with a question mark may stand in a row of data, too: alone it does not make a header.
"""
COLUMN_NAMES = {kind: names.replace("?", "").split() for kind, names in _NAMES.items()}
_ALSO_DATA = {name[:-1] for name in " ".join(_NAMES.values()).split() if name[-1] == "?"}

_VALUE = re.compile(
    r"\b\d{4}-\d{1,2}-\d{1,2}(?!\d)|\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b|\b\d{4}/\d{1,2}/\d{1,2}\b"
    r"|\b\d{1,2}:\d{2}\b|^<?https?://"
)
"""A date, a time of day, or the address of something, somewhere in a field."""
_TIME_WORD = re.compile(
    r"^(time|date|ts|day|days|hour|clock|created|updated|when)|(?<!run)(?<!play)(?<!life)time$"
    r"|(?<!candi)(?<!up)date$|stamp$"
)
_TYPE = re.compile(r":(token|float)(_seq)?$")


def plain_name(name: str) -> str:
    """A column's name without RecBole's type: "user_id:token" gives "user_id"."""
    return _TYPE.sub("", name.strip())


def guess_column(kind: str, names: Sequence[str]) -> int | None:
    """The number of the column with a common name of `kind`, a key of COLUMN_NAMES; else None."""
    return guess_columns([kind], names).get(kind)


def guess_columns(kinds: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Kind -> number of its column, for the kinds that have one; no column twice.

    Kinds are keys of COLUMN_NAMES; the first takes its column first.
    """
    folded = [_fold(name) for name in names]
    columns: dict[str, int] = {}
    for kind in kinds:
        for name in COLUMN_NAMES[kind]:
            if name in folded and folded.index(name) not in columns.values():
                columns[kind] = folded.index(name)
                break
    return columns


def known_names(kind: str, names: Sequence[str]) -> list[int]:
    """The numbers of all columns with a common name of `kind`, the likeliest first.

    No number for a kind that has no common names.
    """
    folded = [_fold(name) for name in names]
    found = [folded.index(name) for name in COLUMN_NAMES.get(kind, ()) if name in folded]
    return list(dict.fromkeys(found))


def has_name_of_time(name: str) -> bool:
    """Whether a column is called so that it may hold times: `eventdate`, `createdAt`, `hour`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", plain_name(name))
    return any(_TIME_WORD.search(word.casefold()) for word in words)


def known_columns(kinds: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """As `guess_columns`; empty when the only match is a name that data may hold as well."""
    columns = guess_columns(kinds, names)
    return columns if len(columns) > 1 or _is_certain(columns, names) else {}


def header_sign(rows: Sequence[Sequence[str]], kinds: Sequence[str]) -> bool | None:
    """Whether the first row names the columns; None when nothing shows it.

    The first of these decides: it gives each column a type of RecBole's, or holds a name that only
    headers hold (True); it is 0, 1, 2, ..., which pandas writes where columns have no names, above
    texts or far larger numbers (True; above others None, or of two columns False); one of its
    fields is a number, a date, a time or an address (False); it holds two names of columns (True);
    a column is whole numbers but for it (True); one of its fields is empty (False).
    """
    first, rest = rows[0], rows[1:]
    columns = guess_columns(kinds, first)
    if all(map(_TYPE.search, first)) or _is_certain(columns, first):
        return True
    same = [row for row in rest if len(row) == len(first)]
    if is_numbered(first):
        if any(map(_stands_out, first, zip(*same, strict=True))):
            return True
        return None if len(first) > 2 else False
    if any(map(_is_value, first)):
        return False
    if len(columns) > 1 or (
        len(same) > 1
        and any(
            name and all(map(str.isdecimal, column))
            for name, column in zip(first, zip(*same, strict=True), strict=True)
        )
    ):
        return True
    return None if all(first) else False


def is_numbered(names: Sequence[str]) -> bool:
    """True for the names 0, 1, 2, ... of two or more columns, perhaps behind an empty one."""
    numbers = [*map(str, range(len(names)))]
    return len(names) > 1 and [*names] in (numbers, ["", *numbers[:-1]])


def named_column(wanted: str, names: Sequence[str], *, where: str, option: str) -> int:
    """The number of the column that the user named.

    `wanted` is its name, or its number from 1; `where` and `option` are named in the error.

    Raises:
        UsageError: No such column, with the nearest name.
    """
    plain = [plain_name(name) for name in names]
    for candidates in (list(names), plain):
        if wanted in candidates:
            return candidates.index(wanted)
    if wanted.isdigit() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    guess = nearest(wanted, [name for name in plain if len(name) <= 40])
    hint = f": did you mean '{guess}'?" if guess else ""
    shown = f"{hint} (columns: {show_names(names)}) in {where}"
    raise UsageError(f"{option}: unknown column '{shorten(wanted)}'{shown}")


def show_names(names: Sequence[str]) -> str:
    """The names of columns for an error, cut where they would fill the screen."""
    shown = [shorten(plain_name(name)) for name in names]
    n_shown = 1
    while n_shown < len(shown) and len(", ".join(shown[: n_shown + 1])) <= 120:
        n_shown += 1
    more = f" and {len(shown) - n_shown:,} more" if n_shown < len(shown) else ""
    return ", ".join(shown[:n_shown]) + more


def _is_certain(columns: dict[str, int], names: Sequence[str]) -> bool:
    return any(_fold(names[number]) not in _ALSO_DATA for number in columns.values())


def _fold(name: str) -> str:
    return "".join(char for char in plain_name(name).casefold() if char.isalnum())


def _stands_out(name: str, column: Sequence[str]) -> bool:
    """Whether a number (or nothing) above a column is none of its values, by their look or size."""
    if not name:
        return all(column)
    if not any(map(_is_number, column)):
        return True
    numbers = [float(text) for text in column if _is_number(text)]
    return min(numbers) > 1000 * (int(name) + 1)


def _is_value(text: str) -> bool:
    """Whether a field is a number, a date, a time or an address, which no column is called."""
    return _is_number(text) or bool(_VALUE.search(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
