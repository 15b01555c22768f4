"""GRU4RecKG as an ONNX graph, written node by node.

Exporters that trace the model lose how long each row is (pytorch issue 189225); ONNX's GRU knows it
(`sequence_lens`), and with `linear_before_reset` it is that of torch.

Letters: B rows, L length, G branches, H hidden size, D embedding_size, N items incl. padding.
"""

from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kgrec_cli.core.model.gru4reckg import GRU4RecKG

OPSET, IR_VERSION = 17, 8
"""The oldest that has LayerNormalization, so that older runtimes read it."""


class _Graph:
    """The nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: Any) -> str:
        """A constant under this name; its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, name: str = "", **more: Any) -> str:
        """A node of this kind; the name of its output, of several the last one's."""
        name = name or f"{kind.lower()}_{len(self.nodes)}"
        names = [""] * (outputs - 1) + [name]
        self.nodes.append(helper.make_node(kind, inputs, names, **more))
        return name


@torch.no_grad()
def build_onnx(model: GRU4RecKG, max_length: int, metadata: dict[str, str]) -> onnx.ModelProto:
    """The model in evaluation mode as an ONNX graph.

    Input `items` int64 (B, L): the item ids of each history, oldest first, zeros behind. Of longer
    histories the last `max_length` are read. Outputs: `state` float32 (B, D), what items are scored
    by; `scores` float32 (B, N), -inf for the padding, the model's `seen_bias` included.

    Args:
        model: On the CPU.
        max_length: Most recent items that it reads.
        metadata: Goes into the file as it is.
    """
    graph = _Graph()
    item_vectors = graph.constant("item_vectors", _array(model.item_vectors()))
    items, lengths = _last_items(graph, max_length)
    states = []
    for branch in model.branches:
        table = item_vectors
        if branch != "item":
            table = graph.constant(f"{branch}_vectors", _array(model.table_of(branch).weight))
        vectors = graph.add("Transpose", graph.add("Gather", table, items), perm=[1, 0, 2])
        states.append(_gru(graph, getattr(model, f"{branch}_gru_layers"), branch, vectors, lengths))
    both = graph.add("Concat", *states, axis=1) if len(states) > 1 else states[0]
    dense = model.dense_layer
    weights = [graph.constant("dense_weight", _array(dense.weight))]
    weights.append(graph.constant("dense_bias", _array(dense.bias)))
    state = graph.add("Gemm", both, *weights, transB=1)
    if model.residual:
        one = graph.constant("one_int32", np.int32(1))
        place = graph.add("Unsqueeze", graph.add("Sub", lengths, one), "axis")
        last = graph.add("Squeeze", graph.add("GatherElements", items, place, axis=1), "axis")
        state = graph.add("Add", state, graph.add("Gather", item_vectors, last))
    norm = model.layer_norm
    if isinstance(norm, torch.nn.LayerNorm):
        weights = [graph.constant("norm_weight", _array(norm.weight))]
        weights.append(graph.constant("norm_bias", _array(norm.bias)))
        state = graph.add("LayerNormalization", state, *weights, epsilon=norm.eps)
    if model.score_scale is not None:
        scale = graph.constant("score_scale", _array(model.score_scale))
        state = graph.add("Mul", graph.add("LpNormalization", state, axis=1, p=2), scale)
    graph.add("Identity", state, name="state")
    no_padding = np.zeros(len(model.item_embedding.weight), dtype=np.float32)
    no_padding[0] = -np.inf
    scoring = ["state", item_vectors, graph.constant("no_padding", no_padding)]
    if model.seen_bias is None:
        graph.add("Gemm", *scoring, name="scores", transB=1)
    else:
        scores = graph.add("Gemm", *scoring, transB=1)
        bias = graph.constant("seen_bias", _array(model.seen_bias).reshape(1))
        added = graph.add("Expand", bias, graph.add("Shape", "items"))
        nothing = graph.add("ConstantOfShape", graph.add("Shape", scores))
        # Written, not added: an item that a history holds twice gets it once.
        of_seen = graph.add("ScatterElements", nothing, "items", added, axis=1)
        graph.add("Add", scores, of_seen, name="scores")
    size, n_items = dense.out_features, len(no_padding)
    proto = helper.make_graph(
        graph.nodes,
        "GRU4RecKG",
        [helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", "length"])],
        [
            helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", size]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", n_items]),
        ],
        graph.constants,
    )
    opset = [helper.make_opsetid("", OPSET)]
    whole = helper.make_model(proto, opset_imports=opset, ir_version=IR_VERSION)
    helper.set_model_props(whole, metadata)
    onnx.checker.check_model(whole, full_check=True)
    return whole


def _last_items(graph: _Graph, max_length: int) -> tuple[str, str]:
    """The last `max_length` items of each row of `items`, (B, at most L); int32 (B,), how many."""
    zero, one = graph.constant("zero", np.int64(0)), graph.constant("one", np.int64(1))
    most, axis = graph.constant("max_length", np.int64(max_length)), np.array([1])
    is_item = graph.add("Cast", graph.add("Greater", "items", zero), to=TensorProto.INT64)
    n_items = graph.add("ReduceSum", is_item, graph.constant("axis", axis), keepdims=1)
    n_read = graph.add("Min", n_items, most)
    width = graph.add("Gather", graph.add("Shape", "items"), one)
    steps = graph.add("Range", zero, graph.add("Min", width, most), one)
    places = graph.add("Add", graph.add("Sub", n_items, n_read), steps)
    items = graph.add("GatherElements", "items", places, axis=1)
    lengths = graph.add("Squeeze", graph.add("Cast", n_read, to=TensorProto.INT32), "axis")
    return items, lengths


def _gru(graph: _Graph, gru: torch.nn.GRU, branch: str, vectors: str, lengths: str) -> str:
    """The states (B, H) of a branch after the last item of each row, from vectors (L, B, width)."""
    first, last = graph.constant(f"{branch}_axis", np.array([0])), gru.num_layers - 1
    for layer, (w_ih, w_hh) in enumerate(gru.all_weights):
        weights = [
            graph.constant(f"{branch}_{name}_{layer}", _update_gate_first(_array(weight))[None])
            for name, weight in (("input", w_ih), ("state", w_hh))
        ]
        end = graph.add(
            "GRU", vectors, *weights, "", lengths,
            outputs=2 if layer == last else 1, hidden_size=gru.hidden_size, linear_before_reset=1,
        )  # fmt: skip
        vectors = graph.add("Squeeze", end, first if layer == last else "axis")
    return vectors


def _update_gate_first(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights (3 H, width) of torch's gates reset, update, new in ONNX's order: update first."""
    reset, update, new = np.split(weights, 3)
    return np.concatenate([update, reset, new])


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()
