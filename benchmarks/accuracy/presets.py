"""Which preset does validation choose on which data? Every preset on every set, no test part.

    .venv/bin/python -m benchmarks.accuracy.presets --data DATA --folder FOLDER
        [--sets "ml-100k beauty"] [--presets "best sparse"] [--seed 2020]

DATA as for `benchmarks.accuracy.link_check`. GRU4Rec, so that only the recipe differs, one thread,
one seed. What is in FOLDER or in the file of results is kept, and a training that was stopped goes
on. From each run this reads validation alone.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy.plans import BY_USER, LAST_TENTH, LEAVE_ONE_OUT, PLAIN
from benchmarks.accuracy.study import prepare
from benchmarks.accuracy.trainings import COMMIT, trained
from benchmarks.record import RESULTS_DIR, machine_words
from kgrec_cli.formats.files import read_json, write_json
from kgrec_cli.runs.run_files import METRICS
from kgrec_cli.settings import PRESETS

COMMAND = "python -m benchmarks.accuracy.presets --data DATA --folder FOLDER"
OUT = RESULTS_DIR / "presets.json"


class Trial(NamedTuple):
    """A data set as `study.prepare` knows it, how it is split, and settings of every training."""

    dataset: str
    protocol: str
    settings: dict[str, Any]


TRIALS = {
    "ml-100k": Trial("ml-100k", LEAVE_ONE_OUT, {}),
    "ml-latest-small": Trial(
        "ml-latest-small-metadata", LAST_TENTH, {"eval_args": BY_USER, "epochs": 30}
    ),
    "ml-1m": Trial("ml-1m", LEAVE_ONE_OUT, {"epochs": 18}),
    "beauty": Trial("beauty", LEAVE_ONE_OUT, {"epochs": 10, "eval_step": 5}),
}


@dataclass(frozen=True)
class PresetRow:
    """What one preset reached on the validation part of one set.

    Attributes:
        ndcg: NDCG@10 of the best epoch, seen items masked.
        best_epoch: Which epoch that was, from 1.
        epochs: Those that were made.
        seconds: Of the training, one thread, another process beside it.
    """

    dataset: str
    preset: str
    protocol: str
    seed: int
    ndcg: float
    best_epoch: int
    epochs: int
    seconds: float
    commit: str
    machine: str
    date: str


def measure(data: Path, folder: Path, name: str, preset: str, seed: int) -> PresetRow:
    """Trains one preset on one set, unless the folder has it."""
    trial = TRIALS[name]
    prepare(trial.dataset, data, folder)
    saved = f"presets/{name}/{preset}/{seed}"
    words = ["--dataset", trial.dataset, "--preset", preset, *PLAIN, "--seed", str(seed)]
    for key, value in trial.settings.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    run = folder / trained(folder, saved, *words)
    metrics = read_json(run / METRICS)
    training = metrics["training"]
    return PresetRow(
        dataset=name,
        preset=preset,
        protocol=trial.protocol,
        seed=seed,
        ndcg=metrics["valid_masked"]["ndcg@10"],
        best_epoch=training["best_epoch"],
        epochs=training["epochs"],
        seconds=round(training["train_s"], 1),
        commit=(run.parent / COMMIT).read_text().strip(),
        machine=machine_words(),
        date=f"{date.today()}",
    )


def main() -> None:
    """Trains what is missing and writes the rows after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--sets", default=" ".join(TRIALS))
    parser.add_argument("--presets", default=" ".join(PRESETS))
    parser.add_argument("--seed", type=int, default=2020)
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_json(options.out)["rows"] if options.out.is_file() else []
    for name in options.sets.split():
        for preset in options.presets.split():
            key = {"dataset": name, "preset": preset, "seed": options.seed}
            if any(key.items() <= row.items() for row in rows):
                continue
            row = measure(options.data.resolve(), folder, name, preset, options.seed)
            rows.append(asdict(row))
            print(json.dumps(rows[-1]), flush=True)
            write_json(options.out, {"command": COMMAND, "rows": rows})


if __name__ == "__main__":
    main()
