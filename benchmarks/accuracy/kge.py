"""Entity vectors with a public yardstick: filtered test MRR on FB15k-237 and WN18RR.

    .venv/bin/python -m benchmarks.accuracy.kge --data DATA [--out FILE]
        [--sets "fb15k-237 wn18rr"] [--methods "TransE DistMult"] [--epochs 30] [--size 64]
        [--negatives 512] [--batch-size 2048] [--learning-rate 0.01]

DATA holds a folder for each set with {train,valid,test}.tsv.gz. Each method is trained as
`kgrec pretrain-kg` does by default, one thread, on train alone; all entities of the three files are
candidates, and triples of all three are filtered. The validation MRR (2,000 triples) is reported
beside the test's; it chooses nothing here. A row that is in FILE is kept: the command goes on where
it was stopped. Rows of other lengths or sizes stand beside each other.
"""

import argparse
import gzip
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import RESULTS_DIR, machine_words
from kgrec_cli.core.kg.fit import fit_kg
from kgrec_cli.core.kg.holdout import rank_held_out, summarise_ranks
from kgrec_cli.core.kg.methods import Ints, KGModel, scorers
from kgrec_cli.formats.files import read_json, write_json
from kgrec_cli.setting_blocks import PretrainKGSettings

SETS = ("fb15k-237", "wn18rr")
METHODS = ("TransE", "ComplEx", "DistMult", "RotatE", "TransH")
PARTS = ("train", "valid", "test")
FURTHER = ("learning_rate", "negatives", "batch_size")
CPU = torch.device("cpu")
N_VALID = 2000
# The best of LibKGE (github.com/uma-pi1/kge, its table of results), with its own search of settings
# and wider vectors (128 to 512 numbers).
PUBLISHED = {
    "fb15k-237": {"TransE": 0.313, "DistMult": 0.343, "ComplEx": 0.348, "RotatE": 0.333},
    "wn18rr": {"TransE": 0.228, "DistMult": 0.452, "ComplEx": 0.475, "RotatE": 0.478},
}


@dataclass(frozen=True)
class KGERow:
    """One training. MRR is filtered, of heads and tails alike; times are of one thread."""

    dataset: str
    method: str
    embedding_size: int
    epochs: int
    learning_rate: float
    negatives: int | None
    batch_size: int
    test: dict[str, float]
    valid_mrr: float
    train_cpu_s: float
    published_mrr: float | None
    machine: str
    date: str


def read_set(folder: Path) -> tuple[dict[str, Ints], int, int]:
    """The triples of each part as ids, and how many entities and relations there are."""
    parts = {}
    for part in PARTS:
        with gzip.open(folder / f"{part}.tsv.gz", "rt") as file:
            parts[part] = np.loadtxt(file, dtype=np.int64)
    rows = np.concatenate(list(parts.values()))
    entities, relations = np.unique(rows[:, [0, 2]]), np.unique(rows[:, 1])
    numbered = {
        part: np.stack(
            [
                np.searchsorted(entities, of[:, 0]),
                np.searchsorted(relations, of[:, 1]),
                np.searchsorted(entities, of[:, 2]),
            ],
            axis=1,
        )
        for part, of in parts.items()
    }
    return numbered, len(entities), len(relations)


def rank(model: KGModel, rows: Ints, known: Ints) -> dict[str, float]:
    """Filtered metrics of some triples."""
    score = scorers(model)
    ranks = rank_held_out(
        rows, known, score_tails=score.tails, score_heads=score.heads, batch_size=32, device=CPU,
        on_batch=lambda done: None,
    )  # fmt: skip
    return summarise_ranks(ranks)


def measure(folder: Path, dataset: str, settings: PretrainKGSettings, size: int) -> KGERow:
    """Trains one method and ranks the test triples."""
    parts, n_entities, n_relations = read_set(folder / dataset)
    known = np.concatenate([parts[part] for part in PARTS])
    began = time.process_time()
    model, _ = fit_kg(
        parts["train"], n_entities=n_entities, n_relations=n_relations, settings=settings,
        embedding_size=size, device=CPU, on_epoch=lambda epoch, loss, capture: None,
    )  # fmt: skip
    elapsed = time.process_time() - began
    chosen = np.random.default_rng(0).permutation(len(parts["valid"]))[:N_VALID]
    return KGERow(
        dataset=dataset,
        method=settings.method,
        embedding_size=size,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        negatives=settings.negatives,
        batch_size=settings.batch_size,
        test=rank(model, parts["test"], known),
        valid_mrr=rank(model, parts["valid"][chosen], known)["mrr"],
        train_cpu_s=round(elapsed, 1),
        published_mrr=PUBLISHED[dataset].get(settings.method),
        machine=machine_words(),
        date=time.strftime("%Y-%m-%d"),
    )


def main() -> None:
    """Trains what is missing and writes the rows after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS_DIR / "kge.json")
    parser.add_argument("--sets", default=" ".join(SETS))
    parser.add_argument("--methods", default=" ".join(METHODS))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--size", type=int, default=64)
    for name in FURTHER:
        kind = float if name == "learning_rate" else int
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = read_json(options.out)["rows"] if options.out.is_file() else []
    further = {name: value for name in FURTHER if (value := getattr(options, name)) is not None}
    for dataset in options.sets.split():
        for method in options.methods.split():
            settings = PretrainKGSettings(method=method, epochs=options.epochs, **further)
            key = {"dataset": dataset, "embedding_size": options.size}
            key |= settings.model_dump(include={"method", "epochs", *FURTHER})
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append(asdict(measure(options.data, dataset, settings, options.size)))
            print(json.dumps(rows[-1]), flush=True)
            command = "python -m benchmarks.accuracy.kge --data DATA --size WIDTH"
            write_json(options.out, {"command": command, "rows": rows})


if __name__ == "__main__":
    main()
