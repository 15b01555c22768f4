"""Vectors laid out by item, and the warning of links that are another catalogue's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.dataset.features import align_vectors, warn_of_broken_links
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Warn
from kgrec_cli.settings import Settings
from kgrec_cli.stages.prepare.graph import KGRequest
from kgrec_cli.stages.prepare.run import PrepareRequest, run_prepare

VECTORS = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
ENTITIES = ["e0", "e1", "e2"]


def test_align_known_answer() -> None:
    links = {"i3": "e0", "i1": "e2", "i2": "nowhere", "other": "e1", "[PAD]": "e1"}
    aligned, n_with_vector = align_vectors(
        ["[PAD]", "i1", "i2", "i3", "i4"], links, ENTITIES, VECTORS
    )
    assert aligned.dtype == np.float32
    assert aligned.tolist() == [[0, 0], [5, 6], [0, 0], [1, 2], [0, 0]]
    assert n_with_vector == 2


def test_two_items_on_one_entity_share_its_vector() -> None:
    links = {"a": "e1", "b": "e1"}
    aligned, n_with_vector = align_vectors(["[PAD]", "a", "b"], links, ENTITIES, VECTORS)
    assert aligned.tolist() == [[0, 0], [3, 4], [3, 4]]
    assert n_with_vector == 2


@given(st.dictionaries(st.integers(0, 6), st.integers(0, 6), max_size=7))
def test_align_equals_a_plain_loop(entity_of: dict[int, int]) -> None:
    tokens = ["[PAD]", *(f"i{n}" for n in range(5))]
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2) + 1
    links = {f"i{item}": f"e{entity}" for item, entity in entity_of.items()}
    expected = np.zeros((6, 2), dtype=np.float32)
    for item, entity in entity_of.items():
        if item < 5 and entity < 5:
            expected[item + 1] = vectors[entity]
    entities = [f"e{n}" for n in range(5)]
    if not expected.any():
        with pytest.raises(KgrecError):
            align_vectors(tokens, links, entities, vectors)
        return
    aligned, n_with_vector = align_vectors(tokens, links, entities, vectors)
    assert aligned.tolist() == expected.tolist()
    assert n_with_vector == int(expected.any(axis=1).sum())


def test_no_vector_at_all_is_an_error_that_shows_both_sides() -> None:
    items = ["[PAD]", "a"]
    with pytest.raises(KgrecError, match=r"items are like 'a', the items of the links like '1'"):
        align_vectors(items, {"1": "e0"}, ENTITIES, VECTORS)
    with pytest.raises(
        KgrecError, match=r"entities are like 'm\.01', those with vectors like 'e0'"
    ):
        align_vectors(items, {"a": "m.01"}, ENTITIES, VECTORS)
    with pytest.raises(KgrecError, match="no item is linked"):
        align_vectors(["[PAD]"], {}, [], VECTORS[:0])


def test_an_entity_with_two_vectors_is_refused() -> None:
    with pytest.raises(KgrecError, match="entity 'e0' has two vectors"):
        align_vectors(["[PAD]", "a"], {"a": "e0"}, ["e0", "e1", "e0"], VECTORS)


# The verdict on the links: taken from prepare.json while its files are the ones that it is on


def write_raw(folder: Path, *, n_items: int = 60, is_broken: bool) -> PrepareRequest:
    """Raw data of which every link is right, or every link is the next item's."""
    raw_dir = folder / "raw"
    raw_dir.mkdir()
    movies = [f"{item}::Film {chr(97 + item % 26) * 5} {item}::Drama" for item in range(n_items)]
    (raw_dir / "movies.dat").write_text("\n".join(movies) + "\n")
    ratings = [
        f"{user}::{(7 * user + step) % n_items}::4::{step}"
        for user in range(40)
        for step in range(8)
    ]
    (raw_dir / "ratings.dat").write_text("\n".join(ratings) + "\n")
    label = "http://www.w3.org/2000/01/rdf-schema#label"
    names = [movie.split("::")[1] for movie in movies]
    triples = [f"e{item}\t{label}\t{name}" for item, name in enumerate(names)]
    triples += [f"e{item}\tnear\te{(item + 1) % n_items}" for item in range(n_items)]
    (folder / "kg.tsv").write_text("\n".join(triples) + "\n")
    shift = 1 if is_broken else 0
    links = [f"{item}\te{(item + shift) % n_items}" for item in range(n_items)]
    (folder / "links.tsv").write_text("\n".join(links) + "\n")
    kg = KGRequest(str(folder / "kg.tsv"), folder / "links.tsv")
    return PrepareRequest("toy", raw_dir, folder=folder, kg=kg)


