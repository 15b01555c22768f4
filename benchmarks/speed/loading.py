"""From atomic files to the first batch: time and memory against the number of interactions.

    make parity                      # once, for RecBole's virtual environment
    .venv/bin/python -m benchmarks.speed.loading [--rows 1000000,5000000] [--out FILE]

Invented interactions in ml-1m's proportions (166 a user, popular items as Zipf has them). RecBole
is tried up to `--recbole-rows`, and no further once it has failed or passed `--limit` seconds.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import REPO_DIR
from benchmarks.recbole_side.run import RECBOLE_PYTHON

ROWS = (100_000, 1_000_000, 5_000_000, 32_000_000)
SIDE = Path(__file__).with_name("loading_side.py")


def write_interactions(data_path: Path, name: str, n_rows: int) -> None:
    """Writes `data_path/NAME/NAME.inter`."""
    rng = np.random.default_rng(0)
    n_users = max(10, n_rows // 166)
    n_items = max(100, min(n_users * 6 // 10, 87_000))
    popularity = 1 / (np.arange(n_items) + 10)
    items = rng.choice(n_items, n_rows, p=popularity / popularity.sum())
    table = pl.DataFrame(
        {
            "user_id:token": np.sort(rng.integers(1, n_users + 1, n_rows)),
            "item_id:token": items + 1,
            "timestamp:float": rng.permutation(n_rows),
        }
    )
    folder = data_path / name
    folder.mkdir(parents=True)
    table.write_csv(folder / f"{name}.inter", separator="\t")


def measure(system: str, folder: Path, name: str, limit: float) -> dict[str, float] | str:
    """Seconds and MB, or why there are none."""
    python = sys.executable if system == "kgrec" else str(RECBOLE_PYTHON)
    try:
        finished = subprocess.run(
            [python, str(SIDE), system, str(folder), name],
            cwd=folder,
            env={"PYTHONPATH": str(REPO_DIR), "PATH": "", "HOME": str(folder)},
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return f"more than {limit:g} s"
    if finished.returncode != 0:
        return (finished.stderr.strip().splitlines() or [f"exit {finished.returncode}"])[-1][:80]
    told: dict[str, float] = json.loads(finished.stdout.strip().splitlines()[-1])
    return told


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(map(str, ROWS)))
    parser.add_argument("--recbole-rows", type=int, default=5_000_000)
    parser.add_argument("--limit", type=float, default=900)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report = []
    recbole_works = True
    print(f"{'rows':>12} {'system':8} {'seconds':>9} {'MB':>8}")
    for n_rows in (int(text) for text in options.rows.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_interactions(folder / "dataset", "log", n_rows)
            for system in ("kgrec", "recbole"):
                if system == "recbole" and (not recbole_works or n_rows > options.recbole_rows):
                    continue
                found = measure(system, folder, "log", options.limit)
                report.append({"rows": n_rows, "system": system, "found": found})
                if isinstance(found, str):
                    recbole_works = recbole_works and system == "kgrec"
                    print(f"{n_rows:>12,} {system:8} {found}", flush=True)
                else:
                    shown = f"{found['seconds']:>9.2f} {found['mb']:>8,.0f}"
                    print(f"{n_rows:>12,} {system:8} {shown}", flush=True)
    if options.out:
        values = {"machine": platform.platform(), "python": platform.python_version()}
        options.out.write_text(json.dumps({**values, "loadings": report}, indent=2) + "\n")


if __name__ == "__main__":
    main()
