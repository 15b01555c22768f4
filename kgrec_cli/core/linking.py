"""Items to entities: by title and year, and from entity vectors to the rows of an item table.

`prepare` matches the titles of one catalogue with those of another whose ids have links; `train`
lays the entity vectors out by item. Titles match by equality after folding; nothing is guessed.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from kgrec_cli.errors import KgrecError

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


@dataclass(frozen=True)
class Title:
    """A title taken apart.

    Attributes:
        main: The title without its brackets, folded; empty when there is none.
        names: `main` and the alternative titles in brackets, folded; never holds "".
        year: The year in brackets, else the one given beside the title, else None.
    """

    main: str
    names: frozenset[str]
    year: int | None


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
    main = fold_title(_BRACKETS.sub(" ", text)) or fold_title(text)
    names = {main, *(fold_title(name) for name in alternatives)}
    return Title(main, frozenset(names - {""}), year)


def fold_title(text: str) -> str:
    """`text` without case, accents and punctuation; an article behind a comma goes to the front.

    "Shawshank Redemption, The" gives "the shawshank redemption", "Enfer, L'" gives "lenfer" and "&"
    gives "and". A text of nothing but punctuation stays as it is.
    """
    text = text.strip()
    before, comma, article = text.rpartition(",")
    article = article.strip()
    if comma and _plain(article) in ARTICLES:
        text = article + before if article.endswith(("'", "’")) else f"{article} {before}"
    return _plain(text) or text.casefold()


def _plain(text: str) -> str:
    """Letters and digits only, in words of one space between."""
    # Decomposed on both sides of the casefold: either can bring what the other changes.
    folded = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", folded)
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    letters = letters.translate(_LETTERS).replace("&", " and ")
    letters = re.sub(r"['’‘`´]", "", letters)
    return " ".join(re.sub(r"[\W_]+", " ", letters).split())


def judge_titles(items: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """One row per item: its catalogue id, if any, and how it was found or why it was not.

    Three passes, each over what the ones before left:

    - "exact": the same main title and the same year (or neither has one);
    - "other title": any title in common and the same year;
    - "near year": any title in common and a year off by one.

    An item with two candidates is "ambiguous", and so are two different films with one candidate.
    Items of one main title and year are the same film standing twice, so they share a candidate;
    otherwise no catalogue id is given twice. The rest is "not found".

    Args:
        items: String columns item_id and title, one row per item; optionally release_year (number
            or String), used where a title holds no year.
        catalog: The same columns; several rows with one item_id give further titles of it.

    Returns:
        String columns item_id, catalog_id (null when none), verdict, in the order of `items`.
    """
    titles = _titles(items)
    known = list(zip(catalog["item_id"], _titles(catalog), strict=True))
    catalog_ids: list[str | None] = [None] * len(titles)
    verdicts = ["not found"] * len(titles)
    taken: set[str] = set()
    for verdict, main_only, year_steps in (
        ("exact", True, (0,)),
        ("other title", False, (0,)),
        ("near year", False, (-1, 1)),
    ):
        index: dict[tuple[str, int | None], set[str]] = defaultdict(set)
        for catalog_id, title in known:
            if catalog_id not in taken:
                for name in _names(title, main_only):
                    index[name, title.year].add(catalog_id)
        claims: dict[str, list[int]] = defaultdict(list)
        for row, title in enumerate(titles):
            if verdicts[row] != "not found":
                continue
            candidates = {
                candidate
                for name in _names(title, main_only)
                for year in _years(title.year, year_steps)
                for candidate in index.get((name, year), ())
            }
            if len(candidates) > 1:
                verdicts[row] = "ambiguous"
            elif candidates:
                claims[candidates.pop()].append(row)
        for catalog_id, rows in claims.items():
            same_film = len({(titles[row].main, titles[row].year) for row in rows}) == 1
            for row in rows:
                verdicts[row] = verdict if same_film else "ambiguous"
                catalog_ids[row] = catalog_id if same_film else None
        taken.update(claims)
    return pl.DataFrame(
        {"item_id": items["item_id"], "catalog_id": catalog_ids, "verdict": verdicts},
        schema=dict.fromkeys(("item_id", "catalog_id", "verdict"), pl.String),
    )


def _names(title: Title, main_only: bool) -> frozenset[str]:
    return title.names & {title.main} if main_only else title.names


def _years(year: int | None, steps: tuple[int, ...]) -> list[int | None]:
    if year is None:
        return [None] if 0 in steps else []
    return [year + step for step in steps]


def _titles(table: pl.DataFrame) -> list[Title]:
    """The title of each row."""
    years: list[int | None] = [None] * table.height
    if "release_year" in table.columns:
        numbers = table["release_year"].cast(pl.Float64, strict=False)
        years = numbers.cast(pl.Int64, strict=False).to_list()
    return [parse_title(text or "", year) for text, year in zip(table["title"], years, strict=True)]


@dataclass(frozen=True)
class AlignReport:
    """How many items got an entity vector; padding is not an item.

    Attributes:
        n_items: All items.
        n_linked: Items that have a link.
        n_without_vector: Items that have a link but no vector for its entity.
        n_with_vector: Items whose row is their entity's vector.
    """

    n_items: int
    n_linked: int
    n_without_vector: int
    n_with_vector: int


def align_entity_vectors(
    item_tokens: Sequence[str],
    links: pl.DataFrame,
    entity_ids: Sequence[str],
    vectors: np.ndarray,
) -> tuple[np.ndarray, AlignReport]:
    """The entity vectors laid out by item id.

    Differs from RecBole: two items may be linked to one entity, and unlinked items keep their
    place, with zeros.

    Args:
        item_tokens: N tokens by item id; index 0 is the padding.
        links: String columns item_id, entity_id. Links of other items are passed over; of several
            links of one item the first whose entity has a vector counts.
        entity_ids: E entity tokens, none twice.
        vectors: float32 (E, D), row e is the vector of entity_ids[e].

    Returns:
        float32 (N, D): row i is the vector of item i's entity, zeros for the padding and for items
        without a link or a vector; and the counts.

    Raises:
        KgrecError: An entity stands twice in `entity_ids`, or no item at all gets a vector.
    """
    if len(entity_ids) != len(vectors):
        raise ValueError(f"{len(entity_ids)} entity ids for {len(vectors)} vectors")
    row_of_entity = {entity: row for row, entity in enumerate(entity_ids)}
    if len(row_of_entity) < len(entity_ids):
        twice = next(e for row, e in enumerate(entity_ids) if row_of_entity[e] != row)
        raise KgrecError(f"entity '{twice}' has two vectors; expected one per entity")
    id_of_item = {token: item for item, token in enumerate(item_tokens) if item > 0}
    linked: set[int] = set()
    row_of_item: dict[int, int] = {}
    for token, entity in zip(links["item_id"], links["entity_id"], strict=True):
        item = id_of_item.get(token)
        if item is None:
            continue
        linked.add(item)
        row = row_of_entity.get(entity)
        if row is not None:
            row_of_item.setdefault(item, row)
    if not row_of_item:
        raise KgrecError(_nothing_fits(item_tokens, links, entity_ids, len(linked)))
    aligned = np.zeros((len(item_tokens), vectors.shape[1]), dtype=np.float32)
    aligned[list(row_of_item)] = vectors[list(row_of_item.values())]
    report = AlignReport(
        n_items=len(id_of_item),
        n_linked=len(linked),
        n_without_vector=len(linked) - len(row_of_item),
        n_with_vector=len(row_of_item),
    )
    return aligned, report


def _nothing_fits(
    item_tokens: Sequence[str], links: pl.DataFrame, entity_ids: Sequence[str], n_linked: int
) -> str:
    """One line that shows an id of each side, so that the mismatch can be seen."""
    if n_linked == 0:
        item = item_tokens[1] if len(item_tokens) > 1 else "none"
        link = links["item_id"][0] if links.height else "none"
        return (
            f"no item is linked to an entity: the items are like '{item}', the items of the links "
            f"like '{link}'; expected the same ids (give `kgrec prepare` the links of this data)"
        )
    entity = entity_ids[0] if len(entity_ids) else "none"
    return (
        f"{n_linked} items are linked but none of their entities has a vector: the links' entities "
        f"are like '{links['entity_id'][0]}', those with vectors like '{entity}'; expected the "
        "same ids (run `kgrec pretrain-kg` again)"
    )
