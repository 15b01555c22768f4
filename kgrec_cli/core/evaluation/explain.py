"""Why the model scores an item as it does: which history items carry the score, and which branches.

Both are facts of the model, not a story about it: a score without a history item is the model's own
score of the shorter history, and the parts of a score sum to it.

Letters: K items, M history items, G branches, H hidden_size, D embedding_size.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kgrec_cli.core.evaluation.recommend import read_histories
from kgrec_cli.core.model.gru import pack
from kgrec_cli.core.model.gru4reckg import GRU4RecKG

Items = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attribution:
    """What the scores of K items after one history are made of.

    Attributes:
        scores: float64 (K,), the model's.
        parts: By name of a part, float64 (K,); they sum to `scores` within float32's rounding.
        history: int32 (M,), the distinct items that the model reads, by their last place, oldest
            first.
        drops: float64 (K, M), by how much a score falls when that item is left out of the history.
    """

    scores: Floats
    parts: dict[str, Floats]
    history: Items
    drops: Floats


@torch.inference_mode()
def attribute(model: GRU4RecKG, history: Items, items: Items, max_length: int) -> Attribution:
    """What the scores of some items after a history are made of; one batch of M + 1 histories.

    Args:
        model: A trained model in evaluation mode.
        history: int32, item ids, oldest first, not empty.
        items: int32 (K,), the items whose scores are explained.
        max_length: Most recent items that the model reads.
    """
    read = history[-max_length:]
    newest_first = np.unique(read[::-1], return_index=True)[1]
    left_out = read[::-1][np.sort(newest_first)[::-1]]
    rows = [history, *(history[history != item] for item in left_out)]
    scores = score_after(model, rows, items, max_length)
    parts = split_scores(model, history, items, max_length)
    return Attribution(scores[0], parts, left_out, (scores[0] - scores[1:]).T)


@torch.inference_mode()
def score_after(model: GRU4RecKG, histories: list[Items], items: Items, max_length: int) -> Floats:
    """The scores of some items after each history, float64 (B, K).

    After an empty history the GRUs' states are zero. The other arguments are those of `attribute`.
    """
    device = model.item_embedding.weight.device
    weight = model.dense_layer.weight
    width = weight.shape[1] + model.residual * weight.shape[0]
    states = model.to_scoring(torch.zeros(len(histories), width, device=device))
    filled = [row for row, history in enumerate(histories) if len(history)]
    if filled:
        lists = [histories[row][-max_length:] for row in filled]
        states[filled] = read_histories(model, lists, max_length)[0]
    scores = states @ model.item_vectors()[torch.from_numpy(items).to(device)].T
    values: Floats = scores.double().cpu().numpy()
    if model.seen_bias is not None:
        seen = np.stack([np.isin(items, history) for history in histories])
        values = values + np.where(seen, float(model.seen_bias), 0.0)
    return values


@torch.inference_mode()
def split_scores(
    model: GRU4RecKG, history: Items, items: Items, max_length: int
) -> dict[str, Floats]:
    """The exact parts of scores, by name, float64 (K,) each. Arguments as for `attribute`.

    - `item_gru`, `entity_gru`, ...: the columns of `dense_layer` that read this branch's state,
      times the item's embedding.
    - `bias`: the bias of `dense_layer`, times the item's embedding.
    - `last_item` (with `residual`): the vector of the last item, times the item's embedding.
    - `layer_norm` (with that option): its learned offset, times the item's embedding. Its mean and
      its scale are linear once the state is known, so the other parts go through them each alone.
      So they do with `similarity: cosine`, which divides all by the lengths of both vectors.
    - `kg_items` (with that option): the whole state times the projected entity vector of the item.
      What the item GRU reads of that projection is inside `item_gru`.
    - `seen_bias` (with that option): its number for items of the history, else 0.
    """
    weight = model.item_embedding.weight
    read = torch.from_numpy(history[-max_length:]).to(weight.device)
    rows = pack(read[None], torch.tensor([len(read)], device=weight.device))
    states = model.remember(rows)[-1, :, 0].double()
    dense = model.dense_layer.weight.double().view(len(weight[0]), *states.shape)
    of_branches = torch.einsum("gh,dgh->gd", states, dense)
    vectors: dict[str, Tensor] = {
        f"{name}_gru": vector for name, vector in zip(model.branches, of_branches, strict=True)
    }
    vectors["bias"] = model.dense_layer.bias.double()
    if model.residual:
        vectors["last_item"] = model.item_vectors()[read[-1]].double()
    if isinstance(model.layer_norm, nn.LayerNorm):
        variance = torch.stack(list(vectors.values())).sum(0).var(correction=0)
        scale = model.layer_norm.weight.double() / (variance + model.layer_norm.eps).sqrt()
        vectors = {name: (vector - vector.mean()) * scale for name, vector in vectors.items()}
        vectors["layer_norm"] = model.layer_norm.bias.double()
    chosen = torch.from_numpy(items).to(weight.device)
    embeddings = weight[chosen].double()
    if model.score_scale is not None:
        factor = model.score_scale.double() / torch.stack(list(vectors.values())).sum(0).norm()
        vectors = {name: vector * factor for name, vector in vectors.items()}
        embeddings /= model.summed_vectors()[chosen].double().norm(dim=-1, keepdim=True)
    parts = {name: embeddings @ vector for name, vector in vectors.items()}
    if any(hasattr(model, f"{name}_item_layer") for name in model.branches):
        projections = model.item_vectors()[chosen].double() - embeddings
        parts["kg_items"] = projections @ torch.stack(list(vectors.values())).sum(0)
    values: dict[str, Floats] = {name: part.cpu().numpy() for name, part in parts.items()}
    if model.seen_bias is not None:
        values["seen_bias"] = np.where(np.isin(items, history), float(model.seen_bias), 0.0)
    return values
