"""With copied weights: scores, losses, gradients, an epoch, lists and metrics equal RecBole's."""

import numpy as np
import pytest
import torch

from kgrec_cli.core.evaluation import measure
from kgrec_cli.core.losses import bpr, cross_entropy
from kgrec_cli.core.metrics import rank_metrics
from kgrec_cli.core.ranking import rank_targets, score_by
from kgrec_cli.core.sequences import test_targets as targets_of_test
from kgrec_cli.core.sequences import train_targets, valid_targets
from kgrec_cli.core.training import TrainingState, item_popularity
from tests.parity.conftest import SCORE_SEQUENCES, STOPPING_STEP, RecBole
from tests.parity.data import CASES
from tests.parity.ours import CPU, Ours, our_side, weights

pytestmark = pytest.mark.parity

PROBED = [name for name, case in CASES.items() if "probe" in case["tell"]]
SAMPLED = [name for name, case in CASES.items() if "samples" in case["tell"]]
MEASURED = [name for name, case in CASES.items() if "metrics" in case["tell"]]
EPOCHS = [name for name, case in CASES.items() if "epoch" in case["tell"]]


def loss_of(ours: Ours, states: torch.Tensor) -> torch.Tensor:
    told, weight = ours.told.arrays, ours.model.item_embedding.weight
    targets = ours.items(told["probe.target"])
    if ours.settings.loss_type == "CE":
        return cross_entropy(states, weight, targets)
    return bpr(states, weight, targets, ours.items(told["probe.negative"])[:, None])


def probed_states(ours: Ours) -> torch.Tensor:
    told = ours.told.arrays
    return ours.model.encode(
        ours.items(told["probe.history"]), torch.from_numpy(told["probe.length"])
    )


@pytest.mark.parametrize("name", PROBED)
def test_parameters_are_the_same(recbole: RecBole, name: str) -> None:
    told = recbole.case(name).arrays
    theirs = {
        key.removeprefix("weight."): value.shape
        for key, value in told.items()
        if key.startswith("weight.")
    }
    ours = our_side(recbole, name).model.state_dict()
    assert {key: tuple(value.shape) for key, value in ours.items()} == theirs


@pytest.mark.parametrize("name", PROBED)
def test_scores_and_loss(recbole: RecBole, name: str) -> None:
    ours = our_side(recbole, name)
    told = ours.told.arrays
    states = probed_states(ours)
    scores = ours.model.score(states).detach().numpy()
    np.testing.assert_allclose(scores[:, ours.item_map], told["probe.scores"], atol=1e-5)
    assert loss_of(ours, states).item() == pytest.approx(float(told["probe.loss"]), abs=1e-5)


@pytest.mark.parametrize("name", PROBED)
def test_gradients(recbole: RecBole, name: str) -> None:
    ours = our_side(recbole, name)
    loss_of(ours, probed_states(ours)).backward()
    theirs = weights(ours.told, "grad.", ours.item_map)
    found = {
        key: value.grad for key, value in ours.model.named_parameters() if value.grad is not None
    }
    assert found.keys() == theirs.keys()
    assert ("entity_embedding.weight" in found) is not ours.settings.freeze_kg
    for key, value in found.items():
        torch.testing.assert_close(value, theirs[key], atol=1e-5, rtol=0)
        assert theirs[key].abs().max() > 1e-4, key


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize("name", SAMPLED)
def test_samples_of_each_part(recbole: RecBole, name: str, part: str) -> None:
    ours = our_side(recbole, name)
    told, histories = ours.told.arrays, ours.dataset.histories
    cut = {"train": train_targets, "valid": valid_targets, "test": targets_of_test}[part]
    targets = cut(histories, ours.split)
    owners = histories.owners[targets]
    length = ours.settings.MAX_ITEM_LIST_LENGTH
    found = {
        (
            ours.dataset.users.tokens[histories.user_ids[owner]],
            tuple(histories.items[max(histories.offsets[owner], at - length) : at]),
            histories.items[at],
        )
        for owner, at in zip(owners, targets, strict=True)
    }
    users = ours.told.said["users"]
    theirs = {
        (users[user], tuple(ours.item_map[history[:n]]), ours.item_map[target])
        for user, history, n, target in zip(
            *(told[f"{part}.{key}"] for key in ("user", "history", "length", "target")), strict=True
        )
    }
    assert found == theirs
    assert len(targets) == len(told[f"{part}.user"])
    assert (len(targets) > 0) == (name != "valid-only" or part != "test")


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("name", MEASURED)
def test_every_metric_to_the_printed_digit(recbole: RecBole, name: str, part: str) -> None:
    ours = our_side(recbole, name)
    histories = ours.dataset.histories
    popularity = item_popularity(histories, ours.split, len(ours.dataset.items), targets_only=True)
    ours.model.eval()
    score = score_by(
        ours.model, histories, max_length=ours.settings.MAX_ITEM_LIST_LENGTH, device=CPU
    )
    found = measure(score, histories, ours.split, part, ours.settings, popularity).metrics[part]
    theirs = ours.told.said[part]
    digits = ours.settings.metric_decimal_place
    assert {key: round(value, digits) for key, value in found.items()} == pytest.approx(
        theirs, abs=0.6 * 10**-digits
    )
    assert len(theirs) == 22


