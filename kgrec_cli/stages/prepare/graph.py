"""Which knowledge graph `prepare` takes. This is settled before a large raw file is read.

`check_kg` refuses what cannot work, `plan_kg` downloads what is needed, `links.py` reads it. The
registry in `sources.py` is imported only where a graph is chosen by name.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kgrec_cli.core.linking.prune import Pruning
from kgrec_cli.errors import KgrecError, UsageError, unknown_name
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.raw.files import is_pattern
from kgrec_cli.formats.raw.item_columns import WantedColumn
from kgrec_cli.formats.raw.knowledge_graph import GRAPH_FILES, LINK_FILES

if TYPE_CHECKING:
    from kgrec_cli.download import RemoteFile
    from kgrec_cli.stages.prepare.sources import KGSource

LinkBy = Literal["id", "title"]

WIKIDATA = "wikidata"
BUILT_IN = ("auto", "metadata", "none", WIKIDATA)


@dataclass(frozen=True)
class KGRequest:
    """The options of the knowledge graph; `kg` is one of `BUILT_IN`, a registered name or a path.

    Without `link_by` items find their links by id, or by title when there is a catalogue, the item
    list whose ids the links use. By id without links: the entities of the graph are the items. In
    Wikidata also by an external identifier, a name of `wikidata.IDENTIFIERS` or a property, maybe
    with "=COLUMN"; or by "title=Q...", an entity that is the type of the items. `relations` and
    `hops` say what of a large graph is taken, `language` what its names are in.

    Attributes:
        kg_columns: The columns of the item table to make metadata of; empty for all of use.
        labels_path: Names of entities and relations, a table of token and name.
        pruning: What to drop of the graph once it is linked.
        further: Graphs to join with this one; of theirs only `kg`, `links_path`, `link_by` and
            `catalog_path` count.
    """

    kg: str = "auto"
    links_path: Path | None = None
    link_by: str | None = None
    catalog_path: Path | None = None
    add_metadata: bool = False
    relations: tuple[str, ...] = ()
    hops: int | None = None
    language: str | None = None
    endpoint: str | None = None
    kg_columns: tuple[WantedColumn, ...] = ()
    labels_path: Path | None = None
    pruning: Pruning = field(default_factory=Pruning)
    further: tuple["KGRequest", ...] = ()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages of names: as chosen or of the system, of names in all, English."""
        values = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
        of_system = re.match(r"([a-z]{2,3})(?=[_.@]|$)", next(filter(None, values), ""))
        code = self.language or (of_system[1] if of_system else "en")
        return tuple(dict.fromkeys((code.lower(), "mul", "en")))


@dataclass(frozen=True)
class KGPlan:
    """Where the graph comes from, once that is settled.

    Attributes:
        name: How to call it: a name of the registry, "metadata", "none" or the file's name.
        triples_path: None for "metadata" and "none".
        links_path: None for "metadata" and "none", and where the entities of the graph are the
            items (by id), or have names that titles are matched with (by title).
        link_by: How items find their links.
        catalog_paths: Item lists whose ids the links use; empty when the links carry titles
            themselves, or link by id.
        note: Which graph "auto" took and why; "" when the user chose.
        is_joined: Whether it has no links: its entities are those of the other graphs.
    """

    name: str
    triples_path: Path | None = None
    links_path: Path | None = None
    link_by: LinkBy = "id"
    catalog_paths: tuple[Path, ...] = ()
    note: str = ""
    is_joined: bool = False

    @property
    def is_of_metadata(self) -> bool:
        """Whether the graph is made of what the raw data says of its items, or there is none."""
        return self.name in ("metadata", "none") and self.triples_path is None


def requests(kgs: Sequence[str], links: Sequence[Path], request: KGRequest) -> KGRequest:
    """The request of one graph or several: the first, and the others in its `further`.

    The nth of `links` are those of the nth graph. "metadata" beside other graphs is added to them.

    Raises:
        UsageError: A graph named twice, more links than graphs, "auto" or "none" beside another.
    """
    for number, kg in enumerate(kgs):
        if kg in kgs[:number]:
            raise UsageError(f"--kg {kg} is named twice: name each graph once")
    named = [kg for kg in kgs if kg != "metadata"] or list(kgs[:1]) or ["auto"]
    if len(named) > 1:
        for kg in named:
            if kg in BUILT_IN and kg != WIKIDATA:
                raise UsageError(f"--kg {kg} goes with no other --kg")
    if len(links) > len(named):
        raise UsageError(f"{len(links)} times --links, but {len(named)} --kg to link")
    first, *others = (
        replace(request, kg=kg, links_path=path)
        for kg, path in zip_longest(named, links, fillvalue=None)
        if kg is not None
    )
    has_metadata = request.add_metadata or (len(kgs) > 1 and "metadata" in kgs)
    return replace(first, add_metadata=has_metadata, further=tuple(others))


