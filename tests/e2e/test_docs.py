"""The commands of the pages, run in order as typed, print what the pages say they print.

In an indented block a line that begins with `kgrec` is a command; where none does, the lines are
output of the command before. `RUN` stands for a finished run, each time another one. What makes the
test short lies in the folder beforehand: few epochs and a small search space; so no page shows an
output that depends on them.
"""

import gzip
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from kgrec_cli.runs.run_dir import list_runs
from kgrec_cli.settings import PRESETS
from tests.conftest import RunCli

REPO_DIR = Path(__file__).parents[2]
PAGES = ("README.md", "docs/quickstart.md", "docs/links.md")
ELSEWHERE = ("kgrec serve", "--kg wikidata")
"""Of commands that are tried by tests of their own: one does not end, one asks a server."""


class Command(NamedTuple):
    """A command of a page, and the lines of output that the page shows for it."""

    line: str
    output: list[str]


def page_commands(text: str) -> list[Command]:
    """The commands of a page's indented blocks, continued lines joined, comments taken out."""
    commands: list[Command] = []
    for block in indented_blocks(text):
        typed = [line for line in joined(block) if line.startswith("kgrec ")]
        if typed:
            commands += [Command(line, []) for line in typed]
        elif commands and not block[0].startswith(("make ", "pip ")):
            commands[-1].output.extend(block)
    return commands


def indented_blocks(text: str) -> Iterator[list[str]]:
    """Runs of indented lines, without their indent; fenced code is left out."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    block: list[str] = []
    for line in [*outside.splitlines(), ""]:
        if line.startswith("    "):
            block.append(line.removeprefix("    "))
        elif block:
            yield block
            block = []


def joined(lines: list[str]) -> Iterator[str]:
    """Lines with those that a backslash continues as one."""
    whole = ""
    for line in lines:
        whole += line.removesuffix("\\")
        if not line.endswith("\\"):
            yield whole
            whole = ""


def collapsed(text: str) -> str:
    """The text with every stretch of white space as one blank."""
    return " ".join(text.split())


@pytest.fixture
def folder(mirror: None, real_data_dir: Path, tmp_path: Path) -> Path:
    """A working folder with the files that the pages name, and settings that make runs short."""
    settings = {"dataset": "ml-100k", "epochs": 1, "pretrain_kg": {"epochs": 1}}
    (tmp_path / "kgrec.yaml").write_text(json.dumps(settings))
    (tmp_path / "hyper.test").write_text("dropout_prob choice [0.1]\n")
    shutil.make_archive(str(tmp_path / "ml-100k"), "zip", real_data_dir, "ml-100k")
    with gzip.open(real_data_dir / "freebase/ml-100k.kg.gz") as file:
        (tmp_path / "ml-100k.kg").write_bytes(file.read())
    for name in (
        "freebase/ml2fb.txt",
        "freebase/ml-100k.recbole.link",
        "ml-1m/movies.dat",
        "ml-1m-dbpedia/triples.tsv.gz",
    ):
        shutil.copy(real_data_dir / name, tmp_path)
    write_shop(tmp_path)
    return tmp_path


def write_shop(folder: Path) -> None:
    """A log, triples and links under the names of the README's own-data example."""
    events = [
        {"who": f"u{user}", "what": f"i{(user + step) % 8}", "when": step}
        for user in range(12)
        for step in range(6)
    ]
    pl.DataFrame(events).write_parquet(folder / "clicks.parquet")
    triples = [f"e{item}\tnext\te{(item + 1) % 8}" for item in range(8)]
    (folder / "triples.tsv").write_text("\n".join(["head\trelation\ttail", *triples, ""]))
    links = [f"i{item}\te{item}" for item in range(8)]
    (folder / "item2entity.tsv").write_text("\n".join(["item\tentity", *links, ""]))
    pairs = [f"i{item},i{(item + 1) % 8}" for item in range(8)]
    kinds = [f"i{item},Thing {item},{'red' if item % 2 else 'blue'}" for item in range(8)]
    (folder / "items.csv").write_text("\n".join(["item,title,colour", *kinds, ""]))
    (folder / "related.csv").write_text("\n".join(["item1,item2", *pairs, ""]))


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_print_what_it_shows(
    page: str, run_cli: RunCli, folder: Path
) -> None:
    commands = page_commands((REPO_DIR / page).read_text(encoding="utf-8"))
    assert len(commands) > 3
    for command in commands:
        if any(words in command.line for words in ELSEWHERE):
            continue
        runs = iter(run.name for run in list_runs(folder / "saved"))
        words = shlex.split(command.line, comments=True)[1:]
        result = run_cli(*(next(runs) if word == "RUN" else word for word in words))
        assert result.exit_code == 0, f"{page}: {command.line}\n{result.stderr}"
        printed = collapsed(result.stdout + result.stderr)
        for line in command.output:
            assert collapsed(line) in printed, f"{page}: {command.line}\n{line}\n{printed}"


@pytest.mark.real_data
@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, rest = (REPO_DIR / "README.md").read_text(encoding="utf-8").partition("```python\n")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(rest.partition("```")[0], "README.md", "exec"), names)
    metric, *of_users, after = capsys.readouterr().out.splitlines()
    assert float(metric) == names["run"].metrics["test_masked"]["ndcg@10"]
    assert [line.split()[0] for line in of_users] == ["42", "196"]
    assert after == str([(item.title, item.score) for item in names["found"].items])
    assert len(names["found"].items) == 10


def test_pages_show_outputs_and_not_only_commands() -> None:
    for page in PAGES[1:]:
        commands = page_commands((REPO_DIR / page).read_text(encoding="utf-8"))
        assert any(command.output for command in commands), page


def test_how_a_page_is_read() -> None:
    text = (
        "# Page\n\n    kgrec one --a \\\n        b   # remark\n    kgrec two\n\n    said  1\n\n"
        "    make test\n\n```python\n    kgrec three\n```\n"
    )
    assert page_commands(text) == [
        Command("kgrec one --a     b   # remark", []),
        Command("kgrec two", ["said  1"]),
    ]


def test_the_presets_in_the_docs_are_the_presets() -> None:
    _, _, section = (REPO_DIR / "docs/model.md").read_text().partition("## The presets\n")
    rows = re.findall(r"^\| `(\w+)` \|" + "(.*)\\|" * len(PRESETS) + "$", section, re.MULTILINE)
    for column, preset in enumerate(PRESETS, start=1):
        values = {row[0]: json.loads(row[column]) for row in rows if row[column].strip()}
        assert values == PRESETS[preset]


def test_links_between_pages_lead_somewhere() -> None:
    pages = [REPO_DIR / "README.md", REPO_DIR / "benchmarks/README.md"]
    pages += sorted((REPO_DIR / "docs").rglob("*.md"))
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
