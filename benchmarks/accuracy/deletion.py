"""Are the reasons of `recommend --explain` the model's? History items left out, and paths counted.

    .venv/bin/python -m benchmarks.accuracy.deletion --folder FOLDER [--run RUN ...] [--record NAME]

FOLDER holds a data set with a graph and a finished run; of several runs, the seeds of one
configuration, each user's values are averaged. `--record` puts the result under that name into
benchmarks/results/deletion.json, which docs/explanations.md is made from.

For each recommended item of each user the 1, 3 and 5 history items that `explain` names first are
left out together, beside as many random, most recent and most popular ones of those that the model
reads. How far do the item's score and its rank (among the items that the user has not seen) fall?
And how many of the paths shown start at an item that carries the score, beside those ranked by the
graph alone and those of a random path?
Intervals are of 95 %, users drawn with replacement.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.record import DELETION, RESULTS_DIR, machine_words, package_commit
from kgrec_cli.core.evaluation.bootstrap import paired_differences
from kgrec_cli.core.evaluation.recommend import read_histories
from kgrec_cli.runs.recommender import Recommender, load_recommender
from kgrec_cli.runs.run_dir import find_run

COUNTS = (1, 3, 5)
WAYS = ("named", "random", "most recent", "most popular")
PATHS = ("shown", "by the graph alone", "random path")
Floats = NDArray[np.float64]


def choose_users(recommender: Recommender, n_users: int, rng: np.random.Generator) -> list[str]:
    """Users drawn without replacement from those of whom the model reads more items than go."""
    histories, max_length = (
        recommender.dataset.histories,
        recommender.settings.MAX_ITEM_LIST_LENGTH,
    )
    enough = [
        recommender.dataset.users.tokens[user]
        for user, begin, end in zip(
            histories.user_ids, histories.offsets, histories.offsets[1:], strict=False
        )
        if len(np.unique(histories.items[begin:end][-max_length:])) > max(COUNTS)
    ]
    chosen = rng.permutation(len(enough))[:n_users]
    return [enough[index] for index in chosen]


@torch.inference_mode()
def places_of(
    recommender: Recommender, histories: Sequence[NDArray[np.int32]], item: int, seen: list[int]
) -> tuple[Floats, Floats]:
    """An item's score after each history, and its rank among the items not in `seen`."""
    model = recommender.model
    states, of_rows = read_histories(model, histories, recommender.settings.MAX_ITEM_LIST_LENGTH)
    scores = model.score(states, of_rows)
    scores[:, [0, *seen]] = -torch.inf
    own = scores[:, [item]]
    ranks = (scores > own).sum(1) + 1
    return own[:, 0].double().cpu().numpy(), ranks.double().cpu().numpy()


def measure_user(
    recommender: Recommender, user: str, topk: int, popularity: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """A user's mean falls, (score or rank, ways, counts), and shares of paths (NaN: no path)."""
    (found,) = recommender.recommend([user], topk=topk)
    encode = {token: index for index, token in enumerate(recommender.items.tokens)}
    history = np.array([encode[token] for token, _ in found.history], dtype=np.int32)
    falls, shares = [], []
    for reason in recommender.explain(found, n_paths=None):
        named = [encode[token] for token in reason.drops]
        recent = list(dict.fromkeys(history[::-1].tolist()))[: len(named)]
        orders = [
            named,
            rng.permutation(named).tolist(),
            recent,
            sorted(named, key=lambda item: -popularity[item]),
        ]
        rows = [history[~np.isin(history, order[:count])] for order in orders for count in COUNTS]
        scores, ranks = places_of(
            recommender, [history, *rows], encode[reason.item], history.tolist()
        )
        both = np.stack([scores[0] - scores[1:], ranks[1:] - ranks[0]])
        falls.append(both.reshape(2, len(WAYS), len(COUNTS)))
        if reason.paths:
            recency = {token: place for place, (token, _) in enumerate(found.history)}
            by_graph = sorted(reason.paths, key=lambda path: (-path.weight, -recency[path.item]))
            lists = (reason.paths[:3], by_graph[:3], reason.paths)
            shares.append([np.mean([path.is_borne_out for path in paths]) for paths in lists])
    of_paths = np.mean(shares, axis=0) if shares else np.full(len(PATHS), np.nan)
    return np.mean(falls, axis=0), of_paths


def with_interval(values: Floats) -> list[float]:
    """The mean over users, and the ends of its interval."""
    ones = np.ones(len(values), dtype=np.int64)
    (result,) = paired_differences(np.zeros((len(values), 1)), values[:, None], ones)
    return [result.difference, result.low, result.high]


def main() -> None:
    """Measures, prints two tables, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run", action="append")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--topk", type=int, default=10)
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--record", metavar="NAME")
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / DELETION)
    options = parser.parse_args()
    measured = []
    for run in options.run or [None]:
        run_dir = find_run(options.folder, run)
        recommender = load_recommender(run_dir, options.folder, threads=1, on_event=print)
        rng = np.random.default_rng(options.seed)
        users = choose_users(recommender, options.users, rng)
        tokens, items = len(recommender.items), recommender.dataset.histories.items
        n_events = np.bincount(items, minlength=tokens).astype(np.float64)
        measured.append(
            [measure_user(recommender, user, options.topk, n_events, rng) for user in users]
        )
        print(f"{run_dir.name}: {len(users)} users, {options.topk} items each")
    falls = np.mean([[fall for fall, _ in of_run] for of_run in measured], axis=0)
    shares = np.mean([[share for _, share in of_run] for of_run in measured], axis=0)
    shares = shares[~np.isnan(shares[:, 0])]
    report = {
        "dataset": recommender.dataset.name,
        "runs": len(measured),
        "users": len(users),
        "topk": options.topk,
        "falls": [
            {"left_out": count, "way": way, "score": score, "rank": rank}
            for column, count in enumerate(COUNTS)
            for row, way in enumerate(WAYS)
            for score, rank in [[with_interval(falls[:, what, row, column]) for what in (0, 1)]]
        ],
        "paths_users": len(shares),
        "paths": {name: with_interval(shares[:, row]) for row, name in enumerate(PATHS)},
    }
    print(f"{'left out':22}{'fall of the score':>28}{'ranks lost':>28}")
    for row in report["falls"]:
        name = f"{row['left_out']} {row['way']}"
        print(f"{name:22}{show(row['score'], 3):>28}{show(row['rank'], 1):>28}")
    print(f"\npaths from the three items that carry the score ({len(shares)} users with paths)")
    for name, values in report["paths"].items():
        print(f"{name:22}{show(values, 3):>28}")
    if options.record:
        report |= {"commit": package_commit(), "machine": machine_words()}
        known = json.loads(options.out.read_text()) if options.out.is_file() else {}
        options.out.write_text(json.dumps(known | {options.record: report}, indent=2) + "\n")


def show(values: Sequence[float], digits: int) -> str:
    """A mean and its interval."""
    mean, low, high = (f"{value:,.{digits}f}" for value in values)
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    main()
