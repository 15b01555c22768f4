"""`--kg metadata` of any item table, graphs joined and pruned, KGAT's folder: through `prepare`."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.core.linking.prune import Pruning
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.formats.raw.item_columns import WantedColumn, parse_wanted
from kgrec_cli.formats.raw.item_lists import ListColumns
from kgrec_cli.stages.prepare.graph import KGRequest, requests
from tests.formats.raw.test_id_files import KGAT
from tests.formats.raw.test_id_files import write as write_files
from tests.stages.prepare.conftest import Prepare, texts

LOG = "user,item,time\n" + "".join(f"u{n % 4},A{n % 6},{n}\n" for n in range(24))
ITEMS = (
    "item,name,brand,tags,price,about\n"
    + "".join(
        f'A{n},Thing {n},{"Acme" if n % 2 else "Blue"},x|{"y" if n < 3 else "z"},{n}.50,'
        f'"Word {n} of a text that goes on and on and on and on and on and on and on"\n'
        for n in range(6)
    )
)  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    return {"raw_path": tmp_path / "log.csv", "items_path": tmp_path / "items.csv"}


def relations(result) -> Counter[str]:
    rows = texts(result)["toy.kg"].splitlines()[1:]
    return Counter(row.split("\t")[1] for row in rows)


def test_every_column_of_use_is_a_relation(
    prepare: Prepare, shop: dict[str, object], events: list[Event]
):
    result = prepare(**shop, kg="metadata")
    assert relations(result) == {"brand": 6, "tags": 12}
    report = result.report["kg"]
    assert [(use["column"], use["kind"]) for use in report["columns"]] == [
        ("brand", "value"), ("tags", "list"), ("price", "unused"), ("about", "unused"),
    ]  # fmt: skip
    assert report["columns"][1] == {
        "column": "tags", "kind": "list", "how": "lists with '|'", "relations": ["tags"],
        "items": 6, "values": 3, "triples": 12,
    }  # fmt: skip
    assert result.report["links"]["items_linked"] == 6
    told = next(e.text for e in events if isinstance(e, Note) and "of no use" in e.text)
    assert "price: it holds numbers: price:bins makes quantiles of them; about: " in told
    assert "about: it is free text" in told


def test_named_columns_and_kinds(prepare: Prepare, shop: dict[str, object]):
    wanted = parse_wanted("brand, tags:value,price:bins=2")
    assert wanted[2] == WantedColumn("price", "bins", 2)
    result = prepare(**shop, kg="metadata", kg_columns=wanted)
    assert relations(result) == {"brand": 6, "tags": 6, "price": 6}
    assert "item:A0\tprice\tprice:0.5 to 2.5\n" in texts(result)["toy.kg"]


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ("brnd", UsageError, "--kg-columns: unknown column 'brnd': did you mean 'brand'?"),
        ("about", KgrecError, "column about: it is free text; about:value takes it as it is"),
        ("brand:bins", KgrecError, "column brand: no cell holds a number (such as 'Blue')"),
        ("brand,3:list", UsageError, "--kg-columns: 'brand' is named twice"),
        ("item", UsageError, "--kg-columns: 'item' is the column of ids"),
    ],
)
def test_columns_that_cannot_be(
    prepare: Prepare, shop: dict[str, object], columns: str, error: type[KgrecError], message: str
):
    with pytest.raises(error) as caught:
        prepare(**shop, kg="metadata", kg_columns=parse_wanted(columns))
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["brand:bin", "price:bins=1", "price:bins=x", "a:list=3", " , "])
def test_columns_typed_wrong(text: str):
    with pytest.raises(UsageError, match="--kg-columns"):
        parse_wanted(text)


def test_columns_of_one_name_or_none(prepare: Prepare, shop: dict[str, object], tmp_path: Path):
    """No column takes another one's place; numbers count all columns, as in the file."""
    rows = [f"A{n},g{n % 2},t{n % 2},z{n % 3},q{n % 2}\n" for n in range(6)]
    (tmp_path / "items.csv").write_text("asin,item_id,tag,tag,\n" + "".join(rows))
    shop["list_columns"] = ListColumns(id="asin")
    with pytest.raises(KgrecError, match=r"csv: columns 3 and 4 are both called 'tag'; .* 4$"):
        prepare(**shop, kg="metadata")
    result = prepare(**shop, kg="metadata", kg_columns=parse_wanted("item_id,4,5"))
    assert relations(result) == {"item_id": 6, "tag": 6, "5": 6}
    assert "item:A2\ttag\ttag:z2\n" in texts(result)["toy.kg"]


