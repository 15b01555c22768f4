"""Held-out triples: nothing is given away, and filtered ranks equal a slow count."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_cli.core.kg.holdout import hold_out, is_like_guessing, rank_held_out, summarise_ranks


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


def ring(n: int = 100) -> np.ndarray:
    """Two triples between each entity and the next: all pairs but one can be spared, in turn."""
    here = np.arange(n)
    one, other = (np.stack([here, np.full(n, r), (here + 1) % n], axis=1) for r in (0, 1))
    return np.concatenate([one, other])


@pytest.mark.parametrize(
    ("share", "n_max", "expected"), [(0.1, 1000, 20), (0.1, 14, 14), (0.1, 13, 14), (0, 9, 2)]
)
def test_how_many_are_held_out_by_hand(share: float, n_max: int, expected: int) -> None:
    """Of 200 triples, two a pair; a pair is never cut, and one is held out at least."""
    held = hold_out(ring(), 100, share=share, n_max=n_max, seed=0)
    assert held.sum() == expected


def test_the_seed_chooses_what_is_held_out() -> None:
    first, again, other = (
        hold_out(ring(), 100, share=0.1, n_max=99, seed=seed).tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


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
    done: list[int] = []
    found = rank_held_out(
        held,
        triples,
        score_tails=lambda asked: torch.from_numpy(table[tuple(asked.numpy().T)]),
        score_heads=lambda asked: torch.from_numpy(table[:, *asked.numpy().T].T.copy()),
        batch_size=batch_size,
        device=torch.device("cpu"),
        on_batch=done.append,
    )
    assert done[-1] == len(held)
    assert done == sorted(done)
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


def test_what_is_like_guessing_by_hand() -> None:
    """Of 4 entities the mean of 1, 1/2, 1/3 and 1/4 is 0.5208, their deviation 0.2913."""
    assert is_like_guessing(0.52, 10_000, 4)
    assert is_like_guessing(0.6, 100, 4)  # 3 * 0.2913 / 10 above it at most
    assert not is_like_guessing(0.62, 100, 4)
    assert is_like_guessing(0.0004, 400, 34_628)  # ComplEx as it was
    assert not is_like_guessing(0.1, 400, 34_628)
