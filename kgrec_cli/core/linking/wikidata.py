"""Wikidata's identifiers and the queries for them: what is asked, and how ids are written there.

No network here: `query_service` asks, the prepare stage puts the answers together.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

ENTITY = "http://www.wikidata.org/entity/"
DIRECT = "http://www.wikidata.org/prop/direct/"
FILM = "Q11424"
PREFIXES = (
    f"PREFIX wd: <{ENTITY}> PREFIX wdt: <{DIRECT}> PREFIX wikibase: <http://wikiba.se/ontology#> "
    "PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#> "
    "PREFIX skos: <http://www.w3.org/2004/02/skos/core#> "
    "PREFIX owl: <http://www.w3.org/2002/07/owl#>\n"
)
_SHORT = re.compile(rf"<?(?:{ENTITY}|{DIRECT})([QP]\d+)>?".replace("http:", "https?:"))
ENTITY_ID = re.compile(r"Q[1-9]\d*")
PROPERTY_ID = re.compile(r"P[1-9]\d*")


def short_id(token: str) -> str:
    """An IRI of Wikidata's as its id: ".../entity/Q42" is "Q42"; another token as it is."""
    match = _SHORT.fullmatch(token)
    return match[1] if match else token


class Identifier(NamedTuple):
    """An external identifier that items can be linked by.

    Attributes:
        properties: The properties of Wikidata that hold it.
        columns: Names that a column of it goes by, folded (letters and digits only).
        forms: The ways in which Wikidata may write a value; none for what is no such id.
    """

    properties: tuple[str, ...]
    columns: tuple[str, ...]
    forms: Callable[[str], list[str]]


def _imdb(text: str) -> list[str]:
    match = re.search(r"(?:^|/|\b)((?:tt|nm|co)\d+)\b", text) or re.fullmatch(
        r"(\d+)(?:\.0)?", text
    )
    if match is None:
        return []
    kind = match[1][:2] if match[1][:1].isalpha() else "tt"
    return [kind + match[1].removeprefix(kind).lstrip("0").zfill(7)]


def _number(text: str) -> list[str]:
    match = re.search(r"(?:^|/)0*([1-9]\d*)(?:\.0)?(?:$|[/-])", text)
    return [match[1]] if match else []


def _uuid(text: str) -> list[str]:
    match = re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text.lower())
    return [match[0]] if match else []


_GROUPS = {
    "978": ("[0-57]", "8|9[0-4]|65", "6[0-4]|9[5-8]", "99[0-8]", "999"),
    "979": ("8", "1[0-5]", "", "", ""),
}
"""The registration groups of ISBNs by prefix: how those of one digit, two, ... begin."""


def _isbn(text: str) -> list[str]:
    """Both ISBNs of a book, each with hyphens at all places where they may stand, and without.

    Wikidata writes them with hyphens; where the registrant ends, only a table of all would tell.
    """
    digits = re.sub(r"[\s-]", "", text.upper().removesuffix(".0"))
    if re.fullmatch(r"\d{1,9}[\dX]", digits):
        digits = digits.zfill(10)
        body, prefix = digits[:9], "978"
    elif re.fullmatch(r"97[89]\d{10}", digits):
        body, prefix = digits[3:12], digits[:3]
    else:
        return []
    tens = sum(int(digit) * weight for digit, weight in zip(body, range(10, 1, -1), strict=True))
    check_10 = "0123456789X"[-tens % 11]
    full = prefix + body
    check_13 = str(-sum(int(digit) * (1, 3)[n % 2] for n, digit in enumerate(full)) % 10)
    if digits[-1] != (check_10 if len(digits) == 10 else check_13):
        return []
    n_group = next(
        (n for n, p in enumerate(_GROUPS[prefix], start=1) if p and re.match(p, body)), None
    )
    ends = range(n_group + 1, 9) if n_group else ()
    split = [f"{body[:n_group]}-{body[n_group:end]}-{body[end:]}" for end in ends]
    forms = [full + check_13, *(f"{prefix}-{parts}-{check_13}" for parts in split)]
    if prefix == "978":
        forms += [body + check_10, *(f"{parts}-{check_10}" for parts in split)]
    return forms


