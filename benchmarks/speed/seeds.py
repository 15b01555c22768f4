"""Do several seeds train sooner in one step than one after the other? On a CPU, in turn.

    .venv/bin/python -m benchmarks.speed.seeds --data DATA --folder FOLDER [--seeds 4] [--epochs 3]
        [--rounds 3]

ml-100k, the default model without a graph, one thread: the seeds are the points of a space, tuned
by `--executor serial` and by `--executor batched` (the whole command, so about three seconds of
each are its start). Prints both times of each round and the median of their ratios.
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path

from benchmarks.accuracy.trainings import kgrec


def main() -> None:
    """Prepares the data set unless it is there, searches in turn, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dataset" / "ml-100k" / "prepare.json").is_file():
        raw = str(options.data.resolve() / "ml-100k")
        kgrec(folder, "prepare", "ml-100k", "--raw", raw, "--kg", "none")
    seeds = ",".join(str(seed) for seed in range(1, options.seeds + 1))
    (folder / "seeds.test").write_text(f"seed choice [{seeds}]\n")
    command = ["tune", "seeds.test", "--dataset", "ml-100k", "--model", "GRU4Rec", "--threads", "1"]
    command += ["--set", f"epochs={options.epochs}", "--json", "--executor"]
    ratios = []
    for _ in range(options.rounds):
        seconds = {}
        for executor in ("serial", "batched"):
            shutil.rmtree(folder / "studies", ignore_errors=True)
            began = time.perf_counter()
            kgrec(folder, *command, executor)
            seconds[executor] = time.perf_counter() - began
        ratios.append(seconds["serial"] / seconds["batched"])
        print(f"serial {seconds['serial']:.1f} s, batched {seconds['batched']:.1f} s", flush=True)
    print(f"one after the other takes {statistics.median(ratios):.2f} times as long")


if __name__ == "__main__":
    main()
