"""How much better than RecBole's own GRU4RecKG does kgrec rank ml-100k, user by user?

    make parity                        # once: RecBole's virtual environment and its bundled ml-100k
    .venv/bin/python -m benchmarks.accuracy.against_recbole --data DATA --folder FOLDER
        [--recbole 2020 2021] [--seeds 5] [--jobs 1]

DATA and FOLDER as for `benchmarks.accuracy.study`; all is kept in FOLDER/against-recbole. RecBole
1.2.1 trains on its bundled ml-100k with its links and its defaults, to early stopping on NDCG@10
(50 to 70 minutes of one core a seed); then `kgrec import` makes a run of its checkpoint, and `kgrec
compare` measures it beside runs of `--preset small` on the same events. Both sides know the 1,598
items that RecBole's links name. Times are replaced by their dense ranks, which float32 holds
exactly: so RecBole sees the events in their true order, and every user has one history and one
target on both sides. What is there already is kept; a RecBole that was stopped begins anew.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

from benchmarks.accuracy.study import BEST, prepare
from benchmarks.accuracy.trainings import kgrec, train_all
from benchmarks.recbole_side.data import write_bundled
from benchmarks.recbole_side.run import example_dir, read_told, run_recbole_side
from kgrec_cli.runs.run_dir import is_finished

ROWS = {
    "no KG, best": ("bundled", ["model=GRU4Rec"]),
    "RecBole's links, best": ("bundled", []),
    "repaired links, best": ("repaired", []),
}
SETTINGS = {"valid_metric": "NDCG@10", "topk": [5, 10, 20]}


def write_datasets(linked: Path, folder: Path) -> None:
    """Data sets bundled and repaired: the same events, RecBole's links and those of `linked`."""
    bundled = folder / "dataset" / "bundled"
    if not bundled.is_dir():
        write_bundled(folder / "dataset", example_dir())
        (bundled / "bundled.ent_feature").unlink()
        known = {line.split("\t")[0] for line in (bundled / "bundled.link").open()}
        head, *rows = (bundled / "bundled.inter").read_text().splitlines()
        kept = [row for row in rows if row.split("\t")[1] in known]
        (bundled / "bundled.inter").write_text("\n".join([head, *kept, ""]))
    if not (bundled / "bundled.ent_feature").is_file():
        kgrec(folder, "pretrain-kg", "--dataset", "bundled", "--threads", "1")
    repaired = folder / "dataset" / "repaired"
    repaired.mkdir(exist_ok=True)
    shutil.copy(bundled / "bundled.inter", repaired / "repaired.inter")
    for suffix in ("kg", "link", "ent_feature"):
        shutil.copy(linked / f"{linked.name}.{suffix}", repaired / f"repaired.{suffix}")


def recbole_run(folder: Path, seed: int) -> str:
    """RecBole's training of a seed as a run of ours, from the folder; made unless it is there."""
    saved, beside = folder / "saved" / "recbole" / str(seed), folder / "recbole" / str(seed)
    if not any(is_finished(run_dir) for run_dir in saved.glob("*")):
        if not (beside / "told/fit.json").is_file():
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(folder / "dataset/bundled", beside / "dataset/bundled")
            settings = {**SETTINGS, "seed": seed, "metric_decimal_place": 6}
            case = {"dataset": "bundled", "tell": ["fit"], "settings": settings}
            run_recbole_side(beside, {"fit": case}, threads=1)
        said = read_told(beside / "told", "fit").said["fit"]
        print(f"RecBole, seed {seed}: {json.dumps(said)}", flush=True)
        checkpoint = beside / "recbole" / said["checkpoint"]
        where = ["--set", f"checkpoint_dir=saved/recbole/{seed}"]
        kgrec(folder, "import", str(checkpoint.resolve()), "--dataset", "bundled", *where)
    (run_dir,) = (run_dir for run_dir in saved.glob("*") if is_finished(run_dir))
    return str(run_dir.relative_to(folder))


def main() -> None:
    """Trains what is missing and prints `kgrec compare`, RecBole first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--recbole", type=int, nargs="*", default=[2020, 2021], help="its seeds")
    parser.add_argument("--seeds", type=int, default=5, help="ours")
    parser.add_argument("--jobs", type=int, default=1, help="our runs trained at a time")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = options.folder.resolve() / "against-recbole"
    folder.mkdir(parents=True, exist_ok=True)
    prepare("ml-100k", options.data.resolve(), folder.parent)
    write_datasets(folder.parent / "dataset" / "ml-100k", folder)
    theirs = [recbole_run(folder, seed) for seed in options.recbole]
    wanted = []
    for seed in range(1, options.seeds + 1):
        for name, (dataset, settings) in ROWS.items():
            values = ["epochs=150", *BEST, *settings]
            arguments = [part for value in values for part in ("--set", value)]
            arguments += ["--dataset", dataset, "--seed", str(seed)]
            wanted.append((f"{name}/{seed}", arguments))
    ours = train_all(folder, wanted, options.jobs)
    print(kgrec(folder, "compare", *theirs, *sorted(ours.values())))


if __name__ == "__main__":
    main()
