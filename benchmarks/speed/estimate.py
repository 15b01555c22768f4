"""How far off is `kgrec estimate`? Beside the command itself, case by case.

    .venv/bin/python -m benchmarks.speed.estimate --folder FOLDER --data DATA [--record]
        [--cases "ml-1m;Beauty, CE"]

Each case is estimated and then run for an epoch or two: seconds an epoch from the run's history (of
a search: all of it, of entity vectors: all but the start), the peak of the memory as the system
counts it for the process and its children. A factor is the larger of the two over the smaller.
`--record` puts the cases into benchmarks/results/estimate.json. Run it alone on the machine.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import REPO_DIR
from benchmarks.beauty import BEAUTY, write_beauty
from benchmarks.record import RESULTS_DIR, machine_words, package_commit

RESULTS = RESULTS_DIR / "estimate.json"
SPACE = "learning_rate choice [0.01,0.001]\nhidden_size choice [64,128]\n"


@dataclass(frozen=True)
class Case:
    """A command, the data set it is of, and its arguments; `epochs` are those that are run."""

    command: str
    dataset: str
    arguments: Sequence[str] = ()
    epochs: int = 2


CASES = {
    "ml-100k": Case("train", "ml-100k"),
    "ml-100k, preset small": Case("train", "ml-100k", ["--preset=small"]),
    "ml-100k, SSM": Case("train", "ml-100k", ["--loss-type=SSM"]),
    "ml-100k, prefix batches": Case("train", "ml-100k", ["--set=train_batching=prefix"], 1),
    "ml-latest-small": Case("train", "ml-latest-small"),
    "ml-1m": Case("train", "ml-1m", epochs=1),
    "Beauty, CE": Case("train", "beauty", ["--model=GRU4Rec"], 1),
    "Beauty, SSM": Case("train", "beauty", ["--model=GRU4Rec", "--loss-type=SSM"]),
    "TransE, FB15k-237": Case("pretrain-kg", "fb15k-237", epochs=5),
    "tune, 4 points": Case("tune", "ml-100k"),
}
RAW: dict[str, list[str]] = {
    "ml-100k": ["--raw={data}/ml-100k", "--kg=metadata"],
    "ml-latest-small": ["--raw={data}/ml-latest-small", "--kg=metadata"],
    "ml-1m": ["--raw={data}/ml-1m/interactions_ordered.tsv.gz", "--items={data}/ml-1m/movies.dat",
              "--time-col=position", "--kg=metadata"],
    "beauty": BEAUTY,
}  # fmt: skip


def measured(folder: Path, *arguments: str) -> tuple[str, float, int]:
    """What a command prints, its seconds, and the most bytes that it or a child of it had."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "kgrec_cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPO_DIR)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, arguments
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a child begins with its parent's
    assert usage.ru_maxrss > own
    return text, time.perf_counter() - began, usage.ru_maxrss * 1024


def prepare(folder: Path, data: Path) -> None:
    """The data sets that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.test").write_text(SPACE)
    write_beauty(data, folder)
    for name, options in RAW.items():
        if not (folder / "dataset" / name / f"{name}.inter").is_file():
            filled = [option.format(data=data) for option in options]
            measured(folder, "prepare", name, *filled)
            if "--kg=metadata" in options:
                measured(folder, "pretrain-kg", name, "-e", "1")
    graph = folder / "dataset" / "fb15k-237" / "fb15k-237.kg"
    if not graph.is_file():
        graph.parent.mkdir(parents=True)
        rows = gzip.decompress((data / "fb15k-237" / "train.tsv.gz").read_bytes()).decode()
        graph.write_text("head_id:token\trelation_id:token\ttail_id:token\n" + rows)
        for kind, head in (("inter", "user_id:token\titem_id:token\ttimestamp:float"),
                           ("link", "item_id:token\tentity_id:token")):  # fmt: skip
            graph.with_suffix(f".{kind}").write_text(head + "\n")


def compare(folder: Path, case: Case) -> dict[str, Any]:
    """An estimate beside what came: seconds (of an epoch; of a search, all of it) and memory."""
    words = [*case.arguments, "--dataset", case.dataset, "--threads", "1", "--json"]
    words = ["small.test", *words, "--set", "epochs=3"] if case.command == "tune" else words
    words += [] if case.command == "tune" else ["--epochs", str(case.epochs)]
    text, probe_s, _ = measured(folder, "estimate", case.command, *words)
    said = json.loads(text)
    study = folder / "studies"
    if case.command == "tune" and study.is_dir():
        subprocess.run(["rm", "-r", str(study)], check=True)
    text, elapsed_s, memory = measured(folder, case.command, *words)
    found = json.loads(text)
    seconds, expected = elapsed_s, said["total_s"]
    if case.command == "train":
        rows = (folder / found[0]["run"] / "history.jsonl").read_text().splitlines()
        seconds = sum(json.loads(row)["elapsed_s"] for row in rows) / len(rows)
        expected = said["epoch_s"]
    elif case.command == "pretrain-kg":
        seconds = found["elapsed_s"]
    return {
        "command": " ".join(["kgrec", case.command, *words]),
        "probe_s": round(probe_s, 1),
        "estimated_s": round(expected, 2),
        "took_s": round(seconds, 2),
        "factor_s": round(max(seconds / expected, expected / seconds), 2),
        "estimated_gb": round(said["memory"] / 1e9, 3),
        "had_gb": round(memory / 1e9, 3),
        "factor_gb": round(max(memory / said["memory"], said["memory"] / memory), 2),
    }


def main() -> None:
    """Runs the cases and prints each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", default=";".join(CASES), help="names, ';' between them")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    prepare(options.folder, options.data.resolve())
    for name in options.cases.split(";"):
        result = compare(options.folder, CASES[name])
        print(name, json.dumps(result), flush=True)
        if options.record:
            known = json.loads(RESULTS.read_text())["cases"] if RESULTS.is_file() else {}
            found: dict[str, Any] = {"machine": machine_words(), "commit": package_commit()}
            found["cases"] = {**known, name: result}
            RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
