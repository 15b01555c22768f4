"""Dropout: the share that is dropped, what is kept, and when nothing is dropped."""

import pytest
import torch

from kgrec_cli.core.model.gru4reckg import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.7])
def test_a_share_p_is_zero_and_the_rest_is_scaled(p: float) -> None:
    torch.manual_seed(0)
    vectors = torch.ones(2_001, 101, requires_grad=True)
    found = Dropout(p)(vectors)
    assert float((found == 0).float().mean()) == pytest.approx(p, abs=0.005)
    torch.testing.assert_close(
        found[found > 0].unique(), torch.tensor([1 / (1 - p)]), rtol=1e-4, atol=0
    )
    found.sum().backward()
    torch.testing.assert_close(vectors.grad, found)


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.3, False)])
def test_nothing_is_dropped(p: float, training: bool) -> None:
    vectors = torch.randn(5, 3)
    assert torch.equal(Dropout(p).train(training)(vectors), vectors)
