"""Puts the figures of benchmarks/results/*.json into docs/results.md and README.md, and plots them.

    .venv/bin/python -m benchmarks.accuracy.page [--check]       # make results-page

Prose is written in the pages by hand; figures stand between markers and come from the files alone.
A cell that no file fills reads 'not measured yet'. `--check` writes nothing and fails when a page
or a plot is not what the files say.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import REPO_DIR
from benchmarks.plots import Interval, bar_plot, interval_plot
from benchmarks.record import (
    DELETION,
    RECBOLE,
    RESULTS_DIR,
    SYSTEMS,
    Results,
    Row,
    Speed,
    read_results,
    read_speeds,
)

SETS = ("ml-100k", "ml-1m", "ml-latest-small")
VIEWS = {"test_masked": "masked", "test": "not masked"}
METRIC, SHOWN = "ndcg@10", "NDCG@10"
MISSING = "not measured yet"
DIFFERENCES, SPEED_PLOT = Path("docs/figures/differences.svg"), Path("docs/figures/speed.svg")
PAGE, README = Path("docs/results.md"), Path("README.md")
EXPLANATIONS = Path("docs/explanations.md")


def cell(results: Results | None, name: str, view: str) -> str:
    """A figure of the table, or that there is none."""
    row = row_of(results, name)
    return MISSING if row is None else f"{row.metrics[view][METRIC]:.4f}"


def row_of(results: Results | None, name: str) -> Row | None:
    """The row of a system; None where it was not measured."""
    rows = [] if results is None else results.rows
    return next((row for row in rows if row.name == name), None)


def table(view: str, by_set: dict[str, Results | None]) -> str:
    """Systems by data sets, in Markdown."""
    head = [
        f"| {SHOWN}, seen items {VIEWS[view]} | {' | '.join(by_set)} |",
        "|---|" + "---|" * len(by_set),
    ]
    rows = [
        f"| {name} | {' | '.join(cell(results, name, view) for results in by_set.values())} |"
        for name in SYSTEMS
    ]
    return "\n".join([*head, *rows])


def short_table(results: Results | None) -> str:
    """The README's: one data set, both views, and the difference to RecBole."""
    lines = [
        f"| {SHOWN} on ml-100k | masked | not masked | masked, less RecBole (95 %) |",
        "|---|---|---|---|",
    ]
    for name in SYSTEMS:
        figures = " | ".join(cell(results, name, view) for view in VIEWS)
        row = row_of(results, name)
        lines.append(f"| {name} | {figures} | {difference(row, 'test_masked')} |")
    return "\n".join([*lines, *(["", seeds_words(results)] if results else [])])


def difference(row: Row | None, view: str) -> str:
    """A row's difference to RecBole with its interval; empty where there is none."""
    if row is None or row.differences is None:
        return ""
    found = row.differences[view][METRIC]
    return f"{found['difference']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"


def intervals(by_set: dict[str, Results | None]) -> list[Interval]:
    """What the plot of differences shows."""
    found = []
    for dataset, results in by_set.items():
        for row in results.rows if results else []:
            for view, of_view in (row.differences or {}).items():
                label = f"{dataset}: {row.name.removeprefix('kgrec, ')}, {VIEWS[view]}"
                figures = of_view[METRIC]
                value, low, high = (figures[key] for key in ("difference", "low", "high"))
                found.append(Interval(label, value, low, high, view == "test_masked"))
    return found


def bars(speeds: list[Speed]) -> list[tuple[str, float, str]]:
    """What the plot of speed shows: medians, and kgrec's ratio behind its bar."""
    rows = []
    for speed in speeds:
        threads = "one thread" if speed.threads == 1 else f"{speed.threads} threads"
        for system, values in speed.targets_per_s.items():
            median = statistics.median(values)
            times = f", {speed.median_ratio:.0f} times" if system == "kgrec" else ""
            rows.append((f"{system}, {threads}", median, f"{median:,.0f}{times}"))
    return rows


def tables(by_set: dict[str, Results | None]) -> str:
    """What was measured on, and the table of each view."""
    sets = [
        f"{results.dataset}: {results.n_users:,} users, {results.n_items:,} items "
        f"({results.item_set}; the same for every row). {seeds_words(results)}"
        for results in by_set.values()
        if results
    ]
    return "\n\n".join([*sets, *(table(view, by_set) for view in VIEWS)])


