"""The sampled softmax: equal to the full one over all items, and unbiased over drawn ones."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.nn import functional

from kgrec_cli.config import build_settings
from kgrec_cli.core.data.negatives import SharedNegatives, draw_shares, inclusion_probabilities
from kgrec_cli.core.model.gru4reckg import SeenItems
from kgrec_cli.core.training.sampled_softmax import sampled_softmax as as_defined
from kgrec_cli.core.training.sampled_softmax import sampled_softmax_in_chunks as sampled_softmax
from kgrec_cli.errors import KgrecError

N_ITEMS = 9


def make_case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(23, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(N_ITEMS, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    return states, weight, torch.randint(1, N_ITEMS, (23,), generator=generator)


def full_softmax(states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Over all items, the padding left out: it is never drawn."""
    return functional.cross_entropy(states @ weight[1:].T, targets - 1)


WAYS = pytest.mark.parametrize(
    "softmax",
    [
        as_defined,
        sampled_softmax,
        partial(sampled_softmax, chunk_rows=1),
        partial(sampled_softmax, chunk_rows=4),
    ],
)


@WAYS
def test_all_items_once_give_the_full_softmax_and_its_gradients(
    softmax: Callable[..., torch.Tensor],
) -> None:
    states, weight, targets = make_case()
    once = torch.arange(1, N_ITEMS)
    found = softmax(states, weight, targets, once, torch.zeros(len(once)))
    expected = full_softmax(states, weight, targets)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for own, other in zip(
        torch.autograd.grad(found * 3, (states, weight)),
        torch.autograd.grad(expected * 3, (states, weight)),
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


@WAYS
def test_seen_items_get_the_bias_of_the_full_softmax(softmax: Callable[..., torch.Tensor]) -> None:
    """Row 0 has seen its own target; other rows have seen one to three others, row 5 nothing."""
    states, weight, targets = make_case()
    pairs = [(0, int(targets[0])), (0, 3), (1, 8), (2, 1), (2, 4), (2, 7), (22, 2)]
    seen = SeenItems(*torch.tensor(pairs).T.contiguous())
    bias = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)
    once = torch.arange(1, N_ITEMS)
    found = softmax(states, weight, targets, once, torch.zeros(len(once)), seen, bias)
    scores = states @ weight[1:].T
    added = torch.zeros_like(scores)
    added[seen.rows, seen.items - 1] = 1
    expected = functional.cross_entropy(scores + added * bias, targets - 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for own, other in zip(
        torch.autograd.grad(found * 3, (states, weight, bias)),
        torch.autograd.grad(expected * 3, (states, weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


@WAYS
def test_a_seen_item_that_was_not_drawn_adds_nothing(softmax: Callable[..., torch.Tensor]) -> None:
    states, weight, targets = make_case()
    drawn, log_q = torch.tensor([2, 5]), torch.tensor([0.5, 0.5]).log()
    rows = torch.arange(len(targets))
    items = torch.tensor([next(n for n in (1, 3) if n != target) for target in targets.tolist()])
    bias = torch.tensor(-1.5, dtype=torch.float64)
    torch.testing.assert_close(
        softmax(states, weight, targets, drawn, log_q, SeenItems(rows, items), bias),
        softmax(states, weight, targets, drawn, log_q),
    )


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("sample_num", [N_ITEMS - 1, 4096])
def test_as_many_draws_as_items_give_the_full_softmax(sample_num: int, alpha: float) -> None:
    states, weight, targets = make_case()
    counts = torch.tensor([0, 40, 0, 3, 9, 1, 0, 20, 2])
    shared = SharedNegatives(draw_shares(counts, alpha), sample_num)
    found = sampled_softmax(states, weight, targets, *shared.draw(torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found, full_softmax(states, weight, targets), rtol=0, atol=1e-12)


@pytest.mark.parametrize("sample_num", [1, 3, 6])
def test_the_estimated_sum_is_unbiased_for_few_draws(sample_num: int) -> None:
    """exp(loss) * exp(target's score) is the sum over all items, on average over draws."""
    states, weight, targets = (value.detach() for value in make_case())
    states, targets = states[:1], targets[:1]
    shared = SharedNegatives(draw_shares(torch.arange(N_ITEMS), 0.5), sample_num)
    generator = torch.Generator().manual_seed(0)
    own = (states[0] @ weight[targets[0]]).exp().item()
    sums = [
        own * math.exp(sampled_softmax(states, weight, targets, *shared.draw(generator)).item())
        for _ in range(4_000)
    ]
    expected = (states @ weight[1:].T).exp().sum().item()
    assert sum(sums) / len(sums) == pytest.approx(expected, rel=0.02)


def test_sampled_softmax_by_hand() -> None:
    """Target 1 scores 2; of the negatives 1 and 2 the first is left out; item 2 scores 1."""
    states = torch.tensor([[1.0, 0.0]])
    weight = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 5.0]])
    log_q = torch.tensor([0.9, 0.25]).log()
    loss = sampled_softmax(states, weight, torch.tensor([1]), torch.tensor([1, 2]), log_q)
    expected = -math.log(math.exp(2) / (math.exp(2) + math.exp(1) / 0.25))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_how_likely_an_item_is_by_hand() -> None:
    """Of two draws the shares ask for 1.4, 0.4, 0 and 0.2: what is above 1 goes to the others."""
    shares = torch.tensor([0.7, 0.2, 0.0, 0.1], dtype=torch.float64)
    likely = inclusion_probabilities(shares, 2)
    torch.testing.assert_close(likely.tolist(), [1.0, 2 / 3, 0.0, 1 / 3])
    assert inclusion_probabilities(shares, 3).tolist() == [1, 1, 0, 1]
    assert inclusion_probabilities(shares, 50).tolist() == [1, 1, 0, 1]


def test_draws_are_of_different_items_as_often_as_they_are_likely() -> None:
    shares = draw_shares(torch.tensor([5, 15, 0, 3, 3, 0, 120]), 0.5)
    torch.testing.assert_close(shares, torch.tensor([0, 4, 1, 2, 2, 1, 11]).double() / 21)
    shared = SharedNegatives(shares, 3)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(7)
    for _ in range(4_000):
        drawn, log_q = shared.draw(generator)
        assert len(set(drawn.tolist())) == 3
        assert drawn.tolist() == sorted(drawn.tolist())
        counts[drawn] += 1
    expected = torch.tensor([0, 0.8, 0.2, 0.4, 0.4, 0.2, 1])
    torch.testing.assert_close(counts / 4_000, expected, rtol=0, atol=0.01)
    torch.testing.assert_close(log_q.exp(), expected[drawn])


def test_what_is_not_given_is_for_a_whole_step() -> None:
    plain = build_settings({"loss_type": "SSM"}, "test").negatives
    assert (plain.distribution, plain.sample_num, plain.alpha) == ("popularity", 4096, 0.75)
    given = {"loss_type": "SSM", "train_neg_sample_args": {"alpha": 0.25}}
    settings = build_settings(given, "test")
    assert (settings.negatives.sample_num, settings.negatives.alpha) == (4096, 0.25)
    assert build_settings(settings.model_dump(mode="json"), "test") == settings
    with pytest.raises(KgrecError, match="sample_num"):
        build_settings({**given, "train_neg_sample_args": {"sample_num": 0}}, "test")
