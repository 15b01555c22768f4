"""The tables of docs/results.md and its like, in Markdown, from what benchmarks wrote as JSON."""

import json
from pathlib import Path
from typing import Any

from benchmarks.accuracy.plans import (
    ALL,
    BASELINES,
    BEST,
    BEST_FULL,
    BEST_PLAIN,
    BEST_WITHOUT,
    MASKED,
    PLANS,
    SPARSE,
)
from benchmarks.record import Change, Results, Row
from kgrec_cli.settings import PRESETS

VIEWS = {MASKED: "masked", ALL: "not masked"}
METRIC, SHOWN, MAIN = "ndcg@10", "NDCG@10", "ml-100k"
MISSING = "not measured yet"
RULES = "Equal times stand in the file's order; no row reads the target's time."
SUMMARY = {
    "ml-100k": (BEST_PLAIN, BEST),
    "ml-100k-temporal": (BEST_PLAIN, BEST),
    "ml-latest-small-tenth": (BEST_WITHOUT, BEST_FULL),
    "ml-latest-small-temporal": (BEST_WITHOUT, BEST_FULL),
    "ml-1m": (BEST_PLAIN, BEST),
    "beauty": (SPARSE, None),
}
"""Of each set the row without a graph and the one with it that the first table shows."""


def rows_of(plan: str, results: Results | None) -> list[tuple[str, Row | None]]:
    """The rows of a plan, and those of its file that the plan does not know; None: not run."""
    found = {row.name: row for row in results.rows} if results else {}
    names = dict.fromkeys([*(PLANS[plan].rows if plan in PLANS else ()), *found])
    return [(name, found.get(name)) for name in names]


def seeds_of(row: Row) -> str:
    """How many seeds a row is the mean of, and what was cut short."""
    words = str(len(row.seeds)) if row.seeds else "none drawn"
    return f"{words}; {row.remark}" if row.remark else words


def with_interval(value: float, ends: list[float] | None) -> str:
    """A figure and its interval."""
    return f"{value:.4f}" + (f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else "")


