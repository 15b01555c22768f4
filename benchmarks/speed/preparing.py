"""`kgrec prepare` on an invented set in ml-32m's raw layout and size.

    .venv/bin/python -m benchmarks.speed.preparing [--rows 32000204] [--out FILE]

Writes ratings.csv (200,948 users, 87,585 movies, half stars, Unix times) and movies.csv to a
temporary folder (about 1 GB), prepares it with the metadata graph, and prints seconds and the peak
memory of the command.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

N_ROWS, N_USERS, N_MOVIES = 32_000_204, 200_948, 87_585
GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Sci-Fi", "Thriller", "War")


def write_raw(folder: Path, n_rows: int) -> None:
    """Writes `ratings.csv` and `movies.csv`."""
    rng = np.random.default_rng(0)
    popularity = 1 / (np.arange(N_MOVIES) + 20)
    ratings = pl.DataFrame(
        {
            "userId": np.sort(rng.integers(1, N_USERS + 1, n_rows)),
            "movieId": 1 + rng.choice(N_MOVIES, n_rows, p=popularity / popularity.sum()),
            "rating": rng.integers(1, 11, n_rows) / 2,
            "timestamp": rng.integers(800_000_000, 1_700_000_000, n_rows),
        }
    )
    ratings.write_csv(folder / "ratings.csv")
    genres = rng.integers(0, len(GENRES), (N_MOVIES, 2))
    movies = pl.DataFrame(
        {
            "movieId": np.arange(1, N_MOVIES + 1),
            "title": [f"Film {n}, The ({1920 + n % 100})" for n in range(N_MOVIES)],
            "genres": [f"{GENRES[one]}|{GENRES[two]}" for one, two in genres],
        }
    )
    movies.write_csv(folder / "movies.csv")


def main() -> None:
    """Measures, prints a line, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=N_ROWS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        raw_dir = Path(name) / "raw"
        raw_dir.mkdir()
        write_raw(raw_dir, options.rows)
        command = [sys.executable, "-m", "kgrec_cli", "prepare", "large"]
        command += ["--raw", str(raw_dir), "--kg", "metadata"]
        began = time.perf_counter()
        subprocess.run(command, cwd=name, check=True)
        seconds = time.perf_counter() - began
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{options.rows:,} ratings prepared in {seconds:.1f} s, peak {gigabytes:.2f} GB")
    if options.out:
        report = {"rows": options.rows, "seconds": seconds, "peak_gb": gigabytes}
        options.out.write_text(json.dumps({**report, "machine": platform.platform()}, indent=2))


if __name__ == "__main__":
    main()
