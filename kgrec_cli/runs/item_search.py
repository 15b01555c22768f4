"""An item as a person names it, by id or words of its title: found, never guessed."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from rapidfuzz import fuzz, process

from kgrec_cli.errors import UsageError, nearest, shorten

MAX_SHOWN = 5
MAX_WORDS = 12
LEAST_LIKENESS = 70.0
_YEAR = re.compile(r" \(\d{4}\)$")


class ItemSearch:
    """Items by id and title; what a search needs of all titles is made once.

    Args:
        tokens: The ids of all items.
        titles: Token to title, of the items that have one.
    """

    def __init__(self, tokens: Sequence[str], titles: Mapping[str, str]) -> None:
        self._tokens, self._titles = dict.fromkeys(tokens), titles
        self._folded = {token: _fold(titles[token]) for token in tokens if token in titles}

    @cached_property
    def _by_title(self) -> dict[str, list[str]]:
        by_title = defaultdict(list)
        for token, title in self._folded.items():
            by_title[title].append(token)
        return by_title

    @cached_property
    def _by_word(self) -> dict[str, dict[str, None]]:
        by_word: dict[str, dict[str, None]] = defaultdict(dict)
        for token, title in self._folded.items():
            for word in _words(title):
                by_word[word][token] = None
        return by_word

    def find(self, text: str) -> list[str]:
        """The tokens of the items that are meant.

        It is the item of this id or this whole title (its year aside, if the titles have none);
        else those whose title holds all the words, in any order, case and accents aside ("the
        matrix" finds "Matrix, The (1999)"); else those whose title holds the text as a part.
        """
        wanted = _fold(text)
        found = dict.fromkeys([text] if text in self._tokens else [])
        found |= dict.fromkeys(self._by_title.get(wanted, ()))
        found = found or dict.fromkeys(self._by_title.get(_YEAR.sub("", wanted), ()))
        if not found and (words := _words(wanted)):
            first, *others = (self._by_word.get(word, {}) for word in words)
            found = {token: None for token in first if all(token in other for other in others)}
            if not found:
                found = {token: None for token, title in self._folded.items() if wanted in title}
        return list(found)

    def find_one(self, text: str, option: str) -> str:
        """The token of the one item that is meant, as `find` finds it; `option` had the text.

        Raises:
            UsageError: Several items, which are listed with their ids, or none.
        """
        found = self.find(text)
        if len(found) == 1:
            return found[0]
        place = f"{option} '{shorten(text)}'"
        if not found:
            guess = nearest(text, [*self._titles.values(), *self._tokens])
            hint = f"; did you mean '{shorten(guess)}'?" if guess else ""
            raise UsageError(f"{place}: no item with this id or title{hint}")
        shown = [f"{token} {shorten(self._titles.get(token, ''))}" for token in found[:MAX_SHOWN]]
        more = f"; and {len(found) - MAX_SHOWN:,} more" if len(found) > MAX_SHOWN else ""
        raise UsageError(f"{place}: {len(found):,} items, give an id: {'; '.join(shown)}{more}")

    def suggest(self, text: str, n: int) -> list[str]:
        """The tokens of at most n items, the best match first; typos are allowed.

        Those that `find` finds, then others by the likeness of the text's words to a title's. Of a
        word the beginning counts as the word, for a text that is still being typed.
        """
        likeness: dict[str, float] = defaultdict(float)
        for word in list(dict.fromkeys(_words(_fold(text))))[:MAX_WORDS]:
            of_item: dict[str, float] = {}
            similar = {each: 90.0 for each in self._by_word if each.startswith(word)}
            for found, score, _ in process.extract(
                word,
                self._by_word.keys(),
                scorer=fuzz.ratio,
                limit=None,
                score_cutoff=LEAST_LIKENESS,
            ):
                similar[found] = max(score, similar.get(found, 0.0))
            for found, score in similar.items():
                for token in self._by_word[found]:
                    of_item[token] = max(score, of_item.get(token, 0.0))
            for token, score in of_item.items():
                likeness[token] += score
        best = sorted(likeness, key=lambda token: (-likeness[token], len(self._folded[token])))
        return list(dict.fromkeys([*self.find(text)[:n], *best[:n]]))[:n]


def _fold(text: str) -> str:
    """Without case and accents, blanks as one."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)
