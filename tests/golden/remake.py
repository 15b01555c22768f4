"""Makes the golden files anew: `python tests/golden/remake.py`, after a change that is meant."""

import json
from pathlib import Path

import numpy as np
import torch

from kgrec_cli.core.data.histories import build_histories
from kgrec_cli.core.data.splits import split_leave_one_out
from kgrec_cli.core.model.gru4reckg import build_model
from kgrec_cli.core.training.fit import fit
from kgrec_cli.settings import Settings

CURVE_PATH = Path(__file__).with_name("first_losses.json")


def first_losses(**changes: object) -> list[float]:
    """Losses of three epochs of a small seeded run (one thread)."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, 41, dtype=np.int32), 70)
    items = (rng.zipf(1.4, size=len(users)) % 50 + 1).astype(np.int32)
    histories = build_histories(users, items, np.arange(len(users)))
    settings = Settings.model_validate(
        {"embedding_size": 16, "hidden_size": 24, "train_batch_size": 256, "epochs": 3, **changes}
    )
    vectors = rng.normal(size=(51, 16)).astype(np.float32)
    device = torch.device("cpu")
    model = build_model(settings, 51, {"entity": vectors}, device)
    state = fit(model, histories, split_leave_one_out(histories), settings, device=device)
    return [row["loss"] for row in state.history]


CASES = {
    "sequence": {},
    "prefix": {"train_batching": "prefix"},
    "bpr": {"loss_type": "BPR"},
    "sampled softmax": {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 16}},
    "two layers, free vectors": {"num_layers": 2, "freeze_kg": False},
}


if __name__ == "__main__":
    curves = {name: first_losses(**changes) for name, changes in CASES.items()}
    CURVE_PATH.write_text(json.dumps(curves, indent=2) + "\n")
