"""Items to entities by title and year.

`prepare` matches the titles of one catalogue with those of another whose ids have links, or with
the names of entities. The surest matches go first, and between two candidates nothing is guessed.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
from rapidfuzz import fuzz, process

# fmt: off
ARTICLES = frozenset({
    "a", "an", "the",  # English
    "das", "dem", "den", "der", "des", "die", "ein", "eine",  # German
    "l", "la", "le", "les", "un", "une",  # French
    "gli", "i", "il", "lo", "uno",  # Italian
    "el", "las", "los", "una",  # Spanish
    "as", "o", "os", "um", "uma",  # Portuguese
    "de", "en", "et", "ett", "het",  # Dutch, Scandinavian
})
# fmt: on
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th"})
_BRACKETS = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_YEAR = re.compile(r"(\d{4})(?:\s*[-–—]\s*(?:\d{4})?)?")
_ALSO_KNOWN_AS = re.compile(r"^\s*a\.?\s?k\.?\s?a\.?\s+", re.IGNORECASE)
_MEDIA_MARKS = frozenset({"v", "tv", "vg", "mini"})
_BETWEEN_PARTS = re.compile(r":\s+|\s+[-–—]\s+")
_NUMERALS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(n) for words in (_NUMERALS, _WORDS) for n, word in enumerate(words, start=1)}

ALIKE = 92
"""From this similarity (0-100) on, two names of a year may be one film's."""
MIN_CHARS_ALIKE, MIN_CHARS_OF_PART = 12, 8
YEAR_OFF_COSTS = 5
_MATCHES = {**dict.fromkeys(("item_id", "catalog_id", "match"), pl.String), "score": pl.Float64}


@dataclass(frozen=True)
class Title:
    """A title taken apart.

    Attributes:
        main: The title without its brackets, folded; empty when there is none.
        names: `main` and the alternative titles in brackets, folded; never holds "".
        year: The year in brackets, else the one given beside the title, else None.
        parts: The first and the last part of `main` where the title holds ": " or " - ", folded;
            only those that have two words besides articles.
    """

    main: str
    names: frozenset[str]
    year: int | None
    parts: frozenset[str] = frozenset()


def parse_title(text: str, year: int | None = None) -> Title:
    """The parts of a title such as "Postman, The (Postino, Il) (1994)".

    Args:
        text: A title. The last four digits that stand alone in brackets, or begin a range such as
            "(1994-1998)", are its year; marks such as "(V)" are dropped.
        year: Used when the title holds no year.
    """
    alternatives = []
    for match in _BRACKETS.finditer(text):
        inside = (match[1] if match[1] is not None else match[2]).strip()
        year_inside = _YEAR.fullmatch(inside)
        if year_inside:
            year = int(year_inside[1])
        elif inside.casefold() not in _MEDIA_MARKS:
            alternatives.append(_ALSO_KNOWN_AS.sub("", inside))
    # A title that is all brackets, such as "(500)", keeps them.
    bare = _BRACKETS.sub(" ", text)
    main = fold_title(bare) or fold_title(text)
    names = {main, *(fold_title(name) for name in alternatives)}
    return Title(main, frozenset(names - {""}), year, _parts(bare))


def spoken_titles(text: str) -> list[str]:
    """The titles in one as they are written elsewhere.

    "Postman, The (Postino, Il) (1994)" gives "The Postman" and "Il Postino".
    """
    bare = " ".join(_BRACKETS.sub(" ", text).split()) or text.strip()
    inside = [match[1] or match[2] or "" for match in _BRACKETS.finditer(text)]
    others = [_ALSO_KNOWN_AS.sub("", each.strip()) for each in inside]
    named = [each for each in others if each and not _YEAR.fullmatch(each)]
    named = [each for each in named if each.casefold() not in _MEDIA_MARKS]
    return [title for each in dict.fromkeys((bare, *named)) if (title := _article_first(each))]


def fold_title(text: str) -> str:
    """`text` without case, accents and punctuation; an article behind a comma goes to the front.

    "Shawshank Redemption, The" gives "the shawshank redemption", "Enfer, L'" gives "lenfer" and "&"
    gives "and". A text of nothing but punctuation stays as it is.
    """
    text = _article_first(text.strip())
    return _plain(text) or text.casefold()


def _article_first(text: str) -> str:
    before, comma, article = text.rpartition(",")
    article = article.strip()
    if comma and _plain(article) in ARTICLES:
        return article + before if article.endswith(("'", "’")) else f"{article} {before}"
    return text


