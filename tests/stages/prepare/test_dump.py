import bz2
import gzip
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec_cli.dataset.files import read_kg, read_labels
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.formats.raw import dumps
from kgrec_cli.settings import Settings
from kgrec_cli.stages.prepare import dump
from kgrec_cli.stages.prepare.graph import KGRequest
from kgrec_cli.stages.prepare.run import PrepareRequest, run_prepare
from tests.stages.prepare.test_wikidata import IDS, write_set

WD, WDT = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"
NAME = "http://www.w3.org/2000/01/rdf-schema#label"
SAME = "http://www.w3.org/2002/07/owl#sameAs"
FACTS = [
    "Q1 P57 Q10", "Q2 P57 Q10", "Q3 P57 Q11", "Q1 P136 Q20", "Q2 P136 Q21", "Q3 P136 Q21",
    "Q1 P31 Q9", "Q2 P31 Q9", "Q3 P31 Q9", "Q70 P800 Q1", "Q70 P800 Q2", "Q71 P800 Q3",
    "Q10 P27 Q40", "Q11 P27 Q40", "Q5 P57 Q10", "Q40 P35 Q41",
]  # fmt: skip
LITERALS = [
    f'<{WD}Q10> <{NAME}> "Ada \\"A.\\" Invented"@en .',
    f'<{WD}Q10> <{NAME}> "Ada Erfunden"@de .',
    f'<{WD}Q10> <{NAME}> "Ada Inventée"@fr .',
    f'<{WD}Q11> <{NAME}> "Bo"@fr .',
    f'<{WD}P57> <{NAME}> "director"@en .',
    f'<{WD}Q1> <{WDT}P577> "1995-01-01T00:00:00Z"^^<http://www.w3.org/2001/XMLSchema#dateTime> .',
    f'<{WD}Q1> <{WDT}P345> "tt0000001" .',
    f'<{WD}Q2> <{WDT}P345> "tt0000022" .',
    f'<{WD}Q3> <{WDT}P345> "tt10000333" .',
]
DIRECTORS = {("Q1", "P57", "Q10"), ("Q2", "P57", "Q10"), ("Q3", "P57", "Q11")}
GENRES = {("Q1", "P136", "Q20"), ("Q2", "P136", "Q21"), ("Q3", "P136", "Q21")}
WORKS = {("Q70", "P800", "Q1"), ("Q70", "P800", "Q2"), ("Q71", "P800", "Q3")}


def fact(text: str) -> str:
    head, relation, tail = text.split()
    return f"<{WD}{head}> <{WDT}{relation}> <{WD}{tail}> ."


LINES = [*map(fact, FACTS), *LITERALS]


class Case:
    def __init__(self, folder: Path, events: list[Event]):
        self.folder, self.events = folder, events
        self.raw = write_set(folder / "raw")
        self.links = folder / "own.tsv"
        self.links.write_text("1\tQ1\n2\tQ2\n3\tQ3\n")

    def write(self, lines: list[str] = LINES, name: str = "dump.nt", end: str = "\n") -> Path:
        path = self.folder / name
        path.write_bytes((end.join(lines) + end).encode())
        return path

    def prepare(self, path: Path, links: bool = True, **options: object):
        kg = KGRequest(
            str(path), **{"links_path": self.links if links else None, "language": "de", **options}
        )  # type: ignore[arg-type]
        request = PrepareRequest("toy", self.raw, folder=self.folder, kg=kg)
        return run_prepare(request, on_event=self.events.append)

    def failure(self, path: Path, **options: object) -> str:
        with pytest.raises(KgrecError) as caught:
            self.prepare(path, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def triples(self) -> set[tuple[str, ...]]:
        return set(read_kg(SETTINGS, self.folder).iter_rows())

    def labels(self) -> dict[str, str]:
        return dict(read_labels(SETTINGS, self.folder).select("token", "label").iter_rows())


SETTINGS = Settings(dataset="toy")


@pytest.fixture
def case(tmp_path: Path, events: list[Event]) -> Case:
    return Case(tmp_path, events)


def test_one_hop_keeps_what_the_items_share(case: Case):
    result = case.prepare(case.write(), hops=1)
    # P31 is the same for all; Q5 is no item, and what leads to Q10 is two hops away.
    assert case.triples() == DIRECTORS | GENRES | WORKS
    assert case.labels() == {"Q10": "Ada Erfunden", "P57": "director"}
    selection = result.report["kg"]["selection"]
    assert (selection["passes"], selection["statements"]) == (1, len(LINES))
    verdicts = {row["relation_id"]: row["verdict"] for row in selection["candidates"]}
    assert verdicts == {
        "P57": "kept", "P136": "kept", "^P800": "kept", "P31": "nearly all have one value",
    }  # fmt: skip
    case.prepare(case.write(), hops=1, language="en")
    assert case.labels()["Q10"] == 'Ada "A." Invented'


def test_the_second_hop_leads_from_the_values(case: Case):
    case.prepare(case.write(), hops=2, relations=("all",))
    of_values = {("Q10", "P27", "Q40"), ("Q11", "P27", "Q40")}
    kinds = {(film, "P31", "Q9") for film in ("Q1", "Q2", "Q3")}
    assert case.triples() == DIRECTORS | GENRES | WORKS | of_values | kinds
    case.prepare(case.write(), relations=("P57", "P27"), hops=2)
    assert case.triples() == DIRECTORS | of_values


@pytest.mark.parametrize("block", [1, 100, 1 << 25])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n# a comment\n"])
def test_blocks_and_line_ends_change_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch, block: int, end: str
):
    monkeypatch.setattr(dumps, "BLOCK_BYTES", block)
    case.prepare(case.write(end=end), hops=1)
    assert case.triples() == DIRECTORS | GENRES | WORKS
    assert case.labels() == {"Q10": "Ada Erfunden", "P57": "director"}


