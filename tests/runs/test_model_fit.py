"""What is refused before memory is taken that is not there."""

import pytest

from kgrec_cli.core import memory
from kgrec_cli.core.model.gru4reckg import ModelSettings
from kgrec_cli.errors import KgrecError
from kgrec_cli.runs.model_fit import check_model_size

N_ITEMS, TABLE_GB = 10_000_000, 2.56


@pytest.mark.parametrize(
    ("learner", "widths", "n_tables"),
    [
        ("adam", {}, 5),  # weights, gradient, two moments, the best weights
        ("sparse_adam", {}, 4),
        ("sparse_adam", {"entity": 64}, 4 + 2),  # a frozen table: as it was read, in the model
    ],
)
def test_the_memory_of_a_training_by_learner(
    learner: str, widths: dict, n_tables: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for spare, is_enough in ((0.01, True), (-0.01, False)):
        limit = int((n_tables * TABLE_GB + spare) * 1e9)
        monkeypatch.setattr(memory, "memory_limit", lambda limit=limit: limit)
        if is_enough:
            check_model_size(ModelSettings(), N_ITEMS, widths, learner)
            continue
        with pytest.raises(KgrecError, match=rf"10,000,000 items, trained with {learner}: would"):
            check_model_size(ModelSettings(), N_ITEMS, widths, learner)