def _parts(text: str) -> frozenset[str]:
    first, *others = map(_plain, _BETWEEN_PARTS.split(_article_first(text.strip())))
    return frozenset(part for part in (first, *others[-1:]) if others and _can_stand_alone(part))


def _can_stand_alone(part: str) -> bool:
    """Whether a part can stand for its title: "star wars" can, "the movie" and "part ii" cannot."""
    n_words = sum(word not in ARTICLES for word in part.split())
    return n_words > 1 and len(part) >= MIN_CHARS_OF_PART


def _plain(text: str) -> str:
    """Letters and digits only, in words of one space between."""
    # Decomposed on both sides of the casefold: either can bring what the other changes.
    folded = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    letters = letters.translate(_LETTERS).replace("&", " and ")
    letters = re.sub(r"['’‘`´]", "", letters)
    return " ".join(re.sub(r"[\W_]+", " ", letters).split())


def match_titles(
    items: pl.DataFrame, catalog: pl.DataFrame, linked: Collection[str] = frozenset()
) -> pl.DataFrame:
    """One row per item: its catalogue id, if any, and how it was found or why it was not.

    Passes, each over what the ones before left:

    - "exact": the same main title and the same year (or neither has one);
    - "other title": any title in common and the same year;
    - "near year": any title in common and a year off by one;
    - "part of title": the same year, and the main title of one is the first or last part of the
      other's ("Star Wars" and "Star Wars: Episode IV - A New Hope");
    - "alike": the same year, and two names that are nearly equal, with the same numbers;
    - "without year": any title in common, the catalogue's without a year.

    An item with two candidates is "ambiguous", and so are two different films with one candidate.
    Items of one main title and year are the same film standing twice, so they share a candidate;
    otherwise no catalogue id is given twice. Rows of the catalogue with the same titles and year
    are the same film standing twice, too: the lower id counts. The rest is "not found".

    Args:
        items: String columns item_id and title, one row per item; optionally release_year (number
            or String), used where a title holds no year.
        catalog: The same columns; several rows with one item_id give further titles of it.
        linked: Catalogue ids worth finding: where one of them has the same main title and year as
            another id, the other is passed over.

    Returns:
        String columns item_id, catalog_id (null when none), match, in the order of `items`; and
        score (Float64, 0 to 100), the similarity of the two names that are most alike, less 5 where
        the years differ; null without a catalog_id.
    """
    titles = _titles(items)
    known = _films(zip(catalog["item_id"], _titles(catalog), strict=True), linked)
    catalog_ids: list[str | None] = [None] * len(titles)
    matches = ["not found"] * len(titles)
    taken: set[str] = set()
    for match, find in _PASSES:
        rows = [row for row, before in enumerate(matches) if before == "not found"]
        free = [(catalog_id, title) for catalog_id, title in known if catalog_id not in taken]
        claims: dict[str, list[int]] = defaultdict(list)
        for row, candidates in zip(rows, find([titles[row] for row in rows], free), strict=True):
            if len(candidates) > 1:
                matches[row] = "ambiguous"
            elif candidates:
                claims[candidates.pop()].append(row)
        for catalog_id, claimants in claims.items():
            same_film = len({(titles[row].main, titles[row].year) for row in claimants}) == 1
            for row in claimants:
                matches[row] = match if same_film else "ambiguous"
                catalog_ids[row] = catalog_id if same_film else None
        taken.update(claims)
    columns = (items["item_id"], catalog_ids, matches, _scores(titles, catalog_ids, known))
    return pl.DataFrame(dict(zip(_MATCHES, columns, strict=True)), schema=_MATCHES)


# Catalogue ids and titles, one id with several at times; and from the titles of items and the
# catalogue to the candidates of each item.
Known = list[tuple[str, Title]]
Find = Callable[[list[Title], Known], list[set[str]]]
Keys = Callable[[Title], Iterable[Hashable]]


def _films(rows: Iterable[tuple[str, Title]], linked: Collection[str]) -> Known:
    """The rows of a catalogue without those whose film stands there under a better id, too."""
    known = sorted(rows, key=lambda row: (len(row[0]), row[0]))  # by length first: 9 before 10
    has_link = {(title.main, title.year) for catalog_id, title in known if catalog_id in linked}
    first: dict[Title, str] = {}
    for catalog_id, title in known:
        if catalog_id in linked or (title.main, title.year) not in has_link:
            first.setdefault(title, catalog_id)
    return [row for row in known if row[1].year is None or first.get(row[1]) == row[0]]


