"""Does the sampled softmax cost accuracy? Against the full one on all interactions of ml-1m.

    .venv/bin/python -m benchmarks.sampled --folder FOLDER --interactions FILE
        [--seeds 3] [--epochs 20] [--jobs 2] [--sample-num 1024]

FILE is a table with columns user_id, item_id, position (the time order). Trains GRU4Rec with both
losses for a fixed number of epochs, seed 1 and on, one thread each; the best epoch's weights are
kept. Ends in `kgrec compare`. A run that is there already is kept, so the command goes on where it
was. An epoch takes about a minute of one core.
"""

import argparse
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from benchmarks.batching import kgrec

LOSSES = ("CE", "SSM")
writing = Lock()


def prepare(folder: Path, interactions: Path) -> None:
    """The atomic files."""
    if not (folder / "dataset/log/log.inter").is_file():
        columns = ["--user-col", "user_id", "--item-col", "item_id", "--time-col", "position"]
        kgrec(folder, "prepare", "log", "--raw", str(interactions.resolve()), *columns)


def read_kept(folder: Path) -> dict[str, str]:
    """Runs by name."""
    path = folder / "runs.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def train(folder: Path, loss_type: str, seed: int, options: argparse.Namespace) -> str:
    """The name of the run of a loss and a seed, trained unless it is there."""
    name = f"{loss_type}-{seed}-{options.epochs}"
    settings = []
    if loss_type == "SSM":
        name += f"-{options.sample_num}"
        settings = ["--set", f"train_neg_sample_args={{sample_num: {options.sample_num}}}"]
    if name in read_kept(folder):
        return Path(read_kept(folder)[name]).name
    settings += ["--loss-type", loss_type, "--model", "GRU4Rec", "--seed", str(seed)]
    settings += ["--epochs", str(options.epochs), "--stopping-step", str(options.epochs)]
    settings += ["--set", f"checkpoint_dir=saved/{name}", "--threads", "1"]
    told = kgrec(folder, "train", "--dataset", "log", *settings, "--json")
    run_dir = folder / json.loads(told)[0]["run"]
    moved = run_dir.rename(folder / "saved" / f"log-{name}")
    with writing:
        kept = read_kept(folder) | {name: moved.name}
        (folder / "runs.json").write_text(json.dumps(kept, indent=2) + "\n")
    return moved.name


def main() -> None:
    """Trains what is missing, prints `kgrec compare`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--interactions", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--sample-num", type=int, default=1024, help="negatives of a step")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare(options.folder, options.interactions)
    wanted = [(loss, seed) for seed in range(1, options.seeds + 1) for loss in LOSSES]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda one: train(options.folder, *one, options), wanted))
    runs = [name for loss in LOSSES for name in found if name.startswith(f"log-{loss}-")]
    try:
        print(kgrec(options.folder, "compare", *runs))
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.stdout) from error


if __name__ == "__main__":
    main()
