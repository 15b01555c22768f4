"""Training: a known answer, a golden curve, what a checkpoint holds, resume, no finite loss."""

import re

import numpy as np
import pytest
import torch

from kgrec_cli.core.kg.fit import KGState, falling_rate, fit_kg
from kgrec_cli.core.kg.methods import entity_vectors, scorers
from kgrec_cli.errors import KgrecError
from kgrec_cli.setting_blocks import PretrainKGSettings

CPU = torch.device("cpu")


def ring(n: int = 12) -> np.ndarray:
    """Each entity is followed by the next one round the ring, and by the one after it."""
    here = np.arange(n)
    one = np.stack([here, np.zeros(n, int), (here + 1) % n], axis=1)
    two = np.stack([here, np.ones(n, int), (here + 2) % n], axis=1)
    return np.concatenate([one, two])


def fit(method: str, width: int = 8, epochs: int = 2, state=None, on_epoch=None, **changes):
    kg_settings = PretrainKGSettings(
        method=method, epochs=epochs, batch_size=8, negatives=2, **changes
    )
    return fit_kg(
        ring(), n_entities=12, n_relations=2, settings=kg_settings, embedding_size=width,
        device=CPU, state=state, on_epoch=on_epoch or (lambda *args: None),
    )  # fmt: skip


def test_a_translation_learns_who_belongs_to_whom() -> None:
    films = np.arange(12)
    makers = np.stack([films, np.zeros(12, int), 12 + films], axis=1)
    places = np.stack([films, np.ones(12, int), 24 + films], axis=1)
    triples = np.concatenate([makers, places])
    model, _ = fit_kg(
        triples, n_entities=36, n_relations=2, embedding_size=16, device=CPU,
        settings=PretrainKGSettings(epochs=100, batch_size=8), on_epoch=lambda *args: None,
    )  # fmt: skip
    tails, heads, _ = scorers(model)
    of_tails, of_heads = torch.as_tensor(triples[:, :2]), torch.as_tensor(triples[:, 1:])
    assert (tails(of_tails).argmax(dim=1).numpy() == triples[:, 2]).mean() > 0.9
    assert (heads(of_heads).argmax(dim=1).numpy() == triples[:, 0]).mean() > 0.9
    vectors = entity_vectors(model)
    steps = model.relation_representations[0](None).detach().numpy()
    places = vectors[triples[:, 0]] + steps[triples[:, 1]]
    distances = np.linalg.norm(places[:, None] - vectors, axis=2)
    np.testing.assert_allclose(tails(of_tails).numpy(), -distances, atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(heads(of_heads), model.predict_h(of_heads), atol=1e-5)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("TransE", [3.5082999070, 3.1105889479, 2.6208175818]),
        ("ComplEx", [1.0416545073, 1.0564903418, 1.0474506219]),
    ],
)
def test_losses_stay_what_they_were(method: str, expected: list[float]) -> None:
    """By shared negatives; the first loss of TransE is that of kgrec at 91ff524.

    Since then the learning rate falls from epoch to epoch.
    """
    assert fit(method, epochs=3)[1] == pytest.approx(expected, rel=1e-5)


def test_the_rate_falls_linearly_by_the_number_of_the_epoch() -> None:
    of_five = PretrainKGSettings(epochs=5, learning_rate=0.1)
    rates = [falling_rate(of_five, n_done) for n_done in range(6)]
    assert rates == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02, 0])


