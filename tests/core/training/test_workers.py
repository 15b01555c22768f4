"""Several processes that train one model come to the numbers of one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from kgrec_cli.core.data.histories import build_histories
from kgrec_cli.core.data.splits import split_leave_one_out
from kgrec_cli.core.evaluation.measure import measure_model, merge_parts
from kgrec_cli.core.model.gru4reckg import build_model
from kgrec_cli.core.training.fit import fit
from kgrec_cli.core.workers import ALONE, Workers
from kgrec_cli.settings import Settings

CPU = torch.device("cpu")
N_ITEMS = 31
BASE = {
    "embedding_size": 6, "hidden_size": 8, "dropout_prob": 0.0, "train_batch_size": 60,
    "epochs": 3, "learning_rate": 0.01, "seed": 3,
}  # fmt: skip


def train(settings: Settings, workers: Workers) -> dict[str, Any]:
    """Histories of 2 to 40 events; the model in float64."""
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(1, 32, dtype=np.int32), rng.integers(2, 41, size=31))
    items = (rng.zipf(1.5, size=len(users)) % (N_ITEMS - 1) + 1).astype(np.int32)
    histories = build_histories(users, items, np.arange(len(users)) // 2)
    split = split_leave_one_out(histories)
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 6)).astype(np.float32)
    model = build_model(settings, N_ITEMS, {"entity": vectors}, CPU).double()
    histories, split, workers = workers.share_out(histories, split)
    state = fit(model, histories, split, settings, device=CPU, workers=workers)
    measured = measure_model(model, histories, split, settings, workers=workers)
    return {
        "losses": [row["loss"] for row in state.history],
        "valid": [row["valid"] for row in state.history],
        "metrics": merge_parts(measured),
        "weights": {name: value.numpy() for name, value in model.state_dict().items()},
        "top_items": measured["test"].ranking.top_items,
    }


def one_of(number: int, count: int, settings: Settings, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=number, world_size=count)
    torch.save(train(settings, Workers(number, count)), folder / f"{number}.pt")
    dist.destroy_process_group()


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "prefix": {"train_batching": "prefix", "MAX_ITEM_LIST_LENGTH": 7},
    "sampled softmax": {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 12}},
    "preset": {"preset": "best", "MAX_ITEM_LIST_LENGTH": 7, "shuffle_ties": True},
    "few users a step": {"train_batch_size": 5},
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [*((name, 2) for name in CASES), ("defaults", 3)])
def test_the_numbers_of_one_process(name: str, count: int, tmp_path: Path) -> None:
    settings = Settings.model_validate({**BASE, **CASES[name]})
    expected = train(settings, ALONE)
    mp.spawn(one_of, (count, settings, tmp_path), nprocs=count)
    for number in range(count):
        found = torch.load(tmp_path / f"{number}.pt", weights_only=False)
        assert found["losses"] == pytest.approx(expected["losses"], rel=1e-9)
        assert found["metrics"] == {
            view: pytest.approx(values, rel=1e-9) for view, values in expected["metrics"].items()
        }
        np.testing.assert_array_equal(found["top_items"], expected["top_items"])
        for key, weight in expected["weights"].items():
            np.testing.assert_allclose(found["weights"][key], weight, rtol=0, atol=1e-8)
