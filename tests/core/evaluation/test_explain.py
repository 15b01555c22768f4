"""What a score is made of: its parts sum to it, and drops are differences of the model's scores."""

import numpy as np
import pytest
import torch

from kgrec_cli.core.evaluation.explain import attribute
from kgrec_cli.core.evaluation.recommend import read_histories
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings

N_ITEMS, MAX_LENGTH = 40, 6
HISTORY = np.array([9, 3, 7, 3, 5, 8, 2, 5, 11], dtype=np.int32)
ITEMS = np.array([4, 5, 39], dtype=np.int32)  # 5 is of the history


def build(n_tables: int = 1, **options: bool | int) -> GRU4RecKG:
    torch.manual_seed(1)
    settings = ModelSettings(embedding_size=6, hidden_size=5, **options)
    tables = {name: torch.randn(N_ITEMS, 4) for name in ("entity", "genres")[:n_tables]}
    model = GRU4RecKG(settings, N_ITEMS, tables).eval()
    with torch.no_grad():  # biases and offsets begin at zero
        for name, parameter in model.named_parameters():
            if "bias" in name or "norm" in name:
                parameter.copy_(torch.randn(parameter.shape))
    return model


def scores_of(model: GRU4RecKG, history: np.ndarray) -> np.ndarray:
    """What `Recommender.scores` computes."""
    states, seen = read_histories(model, [history], MAX_LENGTH)
    return model.score(states, seen)[0, torch.from_numpy(ITEMS)].detach().double().numpy()


@pytest.mark.parametrize(
    ("n_tables", "options"),
    [
        (0, {}),
        (1, {}),
        (1, {"layer_norm": True}),
        (1, {"kg_items": True}),
        (2, {"layer_norm": True, "kg_items": True, "seen_bias": True, "num_layers": 2}),
        (1, {"residual": True}),
        (1, {"residual": True, "layer_norm": True, "kg_items": True, "similarity": "cosine"}),
    ],
)
def test_the_parts_of_a_score_sum_to_it(n_tables: int, options: dict[str, bool]) -> None:
    model = build(n_tables, **options)
    why = attribute(model, HISTORY, ITEMS, MAX_LENGTH)
    grus = ["item_gru", "entity_gru", "genres_gru"][: n_tables + 1]
    last = ["last_item"] if options.get("residual") else []
    named = [name for name in ("layer_norm", "kg_items", "seen_bias") if options.get(name)]
    assert list(why.parts) == [*grus, "bias", *last, *named]
    np.testing.assert_allclose(why.scores, scores_of(model, HISTORY), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sum(why.parts.values()), why.scores, rtol=1e-5, atol=1e-6)
    assert all(np.abs(part).max() > 1e-3 for part in why.parts.values())


def test_parts_are_those_of_the_named_weights() -> None:
    model = build(seen_bias=True)
    with torch.no_grad():  # the entity's state is zero: the product of zero and anything
        model.entity_gru_layers.weight_ih_l0.zero_()
        model.entity_gru_layers.weight_hh_l0.zero_()
    parts = attribute(model, HISTORY, ITEMS, MAX_LENGTH).parts
    embeddings = model.item_embedding.weight[torch.from_numpy(ITEMS)].detach().double()
    assert parts["entity_gru"].tolist() == [0, 0, 0]
    np.testing.assert_allclose(parts["bias"], embeddings @ model.dense_layer.bias.double().detach())
    assert parts["seen_bias"].tolist() == [0, pytest.approx(model.seen_bias.item()), 0]


@pytest.mark.parametrize("options", [{}, {"seen_bias": True, "kg_items": True, "layer_norm": True}])
def test_a_drop_is_the_score_less_that_of_the_history_without_the_item(options: dict) -> None:
    model = build(**options)
    why = attribute(model, HISTORY, ITEMS, MAX_LENGTH)
    assert why.history.tolist() == [3, 8, 2, 5, 11]  # of the last six; 9 and 7 are not read
    whole = scores_of(model, HISTORY)
    for place, item in enumerate(why.history):
        shorter = scores_of(model, HISTORY[item != HISTORY])
        np.testing.assert_allclose(why.drops[:, place], whole - shorter, rtol=1e-4, atol=1e-6)


def test_without_its_only_item_a_history_says_nothing() -> None:
    model = build()
    why = attribute(model, np.array([7, 7], dtype=np.int32), ITEMS, MAX_LENGTH)
    assert why.history.tolist() == [7]
    np.testing.assert_allclose(why.drops[:, 0], why.scores - why.parts["bias"], atol=1e-6)
