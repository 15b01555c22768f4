"""Can items that nobody has chosen yet be ranked? The cold split of the accuracy study.

    .venv/bin/python -m benchmarks.accuracy.cold --folder FOLDER [--dataset ml-100k] [--seeds 3]

FOLDER is one that `benchmarks.accuracy.study` prepared. A tenth of the items is taken out
altogether: the model (`--preset small`) knows neither their events nor that they exist. Then each
user's last event of such an item is to be found among them, after the user's earlier events of the
other items. An item's vector is the learned map of its entity vector. Beside it: chance; popularity
by genre (the mean number of events of the other items of each genre); the user's own genres. Every
seed takes out other items; a user's values are averaged over the seeds.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from kgrec_cli.config import narrow
from kgrec_cli.core.data.histories import Histories, Ints, gather
from kgrec_cli.core.data.splits import split_leave_one_out
from kgrec_cli.core.evaluation.bootstrap import paired_differences
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.fit import fit
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.events import ignore_event
from kgrec_cli.settings import PRESETS, Settings

CPU = torch.device("cpu")
TOP = 10
Floats = NDArray[np.float64]


def read_genres(path: Path, dataset: Dataset) -> Floats:
    """Float64 (N, genres): 1 where an item has a genre, rows by item id."""
    table = pl.read_csv(path, separator="\t", infer_schema=False, quote_char=None)
    columns = {name.partition(":")[0]: name for name in table.columns}
    by_token = dict(table.select(columns["item_id"], columns["genre"]).iter_rows())
    lists = [(by_token.get(token) or "").split() for token in dataset.items.tokens]
    names = {name: column for column, name in enumerate(sorted({g for row in lists for g in row}))}
    genres = np.zeros((len(lists), len(names)))
    for row, own in enumerate(lists):
        genres[row, [names[name] for name in own]] = 1
    return genres


def without(histories: Histories, new_ids: Ints) -> tuple[Histories, Ints]:
    """The histories without the items whose new id is 0; and how many events stand before each."""
    kept = new_ids[histories.items] > 0
    before = np.concatenate([[0], np.cumsum(kept)])
    warm = Histories(
        items=new_ids[histories.items[kept]].astype(np.int32),
        offsets=before[histories.offsets],
        times=histories.times[kept],
        user_ids=histories.user_ids,
    )
    return warm, before


def gains(scores: Floats, wanted: Ints) -> Floats:
    """NDCG@10 of each row's wanted column; ties count against it."""
    own = np.take_along_axis(scores, wanted[:, None], axis=1)
    ranks = (scores >= own).sum(axis=1)
    return np.where(ranks <= TOP, 1 / np.log2(ranks + 1), 0.0)


def values_by_user(
    dataset: Dataset, table: NDArray[np.float32], genres: Floats, seed: int
) -> dict[str, Floats]:
    """By method, each user's NDCG@10; NaN for users without an event of a cold item to find."""
    histories, n_items = dataset.histories, len(dataset.items)
    cold = 1 + np.sort(np.random.default_rng(seed).permutation(n_items - 1)[: (n_items - 1) // 10])
    is_warm = np.ones(n_items, dtype=np.bool_)
    is_warm[cold] = False
    warm, before = without(histories, np.where(is_warm, np.cumsum(is_warm) - 1, 0))
    settings = Settings.model_validate(PRESETS["best"] | {"seed": seed})
    model = build_model(
        narrow(settings, ModelSettings), int(is_warm.sum()), {"entity": table[is_warm]}, CPU
    )
    state = fit(
        model, warm, split_leave_one_out(warm), narrow(settings, TrainingSettings), device=CPU
    )
    print(f"seed {seed}: best epoch {state.best_epoch} of {state.epoch}", flush=True)

    owners = histories.owners
    has_context = before[:-1] > before[histories.offsets[owners]]
    targets = np.flatnonzero(~is_warm[histories.items] & has_context)
    targets = targets[np.append(np.diff(owners[targets]) > 0, True)]
    ends, users = before[targets], owners[targets]
    wanted = np.searchsorted(cold, histories.items[targets])

    counts = np.bincount(warm.items, minlength=int(is_warm.sum()))
    shares = genres / np.maximum(genres.sum(1, keepdims=True), 1)
    of_genre = counts @ genres[is_warm] / np.maximum(genres[is_warm].sum(0), 1)
    by_user = [warm.items[warm.offsets[u] : end] for u, end in zip(users, ends, strict=True)]
    own = np.stack([genres[is_warm][items].mean(0) for items in by_user])
    starts = np.maximum(warm.offsets[users], ends - settings.MAX_ITEM_LIST_LENGTH)
    read, lengths = gather(warm.items, starts, ends)
    model.eval()
    states = model.encode(torch.from_numpy(read), torch.from_numpy(lengths))
    with torch.no_grad():
        vectors = torch.from_numpy(table[cold]) @ model.get_parameter("entity_item_layer.weight").T
    methods = {
        "kg_items": gains((states @ vectors.T).double().numpy(), wanted),
        "popularity by genre": gains(np.tile(shares[cold] @ of_genre, (len(users), 1)), wanted),
        "the user's own genres": gains(own @ shares[cold].T, wanted),
        "chance": np.full(len(users), gains_of_chance(len(cold))),
    }
    found = {name: np.full(len(histories), np.nan) for name in methods}
    for name, values in methods.items():
        found[name][users] = values
    return found


def gains_of_chance(n_items: int) -> float:
    """The NDCG@10 that one wanted item among so many has in a random order."""
    return float((1 / np.log2(np.arange(1, TOP + 1) + 1)).sum() / n_items)


def main() -> None:
    """Trains a model a seed, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(dataset=options.dataset)
    dataset = load_dataset(settings, options.folder, ignore_event)
    table = load_feature_tables(settings, dataset, options.folder, ignore_event)["entity"]
    name = options.dataset
    genres = read_genres(options.folder / "dataset" / name / f"{name}.item", dataset)
    seeds = range(1, options.seeds + 1)
    per_seed = [values_by_user(dataset, table, genres, seed) for seed in seeds]
    stacked = {name: np.stack([found[name] for found in per_seed]) for name in per_seed[0]}
    tested = ~np.isnan(stacked["chance"]).all(0)
    means = {name: np.nanmean(values[:, tested], axis=0) for name, values in stacked.items()}
    ones = np.ones(int(tested.sum()), dtype=np.int64)
    report = {}
    print(f"{len(ones)} users, {options.seeds} seeds")
    for name, values in means.items():
        (found,) = paired_differences(values[:, None], means["kg_items"][:, None], ones)
        report[name] = asdict(found)
        print(
            f"{name:24}{values.mean():8.4f}   kg_items less it {found.difference:+.4f} "
            f"({found.low:+.4f} to {found.high:+.4f}), p {found.p_value:.3g}"
        )
    (options.folder / f"{options.dataset}-cold.json").write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
