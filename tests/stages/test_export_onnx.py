"""The ONNX graph beside torch: every option of the model, every length of a history."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, SeenItems

pytestmark = pytest.mark.extras
N_ITEMS, MAX_LENGTH = 60, 50


def make_model(n_layers: int, n_tables: int, **options: Any) -> GRU4RecKG:
    torch.manual_seed(0)
    tables = {f"table{number}": torch.randn(N_ITEMS, 5 + number) for number in range(n_tables)}
    sizes = ModelSettings(embedding_size=8, hidden_size=12, num_layers=n_layers, **options)
    model = GRU4RecKG(sizes, N_ITEMS, tables).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:  # unlike initial values, each of which may be 0 or 1
                weight.add_(torch.randn(weight.shape) / 4)
    return model


def torch_numbers(model: GRU4RecKG, rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """State and scores of each row, computed alone, no padding anywhere."""
    states, scores = [], []
    for row in rows:
        read, whole = torch.from_numpy(row[-MAX_LENGTH:]), torch.from_numpy(row)
        state = model.encode(read[None], torch.tensor([len(read)]))
        seen = SeenItems(torch.zeros_like(whole), whole)
        states.append(state.detach().numpy()[0])
        scores.append(model.score(state, seen).detach().numpy()[0])
    return np.array(states), np.array(scores)


@pytest.mark.parametrize(
    ("n_layers", "n_tables", "options"),
    [
        *product((1, 2), (0, 1, 2), ({},)),
        (1, 1, {"layer_norm": True, "seen_bias": True, "kg_items": True}),
        (2, 2, {"layer_norm": True, "seen_bias": True, "kg_items": True}),
        (1, 0, {"seen_bias": True}),
        (3, 1, {"layer_norm": True}),
        (1, 1, {"residual": True}),
        (1, 0, {"similarity": "cosine"}),
        (2, 1, {"residual": True, "similarity": "cosine", "layer_norm": True, "kg_items": True}),
    ],
)
def test_numbers_are_those_of_torch(n_layers: int, n_tables: int, options: dict[str, Any]) -> None:
    from onnxruntime import InferenceSession

    from kgrec_cli.stages.export.onnx_graph import build_onnx

    model = make_model(n_layers, n_tables, **options)
    content = build_onnx(model, MAX_LENGTH, {"run": "here"}).SerializeToString()
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"run": "here"}
    draw = np.random.default_rng(1)
    rows = [draw.integers(1, N_ITEMS, length) for length in (*range(1, 51), 51, 80)]
    rows.append(np.array([7, 7, 7]))  # seen_bias counts once
    states, scores = torch_numbers(model, rows)
    for n_rows in (1, 2, 7, len(rows)):
        for begin in range(0, len(rows), n_rows):
            chunk = rows[begin : begin + n_rows]
            items = np.zeros((len(chunk), max(map(len, chunk)) + 3), dtype=np.int64)
            for place, row in enumerate(chunk):
                items[place, : len(row)] = row
            found_states, found_scores = session.run(["state", "scores"], {"items": items})
            here = slice(begin, begin + n_rows)
            np.testing.assert_allclose(found_states, states[here], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found_scores[:, 1:], scores[here, 1:], rtol=1e-5, atol=1e-5)
            assert (found_scores[:, 0] == -np.inf).all()


def test_numbers_that_are_none_are_a_difference() -> None:
    from kgrec_cli.stages.export.onnx import _difference

    class Broken:
        def run(self, *_: object) -> list[np.ndarray]:
            return [np.zeros((1, 2)), np.full((1, 3), np.nan)]

    items = np.ones((1, 1), dtype=np.int64)
    assert np.isnan(_difference(Broken(), items, torch.zeros(1, 2), torch.zeros(1, 3)))
