"""The page of a search: its best trials, history, importances and parallel coordinates."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.bounded_yaml import read_yaml
from kgrec_cli.config import build_settings
from kgrec_cli.core.tuning.report import SearchTrial, build_leaderboard, draw_charts, rank_trials
from kgrec_cli.errors import KgrecError
from kgrec_cli.stages.report.page import Block, Chart, Lines, Section, Table, render_page

LEADERBOARD, BEST = "leaderboard.csv", "best.yaml"
N_BEST = 20
CHARTS = {
    "history": "The score of each trial in the order of ending, and the best so far.",
    "importances": "How much of the difference between good and other trials each setting explains "
    "(PED-ANOVA, the best tenth beside all).",
    "parallel": "A line for each complete trial: its settings and its score.",
}


def render_study(name: str, trials: Sequence[SearchTrial], score_name: str) -> str:
    """The page of a search as HTML; `score_name` is the metric that was searched for."""
    complete = [trial for trial in rank_trials(trials) if trial.state == "complete"]
    counts = [
        f"{sum(trial.state == state for trial in trials):,} {state}"
        for state in ("complete", "pruned", "failed")
    ]
    lead = f"{len(trials):,} trials ({', '.join(counts)}), by {score_name} on validation."
    return render_page(
        f"Study {name}", lead, [_best(complete, score_name), _charts(trials, score_name)]
    )


def read_study(study_dir: Path) -> tuple[list[SearchTrial], str]:
    """The trials of a study in the order of ending, and the name of its score.

    Raises:
        KgrecError: Its `leaderboard.csv` or `best.yaml` is missing or damaged.
    """
    path = study_dir / LEADERBOARD
    if not path.is_file():
        raise KgrecError(f"{path}: no such file; a study has one once a trial is complete")
    try:
        table = pl.read_csv(path, infer_schema_length=None)
        rows = table.sort("trial").rows(named=True)
        names = table.columns[4:]
        params = names[: [is_metric(name) for name in names].index(True)]
        trials = [_read_trial(row, params) for row in rows]
    except (pl.exceptions.PolarsError, KeyError, TypeError, ValueError) as error:
        cure = "the same `kgrec tune` writes it anew"
        raise KgrecError(f"{path}: not the leaderboard of a study; {cure}") from error
    score_name = build_settings(read_yaml(study_dir / BEST), str(study_dir / BEST)).valid_metric
    return trials, score_name


def is_metric(column: str) -> bool:
    """Whether a column of a leaderboard is a metric, for instance "valid_ndcg@10"."""
    return column.startswith(("valid_", "test_")) and "@" in column


def _read_trial(row: Mapping[str, Any], params: Sequence[str]) -> SearchTrial:
    metrics: dict[str, dict[str, float]] = {
        part: {
            name.removeprefix(f"{part}_"): float(value)
            for name, value in row.items()
            if is_metric(name) and name.startswith(part) and value is not None
        }
        for part in ("valid", "test")
    }
    return SearchTrial(
        number=int(row["trial"]),
        state=row["state"],
        params={name: row[name] for name in params},
        score=None if row["score"] is None else float(row["score"]),
        valid=metrics["valid"],
        test=metrics["test"],
        elapsed_s=float(row["elapsed_s"]),
    )


def _best(complete: Sequence[SearchTrial], score_name: str) -> Section:
    if not complete:
        return Section("best", "Best trials", [Lines(["No trial is complete yet."])])
    metric = score_name.casefold()
    rows = build_leaderboard(complete[:N_BEST])
    params = {name: name for name in complete[0].params}
    columns = {"rank": "rank", "trial": "trial", **params}
    columns |= {f"valid_{metric}": f"{metric}, validation", f"test_{metric}": f"{metric}, test"}
    blocks: list[Block] = [
        Table(
            f"The best {len(rows)} of {len(complete):,} complete trials",
            tuple(columns.values()),
            [  # settings as they are written, with all their digits
                [str(row.get(name)) if name in params else row.get(name) for name in columns]
                for row in rows
            ],
        )
    ]
    return Section("best", "Best trials", blocks)


def _charts(trials: Sequence[SearchTrial], score_name: str) -> Section:
    figures = draw_charts(trials, score_name=score_name)
    blocks: list[Block] = [
        Chart(name, CHARTS[name], figure, height=420) for name, figure in figures.items()
    ]
    return Section("charts", "The search", blocks)