def test_texts_for_missing_values_are_no_values(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path, events: list[Event]
):
    items = pl.read_csv(tmp_path / "items.csv")
    marks = pl.Series(["NULL", "NULL", "x", "x", "y", "nan"])
    items.with_columns(brand=marks).write_csv(tmp_path / "items.csv")
    result = prepare(**shop, kg="metadata")
    assert relations(result) == {"brand": 3, "tags": 12}
    text = "taken for missing (NAME:value keeps them): brand: 'NULL' in 2 and 'nan' in 1 of 6 rows"
    assert any(isinstance(e, Note) and text in e.text for e in events)
    result = prepare(**shop, kg="metadata", kg_columns=parse_wanted("brand:value"))
    assert relations(result) == {"brand": 6}
    items.with_columns(brand=pl.lit("NA")).write_csv(tmp_path / "items.csv")
    with pytest.raises(KgrecError, match=r"column brand: it is empty$"):
        prepare(**shop, kg="metadata", kg_columns=parse_wanted("brand"))


def test_json_lines_and_parquet_give_the_same_graph(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path
):
    wanted = prepare(**shop, kg="metadata", kg_columns=parse_wanted("brand,tags"))
    kg = texts(wanted)["toy.kg"]
    items = pl.read_csv(tmp_path / "items.csv").with_columns(pl.col("tags").str.split("|"))
    items = items.with_columns(size=pl.struct(pl.lit(1).alias("w")))
    items.write_ndjson(tmp_path / "items.jsonl")
    items.write_parquet(tmp_path / "items.parquet")
    for name in ("items.jsonl", "items.parquet"):
        shop["items_path"] = tmp_path / name
        result = prepare(**shop, kg="metadata")
        assert texts(result)["toy.kg"] == kg
        use = result.report["kg"]["columns"][-1]
        assert (use["column"], use["kind"]) == ("size", "unused")


def test_lists_and_ids_are_the_same_in_each_format(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path
):
    """Elements stay whole, numbers are elements, and 2.0 is the item 2: pandas writes it so."""
    (tmp_path / "log.csv").write_text(LOG.replace(",A", ","))
    ids = range(6)
    items = pl.DataFrame(
        {
            "item": ids,
            "tags": [[f"x|{n % 2}", "y, z"] for n in ids],
            "codes": [[n % 2, 7] for n in ids],
            "also_bought": [2.0 if n < 2 else None for n in ids],
            "parts": [[{"name": "a"}] for n in ids],
        }
    )
    items.write_parquet(tmp_path / "items.parquet")
    items.write_ndjson(tmp_path / "items.jsonl")
    lists = ("tags", "codes", "parts")
    as_json = [pl.Series(name, map(json.dumps, items[name].to_list())) for name in lists]
    items.with_columns(as_json).write_csv(tmp_path / "items.csv")
    graphs = []
    for name in ("items.csv", "items.parquet", "items.jsonl"):
        result = prepare(**{**shop, "items_path": tmp_path / name}, kg="metadata")
        graphs.append(texts(result)["toy.kg"])
        assert result.report["kg"]["columns"][-1]["kind"] == "unused"
    assert graphs == [graphs[0]] * 3
    assert "item:1\ttags\ttags:x|1\n" in graphs[0]
    assert "item:1\ttags\ttags:y, z\n" in graphs[0]
    assert "item:1\tcodes\tcodes:7\n" in graphs[0]
    assert "item:1\titem.also_bought\titem:2\n" in graphs[0]


def test_columns_of_other_types_are_named(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path, events: list[Event]
):
    items = pl.read_csv(tmp_path / "items.csv").with_columns(
        took=pl.duration(hours=2), raw=pl.lit(b"\xff"), kind=pl.lit("a").cast(pl.Categorical)
    )
    items.write_parquet(tmp_path / "items.parquet")
    prepare(**{**shop, "items_path": tmp_path / "items.parquet"}, kg="metadata")
    (told,) = (e.text for e in events if isinstance(e, Note) and "of no use" in e.text)
    assert "took: it holds neither text nor numbers; raw: it holds neither" in told


def test_a_first_line_that_may_be_a_row_is_a_warning(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path, events: list[Event]
):
    rows = "".join(f"A{n},Thing,{'Acme' if n % 2 else 'Blue'}\n" for n in range(6))
    (tmp_path / "items.csv").write_text(rows)
    prepare(**shop, list_columns=ListColumns(id="1"), kg="metadata")
    (told,) = (e.text for e in events if isinstance(e, Warn) and "first row" in e.text)
    assert "items.csv, line 1: 'A0 Thing Blue' is read as the header; or is it" in told


