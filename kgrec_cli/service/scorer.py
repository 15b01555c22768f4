"""Scores after histories, for one process that answers many small requests: NumPy, no autograd.

`core/model/gru.py` says what is computed, and a test compares the two. For a single history the
calls between the matrix products take longer than the products. So each step is few calls on arrays
that are already there. sigmoid(x) is (1 + tanh(x / 2)) / 2: its halves are in the weights.

Letters: B histories, P positions of all of them, K layers, G branches, H hidden_size, D
embedding_size, N items including the padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_cli.core.model.gru4reckg import GRU4RecKG

Floats = NDArray[np.float32]
Items = NDArray[np.int32]

FEW_ROWS = 7
"""Up to so many rows a matrix is multiplied by one row after the other, which is faster."""
BLOCK = 64


@dataclass(frozen=True, eq=False)
class Scorer:
    """A trained model's weights, laid out for reading single histories.

    Attributes:
        tables: For each branch what it reads of every item, float (N, its width).
        to_inputs: [layer][branch] float (width, 3H), gates in the order reset, update, candidate.
        from_states: [layer] float (G, H, 3H).
        dense: float (G * H, D).
        dense_bias: float (D,).
        residual: Whether the last item's vector is added.
        norm: Weight and bias (D,) and epsilon of the layer norm; None without one.
        scale: What cosines are multiplied by; None where scores are products.
        item_vectors: float (N, D).
        seen_bias: What is added to the scores of seen items.
        max_length: The most recent items that are read.
    """

    tables: list[Floats]
    to_inputs: list[list[Floats]]
    from_states: list[Floats]
    dense: Floats
    dense_bias: Floats
    residual: bool
    norm: tuple[Floats, Floats, float] | None
    scale: float | None
    item_vectors: Floats
    seen_bias: float
    max_length: int

    @property
    def start(self) -> Floats:
        """The state before the first item, float (K, G, H)."""
        n_branches, hidden, _ = self.from_states[0].shape
        return np.zeros((len(self.from_states), n_branches, hidden), dtype=np.float32)

    def read(self, histories: Sequence[Items], starts: Sequence[Floats] | None = None) -> Floats:
        """The states of all layers after each history, float (B, K, G, H).

        Args:
            histories: B arrays of item ids, oldest first, none empty. All of their items are read.
            starts: For each the state before its first item; None for the one of no item.
        """
        lengths = np.array([len(history) for history in histories])
        order = np.argsort(-lengths, kind="stable")
        steps = np.arange(lengths.max())
        sizes = (lengths[:, None] > steps).sum(0).tolist()
        padded = np.zeros((len(steps), len(histories)), dtype=np.int64)
        for column, row in enumerate(order):
            padded[: lengths[row], column] = histories[row]
        items = padded[lengths[order] > steps[:, None]]
        before = np.stack([self.start] * len(histories) if starts is None else starts)[order]
        after = np.empty_like(before)
        outputs = [table[items] for table in self.tables]
        for layer, weights in enumerate(self.from_states):
            pairs = zip(outputs, self.to_inputs[layer], strict=True)
            inputs = np.stack([vectors @ weight for vectors, weight in pairs], axis=1)
            is_last = layer == len(self.from_states) - 1
            states = None if is_last else np.empty((len(items), *before.shape[2:]), np.float32)
            after[:, layer] = _run_layer(inputs, weights, sizes, before[:, layer].copy(), states)
            if states is not None:
                outputs = list(states.transpose(1, 0, 2))
        unsorted = np.empty_like(after)
        unsorted[order] = after
        return unsorted

    def score(self, states: Floats, last: Items) -> Floats:
        """The scores of all items, float (B, N); -inf for padding.

        Args:
            states: float (B, K, G, H), after each history.
            last: int (B,), the last item of each.
        """
        vectors: Floats = states[:, -1].reshape(len(states), -1) @ self.dense + self.dense_bias
        if self.residual:
            vectors += self.item_vectors[last]
        if self.norm is not None:
            weight, bias, epsilon = self.norm
            centred = vectors - vectors.mean(axis=1, keepdims=True)
            variance: Floats = np.square(centred).mean(axis=1, keepdims=True)
            vectors = centred / np.sqrt(variance + epsilon) * weight + bias
        if self.scale is not None:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors *= self.scale / np.maximum(lengths, 1e-12)
        scores: Floats = vectors @ self.item_vectors.T
        scores[:, 0] = -np.inf
        return scores

    def similar(self, item: int) -> Floats:
        """The cosine of every item's vector with that of an item, float (N,); its own is -inf."""
        lengths = np.linalg.norm(self.item_vectors, axis=1)
        lengths[lengths == 0] = np.inf
        cosines: Floats = self.item_vectors @ self.item_vectors[item] / lengths / lengths[item]
        cosines[[0, item]] = -np.inf
        return cosines


