"""Plotly figures as plain values. Their colours are the page's, light or dark."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.evaluation.bootstrap import Difference
from kgrec_cli.core.tuning.report import COLOURS
from kgrec_cli.stages.report.page import Figure, as_label

Floats = NDArray[np.float64]
HOVER = "%{text}<extra></extra>"


def count_histogram(counts: NDArray[np.int64], what: str, x_title: str) -> Figure:
    """How many users or items have 1, 2-3, 4-7, ... events: `counts` is int64, one each, from 1."""
    powers = np.log2(np.maximum(counts, 1)).astype(int)
    sizes = np.bincount(powers)
    labels = [
        f"{2**power:,}" if power == 0 else f"{2**power:,}–{2 ** (power + 1) - 1:,}"
        for power in range(len(sizes))
    ]
    bars = {"type": "bar", "x": labels, "y": sizes.tolist(), "hoverinfo": "x+y"}
    return {
        "data": [bars],
        "layout": _axes(x_title, what) | {"xaxis": _axis(x_title, category=True)},
    }


def curves(values: Mapping[str, Sequence[tuple[int, float]]], x_title: str, y_title: str) -> Figure:
    """A line for each run; `values` are points (x, y) by run name."""
    data = [
        {
            "name": as_label(name),
            "mode": "lines+markers",
            "x": [x for x, _ in points],
            "y": [y for _, y in points],
            "showlegend": len(values) > 1,
        }
        for name, points in values.items()
    ]
    return {"data": data, "layout": _axes(x_title, y_title)}


def interval_chart(
    values: Mapping[str, Mapping[str, Difference]], y_title: str = "value"
) -> Figure:
    """A point with its 95% interval for each model and metric.

    `values` are by model, then by metric.
    """
    data = [
        {
            "name": as_label(model),
            "mode": "markers",
            "marker": {"size": 9, "symbol": number},
            "x": list(metrics),
            "y": [value.difference for value in metrics.values()],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [value.high - value.difference for value in metrics.values()],
                "arrayminus": [value.difference - value.low for value in metrics.values()],
            },
        }
        for number, (model, metrics) in enumerate(values.items())
    ]
    layout = _axes("", y_title) | {"xaxis": _axis("", category=True), "scattermode": "group"}
    return {"data": data, "layout": layout}


def slice_chart(slices: Mapping[str, Mapping[str, Mapping[str, float]]], metric: str) -> Figure:
    """A bar for each slice and run; `slices` are by run, then by slice: n_targets and metrics."""
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": as_label(run),
            "y": list(of_run),
            "x": [values[metric] for values in of_run.values()],
            "showlegend": len(slices) > 1,
        }
        for run, of_run in slices.items()
    ]
    layout = _axes(metric, "") | {"yaxis": _axis("", category=True) | {"autorange": "reversed"}}
    return {"data": data, "layout": layout}


def vector_map(
    vectors: NDArray[np.float32], titles: Sequence[str], popularity: NDArray[np.int64]
) -> Figure:
    """The first two principal components of vectors; pointing at one shows its title.

    Args:
        vectors: float32 (n, D), n at least 3.
        titles: n.
        popularity: int64 (n,), the events of each, for its colour.
    """
    centred = vectors - vectors.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.round(left[:, :2] * sizes[:2], 4)
    shares = 100 * sizes**2 / max(float((sizes**2).sum()), 1e-30)
    colours = np.log10(np.maximum(popularity, 1))
    ticks = list(range(int(colours.max(initial=0)) + 1))
    marker = {
        "size": 6,
        "opacity": 0.8,
        "color": np.round(colours, 2).tolist(),
        "colorscale": COLOURS,
        "colorbar": {
            "title": {"text": "events"},
            "tickvals": ticks,
            "ticktext": [f"{10**tick:,}" for tick in ticks],
            "thickness": 10,
        },
    }
    points = {
        "mode": "markers",
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "text": [as_label(title) for title in titles],
        "hovertemplate": HOVER,
        "marker": marker,
    }
    titles_of_axes = [f"component {n + 1} ({shares[n]:.0f}% of the variance)" for n in range(2)]
    return {"data": [points], "layout": _axes(*titles_of_axes) | {"hovermode": "closest"}}


def _axes(x_title: str, y_title: str) -> dict[str, Any]:
    return {"xaxis": _axis(x_title), "yaxis": _axis(y_title)}


def _axis(title: str, *, category: bool = False) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": as_label(title)}}
    return axis | {"type": "category"} if category else axis
