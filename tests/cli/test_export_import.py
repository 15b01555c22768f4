"""`kgrec export` and `kgrec import` as typed; out and in again gives the same ranking."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import QUICK, RunCli


def test_out_and_in_again(run_cli: RunCli, small_folder: Path) -> None:
    for suffix in ("link", "ent_feature"):  # every item linked, so that nothing is left out
        path = small_folder / f"dataset/small/small.{suffix}"
        row = "i{0}\te{0}\n" if suffix == "link" else "e{0}\t1 0 0 0 0 0 0 0\n"
        path.write_text(path.read_text() + "".join(row.format(item) for item in (11, 12)))
    path = small_folder / "dataset/small/small.kg"
    path.write_text(path.read_text() + "e11\tfollows\te12\n")
    run_cli("train", "--epochs", "3", *QUICK)
    trained = json.loads(run_cli("evaluate", "--no-baselines", "--json").stdout)
    exported = run_cli("export", "--format", "recbole", "--out", "model.pth")
    assert exported.exit_code == 0, exported.stderr
    assert "12 items, in RecBole's order -> model.pth" in exported.stdout
    imported = run_cli("import", "model.pth", "--json")
    assert imported.exit_code == 0, imported.stderr
    run_dir = json.loads(imported.stdout)["run"]
    again = json.loads(run_cli("evaluate", run_dir, "--no-baselines", "--json").stdout)
    for view in ("test", "test_masked"):
        for name in ("ndcg@10", "hit@5", "mrr@10"):
            assert again[view][name] == pytest.approx(trained[view][name], abs=1e-12)
    assert run_cli("recommend", run_dir, "--user", "u1").exit_code == 0


def test_items_that_recbole_drops_are_left_out(
    run_cli: RunCli, trained_folder: Path, tmp_path
) -> None:
    out_path = tmp_path / "model.pth"
    result = run_cli("export", "--out", str(out_path), "--json", cwd=trained_folder)
    assert json.loads(result.stdout) == {"out": str(out_path), "items": 10, "left_out": 2}
    value = torch.load(out_path, weights_only=True)
    assert value["item_tokens"] == ["[PAD]", *(f"i{item}" for item in range(1, 11))]
    shapes = {len(table) for name, table in value["state_dict"].items() if "embedding" in name}
    assert shapes == {11}


def test_gru4rec_cannot_be_exported(run_cli: RunCli, small_folder: Path) -> None:
    run_cli("train", "--model", "GRU4Rec", "--epochs", "1", *QUICK)
    result = run_cli("export")
    assert result.exit_code == 1
    assert "RecBole's GRU4RecKG has item and entity" in result.stderr


def test_weights_of_another_data_set_are_one_line(
    run_cli: RunCli, trained_folder: Path, tmp_path: Path
) -> None:
    run_cli("export", "--out", str(tmp_path / "model.pth"), cwd=trained_folder)
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "dataset/small/small.link"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-3]))
    result = run_cli("import", "model.pth")
    assert result.exit_code == 1
    assert "10 items, but small has 7" in result.stderr


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"item_embedding.weight": torch.ones(3, 2)}, "expected RecBole's GRU4RecKG"),
        (
            {
                "item_embedding.weight": torch.ones(11, 2),
                "entity_embedding.weight": torch.ones(11, 2),
                "dense_layer.weight": torch.ones(2, 4),
            },
            "num_layers",
        ),
    ],
)
def test_weights_of_another_model_are_one_line(
    run_cli: RunCli, small_folder: Path, value: dict, expected: str
) -> None:
    torch.save({"state_dict": value}, small_folder / "other.pth")
    result = run_cli("import", "other.pth")
    assert result.exit_code == 1
    assert expected in result.stderr
    assert not (small_folder / "saved").exists()
