import polars as pl

from kgrec_cli.core.linking.relations import choose_relations, in_both_directions, label_table

COLUMNS = ("head_id", "relation_id", "tail_id")


def table(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, dict.fromkeys(COLUMNS, pl.String), orient="row")


def test_each_rule_has_its_verdict():
    entities = pl.Series([f"e{n}" for n in range(200)])
    rows = [(e, "kind", "film") for e in entities]
    rows += [(e, "id", f"id of {e}") for e in entities]
    rows += [(e, "director", f"d{n % 50}") for n, e in enumerate(entities)]
    rows += [("e0", "rare", "x")]  # of one in 200: under 1 %
    rows += [(e, "half", "ab"[n % 2]) for n, e in enumerate(entities)]
    rows += [("other", "director", "d1"), ("e1", "director", "d1")]  # no entity; a repeated row
    chosen = choose_relations(table(rows), entities)
    verdicts = dict(chosen.table.select("relation_id", "verdict").iter_rows())
    assert verdicts == {
        "kind": "nearly all have one value",
        "id": "hardly a value is shared",
        "director": "kept",
        "rare": "few have it",
        "half": "kept",
    }
    assert sorted(chosen.names) == ["director", "half"]
    half = chosen.table.row(by_predicate=pl.col("relation_id") == "half", named=True)
    assert (half["entities"], half["values"], half["coverage"], half["shared"]) == (
        200,
        2,
        1.0,
        1.0,
    )
    assert abs(half["entropy"] - 1.0) < 1e-12  # two values, each of half of them: one bit


def test_no_triples_choose_nothing():
    assert choose_relations(table([]), pl.Series(["e"])).names == []


def test_what_leads_to_an_entity_is_turned_round():
    triples = table([("a", "r", "x"), ("y", "r", "a"), ("a", "next", "b"), ("y", "r", "x")])
    turned = in_both_directions(triples, pl.Series(["a", "b"]))
    assert turned.rows() == [*triples.rows(), ("a", "^r", "y")]


def test_names_are_of_what_is_written_only():
    links = pl.DataFrame({"item_id": ["1"], "entity_id": ["z"]})
    names = {"a": "Ada", "r": "Rel", "z": "Zoe", "q": "nobody"}
    labels = label_table(names, links, table([("a", "r", "x")]))
    assert labels.rows() == [
        ("a", "entity", "Ada"),
        ("z", "entity", "Zoe"),
        ("r", "relation", "Rel"),
    ]
