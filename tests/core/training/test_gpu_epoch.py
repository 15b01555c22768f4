"""The path for GPUs, run on the CPU: the same steps, losses and weights as the path for CPUs."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from kgrec_cli.core.data.histories import Histories, build_histories
from kgrec_cli.core.data.negatives import draw_other_items
from kgrec_cli.core.data.splits import split_leave_one_out, train_targets
from kgrec_cli.core.model import gru_dense
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, build_model
from kgrec_cli.core.training import gpu_epoch
from kgrec_cli.core.training.epoch import EpochRunner
from kgrec_cli.core.training.gpu_epoch import GPUEpochRunner, number_members
from kgrec_cli.events import ignore_event
from kgrec_cli.settings import Settings

CPU = torch.device("cpu")
N_ITEMS = 31


def make_histories() -> Histories:
    """Histories of 2 to 40 events, some items repeated."""
    rng = np.random.default_rng(5)
    users = np.repeat(np.arange(1, 31, dtype=np.int32), rng.integers(2, 41, size=30))
    items = (rng.zipf(1.5, size=len(users)) % (N_ITEMS - 1) + 1).astype(np.int32)
    return build_histories(users, items, np.arange(len(users)) // 2)


def make_model(settings: Settings) -> GRU4RecKG:
    vectors = np.random.default_rng(0).normal(size=(N_ITEMS, 6)).astype(np.float32)
    vectors[0] = 0
    return build_model(settings, N_ITEMS, {"entity": vectors}, CPU).double()


def train(
    make_runner: type[EpochRunner], settings: Settings, model: GRU4RecKG, n_epochs: int = 3
) -> tuple[list[float], dict[str, torch.Tensor]]:
    model, histories = copy.deepcopy(model), make_histories()
    split = split_leave_one_out(histories)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=0.01, fused=True)
    runner = make_runner(model, optimizer, histories, split, settings, CPU)
    n_targets = len(train_targets(histories, split))
    losses = [runner.run(epoch, n_targets, ignore_event) for epoch in range(1, n_epochs + 1)]
    return losses, model.state_dict()


CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "short windows": {"MAX_ITEM_LIST_LENGTH": 7},
    "one step": {"train_batch_size": 10_000},
    "prefix": {"train_batching": "prefix", "MAX_ITEM_LIST_LENGTH": 7},
    "sampled softmax": {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 12}},
    "sampled softmax, seen items": {
        "loss_type": "SSM", "train_neg_sample_args": {"sample_num": 12}, "seen_bias": True,
    },
    "all items sampled": {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 500}},
    "two layers": {"num_layers": 2, "MAX_ITEM_LIST_LENGTH": 7},
    "residual, cosine": {"residual": True, "similarity": "cosine", "MAX_ITEM_LIST_LENGTH": 7},
    "sampled softmax of cosines": {
        "residual": True, "similarity": "cosine", "loss_type": "SSM",
        "train_neg_sample_args": {"sample_num": 12},
    },
    "seen items": {"seen_bias": True, "MAX_ITEM_LIST_LENGTH": 7},
    "seen items, prefix": {
        "seen_bias": True, "MAX_ITEM_LIST_LENGTH": 7, "train_batching": "prefix",
    },
    "preset": {"preset": "best", "MAX_ITEM_LIST_LENGTH": 7},
    "trained vectors": {"freeze_kg": False},
    "clipped": {"clip_grad_norm": {"max_norm": 0.1}},
    "padding drawn": {
        "recbole_compat": True, "train_batching": "sequence", "MAX_ITEM_LIST_LENGTH": 7,
    },
}  # fmt: skip


@pytest.mark.parametrize(("at_once", "wave_rows"), [(2, 132), (256, 3)])
@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_are_those_of_the_path_for_cpus(
    name: str, at_once: int, wave_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_epoch, "STEPS_AT_ONCE", at_once)
    monkeypatch.setattr(gru_dense, "WAVE_ROWS", wave_rows)
    base = {"embedding_size": 6, "hidden_size": 8, "dropout_prob": 0.0, "train_batch_size": 60}
    settings = Settings.model_validate({**base, **CASES[name]})
    model = make_model(settings)
    expected, weights = train(EpochRunner, settings, model)
    losses, found = train(GPUEpochRunner, settings, model)
    assert losses == pytest.approx(expected, rel=1e-7)
    assert expected[0] > expected[-1]
    for key, weight in weights.items():
        torch.testing.assert_close(found[key], weight, rtol=0, atol=1e-6, msg=key)


def test_bpr_learns_as_the_path_for_cpus_does() -> None:
    """Its negatives are other draws of the same distribution."""
    settings = Settings(
        loss_type="BPR", train_neg_sample_args={"distribution": "popularity", "sample_num": 64},
        embedding_size=6, hidden_size=8, dropout_prob=0.0, train_batch_size=60,
    )  # fmt: skip
    model = make_model(settings)
    expected, _ = train(EpochRunner, settings, model)
    losses, _ = train(GPUEpochRunner, settings, model)
    assert losses == pytest.approx(expected, rel=0.02)


def test_other_items_by_their_weights() -> None:
    """Of weights 1, 2, 5: without item 2, items 1 and 3 at 1 to 5."""
    weights_to = torch.tensor([0, 1, 2, 5]).double().cumsum(0)
    torch.manual_seed(0)
    drawn = draw_other_items(torch.tensor([2, 3, 1, 0]), weights_to, 60_000)
    shares = [torch.bincount(row, minlength=4) / 60_000 for row in drawn]
    expected = [[0, 1 / 6, 0, 5 / 6], [0, 1 / 3, 2 / 3, 0], [0, 0, 2 / 7, 5 / 7]]
    torch.testing.assert_close(torch.stack(shares[:3]), torch.tensor(expected), rtol=0, atol=0.01)


def test_numbering_by_hand() -> None:
    group, place, is_one = number_members(torch.tensor([[2, 0, -3, 1], [0, 4, 0, 0]]), 5)
    assert group[:, :3].tolist() == [[0, 0, 3], [1, 1, 1]]
    assert place[:, :3].tolist() == [[0, 1, 0], [0, 1, 2]]
    assert is_one.tolist() == [[True] * 3 + [False] * 2, [True] * 4 + [False]]


def test_blocks_by_hand() -> None:
    """Three of 132 rows, of which two are as long, and one of 4 that nobody needs yet."""
    lengths, contexts = (
        np.array([9, 9, 9, 4, 4, 3]).repeat(60),
        np.array([5, 0, 5, 2, 2, 0]).repeat(60),
    )
    found = gpu_epoch.cut_blocks(lengths, contexts, 400)
    assert found == [(264, 9, 5), (132, 4, 2), (4, 1, 0)]


def test_places_by_hand() -> None:
    rows, places = gpu_epoch.place_rows([2, 1], [2, 3])
    assert rows.tolist() == [0, 1, 0, 1, 2, 2, 2]
    assert places.tolist() == [0, 0, 1, 1, 0, 1, 2]


def test_room_is_left_for_the_windows_of_later_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make_shape = gpu_epoch.Shape._replace
    monkeypatch.setattr(
        gpu_epoch.Shape, "_replace", lambda self, **new: made.append(new) or make_shape(self, **new)
    )
    settings = Settings(embedding_size=6, hidden_size=8, train_batch_size=60, preset="best")
    train(GPUEpochRunner, settings, make_model(settings), n_epochs=8)
    assert len(made) <= 2


@torch.no_grad()
@pytest.mark.parametrize("n_layers", [1, 2])
def test_rows_of_one_length_are_encoded_as_packed_ones(n_layers: int) -> None:
    settings = Settings(embedding_size=6, hidden_size=8, num_layers=n_layers, recbole_compat=True)
    model = make_model(settings).eval()
    items = torch.tensor([[3, 4, 5, 6], [7, 0, 0, 0], [8, 9, 0, 0]])
    lengths = torch.tensor([4, 1, 2])
    torch.testing.assert_close(model.encode_rows(items, lengths), model.encode(items, lengths))
