"""The page of `kgrec report` as a person sees it, in headless Chromium."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import run

pytestmark = pytest.mark.browser
WIDTHS = (380, 1100)


@pytest.fixture(scope="module")
def page_path(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(trained_folder, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["report", "--out", "page.html", "--threads=1"]) == 0
    return folder / "page.html"


@pytest.fixture(
    scope="module", params=[(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]
)
def page(browser, page_path: Path, request: pytest.FixtureRequest) -> Iterator:
    """The page, its charts drawn. What it complains of or asks the network for fails the test."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: complaints.append(asked.url))
    page.goto(page_path.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    yield page
    page.close()
    assert complaints == [page_path.as_uri()]


def test_charts_are_drawn_and_nothing_overflows(page) -> None:
    n_charts = page.locator(".plot").count()
    assert n_charts == page.locator(".plot .main-svg:first-of-type").count() > 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    beyond = """[...document.querySelectorAll('body *')].filter(node =>
        node.getBoundingClientRect().right > innerWidth + 1 && !node.closest('svg')).length"""
    assert page.evaluate(beyond) == 0


def test_axe_finds_nothing(page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    violations = axe.Axe().run(page).response["violations"]
    assert [(found["id"], found["nodes"][0]["html"]) for found in violations] == []


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
