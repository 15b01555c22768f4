"""PyKEEN underneath: which methods work, the layout of vectors, a known answer, held-out ranks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_cli.core.kg import embedding as kg_embedding
from kgrec_cli.core.kg.embedding import (
    check_method,
    entity_vectors,
    fit_kg,
    list_methods,
    scale_vectors,
    scorers,
)
from kgrec_cli.core.kg.holdout import hold_out, rank_held_out, summarise_ranks
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.settings import PretrainKGSettings

CPU = torch.device("cpu")


def ring(n: int = 12) -> np.ndarray:
    """Each entity is followed by the next one round the ring, and by the one after it."""
    here = np.arange(n)
    one = np.stack([here, np.zeros(n, int), (here + 1) % n], axis=1)
    two = np.stack([here, np.ones(n, int), (here + 2) % n], axis=1)
    return np.concatenate([one, two])


def fit(method: str, width: int = 8, epochs: int = 2, **changes):
    kg_settings = PretrainKGSettings(
        method=method, epochs=epochs, batch_size=8, negatives=2, **changes
    )
    return fit_kg(
        ring(), n_entities=12, n_relations=2, settings=kg_settings, embedding_size=width,
        device=CPU, on_epoch=lambda *args: None,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["TransE", "DistMult", "ComplEx", "RotatE", "TransH", "TransD"])
def test_methods_give_vectors_of_the_width_asked_for(method: str) -> None:
    assert check_method(method.lower(), 8) == method
    model, losses = fit(method)
    vectors = entity_vectors(model)
    assert vectors.shape == (12, 8)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert len(losses) == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", list_methods())
def test_every_method_offered_works(method: str) -> None:
    model, losses = fit(check_method(method, 64), width=64)
    assert entity_vectors(model).shape == (12, 64)
    assert np.isfinite(losses).all()


def test_complex_numbers_lie_as_real_parts_then_imaginary_parts() -> None:
    model, _ = fit("ComplEx")
    numbers = model.entity_representations[0](None).detach()
    vectors = entity_vectors(model)
    np.testing.assert_array_equal(vectors[:, :4], numbers.real.numpy())
    np.testing.assert_array_equal(vectors[:, 4:], numbers.imag.numpy())


def test_vectors_are_divided_by_their_mean_length() -> None:
    scaled, length = scale_vectors(np.array([[3, 4], [0, 15], [0, 0], [0, 4]], dtype=np.float32))
    assert length == 6
    np.testing.assert_array_equal(scaled, np.float32([[0.5, 2 / 3], [0, 2.5], [0, 0], [0, 2 / 3]]))
    zeros = np.zeros((2, 3), dtype=np.float32)
    np.testing.assert_array_equal(scale_vectors(zeros)[0], zeros)


@pytest.mark.parametrize(
    ("method", "width", "expected"),
    [
        ("TarnsE", 8, "did you mean 'TransE'"),
        ("RotatE", 7, "must be a multiple of 2; found 7"),
        ("RGCN", 8, "cannot be used here"),
        ("NodePiece", 8, "cannot be used here"),
    ],
)
def test_a_method_that_cannot_be_used_is_one_line(method: str, width: int, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        check_method(method, width)


def test_a_translation_learns_who_belongs_to_whom() -> None:
    films = np.arange(12)
    makers = np.stack([films, np.zeros(12, int), 12 + films], axis=1)
    places = np.stack([films, np.ones(12, int), 24 + films], axis=1)
    triples = np.concatenate([makers, places])
    model, _ = fit_kg(
        triples, n_entities=36, n_relations=2, embedding_size=16, device=CPU,
        settings=PretrainKGSettings(epochs=100, batch_size=8), on_epoch=lambda *args: None,
    )  # fmt: skip
    tails, heads = scorers(model)
    of_tails, of_heads = torch.as_tensor(triples[:, :2]), torch.as_tensor(triples[:, 1:])
    assert (tails(of_tails).argmax(dim=1).numpy() == triples[:, 2]).mean() > 0.9
    assert (heads(of_heads).argmax(dim=1).numpy() == triples[:, 0]).mean() > 0.9


def test_a_loss_that_is_no_number_is_one_line() -> None:
    with pytest.raises(KgrecError, match="smaller --learning-rate"):
        fit("DistMult", epochs=5, learning_rate=1e38)


def test_pykeen_leaves_no_folder_in_the_home(tmp_path, monkeypatch) -> None:
    import subprocess
    import sys

    code = "import kgrec_cli.core.kg.embedding"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.iterdir())
    assert kg_embedding.REFUSED.keys().isdisjoint(list_methods())


def triples_strategy():
    row = st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(0, 7))
    return st.lists(row, min_size=1, max_size=60, unique=True).map(np.array)


@settings(max_examples=80)
@given(triples_strategy(), st.floats(0.05, 0.5), st.integers(0, 50))
def test_a_held_out_pair_has_no_triple_in_training(triples, share: float, seed: int) -> None:
    held = hold_out(triples, 8, share=share, n_max=100, seed=seed)
    training, away = triples[~held], triples[held]
    pairs = {frozenset((head, tail)) for head, _, tail in training}
    assert all(frozenset((head, tail)) not in pairs for head, _, tail in away)
    assert set(triples[:, [0, 2]].ravel()) == set(training[:, [0, 2]].ravel())
    assert set(triples[:, 1]) == set(training[:, 1])


def test_inverse_relations_are_held_out_together() -> None:
    films, people = np.arange(20), 20 + np.arange(20)
    pairs = [(film, person) for film in films for person in people if (film + person) % 3 == 0]
    one = [(film, 0, person) for film, person in pairs]
    other = [(person, 1, film) for film, person in pairs]
    triples = np.array(one + other)
    held = hold_out(triples, 40, share=0.2, n_max=1000, seed=0)
    assert held[: len(pairs)].sum() == held[len(pairs) :].sum() > 0
    assert (held[: len(pairs)] == held[len(pairs) :]).all()


@settings(max_examples=60)
@given(triples_strategy(), st.integers(0, 1000), st.integers(1, 7))
def test_filtered_ranks_equal_brute_force(triples, seed: int, batch_size: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, size=(8, 3, 8)).astype(np.float64)  # many ties
    held = triples[: max(1, len(triples) // 3)]
    found = rank_held_out(
        held,
        triples,
        score_tails=lambda asked: torch.from_numpy(table[tuple(asked.numpy().T)]),
        score_heads=lambda asked: torch.from_numpy(table[:, *asked.numpy().T].T.copy()),
        batch_size=batch_size,
        device=CPU,
        on_batch=lambda done: None,
    )
    true = {tuple(row) for row in triples}
    for column, (head, relation, tail) in enumerate(held):
        score = table[head, relation, tail]
        for side in (0, 1):
            others = [
                table[head, relation, e] if side == 0 else table[e, relation, tail]
                for e in range(8)
                if ((head, relation, e) if side == 0 else (e, relation, tail)) not in true
            ]
            better, equal = sum(o > score for o in others), sum(o == score for o in others)
            assert found[side, column] == 1 + better + equal / 2


def test_summary_by_hand() -> None:
    values = summarise_ranks(np.array([[1.0, 4.0], [2.0, 20.0]]))
    assert values["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 2 + 1 / 20) / 4)
    assert (values["hits@1"], values["hits@3"], values["hits@10"]) == (0.25, 0.5, 0.75)
