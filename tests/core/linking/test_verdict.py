"""Are the links right? Known answers: sound links, shuffled ones, real tables."""

import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy.link_check import read_sets, shuffled
from kgrec_cli.core.linking.graph import add_metadata
from kgrec_cli.core.linking.verdict import entity_names, link_verdict

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


@pytest.mark.slow
def test_real_tables(real_data_dir) -> None:
    """`python -m benchmarks.accuracy.link_check` counts 100 draws of each."""
    for name, (items, links, triples) in read_sets(real_data_dir).items():
        is_sound = "RecBole" not in name
        assert link_verdict(items, links, triples).verdict == ("sound" if is_sound else "broken")
        for seed in range(3):
            for share in (0.5, 1.0):
                wrong = shuffled(links, share, np.random.default_rng(seed))
                assert link_verdict(items, wrong, triples).verdict == "broken", (name, share)
