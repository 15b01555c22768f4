"""The page of `kgrec serve` as a person uses it, in headless Chromium."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.extras]
SCREENS = [(width, scheme) for width in (380, 1100) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def folder(trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "folder"
    shutil.copytree(trained_folder, folder)
    items_path = folder / "dataset/small/small.item"
    (run_dir,) = [path for path in (folder / "saved").iterdir() if path.is_dir()]
    for path in (items_path, run_dir / "items.tsv"):  # a title that wants to be HTML
        path.write_text(path.read_text().replace("Film No 3", "<b>Film</b> & No 3"))
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator:
    from tests.service.processes import running

    with running(folder) as service:
        yield service


@pytest.fixture(params=SCREENS)
def page(browser, service, request: pytest.FixtureRequest) -> Iterator:
    """The page. What it complains of, or asks of another host, fails the test."""
    width, scheme = request.param
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(service.address)
    yield page
    page.close()
    assert complaints == []
    assert all(url.startswith(service.address) for url in asked)


def history(page) -> list[str]:
    return page.locator("#history li span").all_inner_texts()


def wait_for_list(page, n_history: int) -> list[str]:
    page.get_by_text(f"items after a history of {n_history}", exact=False).wait_for()
    return page.locator("#list li > button").all_inner_texts()


def test_a_history_is_built_and_the_list_follows(page) -> None:
    search = page.get_by_label("Search titles")
    search.fill("flm no 7")
    page.get_by_role("button", name="Film No 7", exact=True).click()
    first = wait_for_list(page, 1)
    assert history(page) == ["Film No 7"]
    assert len(first) == 10
    assert "Film No 7" not in first
    assert "rests on: Film No 7 +" in page.locator("#list li").first.inner_text()
    search.fill("film no 11")
    page.locator("#found button").first.wait_for()
    search.press("Enter")
    second = wait_for_list(page, 2)
    assert history(page) == ["Film No 7", "Film No 11"]
    assert second != first
    page.locator("#list li > button").first.click()
    wait_for_list(page, 3)
    assert history(page) == ["Film No 7", "Film No 11", second[0]]
    page.get_by_label(f"Remove {second[0]}").click()
    page.get_by_label("Remove Film No 11").click()
    assert wait_for_list(page, 1) == first
    page.get_by_label("Items", exact=True).select_option("5")
    page.get_by_text("5 items after a history of 1").wait_for()
    page.get_by_label("items of the history too").check()
    page.reload()
    assert wait_for_list(page, 1)[:5] == first[:5]
    page.get_by_role("button", name="Clear the history").click()
    page.get_by_text("Add an item to begin.").wait_for()
    assert history(page) == []


def test_titles_are_text(page) -> None:
    page.get_by_label("Search titles").fill("film no 3")
    page.get_by_role("button", name="<b>Film</b> & No 3").click()
    wait_for_list(page, 1)
    assert history(page) == ["<b>Film</b> & No 3"]


def test_nothing_overflows_and_axe_finds_nothing(page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.get_by_label("Search titles").fill("film")
    page.locator("#found button").first.click()
    wait_for_list(page, 1)
    page.get_by_label("Search titles").fill("zzzz")
    page.get_by_text("Nothing like it.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    violations = axe.Axe().run(page).response["violations"]
    assert [(found["id"], found["nodes"][0]["html"]) for found in violations] == []


def test_the_page_asks_for_a_key(browser, folder: Path, tmp_path: Path) -> None:
    from tests.service.processes import running

    (tmp_path / "key").write_text("secret\n")
    with running(folder, "--api-key-file", str(tmp_path / "key")) as service:
        page = browser.new_page()
        page.goto(service.address)
        page.get_by_role("button", name="Film No 2").click()
        page.get_by_text("no or another API key").wait_for()
        page.get_by_label("API key").fill("secret")
        page.get_by_label("API key").press("Enter")
        wait_for_list(page, 1)
        assert page.get_by_label("API key").is_hidden()
        page.close()
