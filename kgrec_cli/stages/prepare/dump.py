"""`--kg FILE` of a dump in RDF: packed, in parts, in any format, read whole or around the items."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.raw.dumps import is_dump, rdf_format, to_n_triples
from kgrec_cli.formats.raw.external_ids import IdTables
from kgrec_cli.formats.raw.files import RawFile, is_pattern, is_zip, list_raw_files
from kgrec_cli.formats.raw.knowledge_graph import GRAPH_FILES, read_n_triples
from kgrec_cli.stages.prepare.around import (
    SAME,
    TRIPLE,
    find_by_value,
    select_from_dump,
    shortened,
)
from kgrec_cli.stages.prepare.by_ids import link_ids, read_ids
from kgrec_cli.stages.prepare.graph import KGPlan, KGRequest
from kgrec_cli.stages.prepare.links import KnowledgeGraph, load_kg
from kgrec_cli.stages.prepare.metadata import Metadata

LARGE_BYTES = 1 << 28
"""From this size on a dump is not read whole, unless `--hops` says so."""


def find_dumps(path: Path) -> list[RawFile]:
    """The files at a path (a file, folder, zip or pattern) that are dumps in RDF; [] for others."""
    if path.is_dir() and any((path / name).is_file() for name in GRAPH_FILES):
        return []
    has_parts = path.is_dir() or is_pattern(path) or is_zip(RawFile(path))
    files = list_raw_files(path) if has_parts else [RawFile(path)]
    return [file for file in files if is_dump(file)]


def load_dump(
    request: KGRequest,
    plan: KGPlan,
    dumps: Sequence[RawFile],
    metadata: Metadata,
    tables: IdTables,
    item_ids: pl.Series,
    *,
    on_event: OnEvent,
) -> KnowledgeGraph:
    """The graph of dumps: what is around the items, or all of a small one without `--hops`.

    `tables` may have a column of external identifiers; `item_ids` has every item of the data set.

    Raises:
        KgrecError: A dump that is cut off or damaged, or items that find no entity.
    """
    with tempfile.TemporaryDirectory(prefix="kgrec-") as folder:
        files = []
        for number, file in enumerate(dumps):
            if kind := rdf_format(file):
                path = Path(folder) / f"{number}-{file.path.name}.nt"
                to_n_triples(file, kind, path)
                if not path.stat().st_size:
                    raise KgrecError(f"{file.where}: holds no triples")
                file = RawFile(path)
            files.append(file)
        n_bytes = sum({file.path: file.path.stat().st_size for file in files}.values())
        is_large = n_bytes >= LARGE_BYTES
        ids = None
        if plan.is_joined and is_large:
            raise UsageError(
                f"--kg {plan.triples_path}: a dump of {n_bytes >> 20:,} MB is not read whole; give "
                "its links by another --links FILE"
            )
        if request.link_by not in (None, "id", "title"):
            ids = read_ids(request.link_by, tables, item_ids)
        if plan.is_joined or not (request.relations or request.hops or is_large):
            triples = pl.concat(read_n_triples(file) for file in files)
        else:
            triples = pl.DataFrame(schema=TRIPLE)
        if ids is not None and not plan.is_joined:
            by_value = find_by_value(files, ids.properties, ids.values, on_event)
            entities = dict(by_value.group_by("id").agg("entity_id").iter_rows())
            found = link_ids(ids, entities, plan.name, on_event=on_event)
            kg = KnowledgeGraph(triples, found.links, found.n_ids)
        elif plan.links_path is None and plan.link_by == "id" and not plan.is_joined:
            own = pl.DataFrame({"item_id": item_ids, "entity_id": item_ids})
            kg = KnowledgeGraph(triples, own, own.height)
        elif plan.links_path is None and triples.is_empty():
            raise UsageError(
                f"--link-by title: the names of all of {plan.triples_path} are too many; give "
                "--links FILE, or --link-by imdb, P345=COLUMN and the like of Wikidata"
            )
        else:
            kg = load_kg(plan, metadata, item_ids, triples=triples, on_event=on_event)
        kg = replace(kg, paths=(*(file.path for file in dumps), *kg.paths[1:]))
        if triples.height:
            if request.language and not request.further:
                raise UsageError(
                    f"--language: {plan.triples_path} is small and read whole, with names in all "
                    "languages; it goes with --hops 1 or --relations all"
                )
            is_same = pl.col("relation_id").is_in([name.strip("<>") for name in SAME])
            if not request.further and (n_same := triples.filter(is_same).height):
                text = f"{plan.triples_path}: {n_same:,} triples say what redirects to or is the "
                on_event(Note(f"{text}same as what; they are followed with --hops 1 or 2"))
            return replace(kg, triples=shortened(triples), links=shortened(kg.links), in_file=None)
        if is_large and not request.hops:
            size = f"{n_bytes / (1 << 30):.1f} GB" if n_bytes >= 1 << 30 else f"{n_bytes >> 20} MB"
            text = f"{plan.triples_path}: {size}, so what is within one hop of the linked entities "
            on_event(Note(f"{text}is taken; --hops 2 takes more"))
        of_items = kg.links.filter(pl.col("item_id").is_in(item_ids.implode()))
        selected = select_from_dump(
            files,
            of_items,
            where=str(plan.triples_path),
            relations=request.relations,
            hops=request.hops or 1,
            languages=request.languages,
            on_event=on_event,
        )
    return replace(
        kg,
        triples=selected.triples,
        links=selected.links,
        labels=selected.labels,
        selection=selected.report,
        in_file=None,
    )
