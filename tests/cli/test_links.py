"""What `prepare`, `doctor` and `train` say of right and wrong links, as typed."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy.link_check import shuffled
from benchmarks.accuracy.link_controls import Linked, shop

LOG = ("--raw", "log.csv", "--items", "items.csv", "--kg", "kg.tsv", "--links", "links.tsv")


def write(folder: Path, linked: Linked, links: pl.DataFrame | None = None) -> None:
    """The raw files of a shop, each item bought by six users."""
    items = linked.items.rename({"item_id": "item", "genre": "category"})
    titled = items.with_columns(title=pl.format("Thing {}", "item"))
    titled.write_csv(folder / "items.csv")
    bought = (
        items.select("item").with_row_index("n").join(pl.DataFrame({"step": range(6)}), how="cross")
    )
    bought = bought.select(
        pl.format("u{}", (pl.col("n") * 7 + pl.col("step") * 13) % 150).alias("user"),
        "item",
        (1_600_000_000 + (pl.col("n") * 31 + pl.col("step") * 977) % 5000).alias("time"),
    )
    bought.write_csv(folder / "log.csv")
    linked.triples.rename(
        {"head_id": "head", "relation_id": "relation", "tail_id": "tail"}
    ).write_csv(folder / "kg.tsv", separator="\t")
    links = linked.links if links is None else links
    links.rename({"item_id": "item", "entity_id": "entity"}).write_csv(
        folder / "links.tsv", separator="\t"
    )


@pytest.mark.parametrize("purity", [0.0, 0.33])
def test_right_links_and_a_silent_graph_are_unknown_without_a_warning(
    run_cli, tmp_path: Path, purity: float
) -> None:
    write(tmp_path, shop(0, purity=purity))
    prepared = run_cli("prepare", "shop", *LOG)
    assert prepared.exit_code == 0, prepared.stderr
    assert "warning" not in prepared.stderr
    report = json.loads((tmp_path / "dataset/shop/prepare.json").read_text())
    assert report["links"]["verdict"] == "unknown"
    diagnosis = run_cli("doctor", "shop")
    assert diagnosis.exit_code == 0
    why = "the links may be right or wrong: the graph says too little of the categories"
    assert f"note .link        {why}\n" in diagnosis.stdout
    assert "are they another catalogue's?" not in diagnosis.stdout
    assert json.loads(run_cli("doctor", "shop", "--json").stdout)["links"]["verdict"] == "unknown"


def test_wrong_links_and_a_graph_that_knows_the_categories_are_broken(
    run_cli, tmp_path: Path
) -> None:
    linked = shop(0, purity=1.0)
    linked = linked._replace(
        triples=linked.triples.with_columns(pl.col("relation_id").replace("brand", "category"))
    )
    write(tmp_path, linked)
    assert "warning" not in run_cli("prepare", "shop", *LOG).stderr
    sound = run_cli("doctor", "shop")
    assert sound.exit_code == 0
    assert "ok   .link        the links are sound: the graph knows the items'" in sound.stdout
    write(tmp_path, linked, shuffled(linked.links, 1.0, np.random.default_rng(0)))
    assert "warning: links.tsv: the links are broken: " in run_cli("prepare", "shop", *LOG).stderr
    broken = run_cli("doctor", "shop")
    assert broken.exit_code == 1
    assert "the links are broken: the graph tells the items' categories" in broken.stdout


def test_ids_that_match_nothing_are_no_verdict(run_cli, tmp_path: Path) -> None:
    """Its own message: how many of how many match, and an example of each."""
    linked = shop(0, n=40)
    write(tmp_path, linked, linked.links.with_columns(item_id=pl.format("x{}", "item_id")))
    error = run_cli("prepare", "shop", *LOG).error
    assert "none of its item ids (such as 'xi0') is an item of the data set (such as 'i" in error
    assert "0 of 40 match" in error
    write(tmp_path, linked, linked.links.with_columns(entity_id=pl.format("x{}", "entity_id")))
    error = run_cli("prepare", "shop", *LOG).error
    assert "none of its entities (such as 'xe" in error
    assert error.endswith("0 of 40 match")
    spelt = linked.links.with_columns(entity_id=pl.format("http://x.org/{}", "entity_id"))
    write(tmp_path, linked, spelt)
    error = run_cli("prepare", "shop", *LOG).error
    assert error.endswith(
        "0 of 40 match, but the last parts of 40 do: write them alike in both files"
    )
    write(tmp_path, linked)
    run_cli("prepare", "shop", *LOG)
    path = tmp_path / "dataset/shop/shop.link"
    path.write_text(path.read_text().replace("\ni", "\nxi"))
    diagnosis = run_cli("doctor", "shop")
    assert diagnosis.exit_code == 1
    shown = " ".join(diagnosis.stdout.split())
    assert "0 of 40 item ids match; those of the links are like 'xi" in shown
    assert "broken" not in shown
