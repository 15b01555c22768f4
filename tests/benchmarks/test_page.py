"""The page of results, the README's table and the plots say what the JSON says, no more."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import REPO_DIR
from benchmarks.accuracy.page import (
    DIFFERENCES,
    PAGE,
    README,
    SPEED_PLOT,
    fill,
    render_all,
)
from benchmarks.accuracy.plans import ALL, BEST, BEST_PLAIN, EASE, GRU4REC, MASKED, PLANS, RULES
from benchmarks.accuracy.tables import SUMMARY, deletion_tables, summary
from benchmarks.plots import Interval, bar_plot, curve_plot, interval_plot
from benchmarks.record import (
    Change,
    Results,
    Row,
    Speed,
    read_results,
    read_speeds,
    write_results,
    write_speed,
)

SVG = "{http://www.w3.org/2000/svg}"
MISSING = "not run"


def row(name: str, masked: float, plain: float, seeds: list[int], remark: str = "") -> Row:
    """A row with these figures."""
    return Row(
        name=name,
        system="kgrec 0",
        command=f"train {name}",
        seeds=seeds,
        metrics={
            MASKED: {"ndcg@10": masked, "hit@10": 2 * masked},
            ALL: {"ndcg@10": plain, "hit@10": 9.0},
        },
        intervals={MASKED: [masked - 0.01, masked + 0.02], ALL: [0.0, 9.0]},
        by_seed={MASKED: [masked], ALL: [plain]},
        slices={"tied": {"n_targets": 1234, "ndcg@10": masked / 2}},
        commit="abc1234",
        date="2026-01-02",
        threads=1,
        remark=remark,
    )


def change(words: str, difference: float, p_holm: float = 0.04) -> Change:
    """A difference with an interval of 0.01 on either side."""
    return Change(
        words, BEST, MASKED, GRU4REC, ALL, [5, 0], difference, difference - 0.01,
        difference + 0.01, 0.02, p_holm,
    )  # fmt: skip


def results(rows: list[Row], changes: list[Change] | None = None) -> Results:
    return Results(
        "ml-100k", "films", "a protocol", 11, 22, 33, "python -m x", "a machine", rows,
        changes or [],
    )  # fmt: skip


def speed(threads: int, ours: list[float], theirs: list[float], median: float) -> Speed:
    rates = {"kgrec": ours, "RecBole, at its best": theirs}
    machine = {"commit": "abc1234", "date": "2026-01-02", "machine": "a machine"}
    return Speed(rates, [median], median, "python -m y", threads=threads, recbole="1", **machine)


def table_rows(text: str, begin: str) -> list[list[str]]:
    """The cells of the table whose head begins so."""
    _, _, rest = text.partition(f"| {begin}")
    lines = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_committed_pages_are_what_the_committed_json_says() -> None:
    for path, text in render_all().items():
        assert (REPO_DIR / path).read_text(encoding="utf-8") == text, f"{path}: make results-page"


def test_the_first_table_shows_the_best_baseline_and_what_the_graph_gains() -> None:
    rows = [row(EASE, 0.21, 0.1, []), row(RULES, 0.22, 0.1, []), row(BEST_PLAIN, 0.3, 0.3, [1, 2])]
    of_plans: dict[str, Results | None] = dict.fromkeys(SUMMARY)
    of_plans["ml-100k"] = results(rows)
    (cells,) = table_rows(summary(of_plans), "NDCG@10, seen items masked")
    assert cells[1:3] == ["a protocol (33 targets)", f"{RULES} 0.2200"]
    assert cells[3:] == ["0.3000 (0.2900 to 0.3200)", MISSING, ""]
    gain = replace(change("graph", 0.04), less=BEST_PLAIN, less_view=MASKED, n_seeds=[3, 2])
    of_plans["ml-100k"] = results([*rows, row(BEST, 0.34, 0.34, [1, 2, 3])], [gain])
    (cells,) = table_rows(summary(of_plans), "NDCG@10, seen items masked")
    assert cells[4:] == ["0.3400 (0.3300 to 0.3600)", "+0.0400 (+0.0300 to +0.0500), 3"]


def test_every_cell_is_the_figure_of_the_json_and_the_masked_one_comes_first(
    tmp_path: Path,
) -> None:
    rows = [row(EASE, 0.21, 0.11, []), row(GRU4REC, 0.34567, 0.12, [1, 2], "cut")]
    write_results(results(rows, [change("gain", 0.0321)]), tmp_path)
    files = render_all(tmp_path)
    found = {name: cells for name, *cells in table_rows(files[PAGE], "row | NDCG@10 masked")}
    assert list(found) == PLANS["ml-100k"].rows
    assert found[EASE] == ["0.2100 (0.2000 to 0.2300)", "0.4200", "0.1100", "none drawn"]
    assert found[GRU4REC] == ["0.3457 (0.3357 to 0.3657)", "0.6913", "0.1200", "2; cut"]
    assert found[BEST] == [MISSING, "", "", ""]
    (cells,) = table_rows(files[PAGE], "difference in NDCG@10")
    interval = "+0.0321 (+0.0221 to +0.0421)"
    assert cells == ["gain", BEST, f"{GRU4REC}, not masked", interval, "0.04", "5 and none"]
    assert dict(table_rows(files[PAGE], "NDCG@10 masked | tied (1,234)")) == {
        EASE: "0.1050",
        GRU4REC: "0.1728",
    }
    readme = {name: cells for name, *cells in table_rows(files[README], "NDCG@10 on ml-100k")}
    assert readme == {
        EASE: ["0.2100 (0.2000 to 0.2300)", "0.1100", "none drawn"],
        GRU4REC: ["0.3457 (0.3357 to 0.3657)", "0.1200", "2; cut"],
    }
    assert "a protocol; 22 users, 11 items, 33 test targets" in files[PAGE]


def test_without_json_every_figure_reads_not_measured_yet(tmp_path: Path) -> None:
    files = render_all(tmp_path)
    assert set(files) == {PAGE, README}
    for plan in PLANS:
        assert re.search(rf"\*\*{plan}\*\* \(.*\): not measured yet\.", files[PAGE])
    assert "Differences: not measured yet." in files[PAGE]
    assert "Training speed: not measured yet." in files[PAGE]
    assert "| NDCG@10" not in files[README]


def test_the_plots_are_drawn_from_the_json(tmp_path: Path) -> None:
    changes = [change("sure", 0.03), change("unsure", 0.02, p_holm=0.06)]
    write_results(results([row(GRU4REC, 0.3, 0.2, [1])], changes), tmp_path)
    write_speed(speed(2, [30.0, 10.0, 20.0], [2.0, 2.0, 2.0], 10), tmp_path)
    files = render_all(tmp_path)
    root = ET.fromstring(files[DIFFERENCES])
    texts = [found.text for found in root.iter(f"{SVG}text")]
    assert {"sure", "unsure"} <= set(texts)
    sure, unsure = (circle.get("fill") for circle in root.iter(f"{SVG}circle"))
    assert sure != "white"
    assert unsure == "white"
    texts = [found.text for found in ET.fromstring(files[SPEED_PLOT]).iter(f"{SVG}text")]
    assert "20, 10 times" in texts
    assert "kgrec, 2 threads" in texts


def test_an_interval_lies_where_its_axis_says() -> None:
    rows = [Interval("a & b", 0.02, 0.0, 0.04, True), Interval("c", -0.02, -0.04, 0.0, False)]
    root = ET.fromstring(interval_plot("Title", "unit", rows))
    ticks = {
        text.text: float(text.get("x", ""))
        for text in root.iter(f"{SVG}text")
        if re.fullmatch(r"[+-]?\d[\d.]*", text.text or "")
    }
    first, second = (float(circle.get("cx", "")) for circle in root.iter(f"{SVG}circle"))
    assert first == pytest.approx(ticks["+0.02"], abs=0.2)
    assert second == pytest.approx(ticks["-0.02"], abs=0.2)
    ends = [line for line in root.iter(f"{SVG}line") if line.get("stroke-width") == "2"]
    assert float(ends[0].get("x1", "")) == pytest.approx(ticks["0"], abs=0.2)
    assert float(ends[0].get("x2", "")) == pytest.approx(ticks["+0.04"], abs=0.2)


def test_bars_are_as_long_as_their_figures() -> None:
    root = ET.fromstring(bar_plot("Title", "unit", [("kgrec", 400.0, ""), ("other", 100.0, "")]))
    _, first, second = (float(bar.get("width", "")) for bar in root.iter(f"{SVG}rect"))
    assert first == pytest.approx(4 * second, abs=0.2)


def test_a_curve_lies_where_its_axes_say() -> None:
    """Logarithmic: from 1 to 10 and from 10 to 100 are the same way."""
    curves = {"seconds": [(1.0, 10.0), (10.0, 100.0), (100.0, 30.0)]}
    root = ET.fromstring(curve_plot("Title", "millions", curves, "s"))
    marks = {
        text.text: float(text.get("y", "")) - 4
        for text in root.iter(f"{SVG}text")
        if text.get("text-anchor") == "end"
    }
    points = [(float(c.get("cx", "")), float(c.get("cy", ""))) for c in root.iter(f"{SVG}circle")]
    (x1, y1), (x2, y2), (x3, y3) = points
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert (y1, y2, y3) == pytest.approx((marks["10"], marks["100"], marks["30"]), abs=0.2)
    assert set(marks) == {"10", "30", "100"}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = results([row(EASE, 0.21, 0.11, [])], [change("gain", 0.0321)])
    write_results(written, tmp_path)
    assert read_results("ml-100k", tmp_path) == written
    assert read_results("ml-1m", tmp_path) is None


def test_a_speed_replaces_the_one_of_as_many_threads_and_no_other(tmp_path: Path) -> None:
    one, two, again = (speed(n, [ours], [1.0], ours) for n, ours in ((2, 3.0), (1, 4.0), (2, 5.0)))
    for each in (one, two, again):
        write_speed(each, tmp_path)
    assert read_speeds(tmp_path) == [two, again]


def test_a_page_without_its_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected one pair of markers of 'tables'"):
        fill("# Results\n", "tables", "|")


def test_tables_of_the_deletion_test() -> None:
    falls = [
        {"left_out": n, "way": way, "score": [n, 0, 9], "rank": [10 * n + len(way), 0, 99]}
        for n in (1, 3)
        for way in ("named", "random")
    ]
    report = {
        "runs": 2, "users": 7, "paths_users": 6, "topk": 10, "commit": "abc1234", "falls": falls,
        "paths": {"shown": [0.9, 0.8, 1.0], "random path": [0.1, 0.0, 0.2]},
    }  # fmt: skip
    score, rank, paths, made = deletion_tables({"small": report}).split("\n\n")
    assert score.splitlines() == [
        "| small: score falls by | 1 left out | 3 left out |",
        "|---|---|---|",
        "| named | 1.00 (0.00 to 9.00) | 3.00 (0.00 to 9.00) |",
        "| random | 1.00 (0.00 to 9.00) | 3.00 (0.00 to 9.00) |",
    ]
    assert rank.splitlines()[2] == "| named | 15.0 (0.0 to 99.0) | 35.0 (0.0 to 99.0) |"
    assert paths.splitlines()[2] == "| small | 0.900 (0.800 to 1.000) | 0.100 (0.000 to 0.200) |"
    assert "2 seeds, 7 users (6 with paths), 10 items each, commit abc1234" in made
