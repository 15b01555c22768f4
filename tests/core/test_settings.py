"""The core's small settings: the same names and defaults as the settings of the command line."""

from dataclasses import fields

import pytest
import torch

from kgrec_cli.config import build_settings, narrow
from kgrec_cli.core.evaluation.measure import MeasureSettings
from kgrec_cli.core.model.gru import PackedRows
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings


@pytest.mark.parametrize("part", [ModelSettings, TrainingSettings, MeasureSettings])
def test_defaults_are_those_of_the_command_line(part: type) -> None:
    assert narrow(Settings(), part) == part()


def test_narrow_takes_every_value() -> None:
    settings = Settings(hidden_size=7, seed=3, layer_norm=True, epochs=2, topk=(4,))
    for part in (ModelSettings, TrainingSettings, MeasureSettings):
        narrowed = narrow(settings, part)
        for field in fields(part):
            assert getattr(narrowed, field.name) == getattr(settings, field.name)


def test_a_model_in_three_lines() -> None:
    model = GRU4RecKG(ModelSettings(hidden_size=16), 10, {"entity": torch.rand(10, 8)})
    states = model(PackedRows(torch.tensor([3, 1, 4]), (1, 1, 1)))
    assert model.score(states).shape == (3, 10)


@pytest.mark.parametrize(
    "values",
    [
        {"embedding_size": 10**12},
        {"hidden_size": 10**12},
        {"num_layers": 10**9},
        {"MAX_ITEM_LIST_LENGTH": 10**9},
        {"epochs": 10**12},
        {"threads": 10**6},
        {"topk": [10**12]},
        {"train_batch_size": 10**30},
        {"metric_decimal_place": 10**9},
        {"valid_metric": "NDCG@" + "9" * 30},
        {"eval_args": {"mode": "uni" + "9" * 30}},
        {"pretrain_kg": {"embedding_size": 10**12}},
        {"pretrain_kg": {"negatives": 10**12}},
        {"loss_type": "SSM", "train_neg_sample_args": {"sample_num": 10**12}},
        {"learning_rate": float("inf")},
        {"weight_decay": float("inf")},
        {"clip_grad_norm": {"max_norm": float("nan")}},
    ],
)
def test_absurd_numbers_are_refused(values: dict) -> None:
    with pytest.raises(KgrecError) as caught:
        build_settings(values, "test")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
