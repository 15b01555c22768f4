"""docs/shop.md followed to its end in an empty folder, and the notebook beside it."""

import re
import shlex
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

import pytest

from tests.conftest import RunCli
from tests.e2e.test_docs import page_commands

DOCS_DIR = Path(__file__).parents[2] / "docs"


def is_alike(shown: str, printed: str) -> bool:
    """The same words; the same numbers but for a tenth or 0.01, as machines round otherwise."""
    pairs = list(zip_longest(shown.split(), printed.split(), fillvalue=""))
    return all(a == b or _is_near(a, b) for a, b in pairs)


def _is_near(shown: str, printed: str) -> bool:
    number = re.compile(r"[+-]?\d+\.\d+")
    if number.sub("#", shown) != number.sub("#", printed):
        return False
    numbers = zip(number.findall(shown), number.findall(printed), strict=True)
    return all(float(a) == pytest.approx(float(b), rel=0.1, abs=0.01) for a, b in numbers)


def test_what_is_alike() -> None:
    assert is_alike("1  plain  0.2048 (x)", "1 plain 0.2153 (x)")
    assert is_alike("0.0061", "0.0009")
    assert not is_alike("1  plain  0.2048", "1 plain 0.2399")
    assert not is_alike("1  plain  0.2048", "1 graph 0.2048")
    assert not is_alike("22,275 100.0%", "22,276 100.0%")
    assert not is_alike("a b", "a b c")


@pytest.mark.slow
def test_the_shop_to_its_end(run_cli: RunCli, tmp_path: Path) -> None:
    shutil.copy(DOCS_DIR / "make_shop.py", tmp_path)
    subprocess.run([sys.executable, "-I", "make_shop.py"], cwd=tmp_path, check=True, timeout=60)
    commands = page_commands((DOCS_DIR / "shop.md").read_text(encoding="utf-8"))
    assert len(commands) == 20
    for command in commands:
        result = run_cli(*shlex.split(command.line)[1:])
        assert result.exit_code == 0, f"{command.line}\n{result.stderr}"
        printed = (result.stdout + result.stderr).splitlines()
        for shown in command.output:
            assert any(is_alike(shown, line) for line in printed), (
                f"{command.line}\n{shown}\n" + "\n".join(printed)
            )


@pytest.mark.extras
@pytest.mark.slow
def test_the_notebook_prints_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.syspath_prepend(DOCS_DIR)
    from make_notebook import run_notebook

    kept = nbformat.read(DOCS_DIR / "tutorial.ipynb", as_version=4)
    monkeypatch.setenv("PYTHONPATH", str(DOCS_DIR.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two threads warn when other programs are busy
    for before, after in zip(kept.cells, run_notebook().cells, strict=True):
        shown, printed = texts(before), texts(after)
        if "train(" in before.source or "recommend(" in before.source:
            # Epochs, titles and scores near to each other differ from machine to machine.
            assert [line.split()[:1] for line in shown[:1]] == [
                line.split()[:1] for line in printed[:1]
            ], before.source
        else:
            assert len(shown) == len(printed), before.source
            assert all(map(is_alike, shown, printed)), "\n".join(printed)


def texts(cell: dict) -> list[str]:
    """The lines that a cell printed or returned."""
    outputs = cell.get("outputs", ())
    return "".join(
        o["text"] if "text" in o else o["data"]["text/plain"] for o in outputs
    ).splitlines()