@pytest.mark.parametrize("method", ["TransE", "DistMult", "RotatE"])
def test_the_optimizer_gets_the_falling_rate(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    for kind in (torch.optim.Adam, torch.optim.SparseAdam):

        def step(self, *args, _step=kind.step, **kwargs):
            rates.append(self.param_groups[0]["lr"])
            return _step(self, *args, **kwargs)

        monkeypatch.setattr(kind, "step", step)
    fit(method, epochs=4, learning_rate=0.04)
    assert rates == pytest.approx(sorted([0.04, 0.03, 0.02, 0.01] * 3, reverse=True))


@pytest.mark.parametrize("method", ["TransE", "ComplEx", "RotatE"])
def test_a_state_keeps_its_names_and_resumes_exactly(method: str) -> None:
    states: list[KGState] = []

    def keep(epoch: int, loss: float, capture) -> None:
        state = capture()
        copies = {name: value.clone() for name, value in state.tensors.items()}
        states.append(KGState(state.losses, copies))

    whole, losses = fit(method, epochs=4, on_epoch=keep)
    assert states[1].losses == losses[:2]
    names = {
        f"model.{side}_representations.0._embeddings.weight" for side in ("entity", "relation")
    }
    slots = {f"adam.{i}.{slot}" for i in (0, 1) for slot in ("step", "exp_avg", "exp_avg_sq")}
    assert names | slots <= set(states[1].tensors)
    resumed, resumed_losses = fit(method, epochs=4, state=states[1])
    assert resumed_losses == losses
    np.testing.assert_array_equal(entity_vectors(resumed), entity_vectors(whole))


@pytest.mark.parametrize("method", ["TransE", "DistMult"])
def test_a_loss_that_is_no_number_is_one_line(method: str) -> None:
    with pytest.raises(
        KgrecError, match=r"loss of epoch [12] is no finite .* smaller --learning-r"
    ):
        fit(method, epochs=5, learning_rate=1e38)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), r"TransE: not enough memory; try a smaller --batch-size than 8"),
        (RuntimeError("CUDA out of memory"), r"TransE: not enough memory"),
    ],
)
def test_too_little_memory_is_one_line(error: Exception, expected: str) -> None:
    def fail(*args: object) -> None:
        raise error

    with pytest.raises(KgrecError, match=expected):
        fit("TransE", on_epoch=fail)


def test_an_error_of_another_kind_stays_what_it_is() -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match=r"^shapes differ$"):
        fit("TransE", on_epoch=fail)


@pytest.mark.parametrize(
    ("method", "learning_rate"),
    [("TransE", 1e3), ("TransE", 1e4), ("TransE", 1e19), ("DistMult", 1e4), ("RotatE", 100),
     ("ComplEx", 10)],
)  # fmt: skip
def test_a_training_that_diverges_is_an_error(method: str, learning_rate: float) -> None:
    """TransE's loss then stands at 87.3366, the logarithm of the smallest float32."""
    rate = re.escape(f"smaller --learning-rate than {learning_rate:g}")
    with pytest.raises(KgrecError, match=f"{method}: the (training has diverged|loss of).*{rate}"):
        fit(method, epochs=5, learning_rate=learning_rate)


@pytest.mark.parametrize("method", ["TransE", "DistMult", "RotatE", "ComplEx"])
@pytest.mark.parametrize("learning_rate", [1e-4, 0.01, 0.1])
def test_a_training_that_learns_little_is_none(method: str, learning_rate: float) -> None:
    _, losses = fit(method, epochs=3, learning_rate=learning_rate)
    assert len(losses) == 3


@pytest.mark.parametrize(
    ("name", "tensor", "expected"),
    [
        ("adam.0.exp_avg", torch.zeros(2), "the optimizer's state 0: exp_avg is 2 float32"),
        ("model.x", torch.zeros(2), "x is not of this model"),
        ("adam.7.step", torch.tensor(1), "the optimizer's state 7 is not of this model"),
    ],
)
def test_a_state_of_another_model_is_one_line(name: str, tensor: torch.Tensor, expected: str):
    states: list[KGState] = []
    fit("TransE", on_epoch=lambda epoch, loss, capture: states.append(capture()))
    state = KGState(states[0].losses, states[0].tensors | {name: tensor})
    with pytest.raises(KgrecError, match=f"cannot be resumed: {expected}.*leave out --resume"):
        fit("TransE", epochs=3, state=state)