def check_kg(request: KGRequest, dataset: str) -> None:
    """Checks what can be checked before anything is downloaded or read.

    Raises:
        UsageError: An unknown name, or options that do not go together.
        KgrecError: A file that is not there.
    """
    _check_choice(request)
    if request.kg == WIKIDATA:
        if request.catalog_path is not None:
            raise UsageError("--catalog goes with --kg FILE, not with --kg wikidata")
    elif request.kg in BUILT_IN:
        options = {
            "--links": request.links_path,
            "--link-by": request.link_by,
            "--catalog": request.catalog_path,
        }
        for option, value in options.items():
            if value is not None and (request.kg != "auto" or not _registered(dataset)):
                but = f", not with --kg {request.kg}"
                if request.kg == "auto":
                    but = f": no graph is registered for {dataset}"
                raise UsageError(f"{option} goes with --kg FILE{but}")
    elif _named_source(request, dataset) is None:
        _plan_file(request)
    if request.add_metadata and request.kg in ("metadata", "none"):
        raise UsageError(f"--add-metadata goes with a graph to add to, not with --kg {request.kg}")
    if request.kg_columns and request.kg != "metadata" and not request.add_metadata:
        raise UsageError("--kg-columns goes with --kg metadata or --add-metadata")
    for other in request.further:
        if other.kg != WIKIDATA and _named_source(other, dataset) is None:
            _plan_file(other, may_share=True)
    if request.link_by == "id" and request.catalog_path is not None:
        raise UsageError("--catalog goes with --link-by title, not with --link-by id")
    others = (other.links_path for other in request.further)
    for path in (request.links_path, request.catalog_path, request.labels_path, *others):
        if path is not None and not path.exists():
            raise KgrecError(f"{path}: no such file")


def _check_choice(request: KGRequest) -> None:
    """Checks how items are linked and what of a large graph is taken."""
    all_kgs = [request.kg, *(other.kg for other in request.further)]
    if request.endpoint is not None and WIKIDATA not in all_kgs:
        raise UsageError(f"--endpoint goes with --kg wikidata, not with --kg {request.kg}")
    for option, value in (
        ("--relations", request.relations),
        ("--hops", request.hops),
        ("--language", request.language),
    ):
        if value and request.kg in ("metadata", "none"):
            raise UsageError(f"{option} goes with --kg wikidata or --kg FILE")
    for each in request.relations:
        if all_kgs == [WIKIDATA] and not re.fullmatch(r"P[1-9]\d*|all", each):
            raise UsageError(f"--relations {each}: expected properties such as P57, or all")
    if request.language and not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", request.language):
        raise UsageError(f"--language {request.language}: expected a code such as de or pt-br")
    if request.link_by is None or request.link_by in ("id", "title"):
        if request.link_by == "id" and request.kg == WIKIDATA:
            raise UsageError("--link-by id: of Wikidata say which: imdb, tmdb, isbn, P345=COLUMN")
        return
    from kgrec_cli.core.linking.wikidata import ENTITY_ID, IDENTIFIERS, identifier

    name, _, value = request.link_by.partition("=")
    if request.kg in BUILT_IN and request.kg != WIKIDATA:
        raise UsageError(f"--link-by {request.link_by} goes with --kg wikidata or --kg FILE")
    if name == "title":
        if not ENTITY_ID.fullmatch(value) or request.kg != WIKIDATA:
            raise UsageError(f"--link-by {request.link_by}: expected title=Q..., a type of items")
    elif identifier(name) is None:
        raise UsageError(unknown_name("way to link", name, [*IDENTIFIERS, "title", "P345=COLUMN"]))


def check_whole_graph(request: KGRequest) -> None:
    """Refuses options that say what of a dump to take, for a graph that is read as a whole.

    Raises:
        UsageError: One of them was given.
    """
    by_id = request.link_by not in (None, "id", "title")
    for option, value in (
        ("--hops", request.hops),
        ("--relations", request.relations),
        ("--language", request.language),
        (f"--link-by {request.link_by}", by_id),
    ):
        if value:
            raise UsageError(
                f"{option} goes with --kg wikidata or a dump in RDF (.nt, .nt.gz, .ttl ...), not "
                f"with --kg {request.kg}"
            )