def table(plan: str, results: Results | None) -> str:
    """The rows of a plan in Markdown, the masked figures first."""
    lines = [
        f"| row | {SHOWN} masked (95 %) | Hit@10 masked | {SHOWN} not masked | seeds |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows_of(plan, results):
        cells = ["not run", "", "", ""]
        if row:
            masked = with_interval(row.metrics[MASKED][METRIC], row.intervals.get(MASKED))
            hit, plain = row.metrics[MASKED]["hit@10"], row.metrics[ALL][METRIC]
            cells = [masked, f"{hit:.4f}", f"{plain:.4f}", seeds_of(row)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(by_plan: dict[str, Results | None]) -> str:
    """One line a data set: the best baseline that counts, no graph, the graph, what it gains."""
    lines = [
        f"| {SHOWN}, seen items masked | tested on | best baseline that counts | no graph (95 %) "
        "| with the graph (95 %) | the graph's gain (95 %), seeds |",
        "|---|---|---|---|---|---|",
    ]
    for plan, names in SUMMARY.items():
        results = by_plan[plan]
        rows = {row.name: row for row in results.rows} if results else {}
        counted = [row for name, row in rows.items() if name in BASELINES]
        if not results or not counted:
            continue
        best = max(counted, key=lambda row: row.metrics[MASKED][METRIC])
        cells = [
            f"{results.protocol} ({results.n_targets:,} targets)",
            f"{best.name} {best.metrics[MASKED][METRIC]:.4f}",
        ]
        for name in names:
            row = rows.get(name) if name else None
            shown = "" if name is None else "not run"
            if row:
                shown = with_interval(row.metrics[MASKED][METRIC], row.intervals.get(MASKED))
            cells.append(shown)
        gain = [change for change in results.changes if (change.less, change.row) == names]
        seeds = f", {gain[0].n_seeds[0]}" if gain else ""
        lines.append(
            f"| {plan} | {' | '.join(cells)} | {change_words(gain[0]) if gain else ''}{seeds} |"
        )
    return "\n".join(lines)


def slices_table(results: Results) -> str:
    """The rows by ties and gaps in time, in Markdown; empty where the file has none."""
    rows = [row for row in results.rows if row.slices]
    if not rows:
        return ""
    counts = {name: of_slice["n_targets"] for name, of_slice in rows[0].slices.items()}
    heads = [f"{name} ({count:,})" for name, count in counts.items()]
    lines = [f"| {SHOWN} masked | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for row in rows:
        cells = [f"{row.slices[name][METRIC]:.4f}" for name in counts]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def show_view(row: str, view: str) -> str:
    """A row, with its view where that is not the masked one."""
    return row if view == MASKED else f"{row}, {VIEWS[view]}"


def change_words(change: Change) -> str:
    """A difference with its interval."""
    return f"{change.difference:+.4f} ({change.low:+.4f} to {change.high:+.4f})"


def changes_table(results: Results) -> str:
    """The differences that the plan names, in Markdown."""
    lines = [
        f"| difference in {SHOWN}, masked | of | less | (95 %) | Holm's p | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for change in results.changes:
        sides = (show_view(change.row, change.view), show_view(change.less, change.less_view))
        cells = [change.words, *sides, change_words(change), f"{change.p_holm:.2g}"]
        seeds = " and ".join("none" if n == 0 else str(n) for n in change.n_seeds)
        lines.append(f"| {' | '.join([*cells, seeds])} |")
    return "\n".join(lines)


def short_table(results: Results | None) -> str:
    """The README's: one data set, the masked figures first."""
    lines = [f"| {SHOWN} on {MAIN} | masked (95 %) | not masked | seeds |", "|---|---|---|---|"]
    for name, row in rows_of(MAIN, results):
        if row:
            masked = with_interval(row.metrics[MASKED][METRIC], row.intervals.get(MASKED))
            lines.append(
                f"| {name} | {masked} | {row.metrics[ALL][METRIC]:.4f} | {seeds_of(row)} |"
            )
    return "\n".join(lines) if results else f"{MISSING}."


def tables(by_plan: dict[str, Results | None]) -> str:
    """Each plan: what was measured on, its rows, its differences."""
    parts = []
    for plan, results in by_plan.items():
        if results is None:
            protocol = PLANS[plan].protocol
            parts.append(f"**{plan}** ({PLANS[plan].dataset}, {protocol}): {MISSING}.")
            continue
        counts = f"{results.n_users:,} users, {results.n_items:,} items"
        targets = f"{results.n_targets:,} test targets"
        parts.append(
            f"**{plan}** ({results.dataset}): {results.protocol}; {counts}, {targets}. {RULES}"
        )
        parts.append(table(plan, results))
        if results.changes:
            parts.append(changes_table(results))
        if slices := slices_table(results):
            parts.append(slices)
    return "\n\n".join(parts)


def kge_table(path: Path) -> str:
    """What `benchmarks.accuracy.kge` measured, row by row."""
    if not path.is_file():
        return f"Entity vectors: {MISSING}."
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "| filtered test MRR | width | epochs | batch, negatives | CPU seconds | kgrec "
        "| LibKGE's best |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        published = row["published_mrr"]
        lines.append(
            f"| {row['dataset']}, {row['method']} | {row['embedding_size']} | {row['epochs']} "
            f"| {row['batch_size']:,}, {row['negatives'] or 'default'} "
            f"| {row['train_cpu_s']:.0f} | {row['test']['mrr']:.4f} "
            f"| {'' if published is None else f'{published:.3f}'} |"
        )
    machines = "; ".join(dict.fromkeys(row["machine"] for row in found["rows"]))
    words = f"One seed, written by `{found['command']}` ({machines})."
    return "\n".join([*lines, "", words])


def preset_table(path: Path) -> str:
    """What `benchmarks.accuracy.presets` measured: sets down, presets across, the best in bold."""
    if not path.is_file():
        return f"Presets: {MISSING}."
    found = json.loads(path.read_text(encoding="utf-8"))
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for row in found["rows"]:
        rows.setdefault(row["dataset"], {})[row["preset"]] = row
    lines = [
        f"| validation {SHOWN} | {' | '.join(map('`{}`'.format, PRESETS))} |",
        "|---|" + "---|" * len(PRESETS),
    ]
    for dataset, of_set in rows.items():
        best = max(row["ndcg"] for row in of_set.values())
        cells = []
        for preset in PRESETS:
            row = of_set.get(preset)
            if row is None:
                cells.append("not run")
                continue
            figure = f"{row['ndcg']:.4f}"
            shown = f"**{figure}**" if row["ndcg"] == best else figure
            cells.append(f"{shown} ({row['best_epoch']} of {row['epochs']})")
        lines.append(f"| {dataset} | {' | '.join(cells)} |")
    machines = "; ".join(dict.fromkeys(row["machine"] for row in found["rows"]))
    words = f"One seed, written by `{found['command']}` ({machines}); in brackets the best epoch."
    return "\n".join([*lines, "", words])


def deletion_tables(measured: dict[str, Any]) -> str:
    """What `accuracy.deletion` measured, in Markdown: falls of scores, ranks lost, shares of paths.

    Args:
        measured: Its reports by name.
    """

    def interval(values: list[float], digits: int) -> str:
        mean, low, high = (f"{value:.{digits}f}" for value in values)
        return f"{mean} ({low} to {high})"

    parts = []
    for what, digits, words in (("score", 2, "score falls by"), ("rank", 1, "ranks lost")):
        for name, report in measured.items():
            cells = {(row["way"], row["left_out"]): row[what] for row in report["falls"]}
            ways, counts = (list(dict.fromkeys(keys)) for keys in zip(*cells, strict=True))
            rows = [
                f"| {way} | {' | '.join(interval(cells[way, n], digits) for n in counts)} |"
                for way in ways
            ]
            head = f"| {name}: {words} | {' | '.join(f'{n} left out' for n in counts)} |"
            parts.append("\n".join([head, "|---|" + "---|" * len(counts), *rows]))
    ways = list(next(iter(measured.values()))["paths"])
    rows = [
        f"| {name} | {' | '.join(interval(report['paths'][way], 3) for way in ways)} |"
        for name, report in measured.items()
    ]
    head = f"| paths from an item that carries the score | {' | '.join(ways)} |"
    parts.append("\n".join([head, "|---|" + "---|" * len(ways), *rows]))
    made = [
        f"{name}: {report['runs']} {'seed' if report['runs'] == 1 else 'seeds'}, "
        f"{report['users']} users ({report['paths_users']} with "
        f"paths), {report['topk']} items each, commit {report['commit']}"
        for name, report in measured.items()
    ]
    return "\n\n".join([*parts, f"({'; '.join(made)}.)"])


def scale_table(sizes: dict[str, dict[str, float]]) -> str:
    """What `speed.large` measured, by size, in Markdown."""
    lines = [
        "| interactions | users, items | `prepare` with both `--min-*-inter 5` | peak "
        "| first load | peak | later load | peak after 20 steps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in sizes.values():
        figures = [
            f"{size['interactions'] / 1e6:,.0f} million",
            f"{size['users']:,}, {size['items']:,}",
            f"{size['prepare_s']:,.0f} s",
            f"{size['prepare_mb'] / 1e3:.1f} GB",
            f"{size['first_load_s']:,.0f} s",
            f"{size['first_load_mb'] / 1e3:.1f} GB",
            f"{size['again_load_s']:,.1f} s",
            f"{size['again_mb'] / 1e3:.1f} GB",
        ]
        lines.append(f"| {' | '.join(figures)} |")
    return "\n".join(lines)
