"""The columns of an item table as relations: an item's brand, its categories, what it goes with.

`--kg metadata` makes triples of every column by which items share something. What a column holds is
guessed from its values, or said by `--kg-columns`; what is of no use is named, with the reason.
"""

import ast
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from kgrec_cli.core.data.sanity import count_marks, missing_marks

Kind = Literal["value", "list", "bins", "year", "items", "unused"]
KINDS: tuple[Kind, ...] = ("value", "list", "bins", "year", "items")

BETWEEN_ITEMS = "item."
"""How the relations from an item to another begin."""
LIST_END = "\x03"
"""Ends each element of a list, where a file has lists as such."""
N_BINS = 5
MAX_CODES = 20
"""Numbers of so few different values are taken for codes, as other values are."""
MIN_SHARED = 0.1
"""A column is of use when this share of its items has a value that another item has, too."""
SAME_FOR_ALL = 0.95
MANY_CHARS, MANY_WORDS = 80, 12
"""Cells of a median above either are free text."""
_LINKS_ITEMS = re.compile(
    r"also|bought|buy|view|similar|related|together|sequel|prequel|variant|alternat|accessor|next",
    re.IGNORECASE,
)
MIN_ITEMS, MIN_ITEMS_NAMED = 0.5, 0.02
"""Share of a column's values that are items: without, and with a name that says so."""
_ID_NAME = re.compile(r"(?i)(?:^|[_ .-])(?:id|ean|upc|isbn|gtin|asin|sku|code)\d*$|[a-z]I[dD]$")
_YEAR_NAME = re.compile(r"year|date|released?|published|since|born|founded", re.IGNORECASE)
_YEAR = r"(?:^|\D)((?:1[0-9]|20)\d\d)(?:\D|$)"
_SEPARATORS = ("|", ";", ",")


Split = Callable[[str], Sequence[str]]


class ColumnUse(NamedTuple):
    """What was made of a column.

    Attributes:
        column: Its name in the table.
        kind: How its cells were taken; "unused".
        how: How that was done, or why it is of no use; for people.
        facts: String columns item_id, relation_id, tail_id, none twice; empty when unused.
        missing: Which cells were taken for missing values, for people; "" for none.
    """

    column: str
    kind: Kind
    how: str
    facts: pl.DataFrame
    missing: str = ""


EMPTY = "it is empty"
NO_FACTS = pl.DataFrame(schema=dict.fromkeys(("item_id", "relation_id", "tail_id"), pl.String))


def column_facts(
    column: pl.DataFrame,
    name: str,
    items: pl.Series,
    kind: Kind | None = None,
    n_bins: int = N_BINS,
    *,
    spaced: bool = False,
) -> ColumnUse:
    """The facts that a column holds: its relation has the column's name, its values are tails.

    The tail of "Acme" in the column brand is "brand:Acme". Years also have their decade, in the
    relation "NAME_decade". Ids of other items are tails "item:ID" of the relation "item.NAME".

    Args:
        column: String columns item_id and text, a row for each item; "" where it has nothing.
            Texts for a missing value (NULL, nan, ...) are nothing, unless `kind` is "value".
        name: What the column is called.
        items: String; the ids of all items.
        kind: How to take its cells; None guesses.
        n_bins: Quantiles that "bins" makes.
        spaced: Whether the file says that spaces separate values (RecBole's `token_seq`).
    """
    cells = column.filter(pl.col("text") != "").unique("item_id", keep="first", maintain_order=True)
    missing = ""
    if kind != "value" and (marks := missing_marks(cells["text"])):
        is_missing = pl.col("text").is_in(marks)
        missing = count_marks(cells.filter(is_missing)["text"], column.height)
        cells = cells.filter(~is_missing)
    return _use(cells, name, items, kind, n_bins, spaced)._replace(missing=missing)


def _use(
    cells: pl.DataFrame, name: str, items: pl.Series, kind: Kind | None, n_bins: int, spaced: bool
) -> ColumnUse:
    """As `column_facts`, of the cells that hold something."""
    if cells.is_empty():
        return ColumnUse(name, "unused", EMPTY, NO_FACTS)
    how, split = "", splitter(cells["text"], spaced=spaced)
    if kind is None:
        kind, how = _guess(cells, name, items, split[0])
    if kind == "unused":
        return ColumnUse(name, kind, how, NO_FACTS)
    makers: Mapping[str, Callable[[], tuple[pl.DataFrame, str]]] = {
        "value": lambda: (_facts(cells, name, f"{name}:"), ""),
        "list": lambda: _list_facts(cells, name, *split),
        "bins": lambda: _bin_facts(cells, name, n_bins),
        "year": lambda: _year_facts(cells, name),
        "items": lambda: _item_facts(cells, name, items),
    }
    facts, said = makers[kind]()
    if facts.is_empty():
        expected = {"bins": "a number", "year": "a year", "items": "the id of another item"}
        found = cells["text"][0].strip(LIST_END).replace(LIST_END, ", ")[:40]
        how = f"no cell holds {expected.get(kind, 'a value')} (such as '{found}')"
        return ColumnUse(name, "unused", how, NO_FACTS)
    return ColumnUse(name, kind, said or how, facts)


