"""The core's small settings: the same names and defaults as the settings of the command line."""

from dataclasses import fields

import pytest
import torch

from kgrec_cli.config import narrow
from kgrec_cli.core.evaluation.measure import MeasureSettings
from kgrec_cli.core.model.gru import PackedRows
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings
from kgrec_cli.core.training.epoch import TrainingSettings
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
