"""`kgrec recommend --all-users`: a run and its data set in, a file of all lists out."""

from pathlib import Path

import polars as pl

from kgrec_cli.core.memory import check_memory
from kgrec_cli.events import OnEvent
from kgrec_cli.formats.files import check_export_path, write_table
from kgrec_cli.runs.recommender import load_recommender

ROW_BYTES = 72  # rank, score and three texts by reference


def run_recommend_all(
    run_dir: Path,
    folder: Path,
    out_path: Path,
    *,
    topk: int,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> int:
    """Writes the lists of all users to a file; returns how many users it holds.

    Columns: user, rank, item, title, score.

    Raises:
        KgrecError: A missing or damaged file, or one that cannot be written.
    """
    check_export_path(out_path)
    recommender = load_recommender(
        run_dir, folder, device=device, threads=threads, on_event=on_event
    )
    n_users, n_items = len(recommender.dataset.histories), len(recommender.items) - 1
    n_rows = n_users * min(topk, n_items)
    check_memory(ROW_BYTES * n_rows, f"--topk {topk}: {n_rows:,} rows")
    write_table(out_path, pl.concat(recommender.recommend_all(topk=topk, on_event=on_event)))
    return n_users