def _guess(
    cells: pl.DataFrame, name: str, items: pl.Series, split: Split | None
) -> tuple[Kind, str]:
    """What a column holds, by its name and cells; if it is of no use, the reason."""
    n, texts = cells.height, cells["text"]
    if texts.str.contains(r"^\[?\s*\{").mean() > 0.5:  # type: ignore[operator]
        return "unused", "it holds objects"
    elements = _explode(cells, split)
    tokens = elements["text"]
    of_items = float(tokens.is_in(items.implode()).mean() or 0)  # type: ignore[arg-type]
    are_named = bool(_LINKS_ITEMS.search(name))
    are_numbers = bool(items.str.contains(r"^\d+$").all())
    if of_items >= (MIN_ITEMS_NAMED if are_named else MIN_ITEMS) and (are_named or not are_numbers):
        return "items", ""
    are_all_numbers = split is None and bool(_numbers(texts).is_not_null().mean() > 0.95)  # type: ignore[operator]
    if split is None and _YEAR_NAME.search(name) and texts.str.contains(_YEAR).mean() > 0.9:  # type: ignore[operator]
        return "year", ""
    counts = tokens.value_counts(name="n")
    shared = counts.filter(pl.col("n") > 1).select("text")
    n_sharing = elements.join(shared, on="text", how="semi")["item_id"].n_unique()
    are_shared = n_sharing >= MIN_SHARED * n
    if are_all_numbers and (counts.height > MAX_CODES or not are_shared):
        if _ID_NAME.search(name) and counts.height > 0.9 * n:
            return "unused", "it holds identifiers: each item has its own"
        return "unused", f"it holds numbers: {name}:bins makes quantiles of them"
    words = texts.str.count_matches(r"\S+")
    if split is None and _is_long(texts):
        return "unused", "it is free text"
    if counts.height == 1 and n > SAME_FOR_ALL * len(items):
        return "unused", f"it is '{tokens[0][:40]}' for all"
    if not are_shared:
        what = "free text" if words.mean() > 5 else "identifiers"  # type: ignore[operator]
        return "unused", f"it holds {what}: {1 - n_sharing / n:.0%} of the items share no value"
    return ("value", "") if split is None else ("list", "")


def _is_long(texts: pl.Series) -> bool:
    """Whether texts are so long that they are prose."""
    words = texts.str.count_matches(r"\S+")
    return bool(texts.str.len_chars().median() > MANY_CHARS or words.median() > MANY_WORDS)  # type: ignore[operator]


def splitter(texts: pl.Series, *, spaced: bool = False) -> tuple[Split | None, str]:
    """How the cells of a column are split into the elements of a list, and that in words.

    Lists of the file, JSON lists, Python's lists, or the separator "|", ";" or ",". A comma also
    stands within names, as a semicolon may: they separate where elements stand in other cells
    again, so that there are half as many different ones as cells (of a semicolon, no more). A space
    separates where the file says so (`spaced`), nothing else does, and the cells are no prose.

    Returns:
        None and "" when the cells are no lists.
    """
    if texts.str.ends_with(LIST_END).any():
        return partial(str.split, sep=LIST_END), "lists"
    is_list = texts.str.contains(r"(?s)^\[.*\]$|^\{\}$")
    if is_list.mean() > 0.5:  # type: ignore[operator]
        return _bracketed, "lists in brackets"
    for separator in _SEPARATORS:
        has = texts.str.contains(separator, literal=True)
        if not has.any():
            continue
        elements = texts.str.split(separator).explode().str.strip_chars()
        most = {"|": np.inf, ";": texts.n_unique(), ",": texts.n_unique() / 2}[separator]
        if elements.n_unique() <= most and has.mean() > 0.05:  # type: ignore[operator]
            return partial(str.split, sep=separator), f"lists with '{separator}'"
    if spaced and not _is_long(texts):
        return str.split, "lists with spaces"
    return None, ""


