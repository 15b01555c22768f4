"""Are the links right? Known answers: sound links, shuffled ones, real tables."""

import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy.link_check import (
    SPOILED,
    count_controls,
    count_films,
    half_of_rows_shuffled,
    read_sets,
    shifted,
    shuffled,
)
from benchmarks.accuracy.link_controls import CONTROLS, Linked, build, shop, songs
from kgrec_cli.core.linking.graph import add_metadata
from kgrec_cli.core.linking.names import entity_names
from kgrec_cli.core.linking.verdict import link_verdict

GENRES = ["drama", "comedy", "western", "horror", "war"]


def films(n_items: int = 400, *, purity: float = 0.9, seed: int = 0):
    """Items of one genre each, and a graph whose directors mostly keep to one genre."""
    rng = np.random.default_rng(seed)
    genres = rng.integers(0, len(GENRES), n_items)
    told = np.where(rng.random(n_items) < purity, genres, rng.integers(0, len(GENRES), n_items))
    items = pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(n_items)],
            "genre": [f"{GENRES[genre]} film" for genre in genres],
        }
    )
    links = items.select("item_id", pl.col("item_id").str.replace("i", "e").alias("entity_id"))
    triples = pl.DataFrame(
        {
            "head_id": links["entity_id"],
            "relation_id": ["directed_by"] * n_items,
            "tail_id": [f"person{genre}.{rng.integers(3)}" for genre in told],
        }
    )
    return items, links, triples


def test_right_links_are_sound_and_the_estimate_is_the_purity() -> None:
    check = link_verdict(*films(2000))
    assert check.verdict == "sound"
    assert check.witness == "genres"
    assert check.right == pytest.approx(0.9, abs=0.05)


def test_small_nodes_that_are_pure_by_luck_count_little() -> None:
    """Beside directors who know 60 % of the genres, a thousand keywords that know nothing."""
    items, links, triples = films(400, purity=0.6)
    rng = np.random.default_rng(0)
    keywords = [f"keyword{n}" for n in rng.integers(0, 1000, 50 * 400)]
    noise = pl.DataFrame(
        {
            "head_id": links["entity_id"].to_list() * 50,
            "relation_id": ["about"] * len(keywords),
            "tail_id": keywords,
        }
    )
    check = link_verdict(items, links, pl.concat([triples, noise]))
    assert check.right == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize(("share", "most"), [(0.5, 0.6), (1.0, 0.12)])
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_links_are_broken(share: float, most: float, seed: int) -> None:
    items, links, triples = films(seed=seed)
    wrong = shuffled(links, share, np.random.default_rng(seed))
    check = link_verdict(items, wrong, triples)
    assert check.verdict == "broken"
    assert check.right is not None
    assert check.right < most
    assert check.summary.startswith("the links are broken: ")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_metadata_that_the_links_themselves_hung_on_entities_is_no_witness(share: float) -> None:
    items, links, triples = films()
    links = shuffled(links, share, np.random.default_rng(0)).head(200)
    check = link_verdict(items, links, triples)
    assert check.verdict == ("broken" if share else "sound")
    assert link_verdict(items, *add_metadata(links, triples, items)) == check


def test_what_cannot_be_judged_is_unknown() -> None:
    items, links, triples = films(12)
    assert link_verdict(items, links, triples).verdict == "unknown"
    items, links, triples = films()
    assert link_verdict(items.drop("genre"), links, triples) == ("unknown", "none", None, 0)
    assert link_verdict(items, links.clear(), triples).verdict == "unknown"
    assert link_verdict(items, links, triples.clear()).verdict == "unknown"
    everywhere = items.with_columns(genre=pl.lit("film"))  # says nothing: all are of it
    assert link_verdict(everywhere, links, triples).verdict == "unknown"