def plots(by_set: dict[str, Results | None], speeds: list[Speed]) -> str:
    """Where the plots stand."""
    differences = f"![Differences to {RECBOLE}, 95 % intervals]({DIFFERENCES.relative_to('docs')})"
    speed = f"![Training speed]({SPEED_PLOT.relative_to('docs')})"
    return "\n\n".join(
        [
            differences if intervals(by_set) else f"Differences to {RECBOLE}: {MISSING}.",
            speed if speeds else f"Training speed: {MISSING}.",
        ]
    )


def sources(by_set: dict[str, Results | None], speeds: list[Speed]) -> str:
    """Where each figure comes from."""
    lines = [
        "| data set | row | seeds | command | version | commit | date |",
        "|---|---|---|---|---|---|---|",
    ]
    for dataset, results in by_set.items():
        for row in results.rows if results else []:
            seeds = ", ".join(map(str, row.seeds)) or "none"
            lines.append(
                f"| {dataset} | {row.name} | {seeds} | `{row.command}` | {row.system} "
                f"| {row.commit or ''} | {row.date} |"
            )
    commands = [
        f"`{results.command}` ({results.machine})" for results in by_set.values() if results
    ]
    commands += [
        f"`{speed.command}` (commit {speed.commit}, RecBole {speed.recbole}, {speed.machine}, "
        f"{speed.date})"
        for speed in speeds
    ]
    if not commands:
        return f"Nothing: {MISSING}."
    return "\n".join(
        [*lines, "", "Written to `benchmarks/results/` by", *map("- {}".format, commands)]
    )


def kge_table(path: Path) -> str:
    """What `benchmarks.accuracy.kge` measured, row by row."""
    if not path.is_file():
        return f"Entity vectors: {MISSING}."
    found = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "| filtered test MRR | width | epochs | CPU seconds | kgrec | LibKGE's best |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        published = row["published_mrr"]
        lines.append(
            f"| {row['dataset']}, {row['method']} | {row['embedding_size']} | {row['epochs']} "
            f"| {row['train_cpu_s']:.0f} | {row['test']['mrr']:.4f} "
            f"| {'' if published is None else f'{published:.3f}'} |"
        )
    words = f"One seed, written by `{found['command']}` ({found['machine']})."
    return "\n".join([*lines, "", words])


def seeds_words(results: Results) -> str:
    """How many seeds the rows are the mean of."""
    counts = {row.name: len(row.seeds) for row in results.rows if row.seeds}
    if set(counts.values()) == {1}:
        whose = ", RecBole's too" if RECBOLE in counts else ""
        return f"One seed for each trained row{whose}."
    return f"Seeds: {', '.join(f'{name} {count}' for name, count in counts.items())}."


def fill(text: str, name: str, content: str) -> str:
    """The page with what stands between the markers of a name made anew.

    Raises:
        ValueError: The page lacks the markers.
    """
    begin = f"<!-- {name}: made by `make results-page` from benchmarks/results/*.json -->"
    end = f"<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"expected one pair of markers of '{name}': {begin} and {end}")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


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


def render_all(results_dir: Path = RESULTS_DIR, repo_dir: Path = REPO_DIR) -> dict[Path, str]:
    """Each file that the JSON decides, by its path in the repository, and what it should hold."""
    by_set = {name: read_results(name, results_dir) for name in SETS}
    speeds = read_speeds(results_dir)
    page, readme = ((repo_dir / path).read_text(encoding="utf-8") for path in (PAGE, README))
    page = fill(page, "tables", tables(by_set))
    page = fill(page, "plots", plots(by_set, speeds))
    page = fill(page, "kge", kge_table(results_dir / "kge.json"))
    page = fill(page, "sources", sources(by_set, speeds))
    files = {PAGE: page, README: fill(readme, "results", short_table(by_set["ml-100k"]))}
    deletion = results_dir / DELETION
    if deletion.is_file():
        text = (repo_dir / EXPLANATIONS).read_text(encoding="utf-8")
        tables_of = deletion_tables(json.loads(deletion.read_text()))
        files[EXPLANATIONS] = fill(text, "deletion", tables_of)
    if rows := intervals(by_set):
        files[DIFFERENCES] = interval_plot(
            f"{SHOWN} less that of {RECBOLE}", "difference, with its 95 % interval", rows
        )
    if speeds:
        files[SPEED_PLOT] = bar_plot(
            "Training on ml-100k: targets a second", "targets a second, median", bars(speeds)
        )
    return files


def main() -> None:
    """Writes the pages, or says which is stale."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    for path, text in render_all().items():
        full = REPO_DIR / path
        if options.check and (not full.is_file() or full.read_text(encoding="utf-8") != text):
            sys.exit(f"{path} is stale: run `make results-page`")
        if not options.check:
            full.parent.mkdir(exist_ok=True)
            full.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
