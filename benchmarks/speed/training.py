"""Training throughput beside RecBole and beside an earlier commit, and the share of the floor.

    make parity                             # once, for RecBole's virtual environment
    .venv/bin/python -m benchmarks.speed.training --threads 1 [--against COMMIT] [--out FILE]
        [--record]

All train the same 94,725 targets of RecBole's bundled ml-100k in batches of 2048, with its
defaults, in turn, round after round; medians are printed. Run it alone on the machine. `--record`
puts kgrec and RecBole at its best into benchmarks/results/speed.json, which docs/results.md shows.

The floor is the arithmetic of a target done at the machine's best rate of float32 matrix products:
forward once and backward twice, for one step of each GRU, the dense layer and the scores of all
items. It leaves out everything else, so nothing reaches it.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

from benchmarks import REPO_DIR
from benchmarks.accuracy.beside_recbole import write_wide_vectors
from benchmarks.recbole_side.data import write_bundled
from benchmarks.recbole_side.run import example_dir, read_told, run_recbole_side
from benchmarks.record import Speed, machine_words, package_commit, recbole_version, write_speed

EMBEDDING, HIDDEN, BRANCHES, N_ITEMS = 64, 128, 2, 1_599
PRODUCTS = ((2048, 64, N_ITEMS), (2048, 64, 4096), (2048, 128, 384), (2048, 256, 2048))
KGREC = {"kgrec": "sequence", "kgrec, prefix": "prefix"}
RECBOLE_BEST = "RecBole, at its best"


def flop_of_a_target() -> int:
    """Multiplications and additions for one target, forward and backward."""
    grus = BRANCHES * (EMBEDDING + HIDDEN) * 3 * HIDDEN
    dense = BRANCHES * HIDDEN * EMBEDDING
    scores = EMBEDDING * N_ITEMS
    return 3 * 2 * (grus + dense + scores)


def best_product_rate(threads: int) -> float:
    """The highest rate of a float32 matrix product of these shapes, in FLOP/s."""
    torch.set_num_threads(threads)
    best = 0.0
    for rows, inner, columns in PRODUCTS:
        one, two = torch.randn(rows, inner), torch.randn(inner, columns)
        out = torch.empty(rows, columns)
        repeats = max(1, round(4e9 / (2 * rows * inner * columns)))
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(repeats):
                torch.mm(one, two, out=out)
            seconds = (time.perf_counter() - began) / repeats
            best = max(best, 2 * rows * inner * columns / seconds)
    return best


def kgrec_rate(tree: Path, folder: Path, batching: str, epochs: int, threads: int) -> float:
    """Targets a second, the median of the epochs but the first, by the command line of a tree."""
    values = {
        "dataset": "bundled",
        "recbole_compat": True,
        "train_batching": batching,
        "epochs": epochs,
        "eval_step": epochs,
        "checkpoint_dir": "saved",
    }
    config_path = folder / "kgrec-settings.json"
    config_path.write_text(json.dumps(values))  # JSON is YAML
    shutil.rmtree(folder / "saved", ignore_errors=True)
    command = [sys.executable, "-m", "kgrec_cli", "train", "--config", str(config_path)]
    subprocess.run(
        [*command, "--threads", str(threads), "--json"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        check=True,
    )
    (history_path,) = folder.glob("saved/*/history.jsonl")
    rows = [json.loads(line) for line in history_path.read_text().splitlines()]
    return float(statistics.median(row["targets_per_s"] for row in rows[1:] or rows))


def recbole_rate(folder: Path, n_batches: int, threads: int) -> dict[str, float]:
    """Targets a second, as shipped and with anomaly detection off."""
    for name in ("told", "recbole"):
        shutil.rmtree(folder / name, ignore_errors=True)
    settings = {"embedding_size": EMBEDDING, "hidden_size": HIDDEN, "train_batch_size": 2048}
    case = {"dataset": "bundled", "tell": ["rate"], "settings": settings}
    out_dir = run_recbole_side(folder, {"rate": case}, threads=threads, n_batches=n_batches)
    rates: dict[str, float] = read_told(out_dir, "rate").said["rate"]
    return {f"RecBole, {name.replace('_', ' ')}": rate for name, rate in rates.items()}


def speed_of(rates: dict[str, list[float]], threads: int) -> Speed:
    """What the page of results shows: kgrec beside RecBole at its best, round by round."""
    ours, theirs = rates["kgrec"], rates[RECBOLE_BEST]
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return Speed(
        targets_per_s={"kgrec": ours, RECBOLE_BEST: theirs},
        ratios=ratios,
        median_ratio=statistics.median(ratios),
        command=f"python -m benchmarks.speed.training --threads {threads} --record",
        commit=package_commit(),
        date=f"{date.today()}",
        threads=threads,
        machine=machine_words(),
        recbole=recbole_version(),
    )


def check_out(commit: str, folder: Path) -> Path:
    """The tree of an earlier commit."""
    archive = subprocess.run(
        ["git", "archive", commit], cwd=REPO_DIR, capture_output=True, check=True
    )
    tree = folder / "earlier"
    tree.mkdir()
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    return tree


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of kgrec's default")
    parser.add_argument("--batches", type=int, default=3, help="of RecBole; 0 leaves it out")
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--no-prefix", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/speed.json")
    options = parser.parse_args()
    if options.record and not options.batches:
        parser.error("--record needs RecBole: --batches 1 or more")
    rates: dict[str, list[float]] = {}
    products: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundled(folder / "dataset", example_dir())
        write_wide_vectors(folder / "dataset/bundled")
        trees = {"": REPO_DIR}
        if options.against:
            trees[f" at {options.against[:7]}"] = check_out(options.against, folder)
        for _ in range(options.rounds):
            products.append(best_product_rate(options.threads))
            for system, batching in KGREC.items():
                if batching == "prefix" and options.no_prefix:
                    continue
                epochs = 1 if batching == "prefix" else options.epochs
                for suffix, tree in trees.items():
                    rate = kgrec_rate(tree, folder, batching, epochs, options.threads)
                    rates.setdefault(system + suffix, []).append(rate)
            if options.batches:
                found = recbole_rate(folder, options.batches, options.threads)
                for system, rate in found.items():
                    rates.setdefault(system, []).append(rate)
    product = statistics.median(products)
    floor = product / flop_of_a_target()
    print(f"{options.threads} threads, {options.rounds} rounds; medians")
    print(f"a target: {flop_of_a_target() / 1e6:.2f} MFLOP; products: {product / 1e9:.0f} GFLOP/s")
    print(f"{'':28}{'targets/s':>11}{'times RecBole':>22}{'of the floor':>14}")
    medians = {system: statistics.median(values) for system, values in rates.items()}
    theirs = [rate for system, rate in medians.items() if system.startswith("RecBole")]
    for system, rate in medians.items():
        ratios = " / ".join(f"{rate / other:.1f}" for other in theirs)
        print(f"{system:28}{rate:>11,.0f}{ratios:>22}{rate / floor:>14.1%}")
    if options.record:
        print(f"wrote {write_speed(speed_of(rates, options.threads))}")
    if options.out:
        report = {
            **{key: value for key, value in vars(options).items() if key != "out"},
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.platform(),
            "flop_of_a_target": flop_of_a_target(),
            "product_flop_per_s": products,
            "targets_per_s": rates,
        }
        options.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
