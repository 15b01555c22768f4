"""The page of `kgrec report` as a person sees it, in headless Chromium."""

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.core.tuning.report import SearchTrial, build_leaderboard
from tests.conftest import QUICK, run, write_small_dataset

pytestmark = pytest.mark.browser
SCREENS = [(width, scheme) for width in (380, 1100) for scheme in ("light", "dark")]
HOSTILE = "<img src=x onerror=alert(1)><i class=hostile>&amp;</i>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on a run, two runs, a study and a data set, all names full of HTML."""
    folder = tmp_path_factory.mktemp("page")
    write_small_dataset(folder)
    dataset_dir = folder / "dataset/small"
    titles = [f"i{item}\tFilm No {item} {HOSTILE}" for item in range(1, 13)]
    _append(dataset_dir / "small.item", "item_id:token\ttitle:token_seq", titles)
    labels = [f"e{item}\trdfs:label\t{HOSTILE}" for item in range(1, 11)]
    graph = (dataset_dir / "small.kg").read_text(encoding="utf-8").splitlines()
    _append(dataset_dir / "small.kg", graph[0], [*graph[1:], *labels])
    report = {"layout": HOSTILE, "warnings": [f"{HOSTILE} was guessed"]}
    (dataset_dir / "prepare.json").write_text(json.dumps(report), encoding="utf-8")
    study_dir = folder / "studies/search"
    study_dir.mkdir(parents=True)
    trials = [
        SearchTrial(
            number,
            "complete" if number % 5 else "pruned",
            {"learning_rate": 10.0 ** -(1 + number % 4), "additional_feat_suffix": HOSTILE},
            number / 40,
            {"ndcg@10": number / 40} if number % 5 else {},
        )
        for number in range(1, 31)
    ]
    pl.DataFrame(build_leaderboard(trials)).write_csv(study_dir / "leaderboard.csv")
    (study_dir / "best.yaml").write_text("valid_metric: NDCG@10\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for arguments in (
            ["train", "--name=first", "--epochs=6", *QUICK],
            ["train", "--name=second", "--epochs=2", "--model=GRU4Rec", *QUICK],
            ["report", "first", "--out=run.html", "--threads=1"],
            ["report", "first", "second", "--out=runs.html", "--threads=1"],
            ["report", "search", "--out=study.html"],
            ["report", "small", "--out=dataset.html"],
        ):
            assert run(arguments) == 0
    return folder


def _append(path: Path, head: str, rows: list[str]) -> None:
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")


def open_page(browser, path: Path, width: int, scheme: str) -> Iterator:
    """A page, its charts drawn. What it complains of or asks the network for fails the test."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda asked: complaints.append(asked.url))
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    yield page
    page.close()
    assert complaints == [path.as_uri()]


@pytest.fixture(scope="module", params=SCREENS)
def page(browser, folder: Path, request: pytest.FixtureRequest) -> Iterator:
    """The page on a run."""
    yield from open_page(browser, folder / "run.html", *request.param)


@pytest.fixture(
    scope="module",
    params=[
        *(("run", *screen) for screen in SCREENS),
        *((kind, *screen) for kind in ("runs", "study", "dataset") for screen in SCREENS[::3]),
    ],
    ids=lambda param: "-".join(map(str, param)),
)
def any_page(browser, folder: Path, request: pytest.FixtureRequest) -> Iterator:
    kind, width, scheme = request.param
    yield from open_page(browser, folder / f"{kind}.html", width, scheme)


def test_charts_are_drawn_and_nothing_overflows(any_page) -> None:
    n_charts = any_page.locator(".plot").count()
    assert n_charts == any_page.locator(".plot .main-svg:first-of-type").count() > 1
    assert any_page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    beyond = """[...document.querySelectorAll('body *')].filter(node =>
        node.getBoundingClientRect().right > innerWidth + 1 && !node.closest('svg')).length"""
    assert any_page.evaluate(beyond) == 0


def test_names_full_of_html_stay_text(any_page) -> None:
    assert any_page.locator("main img, main i.hostile").count() == 0
    assert any_page.get_by_text(HOSTILE).count() > 0


def test_axe_finds_nothing(any_page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    violations = axe.Axe().run(any_page).response["violations"]
    assert [(found["id"], found["nodes"][0]["html"]) for found in violations] == []


@pytest.mark.parametrize("kind", ["run", "study"])
def test_paper_is_white_and_has_no_tools(browser, folder: Path, kind: str) -> None:
    for page in open_page(browser, folder / f"{kind}.html", 1100, "dark"):
        page.emulate_media(media="print")
        colour = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(colour) == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert not page.locator("input:visible").count()
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_search_and_sort(page) -> None:
    users = page.locator("tbody tr:has(ol)")
    shown = page.locator("tbody tr:has(ol):not([hidden])")
    assert users.count() == shown.count() == 30
    page.get_by_label("Search users").fill("u7 film")
    assert shown.count() == 1
    assert page.get_by_role("status").inner_text() == "1 of 30 users"
    page.get_by_label("Search users").fill("nothing like it")
    assert page.get_by_role("status").inner_text() == "0 of 30 users"
    page.get_by_label("Search users").fill("")
    first_cells = page.locator("tbody tr:has(ol) td:first-child")
    button = page.get_by_role("button", name="user", exact=True)
    button.click()
    assert first_cells.all_inner_texts()[:3] == ["u0", "u1", "u2"]
    button.click()
    assert first_cells.all_inner_texts()[:3] == ["u29", "u28", "u27"]


def test_pointing_at_an_item_shows_its_title(page) -> None:
    page.locator("#chart-map-0 .point").first.hover(force=True)
    label = page.locator("#chart-map-0 .hovertext")
    label.first.wait_for(state="attached")
    assert label.all_text_contents()[0].startswith("Film No ")
