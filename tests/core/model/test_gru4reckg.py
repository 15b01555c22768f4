"""The network and its losses: shapes, names, initial values, causality, hand-computed losses."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kgrec_cli.core.data.histories import prefixes
from kgrec_cli.core.data.negatives import sample_negatives
from kgrec_cli.core.data.splits import split_all, train_targets
from kgrec_cli.core.model.gru import PackedRows
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, SeenItems, build_model
from kgrec_cli.core.training import losses
from kgrec_cli.core.training.batches import sequence_batches
from kgrec_cli.core.training.losses import bpr
from tests.core.data.test_histories import make_histories

SMALL = ModelSettings(embedding_size=4, hidden_size=6, num_layers=2, dropout_prob=0.0)


def make_model(chosen: ModelSettings = SMALL, n_items: int = 9, kg: bool = True) -> GRU4RecKG:
    vectors = np.random.default_rng(0).normal(size=(n_items, chosen.embedding_size))
    vectors = vectors.astype(np.float32)
    return build_model(chosen, n_items, {"entity": vectors} if kg else {}, torch.device("cpu"))


def test_parameters_have_recboles_names_and_shapes() -> None:
    shapes = {name: tuple(value.shape) for name, value in make_model().state_dict().items()}
    gru = {
        f"{branch}_gru_layers.weight_{kind}_l{layer}": (18, 4 if (kind, layer) == ("ih", 0) else 6)
        for branch in ("item", "entity")
        for kind in ("ih", "hh")
        for layer in (0, 1)
    }
    assert shapes == {
        "item_embedding.weight": (9, 4),
        "entity_embedding.weight": (9, 4),
        "dense_layer.weight": (4, 12),
        "dense_layer.bias": (4,),
        **gru,
    }


def test_gru4rec_is_the_same_without_the_kg_branch() -> None:
    model = make_model(kg=False)
    assert not [name for name in model.state_dict() if "entity" in name]
    assert model.dense_layer.weight.shape == (4, 6)


def test_initial_values() -> None:
    settings = ModelSettings(embedding_size=64, hidden_size=32)
    model = build_model(
        settings, 500, {"entity": np.ones((500, 64), np.float32)}, torch.device("cpu")
    )
    assert model.item_embedding.weight[0].abs().sum() == 0
    xavier = math.sqrt(2 / (500 + 64))
    assert model.item_embedding.weight[1:].std().item() == pytest.approx(xavier, rel=0.05)
    assert model.dense_layer.bias.abs().sum() == 0
    assert (model.entity_embedding.weight == 1).all()
    bound = 1 / math.sqrt(32)
    assert model.item_gru_layers.weight_ih_l0.abs().max().item() == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize("freeze", [True, False])
def test_only_a_frozen_table_is_not_copied(freeze: bool) -> None:
    vectors = np.ones((9, 4), np.float32)
    settings = replace(SMALL, freeze_kg=freeze)
    model = build_model(settings, 9, {"entity": vectors}, torch.device("cpu"))
    with torch.no_grad():
        model.table_of("entity").weight.zero_()
    assert (vectors == (0 if freeze else 1)).all()


@pytest.mark.parametrize("freeze", [True, False])
def test_freeze_kg_decides_whether_entity_vectors_learn(freeze: bool) -> None:
    model = make_model(replace(SMALL, freeze_kg=freeze))
    assert model.entity_embedding.weight.requires_grad is not freeze


def test_a_position_depends_on_nothing_behind_it() -> None:
    model = make_model().eval()
    one = model(PackedRows(torch.tensor([3, 5, 2, 2]), (1, 1, 1, 1)))
    other = model(PackedRows(torch.tensor([3, 5, 7, 1]), (1, 1, 1, 1)))
    torch.testing.assert_close(one[:2], other[:2], rtol=0, atol=0)
    assert not torch.equal(one[2:], other[2:])


@pytest.mark.parametrize("kg", [True, False])
@pytest.mark.parametrize("n_items", [9, 500])
@pytest.mark.parametrize("options", [{}, {"residual": True, "similarity": "cosine"}])
def test_encode_is_forward_at_the_last_items(
    n_items: int, kg: bool, options: dict[str, Any]
) -> None:
    one_layer = replace(SMALL, num_layers=1, **options)
    model = make_model(one_layer, n_items, kg).double().eval()
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 9, rng.integers(1, 12)) for _ in range(30)]
    items = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], True)
    found = model.encode(items, torch.tensor([len(row) for row in rows]))
    for own, row in zip(found, rows, strict=True):
        expected = model(PackedRows(torch.from_numpy(row), (1,) * len(row)))[-1]
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)


def test_encode_takes_the_state_after_the_last_item() -> None:
    model = make_model().eval()
    states = model(PackedRows(torch.tensor([1, 3, 2, 5, 4]), (2, 2, 1)))
    found = model.encode(torch.tensor([[3, 5, 0], [1, 2, 4]]), torch.tensor([2, 3]))
    torch.testing.assert_close(found, states[[3, 4]])


def test_rows_go_on_where_they_stopped() -> None:
    model = make_model().eval()
    whole = model(PackedRows(torch.tensor([1, 3, 2, 5, 4, 6]), (2, 2, 2)))
    start = model.remember(PackedRows(torch.tensor([1, 3]), (2,)))
    rest = model(PackedRows(torch.tensor([2, 5, 4, 6]), (2, 2)), start=start)
    torch.testing.assert_close(rest, whole[2:])
    assert not torch.allclose(model(PackedRows(torch.tensor([2, 5, 4, 6]), (2, 2))), rest)


def test_wrong_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="table entity: 8 rows for 9 items"):
        GRU4RecKG(SMALL, 9, {"entity": torch.zeros(8, 4)})


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 8), min_size=2, max_size=12), min_size=1, max_size=5),
    st.integers(11, 20),
    st.integers(1, 9),
    st.integers(0, 5),
)
def test_sequence_loss_is_the_sum_over_prefixes_for_short_histories(
    lists: list[list[int]], max_length: int, batch_size: int, seed: int
) -> None:
    histories = make_histories(*lists)
    model = make_model().eval()
    weight = model.item_embedding.weight
    targets = train_targets(histories, split_all(histories))
    items, lengths = prefixes(histories, targets, max_length)
    states = model.encode(torch.from_numpy(items), torch.from_numpy(lengths))
    wanted = torch.from_numpy(histories.items[targets].astype(np.int64))
    by_prefix = losses.cross_entropy_in_chunks(states, weight, wanted) * len(targets)
    total = torch.zeros(())
    for batch in sequence_batches(
        histories, split_all(histories), max_length=max_length, batch_size=batch_size,
        context=max_length, rng=np.random.default_rng(seed),
    ):  # fmt: skip
        (chunk,) = batch.chunks
        assert chunk.context is None
        states = model(chunk.rows)
        followed = torch.from_numpy(chunk.targets).long()
        total = total + losses.cross_entropy_in_chunks(states, weight, followed) * len(followed)
    torch.testing.assert_close(total, by_prefix, rtol=1e-5, atol=1e-4)


def test_recbole_compat_draws_the_padding_row_too() -> None:
    compat = replace(SMALL, recbole_compat=True)
    assert make_model(compat).item_embedding.weight[0].abs().min() > 0
    assert make_model(SMALL).item_embedding.weight[0].abs().max() == 0


def test_cross_entropy_by_hand() -> None:
    states = torch.tensor([[1.0, 0.0]])
    weight = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 5.0]])
    loss = losses.cross_entropy_in_chunks(states, weight, torch.tensor([1]))
    expected = -math.log(math.exp(2) / (math.exp(0) + math.exp(2) + math.exp(0)))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("has_seen", [False, True])
@pytest.mark.parametrize(
    "cross_entropy",
    [
        losses.cross_entropy,
        losses.cross_entropy_in_chunks,
        partial(losses.cross_entropy_in_chunks, chunk_rows=1),
        partial(losses.cross_entropy_in_chunks, chunk_rows=4),
    ],
)
def test_cross_entropy_is_torchs(cross_entropy: Callable[..., Tensor], has_seen: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(23, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(9, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(1, 9, (23,), generator=generator)
    is_seen = torch.rand(23, 9, generator=generator) < (0.3 if has_seen else 0)
    expected = torch.nn.functional.cross_entropy(states @ weight.T + bias * is_seen, targets)
    rows, items = is_seen.nonzero().unbind(1)
    backwards = torch.argsort(rows * 9 - items)  # the items of a row come in no order
    seen = SeenItems(rows, items[backwards]) if has_seen else None
    found = cross_entropy(states, weight, targets, seen, bias if has_seen else None)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    inputs = (states, weight, bias) if has_seen else (states, weight)
    for own, other in zip(
        torch.autograd.grad(found * 3, inputs),
        torch.autograd.grad(expected * 3, inputs),
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-12)


def test_seen_items_get_the_number_once_and_others_none() -> None:
    model = make_model(replace(SMALL, seen_bias=True))
    assert model.seen_bias is not None
    states = torch.ones(2, 4)
    nothing = torch.empty(0, dtype=torch.int64)
    with torch.no_grad():
        model.seen_bias.fill_(-5.0)
        plain = model.score(states, SeenItems(nothing, nothing))
        biased = model.score(states, SeenItems(torch.tensor([0, 0, 1]), torch.tensor([3, 3, 7])))
    added = torch.zeros(2, 9)
    added[0, 3] = added[1, 7] = -5
    torch.testing.assert_close(biased - plain, added)
    assert "seen_bias" not in make_model().state_dict()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_kg_items_are_read_and_scored_with_a_map_of_their_entity_vectors(num_layers: int) -> None:
    chosen = replace(SMALL, kg_items=True, num_layers=num_layers)
    model = make_model(chosen).eval()
    with torch.no_grad():
        model.item_embedding.weight.copy_(torch.arange(36.0).view(9, 4) / 36)
        model.entity_item_layer.weight.copy_(2 * torch.eye(4))
    expected = model.item_embedding.weight + 2 * model.table_of("entity").weight
    torch.testing.assert_close(model.item_vectors(), expected)
    plain = make_model(replace(chosen, kg_items=False)).eval()
    assert "entity_item_layer.weight" not in plain.state_dict()
    plain.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        plain.item_embedding.weight.copy_(expected)
    rows = PackedRows(torch.tensor([1, 2, 3, 4]), (2, 2))
    torch.testing.assert_close(model(rows), plain(rows))
    items, lengths = torch.arange(1, 9).repeat(2, 1), torch.tensor([8, 7])
    states = plain.encode(items, lengths)
    torch.testing.assert_close(model.encode(items, lengths), states)
    torch.testing.assert_close(model.score(states), states @ expected.T)


def test_with_kg_items_the_items_own_embeddings_begin_at_a_tenth() -> None:
    chosen = ModelSettings(embedding_size=64, hidden_size=8, kg_items=True)
    model = make_model(chosen, n_items=500)
    xavier = math.sqrt(2 / (500 + 64))
    assert model.item_embedding.weight[1:].std().item() == pytest.approx(xavier / 10, rel=0.05)
    mapped = model.get_parameter("entity_item_layer.weight")
    assert mapped.std().item() == pytest.approx(math.sqrt(2 / (64 + 64)), rel=0.05)


def test_kg_items_change_nothing_without_a_graph() -> None:
    chosen = replace(SMALL, kg_items=True)
    model, plain = make_model(chosen, kg=False), make_model(kg=False)
    torch.testing.assert_close(model.state_dict(), plain.state_dict())


def test_layer_norm_brings_scoring_vectors_to_one_mean_and_length() -> None:
    settings = replace(SMALL, layer_norm=True)
    model, plain = make_model(settings), make_model()
    plain.load_state_dict(model.state_dict(), strict=False)
    rows = PackedRows(torch.tensor([1, 2, 3, 4]), (2, 2))
    dense = plain(rows)
    centred = dense - dense.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(model(rows), expected)
    items, lengths = torch.tensor([[1, 3], [2, 4]]), torch.tensor([2, 2])
    torch.testing.assert_close(model.encode(items, lengths), expected[2:].detach())
    with torch.no_grad():
        model.layer_norm.weight.fill_(3.0)
    torch.testing.assert_close(model(rows), 3 * expected)


def test_residual_adds_the_vector_of_the_item_that_was_read() -> None:
    settings = replace(SMALL, residual=True)
    model, plain = make_model(settings).eval(), make_model().eval()
    plain.load_state_dict(model.state_dict())
    rows = PackedRows(torch.tensor([1, 2, 3, 4]), (2, 2))
    expected = plain(rows) + model.item_embedding(rows.items)
    torch.testing.assert_close(model(rows), expected)
    items, lengths = torch.tensor([[1, 3], [2, 0]]), torch.tensor([2, 1])
    torch.testing.assert_close(model.encode(items, lengths), expected[[2, 1]].detach())


def test_cosines_ignore_lengths() -> None:
    """Scores are cosines times the learned number, the padding's zero; longer vectors change
    nothing."""
    model = make_model(replace(SMALL, similarity="cosine")).eval()
    plain = make_model().eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        plain.item_embedding.weight.copy_(
            torch.nn.functional.normalize(plain.item_embedding.weight)
        )
        model.score_scale.fill_(5.0)
    items, lengths = torch.tensor([[1, 3], [2, 4]]), torch.tensor([2, 2])
    state = plain.encode(items, lengths)
    cosines = torch.nn.functional.cosine_similarity(
        state[:, None], plain.item_embedding.weight[None], dim=-1
    )
    scores = model.score(model.encode(items, lengths))
    torch.testing.assert_close(scores, 5 * cosines)
    with torch.no_grad():
        model.item_embedding.weight.mul_(torch.arange(1.0, 10.0)[:, None])
    torch.testing.assert_close(model.score(model.encode(items, lengths)), scores)


def test_hidden_dropout_drops_states_in_training_alone() -> None:
    model = make_model(replace(SMALL, hidden_dropout_prob=0.5))
    model.dense_layer = torch.nn.Identity()  # type: ignore[assignment]
    rows = PackedRows(torch.tensor([1, 2, 3, 4]), (2, 2))
    whole = model.eval()(rows)
    torch.testing.assert_close(whole, make_whole(rows))
    dropped = model.train()(rows)
    kept = dropped != 0
    assert 0 < int(kept.sum()) < kept.numel()
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


def make_whole(rows: PackedRows) -> torch.Tensor:
    """The states of the same model without dropout."""
    model = make_model()
    model.dense_layer = torch.nn.Identity()  # type: ignore[assignment]
    states: torch.Tensor = model.train()(rows)
    return states


def test_a_loss_beyond_the_smallest_share_is_that_of_the_smallest() -> None:
    weight = torch.tensor([[0.0], [500.0], [-500.0]])
    loss = losses.cross_entropy_in_chunks(torch.tensor([[1.0]]), weight, torch.tensor([2]))
    assert loss.item() == pytest.approx(-math.log(torch.finfo(torch.float32).tiny), rel=1e-6)


def test_bpr_by_hand() -> None:
    states = torch.tensor([[1.0, 2.0]])
    weight = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.0], [0.0, 1.0]])
    loss = bpr(states, weight, torch.tensor([1]), torch.tensor([[2, 3]]))
    sigmoids = [1 / (1 + math.exp(-(3 - 0.5))), 1 / (1 + math.exp(-(3 - 2)))]
    expected = -sum(math.log(1e-10 + value) for value in sigmoids) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("popularity", [None, torch.tensor([0.0, 5.0, 1.0, 1.0, 3.0])])
def test_negatives_are_items_other_than_the_target(popularity: torch.Tensor | None) -> None:
    targets = torch.tensor([1, 2, 3, 4] * 300)
    drawn = sample_negatives(targets, popularity, 5, 3, torch.Generator().manual_seed(0))
    assert drawn.shape == (1200, 3)
    assert drawn.min() >= 1
    assert drawn.max() <= 4
    assert not (drawn == targets[:, None]).any()
    counts = torch.bincount(drawn.flatten(), minlength=5)[1:].float()
    if popularity is None:
        assert (counts / counts.mean() - 1).abs().max() < 0.1
    else:
        # The mean over the four targets of each item's share of the other items' popularity.
        expected = [
            (5 / 9 + 5 / 9 + 5 / 7) / 4,
            (1 / 5 + 1 / 9 + 1 / 7) / 4,
            (1 / 5 + 1 / 9 + 1 / 7) / 4,
        ]
        expected.append((3 / 5 + 3 / 9 + 3 / 9) / 4)
        torch.testing.assert_close(counts / 3600, torch.tensor(expected), rtol=0, atol=0.03)
