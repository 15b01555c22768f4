"""`kgrec doctor`: what is odd about a data set, and what to do about it. Changes no data."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl

from kgrec_cli.core.linking.verdict import LinkVerdict, link_verdict
from kgrec_cli.core.vectors import find_fault
from kgrec_cli.dataset.features import CURE, CURE_VECTORS
from kgrec_cli.dataset.files import (
    atomic_path,
    changed_files,
    find_features,
    made_from_another_kg,
    read_items,
    read_kg,
    read_links,
)
from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.atomic import read_entity_features
from kgrec_cli.settings import Settings

Level = Literal["ok", "note", "bad"]
Result = TypeVar("Result")

MIN_INVERSE_SHARE = 0.9
"""A relation whose triples stand, reversed, under another one to this share is its inverse."""

LONG = 4.0
"""Mean norm 1 trains well, some of 5 and more badly (docs/studies/2026-11-accuracy.md)."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what to do about it ("" for nothing).

    `level` is "ok", "note" (worth knowing) or "bad" (results will be wrong or a command will fail).
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
        changed = changed_files(settings, folder)
    except KgrecError as error:
        return Diagnosis(str(settings.dataset), (Finding("bad", "files", str(error)),), None)
    findings = [Finding("note", "files", line) for line in changed]
    dataset = _try(findings, ".inter", lambda: load_dataset(settings, folder, lambda event: None))
    if dataset is not None:
        findings += _interactions(dataset)
    has_kg = atomic_path(settings, folder, "kg").is_file()
    kg = _try(findings, ".kg", lambda: read_kg(settings, folder)) if has_kg else None
    links = _try(findings, "links", lambda: _links(settings, folder, dataset, kg, findings))
    if kg is not None:
        findings += _graph(kg)
    elif not has_kg:
        findings.append(Finding("note", ".kg", "no knowledge graph"))
    _try(findings, "vectors", lambda: _vectors(settings, folder, dataset, findings))
    return Diagnosis(str(settings.dataset), tuple(findings), links)


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
) -> LinkVerdict | None:
    if not atomic_path(settings, folder, "link").is_file():
        text = "no links: GRU4RecKG needs them, GRU4Rec does not"
        cure = "`kgrec prepare --kg FILE --links FILE` makes them"
        findings.append(Finding("note", ".link", text, cure))
        return None
    links = read_links(settings, folder) if dataset is None else dataset.links
    findings += _coverage(links, dataset)
    if kg is None:
        return None
    triples = kg.drop_nulls()
    entities = pl.concat([triples["head_id"], triples["tail_id"]]).unique()
    unknown = links.filter(~pl.col("entity_id").is_in(entities.implode()))
    if unknown.height:
        share = unknown.height / links.height
        text = f"{unknown.height:,} of {links.height:,} linked entities stand in no triple"
        cure = "are the links another graph's?" if share > 0.5 else ""
        findings.append(Finding("bad" if share == 1 else "note", ".link", text, cure))
    catalogue = read_items(settings, folder) if dataset is None else dataset.catalogue
    verdict = link_verdict(catalogue, links, triples)
    levels: dict[str, Level] = {"sound": "ok", "broken": "bad", "unknown": "note"}
    level = levels[verdict.verdict]
    cure = "" if verdict.witness == "none" or level == "ok" else CURE
    findings.append(Finding(level, ".link", verdict.summary, cure))
    return verdict


def _coverage(links: pl.DataFrame, dataset: Dataset | None) -> Iterator[Finding]:
    shared = links.filter(pl.col("entity_id").is_duplicated()).height
    if shared:
        text = f"{shared:,} items share an entity with another (RecBole fails on that)"
        yield Finding("note", ".link", text)
    repeated = links.height - links["item_id"].n_unique()
    if repeated:
        yield Finding("note", ".link", f"{repeated:,} further links of one item: the last counts")
    if dataset is None:
        return
    tokens = pl.Series(dataset.items.tokens[1:], dtype=pl.String)
    is_linked = np.concatenate([[False], tokens.is_in(links["item_id"].implode()).to_numpy()])
    n_items, n_linked = len(tokens), int(is_linked.sum())
    covered = float(is_linked[dataset.histories.items].mean())
    text = f"{n_linked:,} of {n_items:,} items are linked, {covered:.1%} of the interactions"
    if n_linked == 0:
        yield Finding("bad", ".link", text, "are its item ids another catalogue's?")
        return
    yield Finding("ok", ".link", text)
    if n_linked < n_items:
        n_lost = int((~is_linked[dataset.histories.items]).sum())
        text = f"{n_items - n_linked:,} items have no link: RecBole would drop their {n_lost:,} "
        text += "interactions in silence; kgrec keeps them, with zero vectors"
        yield Finding("note", ".link", text)