@pytest.mark.parametrize("spaces", ["\t", "  ", ""])
def test_other_spaces_are_read_as_well(case: Case, spaces: str):
    lines = [line.replace("> <", f">{spaces}<").replace("> .", f">{spaces}.") for line in LINES]
    case.prepare(case.write([line.replace('> "', f'>{spaces}"') for line in lines]), hops=1)
    assert case.triples() == DIRECTORS | GENRES | WORKS


@pytest.mark.parametrize(
    ("before", "behind"), [("  ", " "), (" ", "  "), (" ", "\t"), (" \t", " ")]
)
def test_more_spaces_around_the_tail_change_nothing(case: Case, before: str, behind: str):
    """The first line decides nothing; a literal is no value, and the end of a triple is found."""
    first, *others = LINES
    spaced = [re.sub(r"^(\S+ \S+) (.*) \.$", rf"\1{before}\2{behind}.", line) for line in others]
    literal = f'{LINES[0].split(" ")[0]} <http://x/note>{before}"a literal"{behind}.'
    case.prepare(case.write([first, *spaced, literal]), hops=1)
    assert case.triples() == DIRECTORS | GENRES | WORKS


def test_packed_and_in_parts(case: Case):
    half = len(LINES) // 2
    content = ("\n".join(LINES) + "\n").encode()
    (case.folder / "dump.nt.gz").write_bytes(
        gzip.compress(content[:500]) + gzip.compress(content[500:])
    )
    (case.folder / "dump.nt.bz2").write_bytes(bz2.compress(content))
    with zipfile.ZipFile(case.folder / "dump.zip", "w") as archive:
        archive.writestr("inside/dump.nt", content)
    parts = case.folder / "parts"
    parts.mkdir()
    case.write(LINES[:half], "parts/a.nt")
    case.write(LINES[half:], "parts/b.ttl")  # as DBpedia names its N-Triples
    for name in ("dump.nt.gz", "dump.nt.bz2", "dump.zip", "parts", "parts/*"):
        case.prepare(case.folder / name, hops=1)
        assert case.triples() == DIRECTORS | GENRES | WORKS, name
        case.prepare(case.folder / name, language=None)  # read whole
        assert len(case.triples()) == len(LINES), name


