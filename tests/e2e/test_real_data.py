"""The whole pipeline on real MovieLens 100K with its Freebase graph."""

import json
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import RunCli

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_all_six_commands(run_cli: RunCli, real_data_dir: Path, tmp_path: Path) -> None:
    prepared = run_cli(
        "prepare", "ml-100k", "--json",
        "--raw", str(real_data_dir / "ml-100k"),
        "--kg", str(real_data_dir / "freebase/ml-100k.kg.gz"),
        "--links", str(real_data_dir / "freebase/ml2fb.txt"),
        "--link-by", "title", "--catalog", str(real_data_dir / "ml-1m/movies.dat"),
    )  # fmt: skip
    assert prepared.exit_code == 0, prepared.stderr
    counts = json.loads(prepared.stdout)
    assert counts["interactions"]["kept"] == 100_000
    assert counts["interactions"]["users"] == 943
    assert counts["interactions"]["items"] == 1_682
    reference = [
        "learning_rate choice [0.01,0.005,0.001,0.0005,0.0001]",
        "dropout_prob choice [0.0,0.1,0.2,0.3,0.4,0.5]",
        "num_layers choice [1,2,3]",
        "hidden_size choice [128]",
        "freeze_kg choice [True, False]",
    ]
    assert (tmp_path / "hyper.test").read_text().splitlines() == reference

    # from here on as typed, but for the few epochs
    pretrained = run_cli("pretrain-kg", "--method", "TransE", "--epochs", "2")
    assert pretrained.exit_code == 0, pretrained.stderr
    trained = run_cli("train", "--freeze-kg", "--epochs", "3")
    assert trained.exit_code == 0, trained.stderr
    tuned = run_cli("tune", "hyper.test", "--max-trials", "2", "--set", "epochs=1", "--json")
    assert tuned.exit_code == 0, tuned.stderr
    assert len(json.loads(tuned.stdout)["leaderboard"]) == 2

    evaluated = run_cli("evaluate", "--json", "--per-user", "ranks.parquet")
    assert evaluated.exit_code == 0, evaluated.stderr
    metrics = json.loads(evaluated.stdout)
    ranks = pl.read_parquet(tmp_path / "ranks.parquet")
    assert len(ranks) == 943
    # Hand-checked on the raw files: users' last items under (time, row of u.data).
    assert metrics["test"]["hit@10"] == pytest.approx((ranks["rank"] <= 10).mean())
    assert metrics["baselines"]["Pop"]["test"]["ndcg@10"] == pytest.approx(0.0220, abs=5e-4)
    assert metrics["test_masked"]["ndcg@10"] > 0.03

    found = run_cli("recommend", "--user", "1", "--json", "--topk", "5")
    assert found.exit_code == 0, found.stderr
    (lists,) = json.loads(found.stdout)
    assert len(lists["items"]) == 5
    assert len(lists["history"]) == 272
    assert all(row["title"] for row in lists["items"])


def test_the_split_of_ml_100k_is_the_exact_one(
    run_cli: RunCli, real_data_dir: Path, tmp_path: Path
) -> None:
    """Test items recomputed from `u.data` in plain Python: sorted by (time, row), the last one."""
    run_cli("prepare", "ml-100k", "--raw", str(real_data_dir / "ml-100k"), "--kg", "metadata")
    run_cli("train", "--model", "GRU4Rec", "--epochs", "1")
    run_cli("evaluate", "--no-baselines", "--per-user", "ranks.csv")
    table = pl.read_csv(tmp_path / "ranks.csv", schema_overrides={"user": str, "item": str})
    last: dict[str, tuple[int, int, str]] = {}
    for row, line in enumerate((real_data_dir / "ml-100k/u.data").read_text().splitlines()):
        user, item, _, time = line.split("\t")
        last[user] = max(last.get(user, (-1, -1, "")), (int(time), row, item))
    assert dict(table.select("user", "item").iter_rows()) == {
        user: item for user, (_, _, item) in last.items()
    }
