"""Items and entities of Wikidata by an external identifier, wherever the entities come from."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from kgrec_cli.core.linking import wikidata as wd
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.external_ids import IdTables, read_id_column


@dataclass(frozen=True)
class Found:
    """Items and their entities: String columns item_id, entity_id; and how they were found."""

    links: pl.DataFrame
    by: str
    n_ids: int


@dataclass(frozen=True)
class Ids:
    """The identifiers of items.

    Attributes:
        name: What `--link-by` calls them.
        properties: Of Wikidata.
        forms: Item and value, for each way in which Wikidata may write the item's.
        where: File and column.
    """

    name: str
    properties: tuple[str, ...]
    forms: Sequence[tuple[str, str]]
    where: str

    @property
    def values(self) -> list[str]:
        """All values, each once."""
        return list(dict.fromkeys(form for _, form in self.forms))


def read_ids(link_by: str | None, tables: IdTables, item_ids: pl.Series) -> Ids | None:
    """The identifiers of items: those chosen, else the first that are there.

    Args:
        link_by: A name of `wikidata.IDENTIFIERS` or a property, maybe with "=COLUMN".
        tables: Those that may have the column.
        item_ids: Every item of the data set.

    Returns:
        None where none was chosen and none is there.

    Raises:
        KgrecError: No column of ids, or none of the form that is expected.
        UsageError: The column that was named is not there.
    """
    name, _, wanted = (link_by or "").partition("=")
    for each in (name,) if link_by else wd.IDENTIFIERS:
        identifier = wd.identifier(each)
        assert identifier is not None  # checked before anything was read
        column = read_id_column(tables, wanted or None, identifier.columns)
        if column is None:
            continue
        where = f"{column.file.where}, column {column.column}"
        rows = column.ids.filter(pl.col("item_id").is_in(item_ids.implode()))
        if rows.is_empty():
            example = shorten(item_ids[0])
            raise KgrecError(f"{where}: has no id of an item of the data set (such as '{example}')")
        forms = [(item, form) for item, text in rows.iter_rows() for form in identifier.forms(text)]
        if not forms:
            found = shorten(rows["id"][0])
            raise KgrecError(f"{where}: found '{found}', expected ids of {each}")
        return Ids(each, identifier.properties, forms, where)
    if link_by:
        names = ", ".join(file.name for file in tables.files) or "the raw data"
        raise KgrecError(
            f"--link-by {link_by}: found no column of it in {names}; name it: "
            f"--link-by {name}=COLUMN, in a table of items given by --items FILE"
        )
    return None


def link_ids(
    ids: Ids, entities: Mapping[str, Iterable[str]], source: str, *, on_event: OnEvent
) -> Found:
    """The links that identifiers give; `entities` has those of each value in `source`.

    Raises:
        KgrecError: Not one.
    """
    of_items: dict[str, set[str]] = defaultdict(set)
    for item, form in ids.forms:
        of_items[item].update(entities.get(form, ()))
    n_items = len(of_items)
    if not any(of_items.values()):
        raise KgrecError(
            f"{ids.where}: none of its {n_items:,} ids (such as '{shorten(ids.values[0])}') is one "
            f"that {source} knows as {' or '.join(ids.properties)}"
        )
    unclear = [(item, found) for item, found in of_items.items() if len(found) > 1]
    if unclear:
        item, found = unclear[0]
        shown = ", ".join(sorted(found)[:3])
        text = f"{len(unclear):,} items have ids of several entities (such as item {item}: {shown})"
        on_event(Warn(f"{source}: {text}; they are left without a link"))
    links = [(item, *found) for item, found in of_items.items() if len(found) == 1]
    on_event(Note(f"{source}: {len(links):,} of {n_items:,} {ids.name} ids are those of an entity"))
    columns = dict.fromkeys(("item_id", "entity_id"), pl.String)
    table = pl.DataFrame(links, columns, orient="row")
    return Found(table, f"{ids.name} ({'/'.join(ids.properties)})", n_items)
