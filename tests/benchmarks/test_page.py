"""The page of results, the README's table and the plots say what the JSON says, no more."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import REPO_DIR
from benchmarks.accuracy.page import (
    DIFFERENCES,
    PAGE,
    README,
    SPEED_PLOT,
    deletion_tables,
    fill,
    render_all,
)
from benchmarks.plots import Interval, bar_plot, interval_plot
from benchmarks.record import (
    RECBOLE,
    SYSTEMS,
    Results,
    Row,
    Speed,
    read_results,
    read_speeds,
    write_results,
    write_speed,
)

SVG = "{http://www.w3.org/2000/svg}"


def row(name: str, masked: float, plain: float, difference: float | None = None) -> Row:
    found = {"difference": difference, "low": -0.0123, "high": 0.0456, "p_value": 0.5}
    views = {"test_masked": {"ndcg@10": found}, "test": {"ndcg@10": found}}
    return Row(
        name=name,
        system="kgrec 9.9",
        command="kgrec train --seed 7",
        seeds=[7],
        metrics={"test_masked": {"ndcg@10": masked}, "test": {"ndcg@10": plain}},
        differences=None if difference is None else views,
        commit="abc1234",
        date="2026-01-02",
        threads=1,
    )


def results(rows: list[Row]) -> Results:
    return Results("ml-100k", "p", "the items", 11, 22, "python -m x", "a machine", rows)


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


def test_every_cell_is_the_figure_of_the_json_and_the_masked_table_comes_first(
    tmp_path: Path,
) -> None:
    write_results(
        results([row(RECBOLE, 0.21, 0.11), row("GRU4Rec", 0.34567, 0.12, 0.0321)]), tmp_path
    )
    files = render_all(tmp_path)
    masked = {name: cells for name, *cells in table_rows(files[PAGE], "NDCG@10, seen items masked")}
    assert list(masked) == list(SYSTEMS)
    missing = "not measured yet"
    assert masked[RECBOLE] == ["0.2100", missing, missing]
    assert masked["GRU4Rec"] == ["0.3457", missing, missing]
    assert masked["ItemKNN"] == [missing] * 3
    plain = {name: cells[0] for name, *cells in table_rows(files[PAGE], "NDCG@10, seen items not")}
    assert (plain[RECBOLE], plain["GRU4Rec"]) == ("0.1100", "0.1200")
    assert files[PAGE].index("seen items masked |") < files[PAGE].index("seen items not masked |")
    readme = {name: cells for name, *cells in table_rows(files[README], "NDCG@10 on ml-100k")}
    assert readme["GRU4Rec"] == ["0.3457", "0.1200", "+0.0321 (-0.0123 to +0.0456)"]
    assert readme[RECBOLE] == ["0.2100", "0.1100", ""]
    assert "22 users, 11 items" in files[PAGE]


def test_without_json_every_figure_reads_not_measured_yet(tmp_path: Path) -> None:
    files = render_all(tmp_path)
    assert set(files) == {PAGE, README}
    cells = [cell for _, *cells in table_rows(files[PAGE], "NDCG@10, seen") for cell in cells]
    assert cells == ["not measured yet"] * 18
    assert "Training speed: not measured yet." in files[PAGE]
    assert not re.search(r"0\.\d{4} \|", files[README])


def test_the_plots_are_drawn_from_the_json(tmp_path: Path) -> None:
    write_results(results([row(RECBOLE, 0.21, 0.11), row("GRU4Rec", 0.3, 0.2, 0.0321)]), tmp_path)
    write_speed(speed(2, [30.0, 10.0, 20.0], [2.0, 2.0, 2.0], 10), tmp_path)
    files = render_all(tmp_path)
    texts = [found.text for found in ET.fromstring(files[DIFFERENCES]).iter(f"{SVG}text")]
    assert "ml-100k: GRU4Rec, masked" in texts
    assert len([text for text in texts if text and text.startswith("ml-100k: ")]) == 2
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


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = results([row(RECBOLE, 0.21, 0.11), row("GRU4Rec", 0.3, 0.2, 0.0321)])
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