@pytest.mark.parametrize("name", MEASURED)
def test_ranked_lists(recbole: RecBole, name: str) -> None:
    ours = our_side(recbole, name)
    histories = ours.dataset.histories
    ours.model.eval()
    targets = targets_of_test(histories, ours.split)
    score = score_by(
        ours.model, histories, max_length=ours.settings.MAX_ITEM_LIST_LENGTH, device=CPU
    )
    found = rank_targets(score, histories, targets, n_items=len(ours.dataset.items), topk=10)
    users = [ours.dataset.users.tokens[user] for user in histories.user_ids]
    mine = sorted(
        (users[owner], tuple(row.tolist()))
        for owner, row in zip(histories.owners[targets], found.top_items, strict=True)
    )
    told = ours.told
    theirs = sorted(
        (told.said["users"][user], tuple(ours.item_map[row].tolist()))
        for user, row in zip(told.arrays["top.user"], told.arrays["top.items"], strict=True)
    )
    assert mine == theirs


def test_ranking_among_the_same_negatives(recbole: RecBole) -> None:
    ours = our_side(recbole, "uni20")
    told, histories = ours.told, ours.dataset.histories
    ours.model.eval()
    targets = targets_of_test(histories, ours.split)
    users = [ours.dataset.users.tokens[user] for user in histories.user_ids]
    row_of_user = {
        told.said["users"][user]: row for row, user in enumerate(told.arrays["candidates.user"])
    }
    rows = [row_of_user[users[owner]] for owner in histories.owners[targets]]
    found = rank_targets(
        score_by(ours.model, histories, max_length=ours.settings.MAX_ITEM_LIST_LENGTH, device=CPU),
        histories,
        targets,
        n_items=len(ours.dataset.items),
        candidates=ours.items(told.arrays["candidates.items"][rows]),
    )
    assert told.arrays["candidates.items"].shape == (len(targets), 20)
    metrics = rank_metrics(found.ranks, ["Recall", "MRR", "NDCG", "Hit", "Precision"], [5, 10])
    for key, value in told.said["test"].items():
        assert metrics[key] == pytest.approx(value, abs=0.6e-6), key


@pytest.mark.parametrize("name", EPOCHS)
def test_an_epoch_of_prefix_batches_ends_in_the_same_weights(recbole: RecBole, name: str) -> None:
    ours = our_side(recbole, name)
    told = ours.told.arrays
    model = ours.model.double().train()
    optimizer = torch.optim.Adam(
        (weight for weight in model.parameters() if weight.requires_grad),
        lr=ours.settings.learning_rate,
        weight_decay=ours.settings.weight_decay,
    )
    for number, their_loss in enumerate(told["losses"]):
        states = model.encode(
            ours.items(told[f"batch{number}.history"]),
            torch.from_numpy(told[f"batch{number}.length"]),
        )
        optimizer.zero_grad()
        loss = cross_entropy(
            states, model.item_embedding.weight, ours.items(told[f"batch{number}.target"])
        )
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(their_loss, abs=1e-9)
    assert len(told["losses"]) > 4
    before = weights(ours.told, "weight.", ours.item_map)
    for key, value in weights(ours.told, "after.", ours.item_map).items():
        torch.testing.assert_close(model.state_dict()[key], value, atol=1e-8, rtol=0)
        moved = not torch.equal(value.float(), before[key])
        assert moved is not (key == "entity_embedding.weight" and ours.settings.freeze_kg), key


def test_training_stops_where_recbole_stops(recbole: RecBole) -> None:
    import json

    from kgrec_cli.core.training import _update_best

    ours = our_side(recbole, "leave-one-out")
    settings = ours.settings.model_copy(update={"stopping_step": STOPPING_STEP, "epochs": 25})
    theirs = json.loads((recbole.out_dir / "early_stopping.json").read_text())
    metric = settings.valid_metric.casefold()
    found = []
    for scores in SCORE_SEQUENCES:
        state = TrainingState()
        for score in scores:
            state.epoch += 1
            _update_best(state, ours.model, {metric: score}, settings, True)
            if state.is_finished(settings):
                break
        found.append([state.best_score, state.epoch])
    assert found == theirs
    assert len({epoch for _, epoch in theirs}) > 5
