"""What of a dump is around linked entities: one pass keeps it, with names and redirects.

Names and redirects are set aside on disk meanwhile, since they may stand before what they are of.
"""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kgrec_cli.core.linking.relations import (
    Selection,
    choose_relations,
    in_both_directions,
    label_table,
)
from kgrec_cli.core.linking.wikidata import DIRECT, ENTITY
from kgrec_cli.errors import KgrecError, shorten
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.raw.dumps import parse_tails, read_statements
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.knowledge_graph import unescaped

LABELS = (
    "<http://www.w3.org/2000/01/rdf-schema#label>",
    "<http://www.w3.org/2004/02/skos/core#prefLabel>",
    "<http://xmlns.com/foaf/0.1/name>",
)
"""Relations that name their heads, the best first."""
SAME = ("<http://dbpedia.org/ontology/wikiPageRedirects>", "<http://www.w3.org/2002/07/owl#sameAs>")
_NOT_FACTS = [*LABELS, *SAME]
FREEBASE = "http://rdf.freebase.com/ns/"
TRIPLE = dict.fromkeys(("head_id", "relation_id", "tail_id"), pl.String)
_MAX_REDIRECTS = 5


@dataclass
class _Aside:
    """Names and redirects of a whole dump, on disk: columns of `read_statements`, and rank.

    The rank of a name is lower in a better language and relation; that of a redirect is -1.
    """

    folder: Path
    languages: Sequence[str]
    n_parts: int = 0

    def put(self, block: pl.DataFrame) -> None:
        """Sets the names in the languages and the redirects of a block aside; none is parsed."""
        relation, rest = pl.col("relation"), pl.col("rest")
        parts = []
        for number, name in enumerate(LABELS):
            names = block.filter(relation == name)
            for rank, code in enumerate([*(f"@{code}" for code in self.languages), ""]):
                in_language = names.filter(rest.str.ends_with(f'"{code} .'))
                parts.append(in_language.with_columns(rank=rank * len(LABELS) + number))
        same = block.filter(relation.is_in(SAME)).with_columns(rank=-1)
        rows = pl.concat([*parts, same])
        if rows.height:
            rows.write_parquet(self.folder / f"{self.n_parts}.parquet", compression="lz4")
            self.n_parts += 1

    def rows(self, chosen: pl.Expr) -> pl.DataFrame:
        """Some rows, parsed: columns of `parse_tails` and rank."""
        if not self.n_parts:
            columns = dict.fromkeys(("head", "relation", "tail", "language"), pl.String)
            return pl.DataFrame(schema={**columns, "rank": pl.Int32})
        parts = pl.scan_parquet(self.folder / "*.parquet")
        return parse_tails(parts.filter(chosen).collect(engine="streaming"))


