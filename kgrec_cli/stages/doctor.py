"""`kgrec doctor`: what is odd about a data set, and what to do about it. Changes no data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl

from kgrec_cli.core.data.splits import check_targets
from kgrec_cli.core.linking.names import entities_of, with_names
from kgrec_cli.core.linking.oddities import (
    count_self_loops,
    fit_links,
    graph_oddities,
    same_relations,
    turned_text,
)
from kgrec_cli.core.linking.verdict import LinkVerdict, link_verdict
from kgrec_cli.core.vectors import find_fault
from kgrec_cli.dataset import files
from kgrec_cli.dataset.features import (
    CURE,
    CURE_VECTORS,
    other_kind_of_ids,
    read_vectors,
    token_of_item,
)
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.settings import Settings
from kgrec_cli.stages.graph import build_card, card_notes

Level = Literal["ok", "note", "warn", "bad"]
Result = TypeVar("Result")

LONG = 4.0
"""Mean norm 1 trains well, some of 5 and more badly (docs/studies/2026-11-accuracy.md)."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to do about it ("" for nothing).

    `level` is "ok", "note" (worth knowing), "warn" (what `prepare` or reading the files warned of)
    or "bad" (results will be wrong or a command will fail).
    """

    level: Level
    about: str
    text: str
    cure: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings on a data set, and the verdict on its links: None without links or a graph."""

    dataset: str
    findings: tuple[Finding, ...]
    links: LinkVerdict | None

    @property
    def is_bad(self) -> bool:
        """Whether anything has to be cured."""
        return any(finding.level == "bad" for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """A JSON value: dataset, links (verdict, witness, right, n_compared), findings."""
        links = {"verdict": "unknown"} if self.links is None else self.links._asdict()
        findings = [asdict(finding) for finding in self.findings]
        return {"dataset": self.dataset, "links": links, "findings": findings}


def run_doctor(settings: Settings, folder: Path) -> Diagnosis:
    """Looks at all files of a data set."""
    try:
        changed = files.changed_files(settings, folder)
    except KgrecError as error:
        return Diagnosis(str(settings.dataset), (Finding("bad", "files", str(error)),), None)
    findings = [Finding("note", "files", line) for line in changed]
    events: list[Event] = []
    dataset = _try(findings, ".inter", lambda: load_dataset(settings, folder, events.append))
    told = [event for event in events if getattr(event, "text", None) not in changed]
    findings += _messages(settings, folder, told)
    if dataset is not None:
        findings += _interactions(dataset)
        split = split_dataset(settings, dataset)
        check = partial(check_targets, dataset.histories, split, validate=settings.validates)
        _try(findings, ".inter", check)
    has_kg = files.atomic_path(settings, folder, "kg").is_file()
    kg = _try(findings, ".kg", lambda: files.read_kg(settings, folder)) if has_kg else None
    has_graph = has_kg and (kg is None or not kg.is_empty())
    if kg is not None:
        _try(findings, ".kg", partial(files.check_kg, settings, folder, kg))
        kg = kg.drop_nulls()
    features = _try(findings, "vectors", lambda: _features(settings, folder))
    if not has_graph:
        text = "no graph; the vectors are not made of one" if features else "no graph: GRU4Rec only"
        findings.append(Finding("note", ".kg", text))
    needs_links = has_graph and not (features and all(feature.of_items for feature in features))
    look = partial(_links, settings, folder, dataset, kg, findings, needs_links=needs_links)
    verdict = _try(findings, ".link", look)
    if kg is not None and has_graph:
        findings += _graph(kg, [finding.text for finding in findings])
        if dataset is not None and dataset.entities:
            card = build_card(dataset, split, kg)
            findings += [Finding("note", ".kg", text, cure) for text, cure in card_notes(card)]
    if features == [] and has_graph:
        cure = "`kgrec pretrain-kg` makes them"
        findings.append(Finding("note", ".ent_feature", "no entity vectors yet", cure))
    for feature in features or ():
        look_at = partial(_vectors, settings, folder, feature, dataset, findings)
        _try(findings, feature.path.suffix, look_at)
    return Diagnosis(str(settings.dataset), tuple(findings), verdict)


def _messages(settings: Settings, folder: Path, events: list[Event]) -> Iterator[Finding]:
    """The warnings that `prepare` recorded, and what reading the interactions told."""
    recorded = files.read_report(files.atomic_path(settings, folder, "inter")).warnings
    for text in recorded:
        yield Finding("warn", "prepare", text)
    for event in events:
        if isinstance(event, Note | Warn) and event.text not in recorded:
            yield Finding("warn" if isinstance(event, Warn) else "note", ".inter", event.text)


def _try(findings: list[Finding], about: str, look: Callable[[], Result]) -> Result | None:
    """What `look` gives; None and a bad finding when a file cannot be used."""
    try:
        return look()
    except KgrecError as error:
        findings.append(Finding("bad", about, str(error)))
        return None


def _interactions(dataset: Dataset) -> Iterator[Finding]:
    histories = dataset.histories
    lengths = np.diff(histories.offsets)
    n = len(histories.items)
    text = f"{n:,} interactions, {len(histories):,} users, {len(dataset.items) - 1:,} items"
    yield Finding("ok", ".inter", f"{text}; {np.median(lengths):g} a user (median)")
    if dataset.split is not None:
        return
    note = partial(Finding, "note", ".inter")
    n_short = int((lengths < 4).sum())
    if n_short:
        text = f"{n_short:,} users have fewer than 4 interactions: nothing of theirs can validate"
        is_many = n_short * 10 > len(histories)
        yield note(text, "--min-user-inter 4 leaves them out" if is_many else "")
    pairs = pl.DataFrame({"user_id": histories.owners, "item_id": histories.items})
    n_repeated = pairs.height - pairs.n_unique()
    if n_repeated:
        text = f"{n_repeated:,} interactions are of a user and item seen before"
        yield note(f"{text} ({n_repeated / n:.1%})")
    same_user = np.diff(histories.owners) == 0
    steps = np.diff(histories.times)[same_user]
    n_ties = int((steps == 0).sum())
    if n_ties:
        text = f"{n_ties:,} events have their user's previous time ({n_ties / len(steps):.1%})"
        yield note(f"{text}: the file's order decides between them")
    lost = (np.diff(histories.times.astype(np.float32))[same_user] == 0) & (steps > 0)
    if lost.any():
        yield note(
            f"{int(lost.sum()):,} pairs of neighbouring events have times that float32 cannot tell "
            "apart: RecBole may put them in another order; kgrec sorts exact numbers"
        )


def _links(
    settings: Settings,
    folder: Path,
    dataset: Dataset | None,
    kg: pl.DataFrame | None,
    findings: list[Finding],
    *,
    needs_links: bool,
) -> LinkVerdict | None:
    """The verdict on the links; None where there is nothing to tell it by."""
    links = all_links = files.read_links(settings, folder) if dataset is None else dataset.links
    if links.is_empty():
        if needs_links:
            text = "no links: GRU4RecKG needs them, GRU4Rec does not"
            cure = "`kgrec prepare NAME --raw PATH --kg FILE --links FILE` makes them"
            findings.append(Finding("note", ".link", text, cure))
        return None
    if dataset is not None:  # as the other commands: items without an interaction do not count
        tokens = pl.Series(dataset.items.tokens[1:], dtype=pl.String)
        links = links.filter(pl.col("item_id").is_in(tokens.implode()))
        findings += _coverage(links, all_links, dataset, needs_links=needs_links)
    if kg is None or kg.is_empty():
        return None
    if dataset is not None:
        text = turned_text(*fit_links(all_links, kg, tokens), len(tokens))
        if text and not _is_said(text, [finding.text for finding in findings]):
            findings.append(Finding("note", ".link", text))
    if links.is_empty():
        return None
    entities = entities_of(kg)
    if dataset is not None:
        known = links.filter(pl.col("entity_id").is_in(entities.implode()))
        n_known, n_items = known["item_id"].n_unique(), len(dataset.items) - 1
        text = f"{n_known:,} of {n_items:,} items are linked to an entity with triples"
        findings.append(Finding("ok", ".link", text))
    linked = links["entity_id"].unique()
    n_linked, n_unknown = len(linked), int((~linked.is_in(entities.implode())).sum())
    if n_unknown:
        text = f"{n_unknown:,} of {n_linked:,} linked entities stand in no triple"
        if n_unknown == n_linked:
            text += f": 0 match; they are like '{shorten(linked[0])}', the graph's like "
            text += f"'{shorten(entities[0])}'"
        cure = "are the links another graph's?" if 2 * n_unknown > n_linked else ""
        findings.append(Finding("bad" if n_unknown == n_linked else "note", ".link", text, cure))
    catalogue = files.read_items(settings, folder) if dataset is None else dataset.catalogue
    verdict = link_verdict(catalogue, links, with_names(kg, files.read_labels(settings, folder)))
    levels: dict[str, Level] = {"sound": "ok", "broken": "bad", "unknown": "note"}
    level = levels[verdict.verdict]
    cure = CURE if level == "bad" else ""
    findings.append(Finding(level, ".link", verdict.summary, cure))
    return verdict


def _coverage(
    links: pl.DataFrame, all_links: pl.DataFrame, dataset: Dataset, *, needs_links: bool
) -> Iterator[Finding]:
    """How much the links of the data set's items cover."""
    shared = links.unique().filter(pl.col("entity_id").is_duplicated())["item_id"].n_unique()
    if shared:
        text = f"{shared:,} items share an entity with another (RecBole fails on that)"
        yield Finding("note", ".link", text)
    repeated = links.height - links["item_id"].n_unique()
    if repeated:
        yield Finding("note", ".link", f"{repeated:,} further links of one item: the last counts")
    tokens = pl.Series(dataset.items.tokens[1:], dtype=pl.String)
    is_linked = np.concatenate([[False], tokens.is_in(links["item_id"].implode()).to_numpy()])
    n_items, n_linked = len(tokens), int(is_linked.sum())
    covered = float(is_linked[dataset.histories.items].mean())
    text = f"{n_linked:,} of {n_items:,} items are linked, {covered:.1%} of the interactions"
    if n_linked == 0:
        text += f": 0 of {all_links['item_id'].n_unique():,} item ids match; those of the links "
        theirs, ours = shorten(all_links["item_id"][0]), shorten(tokens[0])
        text += f"are like '{theirs}', the data set's like '{ours}'"
        level: Level = "bad" if needs_links else "note"
        yield Finding(level, ".link", text, "are its item ids another catalogue's?")
        return
    yield Finding("ok", ".link", text)
    if n_linked < n_items:
        n_lost = int((~is_linked[dataset.histories.items]).sum())
        text = f"{n_items - n_linked:,} items have no link: RecBole would drop their {n_lost:,} "
        text += "interactions in silence; kgrec keeps them, with zero vectors"
        yield Finding("note", ".link", text)


def _is_said(text: str, said: Sequence[str]) -> bool:
    """Whether a warning of `prepare` says a thing already, with the name of its file before it."""
    return any(line.endswith(text) for line in said)


def _graph(triples: pl.DataFrame, said: Sequence[str]) -> Iterator[Finding]:
    distinct = triples.unique()
    entities = len(entities_of(distinct))
    n_relations = distinct["relation_id"].n_unique()
    text = f"{triples.height:,} triples, {entities:,} entities, {n_relations:,} relations"
    yield Finding("ok", ".kg", text)
    if distinct.height < triples.height:
        n_repeated = triples.height - distinct.height
        yield Finding("note", ".kg", f"{n_repeated:,} triples stand more than once")
    if n_loops := count_self_loops(distinct):
        yield Finding("note", ".kg", f"{n_loops:,} triples lead from an entity to itself")
    for text in graph_oddities(distinct):
        if "self-loops" not in text and not _is_said(text, said):
            yield Finding("note", ".kg", text)
    inverse, _ = same_relations(distinct)
    if inverse:
        shown = f"{inverse[0][0]} and {inverse[0][1]}" + (", ..." if len(inverse) > 1 else "")
        text = f"{len(inverse):,} pairs of relations say the same in both directions ({shown})"
        cure = "`kgrec pretrain-kg --validate` holds out both at once, so nothing leaks"
        yield Finding("note", ".kg", text, cure)


def _features(settings: Settings, folder: Path) -> list[files.Feature]:
    """The feature files that `train` would read; none where there is none and none is named."""
    path = files.atomic_path(settings, folder, files.entity_suffix(settings, folder))
    if not settings.additional_feat_suffix and not path.is_file():
        return []
    return files.find_features(settings, folder)


def _vectors(
    settings: Settings,
    folder: Path,
    feature: files.Feature,
    dataset: Dataset | None,
    findings: list[Finding],
) -> None:
    tokens, vectors = read_vectors(settings, feature)
    name, width = feature.path.suffix, vectors.shape[1]
    if fault := find_fault(vectors):
        findings.append(Finding("bad", name, fault, CURE_VECTORS))
        return
    norms = np.linalg.norm(vectors, axis=1)
    text = f"{len(tokens):,} vectors of width {width}, norm {norms.mean():.2f} on average"
    findings.append(Finding("ok", name, text))
    if norms.mean() > LONG:
        text = "vectors so long have trained worse than none"
        cure = "divide them by their mean norm (`kgrec pretrain-kg` does)"
        findings.append(Finding("note", name, text, cure))
    if feature.name == files.ENTITY and width != settings.embedding_size:
        text = f"its width is {width}, embedding_size {settings.embedding_size}"
        text += "; RecBole takes no other width than embedding_size"
        cure = f"`kgrec pretrain-kg --embedding-size {settings.embedding_size}`"
        findings.append(Finding("bad" if settings.recbole_compat else "note", name, text, cure))
    if (norms == 0).any():
        n_zero = int((norms == 0).sum())
        findings.append(Finding("note", name, f"{n_zero:,} vectors are all zeros"))
    if dataset is not None:
        known, token_of = set(tokens), token_of_item(feature, dataset)
        n_with = sum(token_of.get(item) in known for item in dataset.items.tokens[1:])
        text = f"{n_with:,} of {len(dataset.items) - 1:,} items have a vector"
        cure = "" if n_with else other_kind_of_ids(feature, dataset, tokens)
        findings.append(Finding("ok" if n_with else "bad", name, text, cure))
    kg_path = files.atomic_path(settings, folder, "kg")
    if feature.name == files.ENTITY and files.made_from_another_kg(feature.path, kg_path):
        text = f"made from another {kg_path.name} than the one beside it"
        findings.append(Finding("bad", name, text, "`kgrec pretrain-kg` again"))
