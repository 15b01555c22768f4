"""`kgrec export --format vectors`: dot products of what it writes are the run's own numbers."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from kgrec_cli.runs.recommender import load_recommender
from tests.conftest import QUICK, RunCli

os.umask(UMASK := os.umask(0o077))


def exported(folder: Path) -> dict[str, pl.DataFrame]:
    names = ("items", "users", "entities")
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in names}


@pytest.mark.parametrize("more", [(), ("--preset", "best"), ("--no-freeze-kg",)])
def test_the_dot_product_is_the_score(
    run_cli: RunCli, small_folder: Path, more: tuple[str, ...]
) -> None:
    assert run_cli("train", "--epochs", "2", *QUICK, *more).exit_code == 0
    result = run_cli("export", "--format", "vectors", "--out", "v")
    assert result.exit_code == 0, result.stderr
    tables, tensors = (
        exported(small_folder / "v"),
        load_file(small_folder / "v/vectors.safetensors"),
    )
    modes = {path.stat().st_mode & 0o777 for path in (small_folder / "v").iterdir()}
    assert modes == {0o666 & ~UMASK}  # another user's service may read them
    for name, table in tables.items():
        np.testing.assert_array_equal(table["vector"].to_numpy(), tensors[name])
    (run_dir,) = (small_folder / "saved").iterdir()
    run = load_recommender(run_dir, small_folder, threads=1)
    assert tables["items"]["item"].to_list() == run.item_tokens
    assert tables["items"]["title"].to_list() == [f"Film No {t[1:]}" for t in run.item_tokens]
    histories = tables["users"]["history"].to_list()
    scores = run.scores(histories)
    bias = 0.0 if run.model.seen_bias is None else run.model.seen_bias.item()
    for row, history in enumerate(histories):
        scores[row, [run.item_tokens.index(item) for item in history]] -= bias
    np.testing.assert_allclose(tensors["users"] @ tensors["items"].T, scores, atol=1e-5)
    assert ("seen_bias adds" in result.stderr) == ("best" in more)
    of_entity = dict(zip(tables["entities"]["entity"], tensors["entities"], strict=True))
    assert of_entity.keys() == {f"e{number}" for number in range(1, 11)}
    read = run.model.table_of("entity").weight.detach().numpy()
    for item, entity in run.entities.items():
        np.testing.assert_array_equal(of_entity[entity], read[run.items.get(item)])
    assert tables["entities"].row(0) == ("e1", "Film No 1", of_entity["e1"].tolist())


def test_entities_without_an_item_are_written_too(run_cli: RunCli, small_folder: Path) -> None:
    path = small_folder / "dataset/small/small.ent_feature"
    path.write_text(path.read_text() + "genre\t.5 .5 0 0 0 0 0 0\n")
    assert run_cli("train", "--epochs", "1", *QUICK).exit_code == 0
    assert run_cli("export", "--format", "vectors", "--out", "v", "--json").exit_code == 0
    last = exported(small_folder / "v")["entities"].row(-1)
    assert last == ("genre", None, [0.5, 0.5, *[0.0] * 6])
    path.write_text(path.read_text().replace("\t1 0", "\t2 0"))
    result = run_cli("export", "--format", "vectors", "--out", "v")
    assert "made anew since the run was trained; only the entities of items" in result.stderr
    assert "genre" not in exported(small_folder / "v")["entities"]["entity"]


def test_a_run_alone_gives_its_items(run_cli: RunCli, trained_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_folder / "saved", tmp_path / "saved")
    (tmp_path / "v").mkdir()
    (tmp_path / "v/users.parquet").write_text("of an earlier export")
    result = run_cli("export", "--format", "vectors", "--out", "v", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["items"] == {"n": 12, "width": 8}
    assert (
        "no data set small here: no user vectors"
        in run_cli("export", "--format", "vectors", "--out", "v").stderr
    )
    names = {path.name for path in (tmp_path / "v").iterdir()}
    assert names == {"items.parquet", "entities.parquet", "vectors.safetensors"}


def test_onnx_without_its_extra_is_one_line(
    run_cli: RunCli, trained_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run_cli("export", "--format", "onnx", cwd=trained_folder)
    assert result.exit_code == 1
    assert "--format onnx needs the extra kgrec[onnx]: pip install 'kgrec[onnx]'" in result.error