def select_from_dump(
    files: Sequence[RawFile],
    links: pl.DataFrame,
    *,
    where: str,
    relations: Sequence[str],
    hops: int,
    languages: Sequence[str],
    on_event: OnEvent,
) -> Selection:
    """What of a dump is within the hops of linked entities, with names.

    The first hop takes triples that lead from and to linked entities, the second those that lead
    from their values. Literals are no values. `relations` are IRIs or their last parts; ("all",)
    takes all, () those that `choose_relations` keeps. A linked entity without a triple of its
    own is replaced by what it redirects to, or is the same as.

    Args:
        files: N-Triples; together they are the dump.
        links: String columns item_id, entity_id.
        where: What errors call the dump.
        relations: What of it is taken.
        hops: 1 or 2.
        languages: Codes of the languages of names, the best first.
        on_event: Is told how far it is.

    Raises:
        KgrecError: A dump that is cut off or damaged, or not one triple.
    """
    with tempfile.TemporaryDirectory(prefix="kgrec-") as folder:
        aside = _Aside(Path(folder), languages)
        scan = _Scan(files, relations, on_event)
        links = links.with_columns(
            entity_id=_tokens(
                pl.Series([_terms(each)[0] for each in links["entity_id"]], dtype=pl.String)
            )
        )
        linked = links["entity_id"].unique(maintain_order=True)
        triples = scan.around(linked, both=True, aside=aside)
        aliases = _aliases(links, triples, aside)
        if aliases:
            text = (
                f"{len(aliases):,} linked entities redirect to others, or are the same: one more "
            )
            on_event(Note(f"{text}pass"))
            ends = pl.Series([end for ends in aliases.values() for end in ends]).unique()
            triples = pl.concat([triples, scan.around(ends, both=True)])
            links = _with_targets(links, triples, aliases)
        heads = links["entity_id"].unique(maintain_order=True)
        parts, candidates = [], []
        for hop in range(1, hops + 1):
            if hop > 1:
                triples = scan.around(heads, both=False)
            facts = in_both_directions(triples, heads) if hop == 1 else triples
            if not relations:
                choice = choose_relations(facts, heads)
                candidates += [{"hop": hop, **row} for row in choice.table.iter_rows(named=True)]
                names = {name.removeprefix("^") for name in choice.names}
                scan.has_others |= triples.height > 0
                triples = triples.filter(pl.col("relation_id").is_in(list(names)))
            parts.append(triples)
            seen = pl.concat([part["head_id"] for part in parts])
            ends = pl.concat([triples["tail_id"], triples["head_id"]]).unique(maintain_order=True)
            heads = ends.filter(~ends.is_in(pl.concat([seen, links["entity_id"]]).implode()))
        triples = pl.concat(parts).unique(maintain_order=True)
        if triples.is_empty():
            example = shorten(linked[0])
            chosen, cure = "", "are the links another graph's?"
            if scan.has_others:
                chosen, cure = " by the chosen relations", "try --relations all"
            raise KgrecError(
                f"{where}: none of the {len(linked):,} linked entities (such as '{example}') "
                f"stands in a triple there{chosen}; {cure}"
            )
        for name in relations:
            if name != "all" and not triples.select(_is_relation([name]).any()).item():
                on_event(Warn(f"--relations {name}: no triple that is taken of {where} has it"))
        triples, n_redirected = _without_redirects(triples, aside)
        tokens = pl.concat([*(triples[name] for name in triples.columns), links["entity_id"]])
        names_of_tokens = _names(aside, tokens.unique())
    report = {
        "hops": hops,
        "languages": list(languages),
        "asked_relations": list(relations) or "chosen",
        "candidates": candidates,
        "redirects": len(aliases) + n_redirected,
        "statements": scan.n_statements,
        "passes": scan.n_passes,
    }
    return Selection(links, triples, label_table(names_of_tokens, links, triples), report)


def find_by_value(
    files: Sequence[RawFile], properties: Sequence[str], values: Sequence[str], on_event: OnEvent
) -> pl.DataFrame:
    """The entities of a dump of Wikidata that have identifiers: String columns id, entity_id."""
    relations = [f"<{DIRECT}{name}>" for name in properties]
    wanted = pl.Series([f'"{value}" .' for value in values], dtype=pl.String)
    chosen = pl.col("relation").is_in(relations) & pl.col("rest").is_in(wanted.implode())
    parts = [
        parse_tails(block.filter(chosen))
        for file in files
        for block in read_statements(file, f"ids in {file.path.name}", on_event)
    ]
    found = (
        pl.concat(parts) if parts else pl.DataFrame(schema={"head": pl.String, "tail": pl.String})
    )
    ids, entities = found["tail"].str.strip_chars('"'), _tokens(found["head"])
    return pl.DataFrame({"id": ids, "entity_id": entities}).unique(maintain_order=True)


