"""Which tensors a model of some settings has, and whether the memory is enough to train it.

Both without taking the memory: a run's weights are looked at before a model is built.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from kgrec_cli.core.memory import check_memory
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings
from kgrec_cli.core.stored_tensors import find_misfit
from kgrec_cli.errors import KgrecError
from kgrec_cli.runs.run_files import MODEL, WeightsMeta, naming_the_cure, read_weights
from kgrec_cli.settings import Settings

COPIES = {"adam": 5, "sparse_adam": 4}
"""What training keeps of each weight: itself, Adam's two moments, the best one, and its gradient,
which is small with `sparse_adam`."""
FROZEN_COPIES = 2
"""What it keeps of a frozen table: as it was read, and in the model."""


def expected_weights(
    settings: ModelSettings, n_items: int, widths: Mapping[str, int]
) -> dict[str, Tensor]:
    """The tensors of a model by name, without values (on torch's device "meta").

    Args:
        settings: Its sizes.
        n_items: N, padding included.
        widths: By name of a branch but the items', the width of its vectors.
    """
    with torch.device("meta"), _NoInitialValues():
        tables = {name: torch.empty(n_items, width) for name, width in widths.items()}
        return GRU4RecKG(settings, n_items, tables).state_dict()


class _NoInitialValues(TorchFunctionMode):
    """Draws no initial values: on "meta" that imports torch's compiler, which takes seconds."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function.__name__ in ("normal_", "uniform_"):
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))


def check_model_size(
    settings: ModelSettings, n_items: int, widths: Mapping[str, int], learner: str = "adam"
) -> None:
    """Checks that the memory is large enough to train a model; the arguments are as above.

    Raises:
        KgrecError: It is not.
    """
    weights = expected_weights(settings, n_items, widths)
    frozen = {f"{name}_embedding.weight" for name in widths if settings.freeze_kg}
    n_numbers = sum(
        weight.numel() * (FROZEN_COPIES if name in frozen else COPIES[learner])
        for name, weight in weights.items()
    )
    check_memory(
        4 * n_numbers,
        f"a model of embedding_size {settings.embedding_size:,}, hidden_size "
        f"{settings.hidden_size:,}, num_layers {settings.num_layers} and {n_items:,} items, "
        f"trained with {learner}",
    )


def check_negatives_size(settings: Settings, n_events: int) -> None:
    """Checks that the memory is large enough for a batch of BPR's negatives and their embeddings.

    Raises:
        KgrecError: It is not.
    """
    if settings.loss_type == "BPR":
        n_targets, n_negatives = min(settings.train_batch_size, n_events), settings.negatives
        check_memory(
            (8 + 4 * settings.embedding_size) * n_targets * n_negatives.sample_num,
            f"{n_negatives.sample_num:,} negatives (sample_num) for each of {n_targets:,} targets",
        )


def widths_of(tables: Mapping[str, NDArray[np.float32]]) -> dict[str, int]:
    """The width of each branch's vectors."""
    return {name: table.shape[1] for name, table in tables.items()}


def read_fitting_weights(
    run_dir: Path, settings: ModelSettings, n_items: int
) -> tuple[dict[str, Tensor], dict[str, NDArray[np.float32]], WeightsMeta]:
    """The weights of a run, a table of zeros for each branch, and the values beside the weights.

    Raises:
        KgrecError: The file is damaged, or the weights are not those of a model of these settings.
    """
    weights, meta = read_weights(run_dir)
    tables = branch_tables(meta.tables, weights, n_items)
    with naming_the_cure(run_dir / MODEL):
        misfit = find_misfit(weights, expected_weights(settings, n_items, widths_of(tables)))
        if misfit:
            raise KgrecError(f"{run_dir / MODEL}: not the weights of this config.yaml: {misfit}")
    return weights, tables, meta


def branch_tables(
    widths: Mapping[str, int], tensors: Mapping[str, Tensor], n_items: int
) -> dict[str, NDArray[np.float32]]:
    """A table of zeros for each branch whose vectors are among the tensors; float32 (N, width)."""
    return {
        name: np.zeros((n_items, width), dtype=np.float32)
        for name, width in widths.items()
        if name != "item"
        and "." not in name
        and f"{name}_embedding.weight" in tensors
        and tensors[f"{name}_embedding.weight"].shape == (n_items, width)
    }
