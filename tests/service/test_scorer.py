"""The service's arithmetic gives what the model gives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.evaluation.recommend import read_histories
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.service.scorer import best_of, build_scorer

N_ITEMS = 40
LENGTHS = [3, 1, 7, 7, 2, 5, 1, 4]


def random_model(**options: object) -> GRU4RecKG:
    """A model whose every weight is random, those that start at zero too."""
    settings = ModelSettings(embedding_size=6, hidden_size=10, **options)
    generator = np.random.default_rng(1)
    tables = {
        name: generator.standard_normal((N_ITEMS, width)).astype(np.float32)
        for name, width in (("entity", 5), ("more", 3))
    }
    model = build_model(settings, N_ITEMS, tables, torch.device("cpu")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=torch.manual_seed(2)) / 2
    return model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layer_norm": True, "kg_items": True, "seen_bias": True},
        {"num_layers": 3},
        {"residual": True},
        {"residual": True, "similarity": "cosine", "layer_norm": True, "kg_items": True},
    ],
)
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 8])
def test_scores_are_the_models(options: dict[str, object], n_rows: int) -> None:
    model, random = random_model(**options), np.random.default_rng(3)
    lists = [random.integers(1, N_ITEMS, n).astype(np.int32) for n in LENGTHS[:n_rows]]
    with torch.inference_mode():
        states, _ = read_histories(model, lists, max_length=50)
        expected = model.score(states).numpy()
    scorer = build_scorer(model, max_length=50)
    scores = scorer.score(scorer.read(lists), np.array([row[-1] for row in lists]))
    np.testing.assert_allclose(scores[:, 1:], expected[:, 1:], atol=1e-5)
    assert np.isneginf(scores[:, 0]).all()


def test_a_state_goes_on_where_it_was() -> None:
    scorer, items = build_scorer(random_model(num_layers=2), 50), np.array([4, 9, 9, 2], np.int32)
    whole = scorer.read([items, items[:2]])
    state = scorer.read([items[:1]])[0]
    for item in items[1:]:
        state = scorer.read([items[:3], np.array([item])], [scorer.start, state])[1]
    np.testing.assert_allclose(state, whole[0], atol=1e-6)


def test_similar_items_by_cosine() -> None:
    scorer = build_scorer(random_model(), 50)
    cosines = scorer.similar(7)
    a, b = scorer.item_vectors[[7, 11]]
    assert cosines[11] == pytest.approx(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b), rel=1e-5)
    assert np.isneginf(cosines[[0, 7]]).all()


@given(
    st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0]), min_size=1, max_size=1500),
    st.integers(1, 2),
)
def test_the_best_are_those_of_a_whole_sort(values: list[float], n: int) -> None:
    scores = np.array(values, dtype=np.float32)
    order = sorted((c for c in range(len(values)) if values[c] > -np.inf), key=lambda c: -values[c])
    assert best_of(scores, n) == order[:n]