@dataclass
class _Scan:
    """Passes over a dump, each for the triples of some entities."""

    files: Sequence[RawFile]
    relations: Sequence[str]
    on_event: OnEvent
    n_passes: int = 0
    n_statements: int = 0
    has_others: bool = False
    """Whether there were triples of relations that were not chosen."""

    def around(
        self, entities: pl.Series, *, both: bool, aside: _Aside | None = None
    ) -> pl.DataFrame:
        """The triples of tokens that lead from entities (`both`: or to them), none of literals."""
        terms = pl.Series([term for each in entities for term in _terms(each)], dtype=pl.String)
        ends = terms + " ."
        chosen = pl.col("head").is_in(terms.implode())
        if both:
            chosen |= pl.col("rest").is_in(ends.implode())
        chosen &= ~pl.col("rest").str.starts_with('"') & ~pl.col("relation").is_in(_NOT_FACTS)
        self.n_passes += 1
        parts = [pl.DataFrame(schema=TRIPLE)]
        for file in self.files:
            for block in read_statements(
                file, f"pass {self.n_passes}: {file.path.name}", self.on_event
            ):
                if self.n_passes == 1:
                    self.n_statements += block.height
                if aside is not None:
                    aside.put(block)
                parts.append(self._wanted(parse_tails(block.filter(chosen))))
        return pl.concat(parts).unique(maintain_order=True)

    def _wanted(self, found: pl.DataFrame) -> pl.DataFrame:
        names = zip(TRIPLE, ("head", "relation", "tail"), strict=True)
        triples = pl.DataFrame({name: _tokens(found[column]) for name, column in names})
        if not self.relations or "all" in self.relations:
            return triples
        self.has_others |= triples.height > 0
        return triples.filter(_is_relation(self.relations))


def _is_relation(names: Sequence[str]) -> pl.Expr:
    """Whether relation_id is one of some IRIs, or ends in one of some last parts."""
    last = pl.col("relation_id").str.extract(r"([^/#:]+)$")
    return pl.col("relation_id").is_in(names) | last.is_in(names)


def _terms(token: str) -> list[str]:
    """The terms of N-Triples that a token may stand for, one of them in most cases."""
    if token.startswith("_:"):
        return [token]
    iri = token.strip("<>")
    if re.fullmatch(r"[QLP]\d+", iri):
        iri = ENTITY + iri
    elif match := re.fullmatch(r"/?([mg])[./](\w+)", iri):
        iri = f"{FREEBASE}{match[1]}.{match[2]}"
    if iri.isascii():
        return [f"<{iri}>"]
    escaped = "".join(
        c if ord(c) < 128 else f"\\u{ord(c):04X}" if ord(c) < 1 << 16 else f"\\U{ord(c):08X}"
        for c in iri
    )
    return [f"<{iri}>", f"<{escaped}>"]


def _tokens(terms: pl.Series) -> pl.Series:
    """Tokens of terms: bare IRIs without escapes, those of Wikidata and Freebase as ids."""
    bare = terms.str.replace(r"^<(.*)>$", "$1")
    bare = bare.str.replace(rf"^https?{ENTITY[4:]}([A-Z]\d+)$", "$1")
    bare = bare.str.replace(rf"^https?{DIRECT[4:]}(P\d+)$", "$1")
    return unescaped(bare.str.replace(rf"^{FREEBASE}([mg]\.\w+)$", "$1"))


def shortened(table: pl.DataFrame) -> pl.DataFrame:
    """A table with the IRIs of Wikidata as their ids in all columns but that of items."""
    return table.with_columns(_tokens(table[n]) for n in table.columns if n != "item_id")


def _all_terms(tokens: Iterable[str]) -> pl.Series:
    return pl.Series([term for token in tokens for term in _terms(token)], dtype=pl.String)


