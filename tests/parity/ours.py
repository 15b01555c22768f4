"""kgrec's side of a parity case: the same data, the same settings, RecBole's weights."""

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.recbole_side.data import CASES
from benchmarks.recbole_side.run import Told
from kgrec_cli.config import build_settings
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, build_model
from kgrec_cli.dataset.features import FeatureTables, load_feature_tables
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.settings import Settings
from tests.parity.conftest import RecBole

CPU = torch.device("cpu")

Sample = tuple[str, tuple[int, ...], int]


@dataclass(frozen=True)
class Ours:
    """A case on kgrec's side.

    Attributes:
        settings: As RecBole's, with `recbole_compat`.
        dataset: The data.
        split: Its parts.
        tables: The vectors of its branches.
        model: With RecBole's weights.
        item_map: int64 (N,), kgrec's item id of each of RecBole's.
        told: RecBole's side.
    """

    settings: Settings
    dataset: Dataset
    split: Split
    tables: FeatureTables
    model: GRU4RecKG
    item_map: np.ndarray
    told: Told

    def items(self, ids: np.ndarray) -> torch.Tensor:
        """RecBole's item ids as kgrec's."""
        return torch.from_numpy(self.item_map[ids])

    @property
    def recbole_ids(self) -> np.ndarray:
        """int64 (N,), RecBole's item id of each of kgrec's."""
        return np.argsort(self.item_map)

    def samples(self, targets: np.ndarray) -> list[Sample]:
        """Some targets as samples: user token, what the model reads before it, the item."""
        histories, length = self.dataset.histories, self.settings.MAX_ITEM_LIST_LENGTH
        owners = histories.owners[targets]
        starts = np.maximum(histories.offsets[owners], targets - length)
        users = [self.dataset.users.tokens[user] for user in histories.user_ids[owners]]
        return [
            (user, tuple(histories.items[start:at].tolist()), int(histories.items[at]))
            for user, start, at in zip(users, starts, targets, strict=True)
        ]

    def their_samples(self, prefix: str) -> list[Sample]:
        """RecBole's samples under a prefix, such as "train.", item ids as kgrec's."""
        arrays = self.told.arrays
        columns = [arrays[f"{prefix}{key}"] for key in ("user", "history", "length", "target")]
        return [
            (
                self.told.said["users"][user],
                tuple(self.item_map[history[:length]].tolist()),
                int(self.item_map[target]),
            )
            for user, history, length, target in zip(*columns, strict=True)
        ]

    def fresh_model(self) -> GRU4RecKG:
        """A model with kgrec's own initial values."""
        return build_model(self.settings, len(self.dataset.items), self.tables, CPU)


def our_side(recbole: RecBole, name: str) -> Ours:
    case = CASES[name]
    values = {"recbole_compat": True, **case["settings"], "dataset": case["dataset"]}
    settings = build_settings(values, name)
    dataset = load_dataset(settings, recbole.folder, lambda event: None)
    tables = load_feature_tables(settings, dataset, recbole.folder, lambda event: None)
    told = recbole.case(name)
    assert set(dataset.items.tokens) == set(told.said["items"]), "not the same items"
    item_map = np.array([0, *(dataset.items.get(token) for token in told.said["items"][1:])])
    model = build_model(settings, len(dataset.items), tables, CPU)
    model.load_state_dict(weights(told, "weight.", item_map))
    split = split_dataset(settings, dataset)
    return Ours(settings, dataset, split, tables, model, item_map, told)


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