def test_a_table_of_films_keeps_its_own_relations_and_gets_more(prepare: Prepare, tmp_path: Path):
    (tmp_path / "films.csv").write_text(
        "movieId,title,genres,director\n10,Toy Story (1995),Animation|Comedy,Lasseter\n"
        "20,Heat (1995),Crime,Mann\n30,Ali (2001),Drama,Mann\n"
    )
    result = prepare(items_path=tmp_path / "films.csv", kg="metadata")
    assert relations(result) == {
        "has_genre": 4, "released_in": 3, "released_in_decade": 3, "director": 3,
    }  # fmt: skip


def test_an_item_table_needs_no_titles_for_its_graph(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path
):
    pl.read_csv(tmp_path / "items.csv").drop("name").write_csv(tmp_path / "items.csv")
    with pytest.raises(KgrecError, match="no column of titles"):
        prepare(**shop, kg="none")
    result = prepare(**shop, kg="metadata")
    assert relations(result)["brand"] == 6
    assert texts(result)["toy.item"].startswith("item_id:token\nA0\n")


def test_columns_are_added_to_another_graph(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path
):
    """Also those between items: both ends are the entities of the graph where it has them."""
    items = pl.read_csv(tmp_path / "items.csv")
    items = items.with_columns(also_bought=pl.Series(["A1", "A5", "", "", "", "A0"]))
    items.write_csv(tmp_path / "items.csv")
    (tmp_path / "kg.tsv").write_text("e0\tmade_in\tRome\ne1\tmade_in\tRome\n")
    (tmp_path / "links.tsv").write_text("A0\te0\nA1\te1\n")
    files = {"kg": str(tmp_path / "kg.tsv"), "links_path": tmp_path / "links.tsv"}
    result = prepare(
        **shop, **files, add_metadata=True, kg_columns=parse_wanted("brand,also_bought")
    )
    rows = texts(result)["toy.kg"].splitlines()
    assert "e0\tbrand\tbrand:Blue" in rows
    assert "item:A2\tbrand\tbrand:Blue" in rows
    assert rows[-3:] == [
        "e0\titem.also_bought\te1", "e1\titem.also_bought\titem:A5",
        "item:A5\titem.also_bought\te0",
    ]  # fmt: skip
    assert result.report["links"]["items_linked"] == 6


def test_items_of_which_none_has_an_interaction(prepare: Prepare, shop: dict[str, object]):
    with pytest.raises(KgrecError, match=r"none of its 6 items \(such as 'Thing 0'\) has an inter"):
        prepare(**shop, kg="metadata", list_columns=ListColumns(id="name"))


def test_kg_columns_without_a_table(prepare: Prepare):
    with pytest.raises(UsageError, match="give it by --items FILE"):
        prepare(kg="metadata", kg_columns=parse_wanted("brand"))
    with pytest.raises(UsageError, match="goes with --kg metadata or --add-metadata"):
        prepare(kg="none", kg_columns=parse_wanted("brand"))


def test_an_error_leaves_the_data_set_as_it_was(prepare: Prepare, shop: dict[str, object]):
    before = texts(prepare(**shop, kg="metadata"))
    with pytest.raises(KgrecError):
        prepare(**shop, kg="metadata", pruning=Pruning(("brand", "tags")))
    with pytest.raises(UsageError, match="unknown relation 'brnd': did you mean 'brand'"):
        prepare(**shop, kg="metadata", pruning=Pruning(("brnd",)))
    work = Path(str(shop["raw_path"])).parent / "work" / "dataset" / "toy"
    assert {path.name: path.read_text() for path in sorted(work.iterdir())} == before


def test_pruning_is_accounted_for(prepare: Prepare, shop: dict[str, object], events: list[Event]):
    result = prepare(**shop, kg="metadata", pruning=Pruning(("brand",), max_degree=3))
    assert relations(result) == {"tags": 6}  # "x" is of all six
    pruned = result.report["kg"]["pruned"]
    assert (pruned["triples"], pruned["triples_of_relations"], pruned["triples_of_hubs"]) == (
        12,
        6,
        6,
    )
    assert result.report["kg"]["triples"] == 6
    text = "pruned 12 of 18 triples (6 of dropped relations, 6 of hubs), 3 entities; 0 of 6 items "
    assert Note(text + "lost their last triple") in events


