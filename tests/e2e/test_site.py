"""The documentation site is built without a warning, is whole, and needs no network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPO_DIR = Path(__file__).parents[2]
DOCS_DIR = REPO_DIR / "docs"


def paths_of(nav: object) -> list[str]:
    """The files that a nav of mkdocs.yml names."""
    if isinstance(nav, str):
        return [nav]
    return [path for inner in (nav.values() if isinstance(nav, dict) else nav)
            for path in paths_of(inner)]  # fmt: skip


def test_each_page_is_in_the_nav_once() -> None:
    nav = yaml.safe_load((REPO_DIR / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = [path.relative_to(DOCS_DIR).as_posix() for path in DOCS_DIR.rglob("*.md")]
    assert sorted(paths_of(nav)) == sorted(pages)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, outside the checkout."""
    pytest.importorskip("zensical")
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS_DIR, folder / "docs")
    (folder / "kgrec_cli").symlink_to(REPO_DIR / "kgrec_cli")
    (folder / "mkdocs.yml").write_bytes((REPO_DIR / "mkdocs.yml").read_bytes())
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build/site"


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", "mkdocs.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.extras
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    assert "Your own shop and graph" in pages["index.html"]
    assert "pretrain_kg" in pages["api.html"]
    assert "Raises" in pages["api.html"]  # a docstring, read in sections
    for name, text in pages.items():
        loaded = re.findall(
            r"<(?:script|img|link|iframe)[^>]* (?:src|href)=\"?(https?:[^\" >]*)", text
        )
        assert not loaded, name
        for target in re.findall(r"<a [^>]*href=\"?([^\" >#]+)", text):
            if name != "404.html" and not re.match(r"[a-z]+:", target):
                assert (site / name).parent.joinpath(target).exists(), f"{name}: {target}"


@pytest.mark.extras
def test_a_broken_link_stops_the_build(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Page\n\n[gone](gone.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: small\nsite_dir: build/site\n")
    assert build(tmp_path).returncode != 0
    (tmp_path / "docs/gone.md").write_text("# Found\n")
    assert build(tmp_path).returncode == 0
