"""Puts the figures of benchmarks/results/*.json into docs/results.md and README.md, and plots them.

    .venv/bin/python -m benchmarks.accuracy.page [--check]       # make results-page

Figures stand between markers and come from the files alone, by the tables of `tables.py`; prose
stands outside. A row that no file fills reads 'not run'. `--check` writes nothing and fails when a
page or a plot is not what the files say.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks import REPO_DIR
from benchmarks.accuracy.plans import PLANS
from benchmarks.accuracy.tables import (
    MAIN,
    MISSING,
    SHOWN,
    deletion_tables,
    kge_table,
    preset_table,
    scale_table,
    short_table,
    summary,
    tables,
)
from benchmarks.plots import Interval, bar_plot, curve_plot, interval_plot
from benchmarks.record import (
    DELETION,
    RESULTS_DIR,
    Results,
    Speed,
    read_results,
    read_speeds,
)

RECBOLE_ITEMS = "ml-100k-1598"  # a file of 2026-11-26, before all rows had all items
DIFFERENCES, SPEED_PLOT = Path("docs/figures/differences.svg"), Path("docs/figures/speed.svg")
PAGE, README = Path("docs/results.md"), Path("README.md")
EXPLANATIONS, SCALING = Path("docs/explanations.md"), Path("docs/scaling.md")
SCALE_TIME, SCALE_MEMORY = (
    Path("docs/figures/scale-time.svg"),
    Path("docs/figures/scale-memory.svg"),
)


def intervals(results: Results | None) -> list[Interval]:
    """What the plot of differences shows."""
    return [
        Interval(change.words, change.difference, change.low, change.high, change.p_holm < 0.05)
        for change in (results.changes if results else [])
    ]


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


def plots(by_plan: dict[str, Results | None], speeds: list[Speed]) -> str:
    """Where the plots stand."""
    differences = f"![Differences on {MAIN}, 95 % intervals]({DIFFERENCES.relative_to('docs')})"
    speed = f"![Training speed]({SPEED_PLOT.relative_to('docs')})"
    return "\n\n".join(
        [
            differences if intervals(by_plan[MAIN]) else f"Differences: {MISSING}.",
            speed if speeds else f"Training speed: {MISSING}.",
        ]
    )


def sources(by_plan: dict[str, Results | None], speeds: list[Speed]) -> str:
    """Where each figure comes from."""
    lines = [
        "| table | row | seeds | command | version | commit | date |",
        "|---|---|---|---|---|---|---|",
    ]
    for plan, results in by_plan.items():
        for row in results.rows if results else []:
            seeds = ", ".join(map(str, row.seeds)) or "none"
            lines.append(
                f"| {plan} | {row.name} | {seeds} | `{row.command}` | {row.system} "
                f"| {row.commit or ''} | {row.date} |"
            )
    commands = [
        f"`{results.command}` ({results.machine})" for results in by_plan.values() if results
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


def scale_plots(sizes: dict[str, dict[str, float]]) -> dict[Path, str]:
    """The curves of the same figures."""

    def curves(unit: float, **names: str) -> dict[str, list[tuple[float, float]]]:
        return {
            key.replace("_", " "): [
                (s["interactions"] / 1e6, s[name] / unit) for s in sizes.values()
            ]
            for key, name in names.items()
        }

    times = curves(1, prepare="prepare_s", first_load="first_load_s", later_load="again_load_s")
    peaks = curves(1e3, prepare="prepare_mb", first_load="first_load_mb", training="again_mb")
    words = "million interactions"
    return {
        SCALE_TIME: curve_plot("Interactions: seconds", words, times, "seconds"),
        SCALE_MEMORY: curve_plot("Interactions: peak memory", words, peaks, "GB"),
    }


def render_all(results_dir: Path = RESULTS_DIR, repo_dir: Path = REPO_DIR) -> dict[Path, str]:
    """Each file that the JSON decides, by its path in the repository, and what it should hold."""
    by_plan = {name: read_results(name, results_dir) for name in (*PLANS, RECBOLE_ITEMS)}
    if by_plan[RECBOLE_ITEMS] is None:
        del by_plan[RECBOLE_ITEMS]
    speeds = read_speeds(results_dir)
    page, readme = ((repo_dir / path).read_text(encoding="utf-8") for path in (PAGE, README))
    page = fill(page, "summary", summary(by_plan))
    page = fill(page, "tables", tables(by_plan))
    page = fill(page, "plots", plots(by_plan, speeds))
    page = fill(page, "kge", kge_table(results_dir / "kge.json"))
    page = fill(page, "presets", preset_table(results_dir / "presets.json"))
    page = fill(page, "sources", sources(by_plan, speeds))
    files = {PAGE: page, README: fill(readme, "results", short_table(by_plan[MAIN]))}
    deletion = results_dir / DELETION
    if deletion.is_file():
        text = (repo_dir / EXPLANATIONS).read_text(encoding="utf-8")
        tables_of = deletion_tables(json.loads(deletion.read_text()))
        files[EXPLANATIONS] = fill(text, "deletion", tables_of)
    if (large := results_dir / "large.json").is_file():
        sizes = json.loads(large.read_text())["sizes"]
        text = (repo_dir / SCALING).read_text(encoding="utf-8")
        files |= {SCALING: fill(text, "sizes", scale_table(sizes)), **scale_plots(sizes)}
    if rows := intervals(by_plan[MAIN]):
        files[DIFFERENCES] = interval_plot(
            f"{MAIN}: differences in {SHOWN}, seen items masked",
            "difference, with its 95 % interval; filled: significant after Holm",
            rows,
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