def _bracketed(text: str) -> list[str]:
    """The elements of a JSON list or of a list as Python writes it, inner lists flattened."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        try:
            values = ast.literal_eval(text) if len(text) < 100_000 else []
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values = text.strip("[]").split(",")
    found: list[str] = []
    waiting: list[object] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple | set):
            waiting += list(value)[::-1]
        elif value is not None and not isinstance(value, dict):
            found.append(str(value))
    return found


def _explode(cells: pl.DataFrame, split: Split | None) -> pl.DataFrame:
    """A row for each element of each item, no element of an item twice, none blank."""
    if split is None:
        return cells
    lists = [[" ".join(each.split()) for each in split(text)] for text in cells["text"]]
    rows = pl.DataFrame({"item_id": cells["item_id"], "text": pl.Series(lists, dtype=pl.List(str))})
    return (
        rows.explode("text").drop_nulls().filter(pl.col("text") != "").unique(maintain_order=True)
    )


def _facts(rows: pl.DataFrame, relation: str, prefix: str) -> pl.DataFrame:
    value = pl.col("text").str.replace_all(r"\s+", " ")
    return rows.select(
        "item_id", pl.lit(relation).alias("relation_id"), (prefix + value).alias("tail_id")
    ).unique(maintain_order=True)


def _list_facts(
    cells: pl.DataFrame, name: str, split: Split | None, said: str
) -> tuple[pl.DataFrame, str]:
    if split is None:
        split, said = _common_separator(cells["text"], _SEPARATORS)
    return _facts(_explode(cells, split), name, f"{name}:"), said


def _common_separator(texts: pl.Series, marks: Sequence[str]) -> tuple[Split | None, str]:
    """A split at the mark that most cells have, for a column that is said to hold lists."""
    counts = {mark: int(texts.str.contains(mark, literal=True).sum()) for mark in marks}
    mark = max(marks, key=counts.__getitem__)
    if not counts[mark]:
        return None, ""
    return partial(str.split, sep=mark), f"lists with '{mark}'"


def _numbers(texts: pl.Series) -> pl.Series:
    """The numbers that texts hold, Float64: "$1,299.00", "12,50 EUR", "7"; null for none."""
    number = r"([+-]?[\d.,]*\d(?:[eE][+-]?\d+)?)"
    unit = r"(?:[A-Za-z]{1,3}|[^\w\s.,+-])?"
    plain = texts.str.extract(rf"^(?:[A-Z]{{3}}|[^\w\s.,+-]{{1,2}})?\s*{number}\s*{unit}$")
    plain = plain.str.replace_all(r",(\d{3})", "$1").str.replace(r",(\d{1,2})$", ".$1")
    numbers = plain.cast(pl.Float64, strict=False)
    return numbers.replace({np.inf: None, -np.inf: None})


def _bin_facts(cells: pl.DataFrame, name: str, n_bins: int) -> tuple[pl.DataFrame, str]:
    """Quantiles, named by their least and greatest number; equal numbers are in one."""
    rows = cells.with_columns(number=_numbers(cells["text"])).drop_nulls("number")
    if rows.is_empty():
        return NO_FACTS, ""
    values = rows["number"].to_numpy()
    cuts = np.unique(np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1]))
    rows = rows.with_columns(bin=pl.Series(np.searchsorted(cuts, values, side="right")))
    least, most = pl.col("number").min().over("bin"), pl.col("number").max().over("bin")
    spans = rows.select(low=least, high=most).unique().rows()
    names = {
        span: f"{span[0]:.15g} to {span[1]:.15g}" if span[0] < span[1] else f"{span[0]:.15g}"
        for span in spans
    }
    labels = [names[span] for span in rows.select(low=least, high=most).iter_rows()]
    said = f"{len(names)} quantiles" if len(names) > 1 else "one quantile"
    said += _but(cells, rows, "number")
    return _facts(rows.with_columns(text=pl.Series(labels)), name, f"{name}:"), said


def _but(cells: pl.DataFrame, rows: pl.DataFrame, what: str) -> str:
    n_others = cells.height - rows.height
    return f"; {n_others:,} cells hold no {what}" if n_others else ""


def _year_facts(cells: pl.DataFrame, name: str) -> tuple[pl.DataFrame, str]:
    rows = cells.with_columns(text=pl.col("text").str.extract(_YEAR)).drop_nulls("text")
    decades = rows.with_columns(text=pl.format("{}0s", pl.col("text").str.slice(0, 3)))
    relation = f"{name}_decade"
    years = [_facts(rows, name, f"{name}:"), _facts(decades, relation, f"{relation}:")]
    return pl.concat(years), "years and decades" + _but(cells, rows, "year")


def _item_facts(cells: pl.DataFrame, name: str, items: pl.Series) -> tuple[pl.DataFrame, str]:
    """Of the ways to split the cells, what gives most ids of other items."""
    best, n_ids = NO_FACTS, 0
    marks = (partial(str.split, sep=mark) for mark in (*_SEPARATORS, " "))
    for split in (splitter(cells["text"])[0], None, *marks):
        rows = _explode(cells, split)
        is_other = pl.col("text").is_in(items.implode()) & (pl.col("text") != pl.col("item_id"))
        known = rows.filter(is_other)
        if known.height > best.height:
            best, n_ids = _facts(known, f"{BETWEEN_ITEMS}{name}", "item:"), rows.height
    return best, f"links to other items; {best.height:,} of {n_ids:,} ids are other items"
