"""`kgrec report`: what stands in the page."""

import html
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import kgrec_cli
from kgrec_cli.core.evaluation.bootstrap import holm
from kgrec_cli.core.tuning.report import SearchTrial, build_leaderboard
from kgrec_cli.stages.report.charts import count_histogram, vector_map
from kgrec_cli.stages.report.page import Entry, Section, Table, render_page
from kgrec_cli.stages.report.study import read_study
from tests.conftest import QUICK, RunCli, run

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"'"


class Page(HTMLParser):
    """What a page would load, its headings and the rows of its tables by caption."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.addresses: list[str | None] = []
        self.headings: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        self.addresses += [value for name, value in attrs if name in {"src", "href"}]
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("th", "td"):
            self._rows[-1].append("")
        elif tag in ("li", "span") and self._rows and self._rows[-1] and self._rows[-1][-1]:
            self._rows[-1][-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag = self._open[-1] if self._open else ""
        if tag == "h2":
            self.headings.append(data)
        elif tag == "caption":
            self.tables[data] = self._rows
        elif {"th", "td"} & set(self._open):
            self._rows[-1][-1] += data

    def figure(self, name: str) -> dict:
        found = re.search(rf'data-chart="chart-{name}">(.*?)</script>', self.text)
        assert found, name
        return json.loads(found[1])


@pytest.fixture(scope="module")
def page(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report on the run of the shared folder."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(trained_folder, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["report", "--out", "page.html", "--threads=1"]) == 0
    return Page(folder / "page.html")


def test_one_file_under_three_megabytes_that_loads_nothing(page: Page) -> None:
    assert page.headings == [
        *("Data: small", "Training", "Metrics", "Slices", "Map of items", "Sample users")
    ]
    assert all(str(address).startswith("#") for address in page.addresses)
    assert len(page.text.encode()) < 3_000_000


def test_the_same_run_gives_the_same_page(page: Page, trained_folder, run_cli, tmp_path) -> None:
    again = tmp_path / "again.html"
    result = run_cli("report", "--out", str(again), "--threads=1", "--json", cwd=trained_folder)
    assert again.read_text(encoding="utf-8") == page.text
    shown = json.loads(result.stdout)
    assert (shown["path"], shown["about"]) == (str(again), "runs")
    assert shown["n_bytes"] == again.stat().st_size


def test_sizes_by_hand(page: Page) -> None:
    """30 users with 9 events each go round twelve items: 270 events, 270 / (30 * 12) = 75%."""
    sizes = dict(page.tables["Sizes"][1:])
    assert (sizes["users"], sizes["items"], sizes["events"]) == ("30", "12", "270")
    assert sizes["density"] == "75.00%"
    assert sizes["events per user"] == "9.0 (median 9)"
    (bars,) = page.figure("users")["data"]
    assert (bars["x"], bars["y"]) == (["1", "2–3", "4–7", "8–15"], [0, 0, 0, 30])


def test_metrics_are_those_of_evaluate(page: Page, trained_folder: Path, run_cli, tmp_path) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    measured = json.loads(run_cli("evaluate", "--threads=1", "--json").stdout)
    (measured_run,) = (path.name for path in (tmp_path / "saved").iterdir())
    for view, words in (("test", "all items are candidates"), ("test_masked", "items already")):
        (rows,) = [rows for caption, rows in page.tables.items() if f"metrics; {words}" in caption]
        assert [row[1] for row in rows[1:]] == [
            measured_run,
            "EASE",
            "SequentialRules",
            "ItemKNN",
            "Pop",
        ] * 3
        for cutoff, model, *cells in rows[1:]:
            values = measured["baselines"].get(model, measured)[view]
            for metric, cell in zip(("ndcg", "hit", "mrr"), cells, strict=True):
                value, low, high = map(float, re.findall(r"\d\.\d{4}", cell))
                assert value == pytest.approx(values[f"{metric}@{cutoff}"], abs=6e-5)
                assert low <= value <= high


def test_sample_users_get_what_recommend_gives(page: Page, trained_folder: Path, run_cli) -> None:
    rows = page.tables["Sample users"][1:]
    assert len(rows) == 30
    user, events, _, listed = rows[3]
    arguments = ("--user", user, "--topk=6", "--explain", "--json")
    assert events == "9"
    (found,) = json.loads(run_cli("recommend", *arguments, cwd=trained_folder).stdout)
    titles = {each["item"]: each["title"] for each in found["history"]}
    lines = iter(listed.splitlines())
    n_paths = 0
    for item in found["items"]:
        why = item["explanation"]
        carriers = [f"{titles[token]} +{why['drops'][token]:.2f}" for token in why["carriers"]]
        assert next(lines) == item["title"]
        assert next(lines) == f"rests on: {'; '.join(carriers)}"
        words = next(lines)
        borne_out = [path for path in why["paths"] if path["is_borne_out"]]
        mark = "graph: " if borne_out else "graph only, the score does not rest on it: "
        assert words.startswith(mark)
        assert all(titles[path["item"]] in words for path in borne_out)
        n_paths += len(borne_out)
    assert n_paths > 2


def test_an_item_without_an_entity_is_explained_by_history_alone(page: Page) -> None:
    rows = page.tables["Sample users"][1:]
    (words,) = {
        lines[place + 2]
        for *_, listed in rows
        for lines in (listed.splitlines(),)
        for place, line in enumerate(lines)
        if line in ("Film No 11", "Film No 12")
    }
    assert words == "graph: the item has no entity in it"


def test_a_title_full_of_html_stays_text(small_folder: Path, run_cli: RunCli) -> None:
    items = small_folder / "dataset" / "small" / "small.item"
    rows = [f"i{item}\t{HOSTILE} {item}" for item in range(1, 13)]
    items.write_text("\n".join(["item_id:token\ttitle:token_seq", *rows, ""]), encoding="utf-8")
    assert run_cli("train", "--epochs=1", *QUICK).exit_code == 0
    assert run_cli("report", "--out=page.html", "--threads=1").exit_code == 0
    page = Page(small_folder / "page.html")
    assert "alert(1)</script>" not in page.text
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    assert html.escape("<script>alert(1)</script>") in page.text
    # Plotly's labels take HTML: there the title is escaped once more.
    (points,) = page.figure("map-0")["data"]
    assert points["text"][0].startswith("&lt;script&gt;alert(1)&lt;/script&gt;")


def test_warnings_of_prepare_and_a_damaged_prepare_json(small_folder, run_cli: RunCli) -> None:
    report_path = small_folder / "dataset" / "small" / "prepare.json"
    report_path.write_text(json.dumps({"layout": "x", "warnings": ["half of <b>"], "kg": 3}))
    assert run_cli("report", "small").exit_code == 0
    text = (small_folder / "report-small.html").read_text(encoding="utf-8")
    assert "<li>half of &lt;b&gt;</li>" in text
    report_path.write_text("[")
    assert run_cli("report", "small").exit_code == 0


def test_two_runs_are_compared(trained_folder: Path, run_cli: RunCli, tmp_path: Path) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    assert run_cli("train", "--epochs=2", *QUICK, "--model=GRU4Rec").exit_code == 0
    names = sorted(path.name for path in (tmp_path / "saved").iterdir())
    result = run_cli("report", *names, "--out=two.html", "--threads=1")
    assert result.exit_code == 0, result.stderr
    page = Page(tmp_path / "two.html")
    rows = page.tables[f"Difference from {names[0]}"]
    assert [row[0] for row in rows[1:]] == [names[1]] * 4
    assert [line["name"] for line in page.figure("loss")["data"]] == names


def test_a_run_on_all_data_has_no_test_metrics(small_folder: Path, run_cli: RunCli) -> None:
    assert run_cli("train", "--epochs=1", *QUICK).exit_code == 0
    assert run_cli("train", "--on-all-data").exit_code == 0
    assert run_cli("report", "--out=page.html", "--threads=1").exit_code == 0
    page = Page(small_folder / "page.html")
    assert page.headings == ["Data: small", "Training", "Map of items", "Sample users"]


def trial(number: int, score: float | None, **fields) -> SearchTrial:
    state = "failed" if score is None else "complete"
    metrics = {} if score is None else {"ndcg@10": score}
    params = {"learning_rate": 10.0**-number, "freeze_kg": number == 1}
    return SearchTrial(number, state, params, score, metrics, metrics, **fields)


def test_a_study_by_its_name(small_folder: Path, run_cli: RunCli) -> None:
    study_dir = small_folder / "studies" / "small-search"
    study_dir.mkdir(parents=True)
    empty = run_cli("report", "small-search")
    assert (empty.exit_code, "once a trial is complete" in empty.error) == (1, True)
    trials = [trial(1, 0.25), trial(2, 0.5), trial(3, None, error="no")]
    pl.DataFrame(build_leaderboard(trials)).write_csv(study_dir / "leaderboard.csv")
    (study_dir / "best.yaml").write_text("valid_metric: NDCG@10\n")
    assert [t.params for t in read_study(study_dir)[0]] == [t.params for t in trials]
    assert run_cli("report", "small-search").exit_code == 0
    page = Page(small_folder / "report-small-search.html")
    assert page.tables["The best 2 of 2 complete trials"] == [
        ["rank", "trial", "learning_rate", "freeze_kg", "ndcg@10, validation", "ndcg@10, test"],
        ["1", "2", "0.01", "False", "0.5000", "0.5000"],
        ["2", "1", "0.1", "True", "0.2500", "0.2500"],
    ]
    (study_dir / "leaderboard.csv").write_text("a,b\n1,2\n")
    assert "not the leaderboard of a study" in run_cli("report", "small-search").error


def test_the_python_function(small_folder: Path) -> None:
    found = kgrec_cli.report("small", folder=small_folder, quiet=True)
    assert found.path == small_folder / "report-small.html"
    assert found.about == "dataset"


def test_what_nobody_can_report_on(small_folder: Path, run_cli: RunCli) -> None:
    unknown = run_cli("report", "nobody")
    assert unknown.exit_code == 1
    assert "nor is 'nobody' a study or a data set" in unknown.error
    assert run_cli("report", "small", "--out=page.txt").exit_code == 2
    assert not (small_folder / "page.txt").exists()


def test_a_damaged_history_is_one_line(trained_folder: Path, run_cli, tmp_path: Path) -> None:
    shutil.copytree(trained_folder, tmp_path, dirs_exist_ok=True)
    (run_dir,) = (tmp_path / "saved").iterdir()
    (run_dir / "history.jsonl").write_text('{"epoch": "one"}\n')
    assert "history.jsonl" in run_cli("report", "--threads=1").error


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.03, 0.04: times 3, 2, 1 is 0.03, 0.06, 0.04; none below one before it."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_histogram_by_hand() -> None:
    (bars,) = count_histogram(np.array([1, 2, 3, 4, 9]), "users", "events")["data"]
    assert (bars["x"], bars["y"]) == (["1", "2–3", "4–7", "8–15"], [1, 2, 1, 1])


def test_a_map_of_points_on_a_line() -> None:
    """(0, 0), (3, 4), (6, 8): one component; the places are 5 apart, the middle one at 0."""
    vectors = np.array([[0, 0], [3, 4], [6, 8]], dtype=np.float32)
    figure = vector_map(vectors, ["a", "<b>", "c"], np.array([1, 10, 100]))
    (points,) = figure["data"]
    assert sorted(points["x"]) == pytest.approx([-5, 0, 5], abs=1e-3)
    assert points["y"] == pytest.approx([0, 0, 0], abs=1e-3)
    assert points["text"] == ["a", "&lt;b&gt;", "c"]
    assert points["marker"]["color"] == [0, 1, 2]
    assert "100%" in figure["layout"]["xaxis"]["title"]["text"]


def test_cells() -> None:
    table = Table(
        "t", ("a", "b", "c"), [[1234, "<i>", None], [0.25, [Entry("x & y", ["<why>"])], None]]
    )
    text = render_page("<t>", "", [Section("s", "S", [table])])
    assert table.numeric == [True, False, False]
    for cell in (
        ">1,234</td>",
        ">0.2500</td>",
        ">&lt;i&gt;</td>",
        '<li>x &amp; y<span class="why">&lt;why&gt;</span></li>',
    ):
        assert cell in text
    assert 'id="plotly"' not in text
