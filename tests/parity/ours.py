"""kgrec's side of a parity case: the same data, the same settings, RecBole's weights."""

from dataclasses import dataclass

import numpy as np
import torch

from kgrec_cli.config import build_settings
from kgrec_cli.core.model import GRU4RecKG
from kgrec_cli.core.sequences import Split
from kgrec_cli.core.training import build_model
from kgrec_cli.settings import Settings
from kgrec_cli.stages.dataset import Dataset, load_dataset, split_dataset
from kgrec_cli.stages.features import load_feature_tables
from tests.parity.conftest import RecBole, Told
from tests.parity.data import CASES

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ours:
    """A case on kgrec's side.

    Attributes:
        settings: As RecBole's, with `recbole_compat`.
        dataset: The data.
        split: Its parts.
        model: With RecBole's weights.
        item_map: int64 (N,), kgrec's item id of each of RecBole's.
        told: RecBole's side.
    """

    settings: Settings
    dataset: Dataset
    split: Split
    model: GRU4RecKG
    item_map: np.ndarray
    told: Told

    def items(self, ids: np.ndarray) -> torch.Tensor:
        """RecBole's item ids as kgrec's."""
        return torch.from_numpy(self.item_map[ids])


def our_side(recbole: RecBole, name: str) -> Ours:
    values = {"dataset": "toy", "recbole_compat": True, **CASES[name]["settings"]}
    settings = build_settings(values, name)
    dataset = load_dataset(settings, recbole.folder, lambda event: None)
    tables = load_feature_tables(settings, dataset, recbole.folder, lambda event: None)
    told = recbole.case(name)
    item_map = np.array([0, *(dataset.items.get(token) for token in told.said["items"][1:])])
    model = build_model(settings, len(dataset.items), tables, CPU)
    model.load_state_dict(weights(told, "weight.", item_map))
    return Ours(settings, dataset, split_dataset(settings, dataset), model, item_map, told)


def weights(told: Told, prefix: str, item_map: np.ndarray) -> dict[str, torch.Tensor]:
    """RecBole's arrays of that prefix, the rows of item tables in kgrec's order."""
    found = {}
    for name, value in told.arrays.items():
        if name.startswith(prefix):
            rows = value
            if name.endswith("_embedding.weight"):
                rows = np.empty_like(value)
                rows[item_map] = value
            found[name.removeprefix(prefix)] = torch.from_numpy(rows)
    return found
