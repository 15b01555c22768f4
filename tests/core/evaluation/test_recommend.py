"""`recommend_items` in tiles against whole rows of scores."""

import numpy as np
import pytest
import torch

from kgrec_cli.core.evaluation import recommend
from kgrec_cli.core.evaluation.recommend import recommend_items
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, SeenItems
from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings

N_ITEMS = 301


@pytest.mark.parametrize("seen_bias", [False, True])
@pytest.mark.parametrize("hide_seen", [True, False])
@pytest.mark.parametrize(
    ("tile_items", "tile_block", "topk"),
    [(64, 4, 3), (64, 4, 4), (64, 4, 5), (7, 4, 10), (4096, 64, 3), (16, 4, 300)],
)
def test_tiles_give_what_whole_rows_give(
    tile_items: int,
    tile_block: int,
    topk: int,
    hide_seen: bool,
    seen_bias: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recommend, "TILE_ROWS", 5)
    monkeypatch.setattr(recommend, "TILE_ITEMS", tile_items)
    monkeypatch.setattr(recommend, "TILE_BLOCK", tile_block)
    torch.manual_seed(0)
    settings = Settings(model="GRU4Rec", embedding_size=6, hidden_size=5, seen_bias=seen_bias)
    model = GRU4RecKG(settings, N_ITEMS).eval()
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, N_ITEMS, rng.integers(1, 200)).astype(np.int32) for _ in range(13)]
    with torch.no_grad():
        if model.seen_bias is not None:
            model.seen_bias.fill_(0.05)
        model.item_embedding.weight[200:240] = model.item_embedding.weight[10:50]  # ties
    found, scores = recommend_items(model, lists, topk=topk, max_length=20, hide_seen=hide_seen)
    assert found.shape == scores.shape == (13, topk)
    for history, row, row_scores in zip(lists, found, scores, strict=True):
        read = torch.from_numpy(history[-20:])[None]
        items = torch.from_numpy(history.astype(np.int64))
        seen = SeenItems(torch.zeros_like(items), items)
        expected = model.score(model.encode(read, torch.tensor([read.shape[1]])), seen)[0].detach()
        expected[0] = -torch.inf
        if hide_seen:
            expected[history.astype(np.int64)] = -torch.inf
        best = expected.sort(descending=True).values[:topk]
        np.testing.assert_allclose(row_scores, best.numpy(), rtol=1e-5, atol=1e-7)
        listed = row[row > 0]
        assert len(set(listed.tolist())) == len(listed) == int((best > -torch.inf).sum())
        np.testing.assert_allclose(
            expected[listed.astype(np.int64)].numpy(), row_scores[: len(listed)], rtol=1e-5,
            atol=1e-7,
        )  # fmt: skip


def test_hidden_items_are_in_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommend, "TILE_ITEMS", 64)
    torch.manual_seed(0)
    model = GRU4RecKG(Settings(model="GRU4Rec", embedding_size=6, hidden_size=5), N_ITEMS).eval()
    lists = [np.array([3, 4], np.int32), np.array([250], np.int32)]
    everything, scores = recommend_items(model, lists, topk=N_ITEMS, max_length=20)
    hidden = np.ones(N_ITEMS, dtype=bool)
    hidden[[4, 7, 130, 250, 300]] = False
    found, found_scores = recommend_items(model, lists, topk=5, max_length=20, hidden=hidden)
    for row, row_scores, whole, whole_scores in zip(
        found, found_scores, everything, scores, strict=True
    ):
        expected = [item for item in whole.tolist() if not hidden[item]]  # seen ones are not there
        assert row.tolist() == [*expected, 0]
        score_of = dict(zip(whole.tolist(), whole_scores.tolist(), strict=True))
        assert row_scores.tolist()[:4] == pytest.approx([score_of[item] for item in expected])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("name", ["item_embedding.weight", "dense_layer.bias"])
def test_scores_that_are_not_finite_are_refused(bad: float, name: str) -> None:
    model = GRU4RecKG(Settings(model="GRU4Rec", embedding_size=6, hidden_size=5), 20).eval()
    with torch.no_grad():
        for other in ("item_embedding.weight", "dense_layer.bias"):
            model.get_parameter(other).fill_(100)  # 3e38 times it is no float32
        model.get_parameter(name)[3] = bad
    with pytest.raises(KgrecError, match="not finite numbers: the training has diverged"):
        recommend_items(model, [np.array([3, 4], np.int32)], topk=3, max_length=20)