def plan_kg(
    request: KGRequest,
    dataset: str,
    *,
    on_event: OnEvent,
    cache_dir: Path | None = None,
    is_further: bool = False,
) -> KGPlan:
    """Chooses the graph, and downloads it when it comes from the registry.

    A graph that is joined with another one (`is_further`) needs no links of its own.

    Raises:
        KgrecError: A download that fails.
    """
    if request.kg in ("metadata", "none"):
        return KGPlan(request.kg)
    if request.kg == WIKIDATA:
        return KGPlan(WIKIDATA, links_path=request.links_path)
    if request.kg == "auto":
        if (request.links_path, request.link_by, request.catalog_path) == (None, None, None):
            return _plan_auto(dataset, on_event=on_event, cache_dir=cache_dir)
        source: KGSource | None = _registered(dataset)[0]  # links are of the registered graph
    else:
        source = _named_source(request, dataset)
    if source is None:
        return _plan_file(request, may_share=is_further)
    from kgrec_cli.download import fetch

    on_event(Note(f"knowledge graph: {source.name} ({source.licence})"))
    return _plan_source(source, request, partial(fetch, on_event=on_event, cache_dir=cache_dir))


def _is_path(name: str) -> bool:
    return "/" in name or "\\" in name or bool(Path(name).suffix)


def _named_source(request: KGRequest, dataset: str) -> "KGSource | None":
    """The registered graph that `--kg` names; None when it names none."""
    if _is_path(request.kg):
        return None
    from kgrec_cli.stages.prepare.sources import kg_source

    return kg_source(request.kg, dataset)


def _registered(dataset: str) -> "list[KGSource]":
    from kgrec_cli.stages.prepare.sources import kgs_for

    return kgs_for(dataset)


def _plan_auto(dataset: str, *, on_event: OnEvent, cache_dir: Path | None) -> KGPlan:
    from kgrec_cli.download import fetch, is_available

    get = partial(fetch, on_event=on_event, cache_dir=cache_dir)
    other = "another: --kg FILE --links FILE"
    reasons = []
    for source in _registered(dataset):
        try:
            if all(is_available(file, cache_dir=cache_dir) for file in source.files):
                plan = _plan_source(source, KGRequest(), get)
                taken = f"{source.name}, linked by {source.link_by} ({source.licence})"
                return replace(plan, note=f"knowledge graph: {taken}; {other}")
            reasons.append(f"{source.name} cannot be reached")
        except KgrecError as error:
            reasons.append(f"{source.name} failed ({error})")
    why = f", because {' and '.join(reasons)}" if reasons else ""
    note = f"knowledge graph: metadata (genres, years and tags of the raw set){why}; {other}"
    return KGPlan("metadata", note=note)


def _plan_source(
    source: "KGSource", request: KGRequest, get: Callable[["RemoteFile"], Path]
) -> KGPlan:
    triples_path = get(source.triples)
    if request.links_path is not None:
        return _plan_links(source.name, triples_path, request.links_path, request)
    links_path = get(source.links)
    catalog_paths = (
        tuple(map(get, source.titles)) if request.catalog_path is None else (request.catalog_path,)
    )
    link_by = _link_by(request.link_by) if request.link_by else source.link_by
    return KGPlan(source.name, triples_path, links_path, link_by, catalog_paths)


def _plan_file(request: KGRequest, *, may_share: bool = False) -> KGPlan:
    path = Path(request.kg)
    if not path.exists() and not is_pattern(path):
        if _is_path(request.kg):
            raise KgrecError(f"--kg {request.kg}: no such file")
        from kgrec_cli.stages.prepare.sources import KGS

        raise UsageError(unknown_name("knowledge graph", request.kg, [*KGS, *BUILT_IN]))
    links_path = request.links_path or _links_beside(path)
    if links_path is None:
        if request.link_by is not None and request.catalog_path is None:
            return KGPlan(path.name, path, link_by=_link_by(request.link_by))
        if may_share:
            return KGPlan(path.name, path, is_joined=True)
        raise UsageError(
            f"--kg {path}: nothing says which item is which entity; give --links FILE (item, "
            "entity or item, title, entity), or --link-by id alone where the entities are the "
            "items, --link-by title alone where they have names"
        )
    return _plan_links(path.name, path, links_path, request)


def _plan_links(name: str, triples_path: Path, links_path: Path, request: KGRequest) -> KGPlan:
    catalog_paths = () if request.catalog_path is None else (request.catalog_path,)
    link_by = _link_by(request.link_by or ("title" if catalog_paths else "id"))
    return KGPlan(name, triples_path, links_path, link_by, catalog_paths)


def _link_by(text: str) -> LinkBy:
    return "title" if text == "title" else "id"


def _links_beside(path: Path) -> Path | None:
    """The links beside a graph: `X.link` for `X.kg`; in the folder of `kg.txt`."""
    if path.is_dir():
        return path if any((path / name).is_file() for name in LINK_FILES) else None
    stem = path.with_suffix("") if path.suffix == ".gz" else path
    candidates = [stem.with_suffix(".link")] if stem.suffix == ".kg" else []
    if stem.name in GRAPH_FILES:
        candidates += map(path.with_name, LINK_FILES)
    return next((candidate for candidate in candidates if candidate.is_file()), None)