IDENTIFIERS = {
    "imdb": Identifier(("P345",), ("imdb", "imdbid", "tconst", "imdburl"), _imdb),
    "tmdb": Identifier(("P4947",), ("tmdb", "tmdbid", "themoviedbid"), _number),
    "isbn": Identifier(("P212", "P957"), ("isbn", "isbn13", "isbn10"), _isbn),
    "musicbrainz": Identifier(
        ("P434", "P436"), ("musicbrainz", "musicbrainzid", "mbid", "artistmbid"), _uuid
    ),
    "steam": Identifier(("P1733",), ("steam", "steamid", "steamappid", "appid"), _number),
}
"""What `--link-by` calls them. The properties are looked up in this order."""


def identifier(name: str) -> Identifier | None:
    """The identifier of a name in IDENTIFIERS, or of a property such as "P345"; else None."""
    if name in IDENTIFIERS:
        return IDENTIFIERS[name]
    if not PROPERTY_ID.fullmatch(name):
        return None
    known = [each for each in IDENTIFIERS.values() if name in each.properties]
    if known:
        return known[0]._replace(properties=(name,))
    return Identifier((name,), (), lambda text: [text] if text else [])


def quoted(text: str) -> str:
    r"""A text as a literal of SPARQL: 'say "hi"' gives "say \"hi\""."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]+", " ", escaped) + '"'


def property_query(properties: Sequence[str]) -> str:
    """The query for what properties are: property, type (an IRI of wikibase)."""
    return (
        f"{PREFIXES}SELECT ?property ?type WHERE {{ VALUES ?property {{ {_things(properties)} }} "
        "?property wikibase:propertyType ?type }"
    )


def id_query(properties: Sequence[str], ids: Sequence[str]) -> str:
    """The query for the entities of some ids: id, item; of a book's edition its work."""
    path = "|".join(f"wdt:{name}" for name in properties)
    values = " ".join(map(quoted, ids))
    if not set(properties) & {"P212", "P957"}:
        return f"{PREFIXES}SELECT ?id ?item WHERE {{ VALUES ?id {{ {values} }} ?item {path} ?id }}"
    return (
        f"{PREFIXES}SELECT ?id ?item ?work WHERE {{ VALUES ?id {{ {values} }} ?item {path} ?id "
        "OPTIONAL { ?item wdt:P629 ?work } }"
    )


def title_query(type_id: str | None, languages: Sequence[str], titles: Sequence[str]) -> str:
    """The query for the entities of some titles: item, title, date and type where known."""
    values = " ".join(f"{quoted(title)}@{code}" for title in titles for code in languages)
    of_type = f"?item wdt:P31/wdt:P279* wd:{type_id} . " if type_id else ""
    return (
        f"{PREFIXES}SELECT DISTINCT ?item ?title ?date ?type WHERE {{ VALUES ?title {{ {values} }} "
        f"?item rdfs:label|skos:altLabel ?title . {of_type}OPTIONAL {{ ?item wdt:P577 ?date }} "
        "OPTIONAL { ?item wdt:P31 ?type } }"
    )


def triple_query(relations: Sequence[str] | None, entities: Sequence[str]) -> str:
    """The query for what leads from some entities to others: head, relation, tail.

    Without `relations`, by all properties whose values are entities: no identifier is among them.
    """
    values = f"VALUES ?head {{ {_things(entities)} }}"
    if relations is None:
        which = "?head ?relation ?tail . ?property wikibase:directClaim ?relation ; "
        which += "wikibase:propertyType wikibase:WikibaseItem ."
    else:
        paths = " ".join(f"wdt:{name}" for name in relations)
        which = f"VALUES ?relation {{ {paths} }} ?head ?relation ?tail ."
    return f"{PREFIXES}SELECT ?head ?relation ?tail WHERE {{ {values} {which} }}"


def label_query(languages: Sequence[str], entities: Sequence[str]) -> str:
    """The query for the names of some entities: entity, label, language; target of a redirect."""
    codes = ", ".join(map(quoted, languages))
    return (
        f"{PREFIXES}SELECT ?entity ?label (LANG(?label) AS ?language) ?target WHERE {{ "
        f"VALUES ?entity {{ {_things(entities)} }} "
        f"{{ ?entity rdfs:label ?label FILTER(LANG(?label) IN ({codes})) }} "
        "UNION { ?entity owl:sameAs ?target } }"
    )


def _things(ids: Sequence[str]) -> str:
    return " ".join(f"wd:{each}" for each in ids)
