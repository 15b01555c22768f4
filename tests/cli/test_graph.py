"""`kgrec graph` as typed: the card, its JSON, errors of one line, and that it fits a screen."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import RunCli

KG = "head_id:token\trelation_id:token\ttail_id:token\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Users 0 to 399 buy 8 of 200 items of brand 0 or 1; a colour means nothing."""
    rng = np.random.default_rng(0)
    lines = ["user,item,time"]
    for user in range(400):
        bought = 2 * rng.choice(100, 8, replace=False) + user % 2
        lines += [f"u{user},A{item},{user + 100 * step}" for step, item in enumerate(bought)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    items = [f"A{n},Thing {n},b{n % 2},c{n // 2 % 2},one" for n in range(200)]
    (tmp_path / "items.csv").write_text("item,name,brand,colour,kind\n" + "\n".join(items) + "\n")
    return tmp_path


def prepare(run_cli: RunCli, *options: str) -> None:
    done = run_cli(
        "prepare", "shop", "--raw", "log.csv", "--items", "items.csv", "--kg", "metadata", *options
    )
    assert done.exit_code == 0, done.stderr


def test_the_card_names_what_is_worth_it_and_what_is_not(run_cli: RunCli, shop: Path):
    prepare(run_cli, "--kg-columns", "brand,colour,kind:value")
    shown = run_cli("graph", "shop")
    assert shown.exit_code == 0, shown.stderr
    card = json.loads(run_cli("graph", "--json").stdout)
    lifts = {each["relation"]: each["lift"] for each in card["relations"]}
    assert lifts["brand"]["verdict"] == "above"
    assert lifts["kind"]["lift"] == pytest.approx(1)
    assert lifts["kind"]["verdict"] == lifts["colour"]["verdict"] == "nothing"
    assert (card["items"], card["reached"], card["triples"]) == (200, 200, 600)
    assert f"{lifts['brand']['lift']:.2f}" in shown.stdout
    cure = "prepare with --drop-relation kind --drop-relation colour leaves them out"
    other = "prepare with --drop-relation colour --drop-relation kind leaves them out"
    assert cure in shown.stdout or other in shown.stdout
    assert "values of more than half of the 200 items tell few apart: kind:one" in shown.stdout
    assert "--kg-max-degree 199" in shown.stdout
    prepare(run_cli, "--drop-relation", "colour", "--kg-max-degree", "199")
    card = json.loads(run_cli("graph", "--json").stdout)
    assert [each["relation"] for each in card["relations"]] == ["brand"]


def test_doctor_names_it_too(run_cli: RunCli, shop: Path):
    prepare(run_cli, "--kg-columns", "brand,colour")
    findings = json.loads(run_cli("doctor", "--json").stdout)["findings"]
    (found,) = (each for each in findings if "no more common users than chance" in each["text"])
    assert found["level"] == "note"
    assert "by colour (" in found["text"]
    assert found["cure"] == "prepare with --drop-relation colour leaves them out"


def test_only_training_is_looked_at(run_cli: RunCli, shop: Path):
    """A card that read the last event of each user would know the test."""
    prepare(run_cli, "--kg-columns", "brand")
    before = run_cli("graph", "--json").stdout
    path = shop / "dataset/shop/shop.inter"
    table = pl.read_csv(path, separator="\t")
    held_out = table.with_row_index().sort("user_id:token", "timestamp:float", "index")
    held_out = held_out.filter(pl.int_range(pl.len()).over("user_id:token") >= 6)
    items = held_out["item_id:token"]
    swapped = dict(zip(held_out["index"], [*items[1:], items[0]], strict=True))
    column = [swapped.get(row, item) for row, item in enumerate(table["item_id:token"])]
    table = table.with_columns(pl.Series("item_id:token", column))
    table.write_csv(path, separator="\t")
    after = run_cli("graph", "--json").stdout
    lifts = [json.loads(text)["relations"][0]["lift"]["lift"] for text in (before, after)]
    assert lifts[0] == lifts[1] > 1.5


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_card_fits(run_cli: RunCli, shop: Path, columns: int, monkeypatch: pytest.MonkeyPatch):
    prepare(run_cli, "--kg-columns", "brand,colour")
    monkeypatch.setenv("COLUMNS", str(columns))
    table = run_cli("graph").stdout.split("relations, by lift")[1].split("hub:")[0]
    assert all(len(line) <= columns for line in table.splitlines())


def test_no_graph_or_no_link_is_one_line(run_cli: RunCli, shop: Path):
    prepare(run_cli, "--kg-columns", "brand")
    kg = shop / "dataset/shop/shop.kg"
    kg.write_text(KG + "x\tr\ty\n")
    assert "no item is linked to an entity with triples" in run_cli("graph").error
    kg.write_text(KG)
    assert "shop.kg: no triples" in run_cli("graph").error
    kg.unlink()
    assert "no such file; `kgrec prepare` makes it" in run_cli("graph").error