def warnings(folder: Path) -> list[str]:
    events: list[Event] = []
    settings = Settings(dataset="toy")
    dataset = load_dataset(settings, folder, events.append)
    warn_of_broken_links(settings, dataset, folder, events.append)
    return [event.text for event in events if isinstance(event, Warn)]


def write_verdict(folder: Path, verdict: str) -> None:
    """Puts another verdict into prepare.json, to see whether it is taken."""
    path = folder / "dataset/toy/prepare.json"
    report = json.loads(path.read_text())
    report["links"] |= {"verdict": verdict, "summary": "as recorded"}
    path.write_text(json.dumps(report))


@pytest.mark.parametrize("is_broken", [False, True])
def test_what_prepare_recorded_is_what_would_be_found(tmp_path: Path, is_broken: bool) -> None:
    run_prepare(write_raw(tmp_path, is_broken=is_broken), on_event=lambda event: None)
    recorded = warnings(tmp_path)
    write_verdict(tmp_path, "sound" if is_broken else "broken")
    taken = [text.partition(";")[0] for text in warnings(tmp_path)]
    assert taken == ([] if is_broken else ["as recorded"])
    (tmp_path / "dataset/toy/prepare.json").unlink()
    assert warnings(tmp_path) == recorded
    assert len(recorded) == is_broken
    if is_broken:
        assert recorded[0].startswith("the links are broken: 0% of 60 titles are their entity's")
        assert recorded[0].endswith("`kgrec prepare --link-by title --catalog FILE` joins by title")


@pytest.mark.parametrize("suffix", ["item", "kg", "link"])
def test_a_file_that_changed_is_looked_at_anew(tmp_path: Path, suffix: str) -> None:
    run_prepare(write_raw(tmp_path, is_broken=False), on_event=lambda event: None)
    write_verdict(tmp_path, "broken")
    assert len(warnings(tmp_path)) == 1
    path = tmp_path / f"dataset/toy/toy.{suffix}"
    head, first, *others = path.read_text().splitlines()
    path.write_text("\n".join([head, *others, first, ""]))
    (line,) = warnings(tmp_path)  # none of a broken verdict
    assert line.startswith(f"{path}: not as `kgrec prepare` wrote it")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": 1, "links": {"verdict": "sound", "summary": "x"}}']
)
def test_a_prepare_json_that_says_nothing_is_passed_over(tmp_path: Path, text: str) -> None:
    run_prepare(write_raw(tmp_path, is_broken=True), on_event=lambda event: None)
    recorded = warnings(tmp_path)
    (tmp_path / "dataset/toy/prepare.json").write_text(text)
    assert len(recorded) == 1
    assert warnings(tmp_path) == recorded


WITHOUT_MATCHER = """
import sys
sys.modules["rapidfuzz"] = None
from kgrec_cli.cli import run
code = run(sys.argv[1:])
not_needed = ("kgrec_cli.core.linking", "kgrec_cli.formats.raw")
loaded = sorted(name for name in sys.modules if name.startswith(not_needed))
sys.exit(f"loaded {loaded}" if loaded else code)
"""


@pytest.mark.parametrize("is_broken", [False, True])
def test_training_a_prepared_data_set_needs_no_title_matcher(
    tmp_path: Path, is_broken: bool
) -> None:
    run_prepare(write_raw(tmp_path, is_broken=is_broken), on_event=lambda event: None)
    kg = pl.read_csv(tmp_path / "dataset/toy/toy.kg", separator="\t")
    entities = kg[kg.columns[0]].unique(maintain_order=True)
    vectors = [f"{entity}\t{number % 3} 1" for number, entity in enumerate(entities)]
    path = tmp_path / "dataset/toy/toy.ent_feature"
    path.write_text("\n".join(["ent_id:token\tent_vec:float_seq", *vectors, ""]))
    command = [sys.executable, "-c", WITHOUT_MATCHER, "train", "--epochs", "1", "--threads", "1"]

    def train() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip

    result = train()
    assert result.returncode == 0, result.stderr
    assert ("the links are broken" in result.stderr) == is_broken
    report = json.loads((tmp_path / "dataset/toy/prepare.json").read_text())
    report["files"]["toy.link"] = "0" * 64
    (tmp_path / "dataset/toy/prepare.json").write_text(json.dumps(report))
    assert "rapidfuzz" in train().stderr  # looked at anew, for which the matcher is needed