def _find_equal(
    keys: Keys,
    years: Callable[[int | None], Iterable[int | None]] = lambda year: [year],
    catalog_keys: Keys | None = None,
) -> Find:
    """Finds the films that have a key in common with an item, and one of the years it can have."""

    def find(titles: list[Title], known: Known) -> list[set[str]]:
        index: dict[tuple[Hashable, int | None], set[str]] = defaultdict(set)
        for catalog_id, title in known:
            for key in (catalog_keys or keys)(title):
                index[key, title.year].add(catalog_id)
        return [
            set().union(
                *(index.get((key, year), ()) for key in keys(title) for year in years(title.year))
            )
            for title in titles
        ]

    return find


def _find_alike(titles: list[Title], known: Known) -> list[set[str]]:
    """Finds films of the same year that have a name like one of the item's."""
    alike: list[set[str]] = [set() for _ in titles]
    theirs = _names_by_year(enumerate(title for _, title in known))
    for year, mine in _names_by_year(enumerate(titles)).items():
        scores = process.cdist(
            [name for _, name in mine],
            [name for _, name in theirs[year]],
            scorer=fuzz.ratio,
            score_cutoff=ALIKE,
        )
        for one, other in np.argwhere(scores):
            (row, name), (known_row, known_name) = mine[one], theirs[year][other]
            if _numbers_agree(name, known_name):
                alike[row].add(known[known_row][0])
    return alike


def _names_by_year(rows: Iterable[tuple[int, Title]]) -> dict[int, list[tuple[int, str]]]:
    """The rows and names of each year, without short names and films without a year."""
    names: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for row, title in rows:
        if title.year is not None:
            long = sorted(name for name in title.names if len(name) >= MIN_CHARS_ALIKE)
            names[title.year] += [(row, name) for name in long]
    return names


def _numbers_agree(one: str, other: str) -> bool:
    """False when both names hold numbers ("2", "ii", "two"), and not the same."""
    numbers = [
        [word for word in (_NUMBERS.get(word, word) for word in name.split()) if word.isdigit()]
        for name in (one, other)
    ]
    return numbers[0] == numbers[1] or not all(numbers)


_PASSES: tuple[tuple[str, Find], ...] = (
    ("exact", _find_equal(lambda title: [(title.main, title.names)] if title.main else [])),
    ("exact", _find_equal(lambda title: title.names & {title.main})),
    ("other title", _find_equal(lambda title: title.names)),
    (
        "near year",
        _find_equal(lambda title: title.names, lambda year: [year - 1, year + 1] if year else []),
    ),
    (
        "part of title",
        _find_equal(
            lambda title: [("whole", title.main), *(("part", part) for part in title.parts)],
            lambda year: [year] if year else [],
            lambda title: [("part", title.main), *(("whole", part) for part in title.parts)],
        ),
    ),
    ("alike", _find_alike),
    ("without year", _find_equal(lambda title: title.names, lambda year: [None])),
)


MATCHES = (*dict.fromkeys(match for match, _ in _PASSES), "ambiguous", "not found")
"""The values of `match` that `match_titles` gives; the last two come without a catalogue id."""


def _scores(titles: list[Title], catalog_ids: list[str | None], known: Known) -> list[float | None]:
    titles_of: dict[str | None, list[Title]] = defaultdict(list)
    for catalog_id, title in known:
        titles_of[catalog_id].append(title)
    return [
        max((_score(title, other) for other in titles_of[catalog_id]), default=None)
        for title, catalog_id in zip(titles, catalog_ids, strict=True)
    ]


def _score(title: Title, other: Title) -> float:
    pairs = product(title.names, other.names)
    score = max((fuzz.ratio(one, two) for one, two in pairs), default=0.0)
    years_differ = None not in (title.year, other.year) and title.year != other.year
    return score - YEAR_OFF_COSTS if years_differ else score


def _titles(table: pl.DataFrame) -> list[Title]:
    """The title of each row."""
    years: list[int | None] = [None] * table.height
    if "release_year" in table.columns:
        numbers = table["release_year"].cast(pl.Float64, strict=False)
        years = numbers.cast(pl.Int64, strict=False).to_list()
    return [parse_title(text or "", year) for text, year in zip(table["title"], years, strict=True)]
