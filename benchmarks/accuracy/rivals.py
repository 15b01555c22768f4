"""Trains sequential models of RecBole and RecTools on a data set of kgrec, every item kept.

RecBole drops items without a link, and fails where two share an entity. So each item that has no
entity of its own gets one, with the vector that kgrec reads for it; the links, vectors and items
are then the same on both sides. Times are replaced by their dense ranks, which float32 holds
exactly: RecBole sees the events in kgrec's order. Settings are RecBole's defaults, but for
`SETTINGS` and those of a rival.
"""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import torch

from benchmarks.accuracy.plans import Rival, TunedRival
from benchmarks.recbole_side.run import read_told, run_recbole_side
from benchmarks.rectools_side.run import best_point, train_tuned
from kgrec_cli.core.data.histories import Ints
from kgrec_cli.core.evaluation.ranking import Score
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.formats.atomic import read_atomic, write_atomic

SETTINGS: dict[str, Any] = {
    "valid_metric": "NDCG@10",
    "topk": [5, 10, 20],
    "metric_decimal_place": 6,
}
NO_GRAPH: dict[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "additional_feat_suffix": None,
    "preload_weight": None,
    "alias_of_entity_id": None,
}
NAME = "rivals"


def write_for_recbole(source: Path, target: Path) -> None:
    """The data set in the folder `source` for RecBole: `target/rivals/rivals.{inter,kg,...}`."""
    folder = target / NAME
    if folder.is_dir():
        return
    folder.mkdir(parents=True)

    def read(suffix: str, *columns: str) -> pl.DataFrame:
        return read_atomic(source / f"{source.name}.{suffix}", list(columns))

    inter = read("inter", "user_id", "item_id", "timestamp")
    ranks = inter.with_columns(pl.col("timestamp").rank("dense").cast(pl.Int64))
    inter_types = {"user_id": "token", "item_id": "token", "timestamp": "float"}
    write_atomic(folder / f"{NAME}.inter", ranks, inter_types)
    shutil.copy(source / f"{source.name}.kg", folder / f"{NAME}.kg")
    vectors = dict(read("ent_feature", "ent_id", "ent_vec").iter_rows())
    links = dict(read("link", "item_id", "entity_id").iter_rows())
    zeros = " ".join("0" for _ in next(iter(vectors.values())).split())
    rows, taken = [], set()
    for item in inter["item_id"].unique(maintain_order=True):
        entity = links.get(item)
        own = entity if entity is not None and entity not in taken else f"item:{item}"
        taken.add(own)
        rows.append((item, own, vectors.get(entity, zeros)))
    table = pl.DataFrame(rows, ["item_id", "entity_id", "ent_vec"], orient="row")
    link_types = {"item_id": "token", "entity_id": "token"}
    write_atomic(folder / f"{NAME}.link", table, link_types)
    features = table.select(ent_id="entity_id", ent_vec="ent_vec")
    write_atomic(
        folder / f"{NAME}.ent_feature", features, {"ent_id": "token", "ent_vec": "float_seq"}
    )


def told_of(folder: Path, name: str, rival: Rival | TunedRival) -> tuple[list[Path], str]:
    """What was told of a rival's runs, a folder a seed; and what validation chose it by."""
    if isinstance(rival, Rival):
        runs, chosen = folder / "recbole" / name, ""
    else:
        tuned = folder / "rectools" / name
        found = best_point(tuned, len(rival.points))
        if found is None:
            return [], ""
        number, reached = found
        settings = ", ".join(f"{key} {value}" for key, value in rival.points[number].items())
        figures = ", ".join(f"{figure:.4f}" for figure in reached)
        runs, chosen = tuned / str(number), f"{settings}: of {figures} on validation"
    return sorted(path.parent for path in runs.glob("*/told/fit.json")), chosen


def train_rival_of_rectools(
    folder: Path, source: Path, name: str, rival: TunedRival, seed: int
) -> None:
    """Trains what is missing: every point of the rival with one seed, the best with this seed."""
    write_for_recbole(source, folder / "recbole" / "dataset")
    events = folder / "recbole" / "dataset" / NAME / f"{NAME}.inter"
    train_tuned(folder / "rectools" / name, events, rival.points, seed)


def train_rival(
    folder: Path, source: Path, name: str, rival: Rival, seed: int, limit_cpu_s: float | None
) -> Path:
    """Trains a rival of RecBole unless it is there; returns the folder of what was told of it.

    It trains to early stopping on NDCG@10, or until so many CPU seconds are spent.
    """
    beside = folder / "recbole" / name / str(seed)
    if not (beside / "told" / "fit.json").is_file():
        write_for_recbole(source, folder / "recbole" / "dataset")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        (beside / "dataset").symlink_to(folder / "recbole" / "dataset")
        no_graph = {} if rival.model == "GRU4RecKG" else NO_GRAPH
        case = {
            "dataset": NAME,
            "model": rival.model,
            "tell": ["fit", "scores"],
            "settings": {**SETTINGS, **no_graph, **rival.settings, "seed": seed},
            "limit_cpu_s": limit_cpu_s,
        }
        run_recbole_side(beside, {"fit": case}, threads=1)
    return beside / "told"


def rival_score(told_dir: Path, dataset: Dataset) -> tuple[Score, dict[str, Any]]:
    """The scores that a rival gives to all items at each test target, in kgrec's ids.

    Args:
        told_dir: One of `told_of`.
        dataset: kgrec's, one test target a user.

    Returns:
        The scores, for `rank_targets`, and what was said of the training.
    """
    told = read_told(told_dir, "fit")
    histories, users, items = dataset.histories, dataset.users.tokens, dataset.items.tokens
    column_of = {token: column for column, token in enumerate(told.said["items"])}
    columns = torch.tensor([0, *(column_of[token] for token in items[1:])])
    row_of = {told.said["users"][user]: row for row, user in enumerate(told.arrays["scores.user"])}
    scores = torch.from_numpy(told.arrays["scores"])

    def score(targets: Ints) -> torch.Tensor:
        owners = histories.user_ids[histories.owners[targets]]
        rows = torch.tensor([row_of[users[user]] for user in owners.tolist()])
        return scores[rows][:, columns]

    return score, told.said["fit"]
