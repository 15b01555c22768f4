"""`sparse_adam`: the rows that a step reads get torch's SparseAdam, the others stay as they are."""

import pytest
import torch

from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.optimizer import SparseAdam, build_optimizer
from kgrec_cli.core.workers import ALONE, Workers
from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings
from tests.core.training.test_fit import CPU, CYCLE, cycle, train

SSM = {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 8}}


def gradient(*rows: int, seed: int) -> torch.Tensor:
    """A sparse gradient of a table of 5 rows; a row may stand twice in it."""
    values = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (5, 3), check_invariants=True)


def test_the_rows_of_a_gradient_get_the_step_of_torchs_sparse_adam() -> None:
    torch.manual_seed(0)
    table, like = (torch.nn.Parameter(torch.ones(5, 3)) for _ in range(2))
    dense, dense_like = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    ours = SparseAdam([table, dense], lr=0.1, fused=True)
    theirs = torch.optim.SparseAdam([like], lr=0.1)
    theirs_dense = torch.optim.Adam([dense_like], lr=0.1, fused=True)
    for seed, rows in enumerate([(1, 2, 1), (4,), (1, 4)]):
        for weight in (table, like):
            weight.grad = gradient(*rows, seed=seed)
        for weight in (dense, dense_like):
            weight.grad = torch.tensor([0.5, -seed])
        for optimizer in (ours, theirs, theirs_dense):
            optimizer.step()
    torch.testing.assert_close(table, like)
    assert torch.equal(dense, dense_like)
    assert torch.equal(table[[0, 3]], torch.ones(2, 3))
    state = ours.state[table]
    assert state["step"] == 3
    torch.testing.assert_close(state["exp_avg_sq"], theirs.state[like]["exp_avg_sq"])


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"model": "GRU4RecKG", "freeze_kg": False},
        {"residual": True, "similarity": "cosine"},
    ],
)
def test_with_all_items_among_the_negatives_it_trains_as_adam_does(more: dict) -> None:
    """All items are read at every step then; an entity table would be read in part, so one user."""
    changes = {**SSM, **more, "epochs": 4}
    losses = [
        [row["loss"] for row in train(settings, cycle(n_users=8))[0].history]
        for learner in ("adam", "sparse_adam")
        for settings in [
            Settings.model_validate({**CYCLE.model_dump(), **changes, "learner": learner})
        ]
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_items_that_a_step_does_not_read_keep_their_vectors() -> None:
    changes = {**SSM, "train_neg_sample_args": {"sample_num": 1}, "learner": "sparse_adam"}
    settings = Settings.model_validate({**CYCLE.model_dump(), **changes, "epochs": 1})
    before = build_model(settings, 9, {}, CPU).item_embedding.weight
    state, _ = train(settings, cycle(n_users=1, n_items=3))
    changed = (state.model["item_embedding.weight"] != before).any(dim=1)
    assert changed[1:4].all()
    assert not changed[0]
    assert not changed[4:].all()


@pytest.mark.parametrize(
    ("device", "workers"), [("cuda", ALONE), ("cpu", Workers(1, 2))], ids=["gpu", "two processes"]
)
def test_it_is_refused_where_it_does_not_train(device: str, workers: Workers) -> None:
    model = build_model(ModelSettings(embedding_size=4, hidden_size=4), 9, {}, CPU)
    settings = TrainingSettings(loss_type="SSM", learner="sparse_adam")
    with pytest.raises(KgrecError, match=r"sparse_adam: found \d processes on"):
        build_optimizer(model, settings, torch.device(device), workers)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"loss_type": "CE"}, "loss_type CE"),
        ({"loss_type": "BPR", "kg_items": True}, "kg_items and loss_type BPR"),
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"clip_grad_norm": {"max_norm": 1}}, "clip_grad_norm"),
    ],
)
def test_settings_that_need_all_items_at_every_step_are_refused(more: dict, found: str) -> None:
    with pytest.raises(
        ValueError, match=rf"learner sparse_adam: found {found}; .*set learner: adam"
    ):
        Settings.model_validate({"loss_type": "SSM", "learner": "sparse_adam", **more})
