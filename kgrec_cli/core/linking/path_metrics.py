"""What shown paths are like: hopwise's metrics of explanation paths.

A list has at most one path an item, its strongest. As hopwise counts, a path is user, history item,
shared entity, recommended item: three relations, the first the user's interaction; fewer where the
entities are neighbours or the same. `docs/explanations.md` has the formulas. (hopwise 0.9.1,
`evaluator/metrics.py`; LIR, SEP and the diversities of types after Balloccu et al., SIGIR 2022.)
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.linking.paths import Path

Floats = NDArray[np.float64]

PATH_METRICS = {
    "LIR": "how recent the history item is",
    "SEP": "how popular the shared entity is",
    "LID": "distinct history items",
    "LITD": "distinct types of history items",
    "SED": "distinct shared entities",
    "SETD": "distinct types of shared entities",
    "PTD": "distinct last relations",
    "PTC": "spread over last relations",
    "PPT": "distinct patterns of relations",
    "Fidelity": "items with a path",
    "borne out": "paths from an item that carries the score",
}
"""What each metric is a share of, or says; all are from 0 to 1."""
INTERACTION, SAME = "interaction", "self_loop"
MAX_PATTERNS = 7
"""Places of a path of three hops, entities and relations: PPT expects no more patterns."""


@dataclass(frozen=True)
class ExplainedList:
    """A list of items, with a path to each.

    Attributes:
        history: Item tokens, oldest first.
        times: float64, when each of them was.
        paths: By place in the list, best item first; None where no path leads to the item.
    """

    history: Sequence[str]
    times: Floats
    paths: Sequence[Path | None]


def path_metrics(
    lists: Sequence[ExplainedList],
    topk: Sequence[int],
    *,
    degrees: Mapping[str, float],
    of_items: frozenset[str],
    n_relations: int,
) -> dict[str, float]:
    """The path metrics at each cutoff, by name, for instance "lir@10".

    LIR and SEP are means over paths, the others over the lists with a path, as in hopwise; all are
    0 without any path. `borne_out` is ours: the share of paths from an item that carries the score.

    Args:
        lists: A list a user.
        topk: Cutoffs: the paths of that many items count.
        degrees: By entity token, the triples and interactions that it is in.
        of_items: The entities that are those of items.
        n_relations: Relations of the graph.
    """
    smooth = smooth_shares(np.array(list(degrees.values()), dtype=np.float64))
    popularity = dict(zip(degrees, smooth.tolist(), strict=True))
    recency = [_recency(each) for each in lists]
    values: dict[str, float] = {}
    for k in topk:
        shown = [[path for path in each.paths[:k] if path is not None] for each in lists]
        explained = [paths for paths in shown if paths]
        paths = [path for each in explained for path in each]
        at_cutoff = {
            "lir": _mean(
                of_list[path.item]
                for of_list, each in zip(recency, shown, strict=True)
                for path in each
            ),
            "sep": _mean(popularity[path.value] for path in paths),
            "lid": _mean(_distinct(path.item for path in each) for each in explained),
            # one type: a history item is an item
            "litd": _mean(1 / len(each) for each in explained),
            "sed": _mean(_distinct(path.value for path in each) for each in explained),
            "setd": _mean(_distinct(path.value in of_items for path in each) for each in explained),
            # hopwise counts the interaction and the padding as relations
            "ptd": _mean(
                len(set(map(_type, each))) / min(len(each), n_relations + 2) for each in explained
            ),
            "ptc": _mean(map(_concentration, explained)),
            "ppt": _mean(
                min(len(set(map(_pattern, each))) / min(len(each), MAX_PATTERNS), 1.0)
                for each in explained
            ),
            "fidelity": _mean(len(each) / k for each in explained),
            "borne_out": _mean(path.is_borne_out for path in paths),
        }
        values |= {f"{name}@{k}": value for name, value in at_cutoff.items()}
    return values


def path_metric_rows(
    values: Mapping[str, float], topk: Sequence[int]
) -> list[tuple[str, list[float], str]]:
    """Name, value at each cutoff and meaning of each metric, of what `path_metrics` returns."""
    keys = {name: name.casefold().replace(" ", "_") for name in PATH_METRICS}
    return [
        (name, [values[f"{keys[name]}@{k}"] for k in topk], words)
        for name, words in PATH_METRICS.items()
    ]


def smooth_shares(values: Floats) -> Floats:
    """Values smoothed in ascending order, from 0 for the least to 1, float64 in their own order.

    The mean of a value and those below it, each weighted (1 - a) times the one above, a = 2 /
    (n + 1) for n values; then min-max over all. Where all values are equal their places 0, 1, ...
    stand for them. (pandas' `ewm(span=n)`, which hopwise calls.)

    Args:
        values: float64 (n,); equal ones keep their order.
    """
    if len(values) < 2:
        return np.zeros(len(values))
    order = np.argsort(values, kind="stable")
    ascending = values[order] if np.ptp(values) > 0 else np.arange(len(values), dtype=np.float64)
    decay = 1 - 2 / (len(values) + 1)
    means, total, weight = np.zeros(len(values)), 0.0, 0.0
    for place, value in enumerate(ascending - ascending[:1]):  # large times would lose digits
        total, weight = total * decay + value, weight * decay + 1
        means[place] = total / weight
    shares = np.empty(len(values))
    shares[order] = (means - means[0]) / (means[-1] - means[0])
    return shares


def _recency(each: ExplainedList) -> dict[str, float]:
    """How recent each history item is, from 0 to 1; of those that repeat the last counts."""
    last: dict[str, float] = {}
    for token, time in zip(each.history, each.times.tolist(), strict=True):
        last.pop(token, None)  # so that it stands where it was last
        last[token] = time
    return dict(zip(last, smooth_shares(np.array(list(last.values()))).tolist(), strict=True))


def _pattern(path: Path) -> tuple[str, ...]:
    return (INTERACTION, *([relation for _, relation, _ in path.triples] or [SAME]))


def _type(path: Path) -> str:
    """The last relation, of a `self_loop` the one before."""
    return path.triples[-1][1] if path.triples else INTERACTION


def _concentration(paths: Sequence[Path]) -> float:
    """One less Simpson's index of the path types; 0 for a single path."""
    n = len(paths)
    pairs = sum(count * (count - 1) for count in Counter(map(_type, paths)).values())
    return 1 - pairs / (n * (n - 1)) if n > 1 else 0.0


def _distinct(values: Iterable[object]) -> float:
    """The share of values that are distinct."""
    values = list(values)
    return len(set(values)) / len(values)


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(sum(values) / len(values)) if values else 0.0