def test_names_of_entities_are_asked_first() -> None:
    items, links, triples = films(60)
    titles = [
        f"{word} number {index}" for index, word in enumerate(["alpha", "beta", "gamma"] * 20)
    ]
    items = items.with_columns(pl.Series("title", titles))
    labels = pl.DataFrame(
        {
            "head_id": links["entity_id"],
            "relation_id": ["http://www.w3.org/2000/01/rdf-schema#label"] * 60,
            "tail_id": titles,
        }
    )
    named = pl.concat([triples, labels])
    assert link_verdict(items, links, named) == ("sound", "titles", 1.0, 60)
    assert link_verdict(items.head(30), links, labels) == ("sound", "titles", 1.0, 30)
    assert link_verdict(items.head(29), links, labels) == ("unknown", "none", None, 0)
    reversed_links = links.with_columns(pl.col("entity_id").reverse())
    check = link_verdict(items, reversed_links, named)
    assert check.verdict == "broken"
    assert check.witness == "titles"


def test_readable_iris_are_names() -> None:
    iris = [
        "http://dbpedia.org/resource/Emma_(1996_film)",
        "http://dbpedia.org/resource/Alien_(film)",
        "http://dbpedia.org/resource/Am%C3%A9lie",
        "http://www.wikidata.org/entity/Q171048",
    ]
    triples = pl.DataFrame({"head_id": iris, "relation_id": ["r"] * 4, "tail_id": ["x"] * 4})
    names = entity_names(triples, pl.Series(iris))
    assert names["name"].to_list() == ["Emma (1996)", "Alien", "Amélie"]


def test_an_order_of_rows_changes_nothing() -> None:
    items, links, triples = films()
    other = link_verdict(items, links.reverse(), triples.sample(fraction=1, shuffle=True, seed=1))
    assert other == link_verdict(items, links, triples)


# What a verdict needs


@pytest.mark.parametrize("name", CONTROLS)
def test_right_links_are_never_broken(name: str) -> None:
    assert "broken" not in count_controls(CONTROLS[name], SPOILED["right"], 3)


@pytest.mark.parametrize("seed", range(4))
def test_a_graph_that_says_nothing_proves_nothing(seed: int) -> None:
    check = link_verdict(*shop(seed))
    assert (check.verdict, check.witness) == ("unknown", "genres")
    assert check.summary == (
        "the links may be right or wrong: the graph says too little of the categories"
    )


@pytest.mark.parametrize("seed", range(4))
def test_one_of_three_attributes_that_tells_all_is_enough(seed: int) -> None:
    check = link_verdict(*shop(seed, purity=1.0))
    assert check.verdict == "sound"
    assert check.right == pytest.approx(1.0, abs=0.01)


def with_relation(linked: Linked, old: str, new: str, tails: dict[str, str] | None = None):
    """The same graph, a relation under another name, and its tails too."""
    is_it = pl.col("relation_id") == old
    tail = pl.col("tail_id").replace(tails or {})
    triples = linked.triples.with_columns(
        relation_id=pl.when(is_it).then(pl.lit(new)).otherwise("relation_id"),
        tail_id=pl.when(is_it).then(tail).otherwise("tail_id"),
    )
    return linked._replace(triples=triples)


def spoiled(linked: Linked, spoil: str = "all shuffled"):
    return linked._replace(links=SPOILED[spoil](linked.links, np.random.default_rng(1)))


@pytest.mark.parametrize(
    "relation", ["genre", "film.film_genre.films_in_this_genre", "hasCategory"]
)
def test_a_relation_named_for_categories_knows_them(relation: str) -> None:
    """Its nodes are ids, brand17; the wrong links fit them no better than chance."""
    linked = with_relation(shop(0, purity=1.0), "brand", relation)
    assert link_verdict(*linked).verdict == "sound"
    check = link_verdict(*spoiled(linked))
    assert (check.verdict, check.witness) == ("broken", "genres")
    assert link_verdict(*spoiled(linked, "half shuffled")).verdict == "unknown"


