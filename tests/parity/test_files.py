"""Files both ways: RecBole trains on what kgrec writes, kgrec on RecBole's bundled ml-100k."""

import json
import re
import shutil
from contextlib import chdir
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.recbole_side.data import ALL_METRICS, QUICK
from benchmarks.recbole_side.run import example_dir, read_told, run_recbole_side
from kgrec_cli.cli import run
from kgrec_cli.commands.demo import find_sample_data
from kgrec_cli.config import build_settings
from kgrec_cli.core.data.splits import train_targets
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.load import load_dataset, split_dataset
from kgrec_cli.formats.atomic import read_atomic, write_entity_features
from kgrec_cli.quick_start import run_recbole
from tests.parity.conftest import RecBole

pytestmark = pytest.mark.parity

SETTINGS = {"embedding_size": 16, "hidden_size": 16, "epochs": 1, "valid_metric": "NDCG@10"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample data as `kgrec prepare` and `kgrec pretrain-kg` leave it.

    Two films on one entity make RecBole fail, so the second link of an entity is taken out.
    """
    folder = tmp_path_factory.mktemp("written")
    sample_dir = find_sample_data()
    links = pl.read_csv(sample_dir / "links.tsv", separator="\t", infer_schema=False)
    links.unique("entity_id", keep="first", maintain_order=True).write_csv(
        folder / "links.tsv", separator="\t"
    )
    with chdir(folder):
        kg = ("--kg", str(sample_dir / "kg.tsv"), "--links", "links.tsv")
        assert run(["prepare", "sample", "--raw", str(sample_dir), *kg, "--json"]) == 0
        size = ("--embedding-size", "16", "--epochs", "2", "--threads", "1", "--json")
        assert run(["pretrain-kg", *size]) == 0
    return folder


@pytest.fixture(scope="module")
def trained_by_recbole(written: Path) -> dict:
    out_dir = run_recbole_side(
        written,
        {"sample": {"dataset": "sample", "tell": ["samples", "fit"], "settings": SETTINGS}},
    )
    told = read_told(out_dir, "sample")
    return {**told.arrays, **told.said}


def test_recbole_trains_on_what_kgrec_writes(trained_by_recbole: dict) -> None:
    assert 0 < trained_by_recbole["fit"]["test"]["hit@10"] < 1
    assert np.isfinite(trained_by_recbole["best.item_embedding.weight"]).all()


def test_recbole_reads_the_vectors_that_kgrec_wrote(
    written: Path, trained_by_recbole: dict
) -> None:
    settings = build_settings({"dataset": "sample", "recbole_compat": True, **SETTINGS}, "test")
    dataset = load_dataset(settings, written, lambda event: None)
    table = load_feature_tables(settings, dataset, written, lambda event: None)["entity"]
    theirs = trained_by_recbole["weight.entity_embedding.weight"]
    for number, token in enumerate(trained_by_recbole["items"][1:], start=1):
        np.testing.assert_array_equal(table[dataset.items.get(token)], theirs[number])


def test_both_keep_the_same_rows_of_what_kgrec_wrote(
    written: Path, trained_by_recbole: dict
) -> None:
    settings = build_settings({"dataset": "sample", "recbole_compat": True, **SETTINGS}, "test")
    dataset = load_dataset(settings, written, lambda event: None)
    assert set(dataset.items.tokens[1:]) == set(trained_by_recbole["items"][1:])
    targets = train_targets(dataset.histories, split_dataset(settings, dataset))
    assert len(targets) == len(trained_by_recbole["train.user"])


@pytest.fixture(scope="module")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RecBole's bundled ml-100k, with random vectors beside it (it ships none)."""
    folder = tmp_path_factory.mktemp("bundled")
    shutil.copytree(example_dir(), folder / "dataset" / "ml-100k")
    dataset_dir = folder / "dataset" / "ml-100k"
    entities = read_atomic(dataset_dir / "ml-100k.link")["entity_id"].to_list()
    vectors = np.random.default_rng(0).normal(size=(len(entities), 64)).astype(np.float32)
    write_entity_features(dataset_dir / "ml-100k.ent_feature", entities, vectors)
    return folder


def test_recboles_ml_100k_keeps_what_recbole_keeps(bundled: Path) -> None:
    settings = build_settings({"dataset": "ml-100k", "recbole_compat": True}, "test")
    dataset = load_dataset(settings, bundled, lambda event: None)
    assert len(dataset.items) == 1 + 1_598
    targets = train_targets(dataset.histories, split_dataset(settings, dataset))
    assert len(targets) == 94_725


def test_recboles_ml_100k_keeps_everything_by_default(bundled: Path) -> None:
    dataset = load_dataset(build_settings({"dataset": "ml-100k"}, ""), bundled, lambda event: None)
    assert len(dataset.items) == 1 + 1_682
    assert len(dataset.histories.items) == 100_000


def test_kgrec_trains_on_recboles_ml_100k(
    bundled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chdir(bundled):
        assert run(["train", "--epochs", "1", "--threads", "1", "--json"]) == 0
        (trained,) = json.loads(capsys.readouterr().out)
        assert run(["evaluate", "--no-baselines", "--json"]) == 0
        measured = json.loads(capsys.readouterr().out)
    assert 0 < trained["metrics"]["test"]["hit@10"] < 1
    assert trained["metrics"]["test"].items() <= measured["test"].items()


@pytest.fixture
def toy(recbole: RecBole, tmp_path: Path) -> Path:
    """A folder with the toy data, whose times RecBole orders as kgrec does."""
    shutil.copytree(recbole.folder / "dataset" / "toy", tmp_path / "dataset" / "toy")
    return tmp_path


def test_recboles_checkpoint_comes_in_with_recboles_numbers(
    recbole: RecBole, toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = recbole.case("fit").said["fit"]
    with chdir(toy):
        capsys.readouterr()
        assert run(["import", str(recbole.folder / "recbole" / fit["checkpoint"]), "--json"]) == 0
        run_dir = json.loads(capsys.readouterr().out)["run"]
        assert run(["evaluate", run_dir, "--no-baselines", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
    assert {name: round(found["test"][name], 6) for name in fit["test"]} == pytest.approx(
        fit["test"], abs=0.6e-6
    )
    assert len(fit["test"]) == 22
    assert found["valid"]["ndcg@10"] == pytest.approx(fit["best"], abs=0.6e-6)


def test_recbole_loads_what_kgrec_exports(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chdir(toy):
        size = ("--embedding-size", "16", "--hidden-size", "16", "--epochs", "2")
        every = f"metrics=[{','.join(ALL_METRICS)}]"
        compat = ("--set", "recbole_compat=true", "--set", every, "--threads", "1", "--json")
        capsys.readouterr()
        assert run(["train", "--dataset", "toy", *size, *compat]) == 0
        (trained,) = json.loads(capsys.readouterr().out)
        assert run(["export", trained["run"], "--out", "ours.pth"]) == 0
    settings = {**SETTINGS, "metrics": ALL_METRICS}
    case = {"dataset": "toy", "tell": [], "settings": settings, "load": str(toy / "ours.pth")}
    out_dir = run_recbole_side(toy, {"loaded": case})
    theirs = read_told(out_dir, "loaded").said["loaded"]
    ours = trained["metrics"]["test"]
    assert {name: round(ours[name], 4) for name in theirs} == theirs
    assert len(theirs) == len(ALL_METRICS)


def test_run_recbole_returns_what_recboles_returns(
    recbole: RecBole,
    toy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(toy)
    theirs = recbole.said("quick")
    printed = theirs.pop("printed")
    ours = run_recbole("GRU4RecKG", "toy", config_dict={**QUICK, "recbole_compat": True})
    assert set(ours) - set(theirs) == {"run_dir"}
    assert set(theirs) <= set(ours)
    assert ours["valid_score_bigger"] is theirs["valid_score_bigger"]
    for part in ("best_valid_result", "test_result"):
        assert list(ours[part]) == list(theirs[part])
    assert isinstance(ours["best_valid_score"], float)
    for line, text in zip(capsys.readouterr().out.splitlines(), printed, strict=True):
        without_numbers = [re.sub(r"\d\.\d+", "N", each) for each in (line, text)]
        assert without_numbers[0] == without_numbers[1]
        assert text.startswith(("best valid : OrderedDict", "test result: OrderedDict"))
