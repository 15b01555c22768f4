"""What a search found, told: the leaderboard, RecBole's result text, a chart of the scores.

`core.search` makes the trials; the tune stage writes these texts and shows the table.
"""

import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class SearchTrial:
    """One finished trial.

    Attributes:
        number: Its place in the order of ending, from 1.
        state: `pruned` was given up early, `failed` ended with `error`.
        params: The point: setting name to value.
        score: The objective's score; of a pruned trial the last one reported; None if none.
        valid: Validation metrics; empty unless complete.
        test: Test metrics; empty unless complete.
        n_reports: Scores reported on the way (evaluated epochs).
        elapsed_s: Seconds it took.
        error: The line it failed with.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    params: Mapping[str, Any]
    score: float | None
    valid: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    n_reports: int = 0
    elapsed_s: float = 0.0
    error: str = ""


def best_trial(
    trials: Sequence[SearchTrial], direction: Direction = "maximize"
) -> SearchTrial | None:
    """The complete trial with the best score, the first of equals; None when none is complete."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    sign = 1 if direction == "maximize" else -1
    return max(complete, key=lambda trial: sign * (trial.score or 0.0), default=None)


def describe_trial(trial: SearchTrial) -> str:
    """One line: the trial's number, how it ended, its point."""
    point = ", ".join(f"{name} {value}" for name, value in trial.params.items())
    score = "no score" if trial.score is None else f"{trial.score:.4f}"
    match trial.state:
        case "failed":
            return f"trial {trial.number} failed: {trial.error} ({point})"
        case "pruned":
            return f"trial {trial.number}: {score}, given up early ({point})"
    return f"trial {trial.number}: {score} ({point})"


def rank_trials(
    trials: Sequence[SearchTrial], direction: Direction = "maximize"
) -> list[SearchTrial]:
    """Complete trials, best first (of equals the earlier), then pruned ones, then failed ones."""
    sign = -1 if direction == "maximize" else 1
    states = ("complete", "pruned", "failed")

    def place(trial: SearchTrial) -> tuple[int, float, int]:
        score = float("inf") if trial.score is None else sign * trial.score
        return states.index(trial.state), score, trial.number

    return sorted(trials, key=place)


def build_leaderboard(
    trials: Sequence[SearchTrial], direction: Direction = "maximize"
) -> list[dict[str, Any]]:
    """One flat mapping a trial, best first, all with the same keys in the same order.

    Keys: rank (from 1; None unless complete), trial, state, score, the parameters, `valid_*` and
    `test_*` metrics, epochs (evaluated ones, unless the parameter of that name is searched),
    elapsed_s, error. What a trial lacks is None; lists and mappings are JSON text.
    """
    params = _names(trial.params for trial in trials)
    valid = _names(trial.valid for trial in trials)
    test = _names(trial.test for trial in trials)
    rows = []
    for rank, trial in enumerate(rank_trials(trials, direction), start=1):
        row: dict[str, Any] = {
            "rank": rank if trial.state == "complete" else None,
            "trial": trial.number,
            "state": trial.state,
            "score": trial.score,
        }
        row |= {name: _flat(trial.params.get(name)) for name in params}
        row |= {f"valid_{name}": trial.valid.get(name) for name in valid}
        row |= {f"test_{name}": trial.test.get(name) for name in test}
        row.setdefault("epochs", trial.n_reports)
        row |= {"elapsed_s": trial.elapsed_s, "error": trial.error}
        rows.append(row)
    return rows


def write_result_text(trials: Sequence[SearchTrial], decimals: int = 4) -> str:
    """RecBole's result file: parameters, `Valid result`, `Test result` of each complete trial.

    In the order of running. After `recbole/trainer/hyper_tuning.py`, `export_result`.
    """
    blocks = []
    for trial in trials:
        if trial.state != "complete":
            continue
        point = ", ".join(f"{name}:{value}" for name, value in trial.params.items())
        valid = _metrics_line(trial.valid, decimals)
        test = _metrics_line(trial.test, decimals)
        blocks.append(f"{point}\nValid result:\n{valid}\nTest result:\n{test}\n\n")
    return "".join(blocks)


def draw_chart(
    trials: Sequence[SearchTrial],
    *,
    title: str,
    score_name: str,
    direction: Direction = "maximize",
) -> str:
    """An HTML page, self-contained: the score of each trial and the best so far, as lines.

    Pruned trials are drawn apart, at the last score they reported; failed ones are left out.
    Pointing at a trial shows its parameters. The same trials give the same bytes.
    """
    import plotly.io  # late: half a second, for one page at the end of a search

    to_html: Callable[..., str] = plotly.io.to_html

    complete = [trial for trial in trials if trial.state == "complete"]
    pruned = [trial for trial in trials if trial.state == "pruned" and trial.score is not None]
    pick = max if direction == "maximize" else min
    best_so_far: list[float] = []
    for trial in complete:
        score = float(trial.score or 0.0)
        best_so_far.append(pick(best_so_far[-1], score) if best_so_far else score)

    lines: list[dict[str, Any]] = [
        {
            "name": "best so far",
            "x": [trial.number for trial in complete],
            "y": best_so_far,
            "mode": "lines",
            "line": {"shape": "hv", "dash": "dash", "color": "#d62728"},
            "hoverinfo": "skip",
        }
    ]
    for name, drawn, style in (
        ("score", complete, {"mode": "lines+markers", "line": {"color": "#1f77b4"}}),
        ("pruned", pruned, {"mode": "markers", "marker": {"symbol": "x", "color": "#7f7f7f"}}),
    ):
        if drawn:
            lines.append(
                {
                    "name": name,
                    "x": [trial.number for trial in drawn],
                    "y": [trial.score for trial in drawn],
                    "text": [_hover_text(trial) for trial in drawn],
                    "hovertemplate": "%{text}<extra></extra>",
                    **style,
                }
            )
    layout = {
        "title": {"text": html.escape(title)},
        "xaxis": {"title": {"text": "trial"}, **({"dtick": 1} if len(trials) <= 20 else {})},
        "yaxis": {"title": {"text": html.escape(score_name)}},
        "template": "plotly_white",
        "hovermode": "closest",
    }
    page = to_html({"data": lines, "layout": layout}, include_plotlyjs=True, div_id="scores")
    return page.replace("<head>", f"<head>\n    <title>{html.escape(title)}</title>", 1)


def _hover_text(trial: SearchTrial) -> str:
    lines = [f"<b>trial {trial.number}: {trial.score:.4f}</b>"]
    lines += [html.escape(f"{name}: {value}") for name, value in trial.params.items()]
    return "<br>".join(lines)


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _metrics_line(metrics: Mapping[str, float], decimals: int) -> str:
    return "    ".join(f"{name} : {round(value, decimals)}" for name, value in metrics.items())


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every key, in order of first appearance."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))