@pytest.mark.parametrize("seed", range(5))
def test_a_relation_named_for_categories_that_tells_a_third_is_no_contradiction(seed: int) -> None:
    linked = with_relation(shop(seed, purity=0.33), "brand", "category")
    assert link_verdict(*linked).verdict == "unknown"


def test_nodes_named_for_categories_know_them() -> None:
    names = {f"brand{n}": f"http://x.org/Category:{kind}_{n % 4}" for n, kind in enumerate(
        kind for kind in ("garden", "kitchen", "office", "tools", "toys") for _ in range(4)
    )}  # fmt: skip
    linked = with_relation(shop(0, purity=1.0), "brand", "about", names)
    assert link_verdict(*linked).verdict == "sound"
    assert link_verdict(*spoiled(linked)).verdict == "broken"


def test_a_taxonomy_of_its_own_knows_nothing_of_the_categories() -> None:
    """Right links, a relation called category, whose readable nodes are none of the items'."""
    names = {"red": "sale", "black": "bargain", "blue": "new", "green": "used", "white": "gift"}
    linked = with_relation(shop(0), "colour", "category", names)
    assert link_verdict(*linked).verdict == "unknown"


@pytest.mark.parametrize("spoil", ["half shuffled", "first half shuffled", "all shuffled"])
@pytest.mark.parametrize("seed", range(3))
def test_wrong_links_are_never_sound(spoil: str, seed: int) -> None:
    for draw in (songs(seed, purity=1.0), shop(seed, n=1500, purity=1.0)):
        assert link_verdict(*spoiled(draw, spoil)).verdict != "sound"


def test_entities_handed_to_other_items_whole_are_not_sound() -> None:
    """Many to one: all songs of an artist have another artist's entity, so they stay together."""
    items, links, triples = songs(0, purity=1.0)
    entities = links["entity_id"].unique(maintain_order=True)
    other = dict(zip(entities, entities.shuffle(seed=1), strict=True))
    wrong = links.with_columns(pl.col("entity_id").replace(other))
    assert link_verdict(items, wrong, triples).verdict == "unknown"


def test_a_half_that_is_right_does_not_speak_for_the_other() -> None:
    """The years of films: of early years each is in the first half of the table only."""
    rng = np.random.default_rng(0)
    kinds = sorted(rng.choice(list("abcdefgh"), 1200).tolist())
    linked = build(kinds, {"in": [f"{kind}{rng.integers(3)}" for kind in kinds]}, rng)
    assert link_verdict(*linked).verdict == "sound"
    wrong = half_of_rows_shuffled(linked.links, rng)
    assert link_verdict(linked.items, wrong, linked.triples).verdict != "sound"


@pytest.mark.parametrize("slip", ["one row on", "one row back", "turned round"])
def test_another_order_that_fits_proves_the_links_wrong(slip: str) -> None:
    items, links, triples = shop(0, n=600, purity=1.0)
    wrong = {
        "one row on": shifted(links),
        "one row back": shifted(links.reverse()).reverse(),
        "turned round": links.with_columns(pl.col("entity_id").reverse()),
    }[slip]
    check = link_verdict(items, wrong, triples)
    assert (check.verdict, check.witness) == ("broken", "order")
    assert "in another order fit" in check.summary


def test_numbers_that_are_one_off_prove_the_links_wrong() -> None:
    """Item 7 has entity 8, in a table whose order is none."""
    items, links, triples = films(600, purity=1.0)
    number = pl.col("item_id").str.slice(1).cast(pl.Int64)
    wrong = links.with_columns(entity_id=pl.format("e{}", (number + 1) % 600)).sample(
        fraction=1, shuffle=True, seed=0
    )
    assert link_verdict(items, wrong, triples)[:2] == ("broken", "order")


# Names