def test_redirects_and_the_same_are_followed(case: Case):
    dbr, dbo = "http://dbpedia.org/resource/", "http://dbpedia.org/ontology/"
    lines = [
        f"<{dbr}Toy_Boat> <{dbo}director> <{dbr}Ada_I.> .",
        f"<{dbr}The_Heart> <{dbo}director> <{dbr}Ada_Invented> .",
        f"<{dbr}Caf\\u00E9> <{dbo}director> <{dbr}Bo> .",
        f"<{dbr}Ada_I.> <{dbo}wikiPageRedirects> <{dbr}Ada_Inv.> .",
        f"<{dbr}Ada_Inv.> <{dbo}wikiPageRedirects> <{dbr}Ada_Invented> .",
        f"<{dbr}Boat_(toy)> <{dbo}wikiPageRedirects> <{dbr}Toy_Boat> .",
        f"<{dbr}The_Heart> <{SAME}> <{WD}Q2> .",
        f"<{dbr}The_Heart> <{SAME}> <http://fr.dbpedia.org/resource/Coeur> .",
        f'<{dbr}Ada_Invented> <{NAME}> "Ada Invented"@en .',
    ]
    case.links.write_text(f"1\t{dbr}Boat_(toy)\n2\tQ2\n3\t{dbr}Café\n")
    result = case.prepare(case.write(lines), hops=1, relations=("director",))
    assert case.triples() == {
        (f"{dbr}Toy_Boat", f"{dbo}director", f"{dbr}Ada_Invented"),
        (f"{dbr}The_Heart", f"{dbo}director", f"{dbr}Ada_Invented"),
        (f"{dbr}Café", f"{dbo}director", f"{dbr}Bo"),
    }
    assert case.labels() == {f"{dbr}Ada_Invented": "Ada Invented"}
    assert result.report["kg"]["selection"]["passes"] == 2
    assert result.report["links"]["items_with_triples"] == 3


def test_values_that_redirect_in_a_circle_are_one(case: Case):
    """Each is the other: they do not change places."""
    circle = [f"<{WD}Q10> <{SAME}> <{WD}Q11> .", f"<{WD}Q11> <{SAME}> <{WD}Q10> ."]
    chain = [f"<{WD}Q21> <{SAME}> <{WD}Q22> .", f"<{WD}Q22> <{SAME}> <{WD}Q23> ."]
    path = case.write([*map(fact, FACTS[:6]), *circle, *chain])
    case.prepare(path, hops=1, relations=("all",))
    assert case.triples() == {
        *((film, "P57", "Q10") for film in ("Q1", "Q2", "Q3")),
        ("Q1", "P136", "Q20"), ("Q2", "P136", "Q23"), ("Q3", "P136", "Q23"),
    }  # fmt: skip
    case.prepare(path, language=None)
    text = "4 triples say what redirects to or is the same as what; they are followed with --hops 1"
    assert Note(f"{path}: {text} or 2") in case.events


def test_what_has_no_effect_is_said(case: Case):
    case.prepare(case.write(), hops=1, relations=("P57", "P9"))
    told = f"--relations P9: no triple that is taken of {case.folder / 'dump.nt'} has it"
    assert Warn(told) in case.events
    assert "by the chosen relations; try --relations all" in case.failure(
        case.write(), hops=1, relations=("P9",)
    )
    case.links.write_text("1\tQ901\n")
    unknown = case.failure(case.write(), hops=1)
    assert unknown.endswith("stands in a triple there; are the links another graph's?")
    assert "is small and read whole, with names in all languages" in case.failure(case.write())


def test_identifiers_in_the_dump_link_without_a_network(case: Case):
    case.prepare(case.write(), links=False, link_by="imdb", hops=1)
    assert case.triples() == DIRECTORS | GENRES | WORKS
    for film in IDS:
        (case.raw / "links.csv").write_text(f"movieId,imdbId\n{film},9999999\n")
    wrong = case.failure(case.write(), links=False, link_by="imdb", hops=1)
    assert "none of its 1 ids (such as 'tt9999999') is one that dump.nt knows as P345" in wrong


def test_a_small_dump_is_read_whole_unless_asked(case: Case, monkeypatch: pytest.MonkeyPatch):
    case.prepare(case.write(), links=True, language=None)
    assert len(case.triples()) == len(LINES)
    monkeypatch.setattr(dump, "LARGE_BYTES", 100)
    case.prepare(case.write(), language=None)
    assert case.triples() == DIRECTORS | GENRES | WORKS
    assert any("--hops 2 takes more" in e.text for e in case.events if isinstance(e, Note))


def cut(whole: bytes, n_bytes: int) -> bytes:
    return whole[:n_bytes]


def flipped(whole: bytes, n_bytes: int) -> bytes:
    return whole[:n_bytes] + bytes(byte ^ 255 for byte in whole[n_bytes : n_bytes + 9]) + b"\0"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("damage", [cut, flipped])
@pytest.mark.parametrize("n_bytes", [12, 90, -40])
def test_a_dump_that_is_damaged_is_one_line(
    case: Case,
    compress: Callable[[bytes], bytes],
    damage: Callable[[bytes, int], bytes],
    n_bytes: int,
):
    """Read whole or around the items, a damaged file is never one of another kind."""
    whole = compress(("\n".join(LINES * 50) + "\n").encode())
    path = case.folder / "dump.nt.packed"
    before = case.prepare(case.write(), hops=1).dataset_dir / "toy.kg"
    content = before.read_bytes()
    path.write_bytes(damage(whole, n_bytes))
    for hops in (1, None):
        assert case.failure(path, hops=hops).startswith(f"{path}: damaged or cut short")
    assert before.read_bytes() == content