def _graph(triples: pl.DataFrame) -> Iterator[Finding]:
    distinct = triples.unique()
    entities = pl.concat([distinct["head_id"], distinct["tail_id"]]).n_unique()
    n_relations = distinct["relation_id"].n_unique()
    text = f"{triples.height:,} triples, {entities:,} entities, {n_relations:,} relations"
    yield Finding("ok", ".kg", text)
    if distinct.height < triples.height:
        n_repeated = triples.height - distinct.height
        yield Finding("note", ".kg", f"{n_repeated:,} triples stand more than once")
    inverse = inverse_relations(distinct)
    if inverse:
        shown = f"{inverse[0][0]} and {inverse[0][1]}" + (", ..." if len(inverse) > 1 else "")
        text = f"{len(inverse):,} pairs of relations say the same in both directions ({shown})"
        cure = "`kgrec pretrain-kg --validate` holds out both at once, so nothing leaks"
        yield Finding("note", ".kg", text, cure)


def inverse_relations(triples: pl.DataFrame) -> list[tuple[str, str]]:
    """Pairs of relations of which one says, reversed, nearly all that the other says.

    Args:
        triples: String columns head_id, relation_id, tail_id; no row twice.
    """
    turned = triples.select(
        pl.col("tail_id").alias("head_id"),
        pl.col("head_id").alias("tail_id"),
        pl.col("relation_id").alias("other"),
    )
    size = triples.group_by("relation_id").len("size")
    pairs = (
        triples.join(turned, on=["head_id", "tail_id"])
        .filter(pl.col("relation_id") < pl.col("other"))
        .group_by("relation_id", "other")
        .len("both")
        .join(size, on="relation_id")
        .join(size.rename({"relation_id": "other", "size": "other_size"}), on="other")
        .filter(pl.col("both") >= MIN_INVERSE_SHARE * pl.min_horizontal("size", "other_size"))
        .sort("relation_id", "other")
    )
    return list(pairs.select("relation_id", "other").iter_rows())


def _vectors(
    settings: Settings, folder: Path, dataset: Dataset | None, findings: list[Finding]
) -> None:
    path = atomic_path(settings, folder, "ent_feature")
    if not path.is_file() and not settings.additional_feat_suffix:
        cure = "`kgrec pretrain-kg` makes them"
        findings.append(Finding("note", ".ent_feature", "no entity vectors yet", cure))
        return
    for feature in find_features(settings, folder):
        tokens, vectors = read_entity_features(
            feature.path,
            id_field=feature.id_field,
            vec_field=feature.vec_field,
            field_separator=settings.field_separator,
            seq_separator=settings.seq_separator,
        )
        name, width = feature.path.suffix, vectors.shape[1]
        fault = find_fault(vectors)
        if fault:
            findings.append(Finding("bad", name, fault, CURE_VECTORS))
            continue
        norms = np.linalg.norm(vectors, axis=1)
        text = f"{len(tokens):,} vectors of width {width}, norm {norms.mean():.2f} on average"
        findings.append(Finding("ok", name, text))
        if norms.mean() > LONG:
            text = "vectors so long have trained worse than none"
            cure = "divide them by their mean norm (`kgrec pretrain-kg` does)"
            findings.append(Finding("note", name, text, cure))
        if feature.name == "entity" and width != settings.embedding_size:
            text = f"its width is {width}, embedding_size {settings.embedding_size}"
            text += "; RecBole takes no other width than embedding_size"
            cure = f"`kgrec pretrain-kg --embedding-size {settings.embedding_size}`"
            findings.append(Finding("bad" if settings.recbole_compat else "note", name, text, cure))
        if (norms == 0).any():
            n_zero = int((norms == 0).sum())
            findings.append(Finding("note", name, f"{n_zero:,} vectors are all zeros"))
        if dataset is not None and not feature.of_items:
            known = set(tokens)
            n_with = sum(dataset.entities.get(item) in known for item in dataset.items.tokens)
            n_items = len(dataset.items) - 1
            text = f"{n_with:,} of {n_items:,} items have a vector"
            findings.append(Finding("bad" if n_with == 0 else "ok", name, text))
        kg_path = atomic_path(settings, folder, "kg")
        if made_from_another_kg(feature.path, kg_path):
            text = f"made from another {kg_path.name} than the one beside it"
            findings.append(Finding("bad", name, text, "`kgrec pretrain-kg` again"))