def test_graphs_are_joined(prepare: Prepare, shop: dict[str, object], tmp_path: Path, events):
    (tmp_path / "a.tsv").write_text("e0\tmade_in\tRome\ne1\tmade_in\tRome\n")
    (tmp_path / "a.links").write_text("A0\te0\nA1\te1\n")
    (tmp_path / "b.tsv").write_text("f0\tkind\ttool\nf2\tkind\ttool\n")
    (tmp_path / "b.links").write_text("A0\tf0\nA2\tf2\n")
    (tmp_path / "c.tsv").write_text("Rome\tin\tItaly\n")
    kg = requests(
        [str(tmp_path / name) for name in ("a.tsv", "b.tsv", "c.tsv")],
        [tmp_path / "a.links", tmp_path / "b.links"],
        KGRequest(),
    )
    result = prepare(**shop, kg=kg.kg, links_path=kg.links_path, further=kg.further)
    files = texts(result)
    assert files["toy.kg"].splitlines()[1:] == [
        "e0\tmade_in\tRome", "e1\tmade_in\tRome", "e0\tkind\ttool", "f2\tkind\ttool",
        "Rome\tin\tItaly",
    ]  # fmt: skip
    assert files["toy.link"].splitlines()[1:] == ["A0\te0", "A1\te1", "A2\tf2"]
    assert result.report["kg"]["joined"]["same_by_an_item"] == 1
    names = {source["file"] for source in result.report["sources"]}
    assert {"a.tsv", "a.links", "b.tsv", "b.links", "c.tsv"} < names
    text = "joined 3 graphs: 1 entities are in several of them, 0 pairs are one by sameAs, 1 by an"
    assert any(isinstance(event, Note) and text in event.text for event in events)


def test_options_that_are_of_none_of_the_joined_graphs(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path
):
    for name in ("a", "b"):
        (tmp_path / f"{name}.tsv").write_text(f"{name}0\tkind\tv\n{name}1\tkind\tv\n")
        (tmp_path / f"{name}.links").write_text(f"A0\t{name}0\nA1\t{name}1\n")
    further = (KGRequest(str(tmp_path / "b.tsv"), tmp_path / "b.links"),)
    graphs = {"kg": str(tmp_path / "a.tsv"), "links_path": tmp_path / "a.links", "further": further}
    for option in ({"hops": 1}, {"relations": ("kind",)}, {"language": "de"}):
        with pytest.raises(UsageError, match=f"--{next(iter(option))} goes with --kg wikidata or"):
            prepare(**shop, **graphs, **option)
    (tmp_path / "names.tsv").write_text("q\tName\n")
    with pytest.raises(
        KgrecError, match=r"names\.tsv: none of its tokens is an entity or relation"
    ):
        prepare(**shop, **graphs, labels_path=tmp_path / "names.tsv")
    (tmp_path / "names.tsv").write_text("b1\tName\n")
    result = prepare(**shop, **graphs, labels_path=tmp_path / "names.tsv")
    assert texts(result)["toy.label"].splitlines()[1:] == ["a1\tentity\tName"]


def test_a_graph_that_nothing_ties_to_the_first(
    prepare: Prepare, shop: dict[str, object], tmp_path: Path
):
    (tmp_path / "a.tsv").write_text("A0\tr\tv\n")
    (tmp_path / "b.tsv").write_text("x\tr\ty\n")
    further = (KGRequest(str(tmp_path / "b.tsv")),)
    with pytest.raises(KgrecError, match=r"b\.tsv: none of its entities \(such as 'x'\) is one of"):
        prepare(**shop, kg=str(tmp_path / "a.tsv"), link_by="id", further=further)


def test_graphs_as_typed():
    joined = requests(["a.kg", "metadata", "b.kg"], [Path("l")], KGRequest())
    assert (joined.kg, joined.links_path, joined.add_metadata) == ("a.kg", Path("l"), True)
    assert [(other.kg, other.links_path) for other in joined.further] == [("b.kg", None)]
    assert requests(["metadata"], [], KGRequest()) == KGRequest("metadata")
    for kgs, links, line in (
        (["a.kg", "none"], [], "no other"),
        (["a.kg"], [Path("x"), Path("y")], "2 times --links"),
        (["a.kg", "b.kg", "a.kg"], [Path("x"), Path("y")], "a.kg is named twice"),
    ):
        with pytest.raises(UsageError, match=line):
            requests(kgs, links, KGRequest())


def test_a_folder_of_kgat(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text("user,item,time\nu,B00,1\nu,B01,2\nv,B00,3\n")
    (tmp_path / "kgat").mkdir()
    folder = write_files(tmp_path / "kgat", KGAT)
    result = prepare(raw_path=tmp_path / "log.csv", kg=str(folder))
    assert texts(result)["toy.link"].splitlines()[1:] == ["B00\tm.1", "B01\tm.2"]
    assert result.report["links"]["items_with_triples"] == 2
