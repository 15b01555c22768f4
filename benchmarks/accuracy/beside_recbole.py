"""RecBole and kgrec side by side on RecBole's bundled ml-100k, in one run.

    make parity                                   # once, for RecBole's virtual environment
    .venv/bin/python -m benchmarks.accuracy.beside_recbole --epochs 3 --threads 2 --out result.json

Three systems train the same epochs on the same 94,725 samples (times replaced by their dense ranks,
which float32 holds exactly; random entity vectors): RecBole with anomaly detection off, kgrec with
`recbole_compat`, and kgrec as it comes but for the same items. Run it alone on the machine.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.recbole_side.data import write_bundled
from benchmarks.recbole_side.run import example_dir, read_told, run_recbole_side
from kgrec_cli.formats.atomic import read_atomic, write_entity_features

SETTINGS = {
    "embedding_size": 64,
    "hidden_size": 128,
    "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision"],
    "topk": [10],
    "valid_metric": "NDCG@10",
}
SHOWN = ("hit@10", "ndcg@10", "mrr@10")


def write_wide_vectors(dataset_dir: Path) -> None:
    """Random vectors of the default width instead of the parity suite's narrow ones."""
    entities = read_atomic(dataset_dir / "bundled.link")["entity_id"].to_list()
    vectors = np.random.default_rng(0).normal(scale=0.1, size=(len(entities), 64))
    write_entity_features(dataset_dir / "bundled.ent_feature", entities, vectors.astype(np.float32))


def run_recbole(folder: Path, epochs: int, threads: int) -> dict[str, Any]:
    """Seconds of training and validation, and the test metrics."""
    case = {
        "dataset": "bundled",
        "tell": ["fit"],
        "warm_up": 0,
        "settings": {**SETTINGS, "epochs": epochs, "metric_decimal_place": 6},
    }
    told = read_told(run_recbole_side(folder, {"fit": case}, threads=threads), "fit").said["fit"]
    return {"seconds": told["elapsed_s"], **{name: told["test"][name] for name in SHOWN}}


def run_kgrec(folder: Path, epochs: int, threads: int, more: dict[str, Any]) -> dict[str, Any]:
    """The same for kgrec, by its command line."""
    values = {"dataset": "bundled", **SETTINGS, "epochs": epochs, "recbole_compat": True, **more}
    config_path = folder / "kgrec-settings.json"
    config_path.write_text(json.dumps(values))  # JSON is YAML
    command = [sys.executable, "-m", "kgrec_cli", "train", "--config", str(config_path)]
    command += ["--threads", str(threads), "--json"]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    (run,) = json.loads(finished.stdout)
    metrics = json.loads((folder / run["run"] / "metrics.json").read_text())
    seconds = metrics["training"]["train_s"]
    return {"seconds": seconds, **{name: run["metrics"]["test"][name] for name in SHOWN}}


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundled(folder / "dataset", example_dir())
        write_wide_vectors(folder / "dataset/bundled")
        systems = {
            "kgrec": run_kgrec(
                folder, options.epochs, options.threads, {"train_batching": "sequence"}
            ),
            "kgrec, recbole_compat": run_kgrec(folder, options.epochs, options.threads, {}),
            "RecBole, anomaly detection off": run_recbole(folder, options.epochs, options.threads),
        }
    theirs = systems["RecBole, anomaly detection off"]["seconds"]
    print(f"{options.epochs} epochs, {options.threads} threads")
    print(f"{'':32}{'seconds':>9}{'times':>8}" + "".join(f"{name:>9}" for name in SHOWN))
    for system, row in systems.items():
        metrics = "".join(f"{row[name]:>9.4f}" for name in SHOWN)
        print(f"{system:32}{row['seconds']:>9.1f}{theirs / row['seconds']:>8.1f}{metrics}")
    if options.out:
        machine = {"torch": torch.__version__, "machine": platform.platform()}
        report = {**vars(options), "out": str(options.out), **machine, "systems": systems}
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
