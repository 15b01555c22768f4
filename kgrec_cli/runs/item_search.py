"""An item as a person names it, by id or words of its title: found, never guessed."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from kgrec_cli.errors import UsageError, nearest, shorten

MAX_SHOWN = 5


def find_item(text: str, tokens: Sequence[str], titles: Mapping[str, str]) -> str:
    """The token of the one item that is meant.

    It is the item of this id or this whole title; else the one whose title holds all the words, in
    any order, case and accents aside ("the matrix" finds "Matrix, The (1999)"); else the one whose
    title holds the text as a part.

    Args:
        text: An id, a title, or some words of one.
        tokens: The ids of all items.
        titles: Token to title, of the items that have one.

    Raises:
        UsageError: Several items, which are listed with their ids, or none.
    """
    wanted = _fold(text)
    folded = {token: _fold(titles[token]) for token in tokens if token in titles}
    found = [token for token in tokens if token == text or folded.get(token) == wanted]
    if not found and (words := set(_words(wanted))):
        found = [token for token, title in folded.items() if words <= set(_words(title))]
        found = found or [token for token, title in folded.items() if wanted in title]
    if len(found) == 1:
        return found[0]
    if not found:
        guess = nearest(text, [*titles.values(), *tokens])
        hint = f"; did you mean '{shorten(guess)}'?" if guess else ""
        raise UsageError(f"--item '{shorten(text)}': no item with this id or title{hint}")
    listed = "; ".join(f"{token} {shorten(titles.get(token, ''))}" for token in found[:MAX_SHOWN])
    more = f"; and {len(found) - MAX_SHOWN:,} more" if len(found) > MAX_SHOWN else ""
    raise UsageError(f"--item '{shorten(text)}': {len(found):,} items, give an id: {listed}{more}")


def _fold(text: str) -> str:
    """Without case and accents, blanks as one."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)