def _run_layer(
    inputs: Floats, weights: Floats, sizes: list[int], state: Floats, outputs: Floats | None
) -> Floats:
    """The state of one layer after each row's last step.

    Args:
        inputs: float (P, G, 3H), in the order of `core.model.gru.PackedRows`.
        weights: float (G, H, 3H).
        sizes: As `PackedRows.sizes`.
        state: float (B, G, H) before the first step; it is overwritten and returned.
        outputs: float (P, G, H), filled with the states after every position; None for none.
    """
    hidden, begin, n = state.shape[2], 0, 0
    for size in sizes:
        if size != n:  # fewer rows go on: other views
            n, now = size, state[:size]
            product = np.empty((n, *inputs.shape[1:]), dtype=np.float32)
            gates, candidate = product[..., : 2 * hidden], product[..., 2 * hidden :]
            reset, update = gates[..., :hidden], gates[..., hidden:]
            change = np.empty_like(now)
            left, out = (
                (now[:, :, None], product[:, :, None])
                if n <= FEW_ROWS
                else (now.transpose(1, 0, 2), product.transpose(1, 0, 2))
            )
        of_step = inputs[begin : begin + n]
        np.matmul(left, weights, out=out)
        np.add(gates, of_step[..., : 2 * hidden], out=gates)
        np.tanh(gates, out=gates)
        np.add(gates, 1, out=gates)
        np.multiply(candidate, reset, out=candidate)
        np.add(candidate, of_step[..., 2 * hidden :], out=candidate)
        np.tanh(candidate, out=candidate)
        np.subtract(now, candidate, out=change)
        np.multiply(change, update, out=change)
        np.multiply(change, 0.5, out=change)
        np.add(candidate, change, out=now)
        if outputs is not None:
            outputs[begin : begin + n] = now
        begin += n
    return state


def best_of(scores: Floats, n: int) -> list[int]:
    """The n best columns of scores (N,), of equal ones the lower first; none of a score of -inf."""
    if len(scores) > 8 * BLOCK * n:  # a bound: the n-th best maximum of a block
        whole = len(scores) // BLOCK * BLOCK
        maxima = scores[:whole].reshape(-1, BLOCK).max(axis=1)
        bound = np.partition(maxima, -n)[-n]
    else:
        bound = np.partition(scores, -n)[-n] if n < len(scores) else -np.inf
    chosen = np.flatnonzero(scores >= bound)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")][:n]
    return [int(column) for column in chosen if scores[column] > -np.inf]


def build_scorer(model: GRU4RecKG, max_length: int) -> Scorer:
    """The weights of a trained model as a `Scorer` has them."""
    weights = {name: weight.cpu().numpy() for name, weight in model.state_dict().items()}
    hidden, n_layers = model.item_gru_layers.hidden_size, model.item_gru_layers.num_layers
    halves = np.ones(3 * hidden, dtype=np.float32)
    halves[: 2 * hidden] = 0.5
    recurrent = np.full(3 * hidden, 0.5, dtype=np.float32)  # (1 + tanh) is twice the gate

    def of_layer(branch: str, layer: int, kind: str, factors: Floats) -> Floats:
        return np.ascontiguousarray(
            weights[f"{branch}_gru_layers.weight_{kind}_l{layer}"].T * factors
        )

    with torch.inference_mode():
        item_vectors = model.item_vectors().cpu().numpy()
    tables = {name: weights[f"{name}_embedding.weight"] for name in model.branches}
    norm = None
    if isinstance(model.layer_norm, nn.LayerNorm):
        norm = weights["layer_norm.weight"], weights["layer_norm.bias"], model.layer_norm.eps
    return Scorer(
        tables=list((tables | {"item": item_vectors}).values()),
        to_inputs=[
            [of_layer(name, layer, "ih", halves) for name in model.branches]
            for layer in range(n_layers)
        ],
        from_states=[
            np.stack([of_layer(name, layer, "hh", recurrent) for name in model.branches])
            for layer in range(n_layers)
        ],
        dense=np.ascontiguousarray(weights["dense_layer.weight"].T),
        dense_bias=weights["dense_layer.bias"],
        residual=model.residual,
        norm=norm,
        scale=float(weights["score_scale"]) if "score_scale" in weights else None,
        item_vectors=np.ascontiguousarray(item_vectors),
        seen_bias=float(weights.get("seen_bias", 0.0)),
        max_length=max_length,
    )
