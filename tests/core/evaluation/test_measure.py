"""Parts scored, masked and measured: values worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from kgrec_cli.core.data.histories import Histories, Ints, build_histories
from kgrec_cli.core.data.splits import Split, split_leave_one_out
from kgrec_cli.core.evaluation.measure import (
    measure,
    measure_model,
    merge_parts,
)
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.events import Event, Progress, Warn
from kgrec_cli.settings import Settings

SETTINGS = Settings(
    model="GRU4Rec", metrics=["Hit", "MRR", "NDCG"], topk=[2], valid_metric="MRR@2",
    embedding_size=4, hidden_size=4,
)  # fmt: skip


def two_users(n_events: int) -> tuple[Histories, Split]:
    """User 1 has had items 1, 2, ...; user 2 the same items the other way round."""
    items = np.arange(1, n_events + 1, dtype=np.int32)
    histories = build_histories(
        np.repeat(np.array([1, 2], dtype=np.int32), n_events),
        np.concatenate([items, items[::-1]]),
        np.tile(np.arange(n_events), 2),
    )
    return histories, split_leave_one_out(histories)


def lower_ids_score_higher(targets: Ints) -> Tensor:
    return -torch.arange(6, dtype=torch.float32).repeat(len(targets), 1)


def test_a_part_is_measured_with_seen_items_and_without() -> None:
    histories, split = two_users(5)
    popularity = np.ones(6, dtype=np.int64)
    measured = measure(lower_ids_score_higher, histories, split, "test", SETTINGS, popularity)
    # Targets 5 (after 1, 2, 3, 4) and 1 (after 5, 4, 3, 2): ranks 5 and 1; masked 1 and 1.
    assert histories.items[measured.targets].tolist() == [5, 1]
    assert measured.metrics["test"] == {"hit@2": 0.5, "mrr@2": 0.5, "ndcg@2": 0.5}
    assert measured.metrics["test_masked"] == {"hit@2": 1.0, "mrr@2": 1.0, "ndcg@2": 1.0}
    valid = measure(lower_ids_score_higher, histories, split, "valid", SETTINGS, popularity)
    # Targets 4 and 2, ranks 4 and 2; masked, of 4 and 5 and of 1 and 2, ranks 1 and 2.
    assert valid.metrics["valid"] == {
        "hit@2": 0.5, "mrr@2": 0.25, "ndcg@2": pytest.approx(0.5 / math.log2(3))
    }  # fmt: skip
    assert valid.metrics["valid_masked"] == {
        "hit@2": 1.0, "mrr@2": 0.75, "ndcg@2": pytest.approx((1 + 1 / math.log2(3)) / 2)
    }  # fmt: skip
    parts = {"valid": valid, "test": measured}
    assert list(merge_parts(parts)) == ["valid", "valid_masked", "test", "test_masked"]
    assert merge_parts(parts)["test"] == measured.metrics["test"]


def test_a_model_is_measured_by_its_scores(events: list[Event]) -> None:
    histories, split = two_users(5)
    model = GRU4RecKG(SETTINGS, 6).eval()
    with torch.no_grad():  # whatever was read, item i scores -i
        model.dense_layer.weight.zero_()
        model.dense_layer.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
        model.item_embedding.weight.zero_()[:, 0] = -torch.arange(6)
    measured = measure_model(model, histories, split, SETTINGS, on_event=events.append)
    assert list(measured) == ["valid", "test"]
    assert measured["test"].ranking.ranks.tolist() == [5, 1]
    assert measured["test"].ranking.ranks_masked.tolist() == [1, 1]
    assert measured["valid"].ranking.ranks.tolist() == [4, 2]
    assert all(isinstance(event, Progress) for event in events)


def test_an_empty_part_is_a_warning(events: list[Event]) -> None:
    histories, split = two_users(3)  # a test and a training target each
    model = GRU4RecKG(SETTINGS, 4)
    measured = measure_model(model, histories, split, SETTINGS, on_event=events.append)
    assert list(merge_parts(measured)) == ["test", "test_masked"]
    assert events == [
        Warn("the valid part is empty: nothing to report of it"),
        Progress("test targets", 2, 2, "ranked", passing=True),
    ]
    only_test = measure_model(model, histories, split, SETTINGS, parts=("test",))
    assert list(only_test) == ["test"]