def _aliases(links: pl.DataFrame, triples: pl.DataFrame, aside: _Aside) -> dict[str, list[str]]:
    """What linked entities without a triple redirect to, or are the same as, by token."""
    known = pl.concat([triples["head_id"], triples["tail_id"]])
    linked = links["entity_id"].unique(maintain_order=True)
    lonely = linked.filter(~linked.is_in(known.implode()))
    origins = {token: [token] for token in lonely}
    found: dict[str, list[str]] = {}
    for _ in range(_MAX_REDIRECTS):
        terms = _all_terms(origins)
        is_end = pl.col("rest").is_in((terms + " .").implode())
        is_end |= pl.col("head").is_in(terms.implode())
        rows = aside.rows((pl.col("rank") < 0) & is_end)
        heads, tails = _tokens(rows["head"]), _tokens(rows["tail"])
        reached: dict[str, list[str]] = {}
        for head, relation, tail in zip(heads, rows["relation"], tails, strict=True):
            ways = [(head, tail)] if relation == SAME[0] else [(head, tail), (tail, head)]
            for start, end in ways:
                for origin in origins.get(start, ()):
                    if end != origin and end not in found.setdefault(origin, []):
                        found[origin].append(end)
                        reached.setdefault(end, []).append(origin)
        if not reached:
            break
        origins = reached
    return {origin: ends for origin, ends in found.items() if ends}


def _with_targets(
    links: pl.DataFrame, triples: pl.DataFrame, aliases: Mapping[str, Sequence[str]]
) -> pl.DataFrame:
    """The links, each alias replaced by the one of its entities that has the most triples."""
    counts = dict(triples["head_id"].value_counts().iter_rows())
    best = {
        origin: max(sorted(ends), key=lambda end: counts.get(end, 0))
        for origin, ends in aliases.items()
        if any(end in counts for end in ends)
    }
    return links.with_columns(pl.col("entity_id").replace(best))


def _without_redirects(triples: pl.DataFrame, aside: _Aside) -> tuple[pl.DataFrame, int]:
    """The triples with tails followed to where they redirect, and how many of these there were.

    "The same as" is a redirect where both are entities of one graph: of one host. Of tails that
    redirect to each other the first in order of their tokens is taken.
    """
    targets: dict[str, str] = {}
    tails = triples["tail_id"].unique(maintain_order=True).to_list()
    waiting = tails
    for _ in range(_MAX_REDIRECTS):
        rows = aside.rows(
            (pl.col("rank") < 0) & pl.col("head").is_in(_all_terms(waiting).implode())
        )
        host = r"^<?(https?://[^/]+)/"
        is_one_graph = pl.col("head").str.extract(host) == pl.col("tail").str.extract(host)
        rows = rows.filter((pl.col("relation") == SAME[0]) | is_one_graph)
        rows = rows.filter(pl.col("head") != pl.col("tail")).unique("head", maintain_order=True)
        targets |= dict(zip(_tokens(rows["head"]), _tokens(rows["tail"]), strict=True))
        waiting = [target for target in targets.values() if target not in targets]
        if rows.is_empty() or not waiting:
            break
    ends = {tail: end for tail in tails if (end := _end(tail, targets)) != tail}
    return triples.with_columns(pl.col("tail_id").replace(ends)).unique(maintain_order=True), len(
        ends
    )


def _end(token: str, targets: Mapping[str, str]) -> str:
    """Where a token redirects to at last; of a circle the first token in order."""
    seen: list[str] = []
    while token in targets:
        if token in seen:
            return min(seen[seen.index(token) :])
        seen.append(token)
        token = targets[token]
    return token


def _names(aside: _Aside, tokens: pl.Series) -> dict[str, str]:
    """The names of entities and relations, in the first language and relation that has one."""
    named = (pl.col("rank") >= 0) & pl.col("head").is_in(_all_terms(tokens).implode())
    rows = aside.rows(named).sort("rank", "head", "tail").unique("head", maintain_order=True)
    texts = unescaped(rows["tail"].str.replace(r'^"(.*)"$', "$1"))
    return dict(zip(_tokens(rows["head"]), texts, strict=True))
