"""Items that came after the training are ranked by the projection of their entity's vector."""

import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest

from kgrec_cli.events import Event, Note
from kgrec_cli.runs.added_items import with_added_items
from kgrec_cli.runs.recommender import Recommender, load_recommender
from kgrec_cli.runs.run_dir import find_run
from tests.conftest import QUICK, run, write_small_dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("added") / "folder"
    write_small_dataset(folder)
    with chdir(folder):
        options = ["--set=kg_items=true", "--epochs=3", *QUICK, "--json"]
        assert run(["train", *options]) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """Its data set has grown by i13, whose entity e11 is where e1 is, and by i14 without entity."""
    folder = tmp_path / "folder"
    shutil.copytree(trained, folder)
    dataset_dir = folder / "dataset/small"
    with (dataset_dir / "small.item").open("a") as file:
        file.write("i13\tNew Film\ni14\tFilm of No Entity\n")
    with (dataset_dir / "small.link").open("a") as file:
        file.write("i13\te11\n")
    path = dataset_dir / "small.ent_feature"
    (of_e1,) = [line for line in path.read_text().splitlines() if line.startswith("e1\t")]
    path.write_text(path.read_text() + "e11\t" + of_e1.partition("\t")[2] + "\n")
    return folder


def load(folder: Path, events: list[Event]) -> Recommender:
    return load_recommender(find_run(folder, None), folder, on_event=events.append)


def test_a_new_item_has_the_vector_that_its_entity_gives(folder: Path, events: list[Event]) -> None:
    before = load(folder, events)
    run = with_added_items(before)
    assert run.item_tokens == [*before.item_tokens, "i13"]
    assert run.titles["i13"] == "New Film"
    model = before.model
    first = before.items.get("i1")
    of_entity = model.table_of("entity").weight[first].detach().numpy()
    projection = model.entity_item_layer.weight.detach().numpy()
    np.testing.assert_allclose(run.item_vectors()[-1], projection @ of_entity, atol=1e-6)
    np.testing.assert_array_equal(run.item_vectors()[:-1], before.item_vectors())
    (found,) = run.recommend(histories=[["i2", "i13"]], topk=20, hide_seen=False)
    assert "i13" in [item.item for item in found.items]
    assert len(found.items) == 13


def test_nothing_is_added_when_the_vectors_are_new_ones(folder: Path, events: list[Event]) -> None:
    path = folder / "dataset/small/small.ent_feature"
    path.write_text(path.read_text().replace("1 0 0", "0 1 1"))
    before = load(folder, events)
    assert with_added_items(before) is before
    assert events == [
        Note(
            f"small.ent_feature: not the vectors that {before.run_dir.name} was trained with, so "
            "items added since are not ranked"
        )
    ]


def test_nothing_is_added_without_kg_items(trained_folder: Path, events: list[Event]) -> None:
    before = load(trained_folder, events)
    assert with_added_items(before) is before
    assert events == []