def named_films(names: list[str], titles: list[str] | None = None) -> Linked:
    """Sixty films, a graph of their entities' names and of makers who say nothing."""
    rng = np.random.default_rng(0)
    facts = {"label": names, "made_by": [f"p{n}" for n in rng.integers(9, size=60)]}
    titles = titles or [f"Film of {chr(65 + n % 26)} {n // 26}" for n in range(60)]
    return build(["x"] * 60, facts, rng, titles=titles)


def test_names_in_another_language_prove_nothing() -> None:
    assert link_verdict(*named_films([f"Фильм {n}" for n in range(60)])).verdict == "unknown"


def test_names_that_are_partly_in_another_language_prove_what_they_can() -> None:
    """Thirty-five keep their title ("Titanic"), and all of these are at their own entity."""
    titles = [f"Film of {chr(65 + n % 26)} {n // 26}" for n in range(60)]
    linked = named_films([*titles[:35], *(f"Фильм {n}" for n in range(25))])
    check = link_verdict(*linked)
    assert (check.verdict, check.witness, check.n_compared) == ("sound", "titles", 35)
    assert link_verdict(*spoiled(linked))[:2] == ("broken", "titles")


def test_names_that_differ_in_a_number_are_other_names() -> None:
    things = [f"Thing {n:03}" for n in range(60)]
    linked = named_films(things, things)
    assert link_verdict(*linked) == ("sound", "titles", 1.0, 60)
    assert link_verdict(*spoiled(linked)).verdict == "broken"


def test_one_name_for_all_proves_nothing() -> None:
    assert link_verdict(*named_films(["Item"] * 60, ["Item"] * 60)).verdict == "unknown"


def test_names_of_other_kinds_of_entities_are_not_the_titles() -> None:
    """Chairs, titled "Chair": that is the name of what they are, not of another item's entity."""
    titles = [f"Chair {chr(65 + n % 20)}" for n in range(60)]
    items, links, triples = named_films([f"Model {n}" for n in range(60)], titles)
    classes = pl.DataFrame(
        [(f"c{title}", "label", title) for title in sorted(set(titles))],
        triples.schema,
        orient="row",
    )
    assert link_verdict(items, links, pl.concat([triples, classes])).verdict == "unknown"


def test_right_entities_that_no_link_leads_to_prove_the_links_wrong() -> None:
    titles = [f"Film of {chr(65 + n % 26)} {n // 26}" for n in range(60)]
    items, links, triples = named_films([f"Film of {n} others" for n in range(60)], titles)
    right = [(f"r{n}", "label", title) for n, title in enumerate(titles)]
    makers = [(f"r{n}", "made_by", "p1") for n in range(60)]
    others = pl.DataFrame(right + makers, triples.schema, orient="row")
    assert link_verdict(items, links, pl.concat([triples, others])) == ("broken", "titles", 0.0, 60)


# Real tables: `python -m benchmarks.accuracy.link_check` counts them


def test_tables_of_ml_latest_small(real_data_dir) -> None:
    small = read_sets(real_data_dir)["ml-latest-small, metadata"]
    right = {"right": "sound", "all shuffled": "broken"}
    assert {kind: link_verdict(*spoiled(small, kind)).verdict for kind in right} == right
    assert link_verdict(*spoiled(small, "first half shuffled")).verdict != "sound"


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTROLS)
def test_right_links_are_never_broken_in_200_draws(name: str) -> None:
    assert "broken" not in count_controls(CONTROLS[name], SPOILED["right"], 200)


@pytest.mark.slow
def test_real_tables(real_data_dir) -> None:
    for name, linked in read_sets(real_data_dir).items():
        if "RecBole" in name:
            assert count_films(linked, SPOILED["right"], 20) == {"broken": 20}
        elif "hidden" not in name:  # without names, DBpedia has nothing that tells of genres
            assert count_films(linked, SPOILED["right"], 20) == {"sound": 20}, name
            assert count_films(linked, SPOILED["all shuffled"], 20) == {"broken": 20}, name
            for half in ("half shuffled", "first half shuffled"):
                assert "sound" not in count_films(linked, SPOILED[half], 5), (name, half)
