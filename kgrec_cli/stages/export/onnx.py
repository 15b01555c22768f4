"""`kgrec export --format onnx`: the encoder and the scores of a run as one ONNX file.

The file is checked before it is there: onnxruntime computes histories of many lengths, and the
result is compared with torch's.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kgrec_cli import __version__
from kgrec_cli.core.evaluation.recommend import check_scorable, read_histories
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import writing
from kgrec_cli.runs.recommender import Recommender, load_recommender

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Ints = NDArray[np.int64]
MAX_BYTES = 2**31 - 2**20
"""What a protobuf, and so an ONNX file of one part, can hold."""

MAX_DIFFERENCE = 1e-5
"""Largest difference from torch's numbers, relative to those above 1."""


@dataclass(frozen=True)
class ExportedOnnx:
    """The file, its items, and the largest difference from torch over `n_checked` histories.

    The difference is absolute up to 1, and relative to torch's number above.
    """

    path: Path
    n_items: int
    n_checked: int
    difference: float


def run_export_onnx(run_dir: Path, folder: Path, out_path: Path) -> ExportedOnnx:
    """Writes a run as an ONNX graph (see `onnx_graph.build_onnx`), and compares it with torch.

    The file's metadata hold `run`, `item_tokens` (a JSON list: token of item id 1, 2, ...) and
    `MAX_ITEM_LIST_LENGTH`.

    Raises:
        KgrecError: onnx or onnxruntime is missing, the run is damaged or too large for one file, or
            the numbers differ.
    """
    try:
        import onnx  # noqa: F401
        from onnxruntime import InferenceSession
    except ImportError as error:
        raise KgrecError(
            f"--format onnx needs the extra kgrec[onnx]: pip install 'kgrec[onnx]' ({error})"
        ) from error
    from kgrec_cli.stages.export.onnx_graph import build_onnx

    trained = load_recommender(run_dir, folder, device="cpu")
    n_bytes = sum(4 * tensor.numel() for tensor in trained.model.state_dict().values())
    if n_bytes > MAX_BYTES:
        raise KgrecError(
            f"{run_dir}: {n_bytes / 1e9:.1f} GB of weights, an ONNX file holds 2 GB; "
            "--format vectors has no such limit"
        )
    metadata = {
        "run": run_dir.name,
        "kgrec": __version__,
        "MAX_ITEM_LIST_LENGTH": str(trained.settings.MAX_ITEM_LIST_LENGTH),
        "item_tokens": json.dumps(trained.item_tokens, ensure_ascii=False),
    }
    graph = build_onnx(trained.model, trained.settings.MAX_ITEM_LIST_LENGTH, metadata)
    content = graph.SerializeToString()
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    n_checked, difference = compare_with_torch(trained, session)
    if not difference <= MAX_DIFFERENCE:
        raise KgrecError(
            f"{run_dir}: onnxruntime's numbers differ from torch's by {difference:.1e}, expected "
            f"at most {MAX_DIFFERENCE:.0e}; no file is written"
        )
    with writing(out_path) as temporary_path:
        temporary_path.write_bytes(content)
    return ExportedOnnx(out_path, len(trained.item_tokens), n_checked, difference)


@torch.inference_mode()
def compare_with_torch(trained: Recommender, session: "InferenceSession") -> tuple[int, float]:
    """How many histories were compared, and the largest difference, relative above 1.

    They are of every length up to 50 and to `MAX_ITEM_LIST_LENGTH`, one longer than that, and one
    that repeats a single item; together and each alone.
    """
    max_length, n_items = trained.settings.MAX_ITEM_LIST_LENGTH, len(trained.items)
    lengths = [*range(1, min(max_length, 50) + 1), min(max_length, 1000) + 7]
    draw = np.random.default_rng(0)
    rows = [draw.integers(1, n_items, length, dtype=np.int32) for length in lengths]
    rows.append(np.full(3, n_items - 1, dtype=np.int32))
    states, seen = read_histories(trained.model, rows, max_length)
    check_scorable(states, trained.model.item_vectors())
    scores = trained.model.score(states, seen)
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    difference = _difference(session, padded, states, scores)
    for place, row in enumerate(rows):
        alone = session, row[None].astype(np.int64)
        one = slice(place, place + 1)
        difference = np.maximum(difference, _difference(*alone, states[one], scores[one]))
    return len(rows), float(difference)


def _difference(session: "InferenceSession", items: Ints, states: Tensor, scores: Tensor) -> float:
    """The largest difference of onnxruntime's outputs from torch's, relative above 1; or NaN."""
    found = session.run(["state", "scores"], {"items": items})
    differences = [
        (np.abs(mine[:, begin:] - theirs) / np.maximum(1, np.abs(theirs))).max()
        for mine, theirs, begin in (
            (found[0], states.numpy(), 0),
            (found[1], scores[:, 1:].numpy(), 1),
        )
    ]
    return float(np.max(differences))
