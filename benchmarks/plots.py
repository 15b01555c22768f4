"""The plots of the pages as SVG text: differences with intervals, bars, and curves.

Drawn by hand so that the same figures give the same bytes on every machine; no library of plots is
needed. Letters: x and y in pixels from the upper left corner.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH, LEFT, RIGHT, ROW, TOP = 820, 300, 30, 26, 44
INK, GRID, MAIN, OTHER = "#222222", "#d8d8d8", "#1f5fa8", "#e08214"
COLOURS = (MAIN, OTHER, "#4d9221", "#8073ac")
CURVES_LEFT, CURVES_WIDTH, CURVES_HEIGHT = 70, 500, 280


class Interval(NamedTuple):
    """A line of the plot: a point and its interval; `is_main` ones are filled."""

    label: str
    value: float
    low: float
    high: float
    is_main: bool


def _text(x: float, y: float, words: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{INK}">{escape(words)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    points = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {points} stroke="{colour}" stroke-width="{width}"/>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif" font-size="13" role="img">'
    )
    ground = f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>'
    named = [f"<title>{escape(title)}</title>", ground, _text(12, 22, title, weight="bold")]
    return "\n".join([head, *named, *parts, "</svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, four to ten of them, the outermost at or beyond the ends."""
    step = 10.0 ** floor(log10((high - low) / 4))
    step *= next(times for times in (1, 2, 5) if (high - low) / (step * times) <= 8)
    return [step * n for n in range(floor(low / step), ceil(high / step) + 1)]


def interval_plot(title: str, unit: str, rows: Sequence[Interval]) -> str:
    """Points with intervals, one below the other, and a line at zero."""
    ticks = _ticks(min(0.0, *(row.low for row in rows)), max(0.0, *(row.high for row in rows)))
    bottom = TOP + ROW * len(rows)

    def place(value: float) -> float:
        return LEFT + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - LEFT - RIGHT)

    parts = []
    for tick in ticks:
        is_zero = abs(tick) < 1e-12
        parts.append(_line(place(tick), TOP - 6, place(tick), bottom, INK if is_zero else GRID))
        parts.append(
            _text(place(tick), bottom + 18, f"{tick:+.2f}" if not is_zero else "0", "middle")
        )
    for number, row in enumerate(rows):
        y, colour = TOP + ROW * (number + 0.5), MAIN if row.is_main else OTHER
        parts.append(_text(LEFT - 12, y + 4, row.label, "end"))
        parts.append(_line(place(row.low), y, place(row.high), y, colour, 2))
        fill = colour if row.is_main else "white"
        circle = f'cx="{place(row.value):.1f}" cy="{y:.1f}" r="4.5"'
        parts.append(f'<circle {circle} fill="{fill}" stroke="{colour}" stroke-width="2"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 40, unit, "middle"))
    return _svg(bottom + 54, title, parts)


def bar_plot(title: str, unit: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Bars from zero, each with its label before and a remark behind it."""
    bottom, room = TOP + ROW * len(rows), WIDTH - LEFT - 170
    largest = max(value for _, value, _ in rows)
    parts = [_line(LEFT, TOP - 6, LEFT, bottom, INK)]
    for number, (label, value, remark) in enumerate(rows):
        y, length = TOP + ROW * number, room * value / largest
        colour = MAIN if label.startswith("kgrec") else OTHER
        bar = f'x="{LEFT}" y="{y + 4:.1f}" width="{length:.1f}" height="{ROW - 8}"'
        parts.append(f'<rect {bar} fill="{colour}"/>')
        parts.append(_text(LEFT - 12, y + ROW / 2 + 4, label, "end"))
        parts.append(_text(LEFT + length + 8, y + ROW / 2 + 4, remark))
    parts.append(_text(LEFT, bottom + 20, unit))
    return _svg(bottom + 34, title, parts)


def curve_plot(
    title: str, unit: str, curves: Mapping[str, Sequence[tuple[float, float]]], y_unit: str
) -> str:
    """Curves of positive figures on logarithmic axes, at most four.

    `unit` says what x counts; there is a mark at each x and at round values of y.
    """
    points = [point for curve in curves.values() for point in curve]
    xs, ys = (sorted({point[axis] for point in points}) for axis in (0, 1))
    rounds = [
        m * 10.0**n for n in range(floor(log10(ys[0])), ceil(log10(ys[-1])) + 1) for m in (1, 3)
    ]
    below = max((y for y in rounds if y <= ys[0]), default=rounds[0])
    marks = [y for y in rounds if below <= y <= min(r for r in rounds if r >= ys[-1])]
    bottom = TOP + CURVES_HEIGHT

    def place(x: float, y: float) -> tuple[float, float]:
        right = log10(x / xs[0]) / log10(xs[-1] / xs[0]) * CURVES_WIDTH
        up = log10(y / marks[0]) / log10(marks[-1] / marks[0]) * CURVES_HEIGHT
        return CURVES_LEFT + right, bottom - up

    parts = []
    for mark in marks:
        _, y = place(xs[0], mark)
        parts.append(_line(CURVES_LEFT, y, CURVES_LEFT + CURVES_WIDTH, y, GRID))
        parts.append(_text(CURVES_LEFT - 8, y + 4, f"{mark:g}", "end"))
    for value in xs:
        x, _ = place(value, marks[0])
        parts.append(_line(x, TOP, x, bottom, GRID))
        parts.append(_text(x, bottom + 18, f"{value:g}", "middle"))
    for number, (colour, (name, curve)) in enumerate(zip(COLOURS, curves.items(), strict=False)):
        placed = [place(*point) for point in curve]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in placed]
        x, y = CURVES_LEFT + CURVES_WIDTH + 20, TOP + ROW * number
        parts.append(f'<rect x="{x}" y="{y}" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(x + 22, y + 6, name))
    parts.append(_text(CURVES_LEFT, TOP - 6, y_unit))
    parts.append(_text(CURVES_LEFT + CURVES_WIDTH / 2, bottom + 40, unit, "middle"))
    return _svg(bottom + 54, title, parts)
