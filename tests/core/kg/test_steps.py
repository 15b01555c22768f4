"""TransE's loss against distances written out, and which rows a step changes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from kgrec_cli.core.kg.fit import fit_kg
from kgrec_cli.core.kg.methods import build_factory, build_kg_model, entity_vectors
from kgrec_cli.core.kg.steps import N3, batch_loss, distance_cross_entropy, set_up_steps
from kgrec_cli.setting_blocks import PretrainKGSettings


def written_out(places, answers, others, answer_ids, other_ids):
    """The same loss from a table of all differences."""
    to_others = (places[:, None] - others).norm(dim=2)
    to_others = to_others.masked_fill(answer_ids[:, None] == other_ids, torch.inf)
    to_answer = (places - answers).norm(dim=1, keepdim=True)
    distances = torch.cat([to_answer, to_others], dim=1)
    return cross_entropy(-distances, torch.zeros(len(places), dtype=torch.long))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(3, 9), st.integers(0, 99))
def test_loss_and_gradients_equal_distances_written_out(n_rows, n_others, width, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = [
        torch.randn(n, width, generator=generator, dtype=torch.float64, requires_grad=True)
        for n in (n_rows, n_rows, n_others)
    ]
    other_ids = torch.randperm(20, generator=generator)[:n_others].sort().values
    answer_ids = torch.randint(20, (n_rows,), generator=generator)
    found = distance_cross_entropy(*vectors, answer_ids, other_ids)
    expected = written_out(*vectors, answer_ids, other_ids)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found * 3, vectors),
        torch.autograd.grad(expected * 3, vectors),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)


def test_chunks_of_rows_change_nothing() -> None:
    vectors = [torch.randn(n, 4, requires_grad=True) for n in (50, 50, 7)]
    ids = torch.arange(50) % 11, torch.arange(0, 14, 2)
    whole = distance_cross_entropy(*vectors, *ids)
    parts = distance_cross_entropy(*vectors, *ids, chunk_numbers=8 * 6)
    torch.testing.assert_close(whole, parts)
    for one, other in zip(
        torch.autograd.grad(whole, vectors), torch.autograd.grad(parts, vectors), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", ["TransE", "DistMult", "ComplEx"])
def test_an_epoch_keeps_nothing_of_what_its_steps_computed(method: str) -> None:
    """PyKEEN's penalties held every step of ComplEx and DistMult."""
    triples = np.array([[0, 0, 1], [1, 0, 2], [2, 1, 0]])
    settings = PretrainKGSettings(method=method, epochs=2, batch_size=2)
    model, _ = fit_kg(
        triples, n_entities=3, n_relations=2, settings=settings, embedding_size=8,
        device=torch.device("cpu"), on_epoch=lambda *args: None,
    )  # fmt: skip
    assert all(buffer.grad_fn is None for buffer in model.buffers())


@pytest.mark.parametrize("method", ["DistMult", "ComplEx"])
def test_products_are_those_of_the_model(method: str) -> None:
    """The loss from PyKEEN's own scores of all entities; a negative that is the answer is none."""
    triples = torch.tensor([[0, 0, 1], [2, 1, 3], [4, 0, 4]])
    factory = build_factory(method, triples.numpy(), n_entities=6, n_relations=2)
    model = build_kg_model(method, factory, 8)
    set_up_steps(model)
    model.reset_parameters_()
    negatives = torch.tensor([1, 3, 5])
    found = batch_loss(model, triples, negatives)
    tails = model.score_t(triples[:, :2])
    heads = model.score_h(triples[:, 1:])
    losses = []
    for scores, answers in ((tails, triples[:, 2]), (heads, triples[:, 0])):
        for row, answer in zip(scores, answers, strict=True):
            others = row[[n for n in (1, 3, 5) if n != answer]]
            losses.append(torch.logsumexp(torch.cat([row[answer, None], others]), 0) - row[answer])
    penalty = 0.0  # the cubed sizes of the three vectors' numbers
    for representations, ids in (
        (model.entity_representations, triples[:, 0]),
        (model.relation_representations, triples[:, 1]),
        (model.entity_representations, triples[:, 2]),
    ):
        penalty += N3 * (representations[0](ids).abs() ** 3).sum(1).mean()
    torch.testing.assert_close(found, torch.stack(losses).mean() + penalty)


def test_targets_at_their_place_by_hand() -> None:
    """All distances are 0. Row 0 has a negative as near as its target, row 1 its target alone."""
    places = torch.zeros(2, 3, requires_grad=True)
    loss = distance_cross_entropy(
        places, torch.zeros(2, 3), torch.zeros(1, 3), torch.tensor([0, 1]), torch.tensor([1])
    )
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2) / 2)
    assert torch.equal(places.grad, torch.zeros(2, 3))


def test_vectors_have_norm_one_and_only_rows_of_a_batch_move() -> None:
    triples = np.array([[0, 0, 1], [1, 0, 2]])
    kg_settings = PretrainKGSettings(epochs=1, negatives=1, batch_size=2)
    few, more = (
        fit_kg(
            triples, n_entities=2000, n_relations=1, embedding_size=6,
            settings=kg_settings.model_copy(update={"epochs": epochs}),
            device=torch.device("cpu"), on_epoch=lambda *args: None,
        )[0]
        for epochs in (1, 2)
    )  # fmt: skip
    np.testing.assert_allclose(np.linalg.norm(entity_vectors(few), axis=1), 1, rtol=1e-5)
    moved = (entity_vectors(few) != entity_vectors(more)).any(axis=1)
    assert moved[:3].all()
    assert moved.sum() == 4  # and the one negative of the second epoch


def test_where_the_only_other_entity_is_the_answer_nothing_is_lost() -> None:
    one = torch.zeros(1, dtype=torch.long)
    loss = distance_cross_entropy(*torch.randn(3, 1, 3), one, one)
    assert loss.item() == pytest.approx(0, abs=1e-6)
