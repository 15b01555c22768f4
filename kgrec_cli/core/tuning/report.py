"""The results of a search: the leaderboard, RecBole's result text, charts of the scores.

`search.py` makes the trials; the tune stage writes these texts and shows the table.
"""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

HOVER = "%{text}<extra></extra>"
MIN_IMPORTANCE_TRIALS = 20
COLOURS = [[0, "rgb(76,120,221)"], [0.5, "rgb(192,106,176)"], [1, "rgb(240,128,32)"]]
"""From low to high values; each is seen on white and on black."""


@dataclass(frozen=True)
class SearchTrial:
    """One finished trial, `number` from 1 in the order of ending.

    `pruned` was stopped early and has the last score reported, `failed` ended with `error`. Metrics
    are empty unless complete; `n_reports` counts the scores reported on the way (evaluated epochs).
    `worker` is the process that ran it.
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
    worker: str = ""


def rank_trials(trials: Iterable[SearchTrial]) -> list[SearchTrial]:
    """Complete trials, best first (of equals the earlier), then pruned ones, then failed ones."""
    states = ("complete", "pruned", "failed")

    def place(trial: SearchTrial) -> tuple[int, float, int]:
        score = float("inf") if trial.score is None else -trial.score
        return states.index(trial.state), score, trial.number

    return sorted(trials, key=place)


def best_trial(trials: Iterable[SearchTrial]) -> SearchTrial | None:
    """The complete trial with the best score, the first of equals; None when none is complete."""
    ranked = rank_trials(trials)
    return ranked[0] if ranked and ranked[0].state == "complete" else None


def not_finite(score: float | None, valid: Mapping[str, float], test: Mapping[str, float]) -> str:
    """Which number of a trial is not finite, so that it can be no best one; "" when all are."""
    numbers = [("the score", 0.0 if score is None else score), *valid.items(), *test.items()]
    for name, number in numbers:
        if not math.isfinite(number):
            return f"{name} is {number}, expected a finite number"
    return ""


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


def build_leaderboard(trials: Sequence[SearchTrial]) -> list[dict[str, Any]]:
    """One flat mapping a trial, best first, all with the same keys in the same order.

    Keys: rank (from 1; None unless complete), trial, state, score, the parameters, `valid_*` and
    `test_*` metrics, epochs (evaluated ones, unless the parameter of that name is searched),
    elapsed_s, error, worker. What a trial lacks is None; lists and mappings are JSON text.
    """
    params, valid, test = (
        dict.fromkeys(name for trial in trials for name in getattr(trial, field_name))
        for field_name in ("params", "valid", "test")
    )
    rows = []
    for rank, trial in enumerate(rank_trials(trials), start=1):
        row: dict[str, Any] = {"rank": rank if trial.state == "complete" else None}
        row |= {"trial": trial.number, "state": trial.state, "score": trial.score}
        row |= {name: _flat(trial.params.get(name)) for name in params}
        row |= {f"valid_{name}": trial.valid.get(name) for name in valid}
        row |= {f"test_{name}": trial.test.get(name) for name in test}
        row.setdefault("epochs", trial.n_reports)
        ending = {"elapsed_s": trial.elapsed_s, "error": trial.error, "worker": trial.worker}
        rows.append(row | ending)
    return rows


def write_result_text(trials: Sequence[SearchTrial], decimals: int = 4) -> str:
    """RecBole's result file: parameters, `Valid result`, `Test result` of each complete trial.

    In the order of running. After `recbole/trainer/hyper_tuning.py`, `export_result`.
    """

    def line(metrics: Mapping[str, float]) -> str:
        return "    ".join(f"{name} : {round(value, decimals)}" for name, value in metrics.items())

    return "".join(
        ", ".join(f"{name}:{value}" for name, value in trial.params.items())
        + f"\nValid result:\n{line(trial.valid)}\nTest result:\n{line(trial.test)}\n\n"
        for trial in trials
        if trial.state == "complete"
    )


def draw_charts(trials: Sequence[SearchTrial], *, score_name: str) -> dict[str, dict[str, Any]]:
    """Optuna's charts as Plotly figures (data, layout): history, importances, parallel.

    Pruned trials stand in the history, at the last score they reported; failed ones nowhere.
    Pointing at a trial shows its parameters. Colours and titles are left to the page. Importances
    (PED-ANOVA, Watanabe et al. 2023) compare the best tenth with all trials; they need
    `MIN_IMPORTANCE_TRIALS`.
    The same trials give the same values.
    """
    from optuna import visualization  # late: plotly takes half a second
    from plotly.colors import sample_colorscale

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    complete = [trial for trial in trials if trial.state == "complete"]
    pruned = [trial for trial in trials if trial.state == "pruned" and trial.score is not None]
    names = trials[0].params if trials else ()
    axes = {name: _axis([trial.params[name] for trial in trials]) for name in names}
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        is_complete = trial.state == "complete"
        study.add_trial(
            optuna.create_trial(
                state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
                value=trial.score if is_complete else None,
                params={name: _flat(value) for name, value in trial.params.items()},
                distributions=axes,
            )
        )
    history = visualization.plot_optimization_history(study, target_name=score_name)
    history.for_each_trace(lambda trace: trace.update(x=[number + 1 for number in trace.x]))
    history.update_traces(text=_hover(complete), hovertemplate=HOVER, selector={"name": score_name})
    if pruned:
        x, y = [trial.number for trial in pruned], [trial.score for trial in pruned]
        style = {"mode": "markers", "marker_symbol": "x", "hovertemplate": HOVER}
        history.add_scatter(name="pruned", x=x, y=y, text=_hover(pruned), **style)
    figures = {"history": history}
    if len(complete) >= MIN_IMPORTANCE_TRIALS:
        figures["importances"] = visualization.plot_param_importances(study)
        figures["importances"].update_layout(xaxis_range=[0, 1.15], yaxis_title_text="")
    figures["parallel"] = visualization.plot_parallel_coordinate(study, target_name=score_name)
    figures["parallel"].update_annotations(bgcolor="rgba(255,255,255,0.8)", font_color="#333")
    figures["parallel"].update_layout(margin={"l": 40}, plot_bgcolor=None)
    for trace in figures["parallel"].data:
        if trace.mode == "lines":  # its first place is its score's, from 0 to 1
            (trace.line.color,) = sample_colorscale(COLOURS, [trace.y[0]])
        else:
            trace.marker.colorscale = COLOURS
    return {name: _plain(figure) for name, figure in figures.items()}


def _plain(figure: Any) -> dict[str, Any]:
    """A figure of Plotly as plain values, without its template and its title."""
    plain = json.loads(figure.to_json())
    layout = {
        key: plain["layout"][key] for key in plain["layout"] if key not in ("template", "title")
    }
    return {"data": plain["data"], "layout": layout}


def _axis(values: Sequence[Any]) -> BaseDistribution:
    """An axis of floats for numbers, logarithmic from two orders on; of categories for others."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        low, high = min(values), max(values)
        return FloatDistribution(low, high, log=0 < 100 * low <= high)
    return CategoricalDistribution(list(dict.fromkeys(map(_flat, values))))


def _hover(trials: Sequence[SearchTrial]) -> list[str]:
    return [
        "<br>".join(
            [f"<b>trial {trial.number}: {trial.score:.4f}</b>"]
            + [html.escape(f"{name}: {value}") for name, value in trial.params.items()]
        )
        for trial in trials
    ]


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value