def test_a_dump_that_is_cut_off_between_lines_names_the_line(case: Case):
    plain = case.folder / "cut.nt"
    plain.write_text("\n".join(LINES)[:-30])
    found = case.failure(plain, hops=1)
    assert found.startswith(f"{plain}, line {len(LINES)}: found '<http")
    assert found.endswith("the file is cut off: fetch it again")


def test_a_line_that_is_no_statement_is_named(case: Case):
    path = case.write([*LINES[:4], "", "Q1 P57 Q10", *LINES[4:]])
    assert case.failure(path, hops=1) == (
        f"{path}, line 6: found 'Q1 P57 Q10', expected an N-Triples statement: <head> <relation> "
        "<tail> ."
    )
    path.write_bytes("\n".join(LINES).encode() + b"\n<http://x/\xff> <http://x/r> <http://x/t> .\n")
    assert f"not UTF-8 within lines 1 to {len(LINES) + 1}" in case.failure(path, hops=1)


def test_what_does_not_go_together_is_said(case: Case):
    table = case.folder / "kg.tsv"
    table.write_text("Q1\tP57\tQ10\n")
    with pytest.raises(UsageError, match="--hops goes with --kg wikidata or a dump in RDF"):
        case.prepare(table, hops=2, language=None)
    with pytest.raises(UsageError, match="--relations goes with"):
        case.prepare(Path("metadata"), links=False, relations=("P57",), language=None)
    case.links.write_text("1\tQ100\n2\tQ200\n")
    found = case.failure(case.write(), hops=1)
    assert "none of the 2 linked entities (such as 'Q100') stands in a triple there" in found


TURTLE = f"""@prefix wd: <{WD}> . @prefix wdt: <{WDT}> . @prefix rdfs: <{NAME[:-5]}> .
wd:Q1 wdt:P57 wd:Q10 ; wdt:P136 wd:Q20 . wd:Q2 wdt:P57 wd:Q10 . wd:Q3 wdt:P57 wd:Q11 .
wd:Q10 rdfs:label "Ada"@en .
"""
XML = f"""<?xml version="1.0"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:wdt="{WDT}">
<rdf:Description rdf:about="{WD}Q1"><wdt:P57 rdf:resource="{WD}Q10"/></rdf:Description>
<rdf:Description rdf:about="{WD}Q2"><wdt:P57 rdf:resource="{WD}Q10"/></rdf:Description>
<rdf:Description rdf:about="{WD}Q3"><wdt:P57 rdf:resource="{WD}Q11"/></rdf:Description>
</rdf:RDF>
"""
JSON_LD = f"""{{"@context": {{"director": {{"@id": "{WDT}P57", "@type": "@id"}}}}, "@graph": [
{{"@id": "{WD}Q1", "director": "{WD}Q10"}}, {{"@id": "{WD}Q2", "director": "{WD}Q10"}},
{{"@id": "{WD}Q3", "director": "{WD}Q11"}}]}}
"""


@pytest.mark.extras
@pytest.mark.parametrize(
    ("name", "text"), [("g.ttl", TURTLE), ("g.rdf", XML), ("g.jsonld", JSON_LD)]
)
def test_other_formats_of_rdf(case: Case, name: str, text: str):
    pytest.importorskip("pyoxigraph")
    path = case.folder / name
    path.write_text(text)
    case.prepare(path, relations=("P57",))
    assert case.triples() == DIRECTORS
    case.links.write_text(f"1\t{WD}Q1\n2\t{WD}Q2\n")
    case.prepare(path, language=None)  # whole, as any graph
    assert case.triples() >= DIRECTORS
    path.write_text(text[: len(text) // 2])
    assert f"{path}: not whole" in case.failure(path, relations=("P57",))


@pytest.mark.extras
def test_another_format_without_triples_is_named(case: Case):
    pytest.importorskip("pyoxigraph")
    assert (
        case.failure(case.write(["# none"], "g.ttl"))
        == f"{case.folder / 'g.ttl'}: holds no triples"
    )


def test_without_pyoxigraph_it_says_what_to_install(case: Case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "pyoxigraph", None)
    path = case.folder / "g.ttl"
    path.write_text(TURTLE)
    assert "pip install 'kgrec[rdf]'" in case.failure(path, hops=1)
