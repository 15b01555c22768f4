"""What the pages tell a reader to type exists, and the commands of the smaller pages run.

Pages with a test of their own: README, quickstart, links (test_docs), graph (test_graph_page),
daily_updates, export, serve, python, shop and the notebook (test_shop_page).
"""

import bz2
import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main

from kgrec_cli import query_service
from kgrec_cli.cli import app
from kgrec_cli.stages.prepare import wikidata
from tests.conftest import QUICK, RunCli
from tests.e2e.test_docs import indented_blocks, joined, page_commands
from tests.query_server import WD, WDT, Graph, serving

REPO_DIR = Path(__file__).parents[2]
PAGES = {
    path.relative_to(REPO_DIR).as_posix(): path.read_text(encoding="utf-8")
    for path in [
        *sorted((REPO_DIR / "docs").glob("*.md")),
        *(REPO_DIR / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    ]
}
# By page, where its commands and code are run; the tests that follow run those of the rest.
RUN_BY = {
    "README.md": "test_docs.py", "docs/quickstart.md": "test_docs.py",
    "docs/links.md": "test_docs.py", "docs/graph.md": "test_graph_page.py",
    "docs/daily_updates.md": "test_daily_updates.py", "docs/export.md": "test_export_page.py",
    "docs/serve.md": "test_serve_docs.py", "docs/python.md": "test_python_api.py",
    "docs/shop.md": "test_shop_page.py", "docs/notebook.md": "test_shop_page.py",
    "docs/index.md": "test_demo.py", "docs/scaling.md": __file__,
    "docs/formats.md": __file__,
    "docs/explanations.md": __file__, "docs/recbole.md": __file__, "docs/wikidata.md": __file__,
}  # fmt: skip


def typed(text: str) -> Iterator[str]:
    """All commands of a page: of its blocks, its shell code and what stands between backticks."""
    for block in indented_blocks(text):
        yield from joined(block)
    for code in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from joined(code.splitlines())
    for code in re.findall(r"(?<!`)`([^`\n]+)`", text):
        yield code.replace("\\|", "|")


def unknown_in(command: str) -> list[str]:
    """What `kgrec` does not know of a command: its name, or options."""
    group = typer.main.get_command(app)
    words = shlex.split(command, comments=True)[1:]
    while words and hasattr(group, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in group.commands:
            return [name]
        group = group.commands[name]
        if name == "estimate":  # its options are those of the command behind it
            named = words if words and not words[0].startswith("-") else ["train", *words]
            return unknown_in(shlex.join(["kgrec", *named]))
    known = {option for param in group.params for option in (*param.opts, *param.secondary_opts)}
    options = (re.match(r"--[a-z][\w-]*", word) for word in words)
    return [found[0] for found in options if found and found[0] not in {*known, "--help"}]


def test_what_is_unknown() -> None:
    assert unknown_in("kgrec train --epochs 3 --set a=1  # --gone") == []
    assert unknown_in("kgrec runs show RUN --json") == []
    assert unknown_in("kgrec train --epoch 3 --set=a=1") == ["--epoch"]
    assert unknown_in("kgrec runs shows RUN") == ["shows"]
    assert unknown_in("kgrec trian") == ["trian"]
    assert unknown_in("kgrec estimate --epochs 3") == []
    assert unknown_in("kgrec estimate tune hyper.test --epochs 3") == ["--epochs"]


@pytest.mark.parametrize("page", PAGES)
def test_each_command_and_option_of_a_page_exists(page: str) -> None:
    makefile = (REPO_DIR / "Makefile").read_text(encoding="utf-8")
    for line in typed(PAGES[page]):
        if line.startswith("kgrec "):
            assert not unknown_in(line), line
        for module in re.findall(r"python -m ((?:benchmarks|requirements)[\w.]*\w)", line):
            assert find_spec(module), line
        for target in re.findall(r"^make ([a-z-]+)", line):
            assert re.search(rf"^{target}(?: |:)|^test-newest test-lowest:", makefile, re.M), line


def test_each_page_with_commands_or_code_is_run_by_a_test() -> None:
    for page, text in PAGES.items():
        has_code = re.search(r"^```(?:python|sh)\n", text, re.MULTILINE)
        if page_commands(text) or has_code:
            name = Path(RUN_BY.get(page, f"none for {page}")).name
            assert Path(__file__).with_name(name).is_file(), page


@pytest.fixture
def sample(run_cli: RunCli, tmp_path: Path) -> Path:
    """A run of one epoch on the sample data."""
    folder = REPO_DIR / "sample_data"
    raw = ("--raw", folder, "--kg", folder / "kg.tsv", "--links", folder / "links.tsv")
    for arguments in (
        ("prepare", "sample", *raw),
        ("pretrain-kg", "--epochs", "1", "--embedding-size", "8"),
        ("train", "--epochs", "1", *QUICK, "--set=recbole_compat=true"),
    ):
        done = run_cli(*arguments)
        assert done.exit_code == 0, done.stderr
    return tmp_path


@pytest.mark.slow
def test_the_page_of_explanations(run_cli: RunCli, sample: Path) -> None:
    recommend, evaluate = page_commands(PAGES["docs/explanations.md"])[:2]
    shown = run_cli(*shlex.split(recommend.line)[1:])
    assert shown.exit_code == 0, shown.stderr
    for begin in ("rests on: ", "graph: ", "score "):
        assert any(line.strip().startswith(begin) for line in shown.stdout.splitlines()), begin
    done = run_cli(*shlex.split(evaluate.line)[1:])
    assert done.exit_code == 0, done.stderr


@pytest.mark.slow
def test_the_weights_of_the_page_for_those_from_recbole(run_cli: RunCli, sample: Path) -> None:
    export, back = page_commands(PAGES["docs/recbole.md"])
    done = run_cli(*shlex.split(export.line.replace("RUN", "latest"), comments=True)[1:])
    assert done.exit_code == 0, done.stderr
    path = "saved/GRU4RecKG-....pth"
    assert path in back.line
    done = run_cli(*shlex.split(back.line.replace(path, "model.pth"), comments=True)[1:])
    assert done.exit_code == 0, done.stderr
    code = re.search(r"in RecBole: (.*)", export.line)
    assert code
    asked: dict[str, object] = {}
    import torch

    class Model:
        def load_state_dict(self, state: dict[str, object]) -> None:
            asked.update(state)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(sample)
        exec(code[1], {"model": Model(), "torch": torch})
    assert "item_embedding.weight" in asked


@pytest.mark.slow
def test_the_page_of_formats(run_cli: RunCli, tmp_path: Path) -> None:
    prepare, convert = (
        shlex.split(command.line, comments=True)[1:]
        for command in page_commands(PAGES["docs/formats.md"])
    )
    sample = REPO_DIR / "sample_data"
    raw = ("--raw", sample, "--kg", sample / "kg.tsv", "--links", sample / "links.tsv")
    assert run_cli(*prepare[:2], *raw).exit_code == 0
    events = (tmp_path / "dataset/ml-100k/ml-100k.inter").read_bytes()
    assert run_cli(*convert).exit_code == 0
    files = {path.name for path in (tmp_path / "dataset/ml-100k").glob("*.inter*")}
    assert files == {"ml-100k.inter.parquet"}
    assert run_cli(*convert[:-1], "atomic").exit_code == 0
    assert (tmp_path / "dataset/ml-100k/ml-100k.inter").read_bytes() == events
    assert run_cli(*prepare, *raw).exit_code == 0
    files = {path.name for path in (tmp_path / "dataset/ml-100k").glob("*.inter*")}
    assert files == {"ml-100k.inter.parquet"}


@pytest.mark.slow
def test_the_page_of_scaling(run_cli: RunCli, sample: Path) -> None:
    (line,) = re.findall(r"^torchrun (.*)$", PAGES["docs/scaling.md"], re.MULTILINE)
    (sample / "kgrec.yaml").write_text("dataset: sample\nepochs: 1\nhidden_size: 16\n")
    n_before = len(list((sample / "saved").iterdir()))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *shlex.split(line)],
        cwd=sample, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(REPO_DIR)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((sample / "saved").iterdir())) == n_before + 1
    (sample / "hyper.test").write_text("learning_rate choice [0.01]\n")
    page = re.findall(r"^kgrec (estimate.*)$", PAGES["docs/scaling.md"], re.MULTILINE)
    assert [run_cli(*shlex.split(line, comments=True)).exit_code for line in page] == [0, 0, 0]


ISBNS = {"9780306406157": "978-0-306-40615-7", "9780198534532": "978-0-19-853453-2"}


@pytest.fixture
def films(mirror: None, real_data_dir: Path, tmp_path: Path) -> Graph:
    """The files that docs/wikidata.md names, and what the service knows of their items."""
    _, *rows = (real_data_dir / "ml-latest-small/links.csv").read_text().splitlines()
    imdb = {f"tt{row.split(',')[1]}": f"Q{row.split(',')[0]}" for row in rows[:300]}
    isbn = {ISBNS[digits]: f"Q{number}" for number, digits in enumerate(ISBNS, start=1)}
    facts = [(thing, "P57", f"Q99{int(thing[1:]) // 2 % 5}") for thing in imdb.values()]
    facts += [("Q1", "P50", "Q9900"), ("Q2", "P50", "Q9900"), ("Q1", "P50", "Q9901")]
    (tmp_path / "log.csv").write_text(
        "user,item,time\n" + "".join(f"{u},{i},{u}{i}\n" for u in (1, 2) for i in (1, 2))
    )
    books = [f"{n},Book {n},{digits}\n" for n, digits in enumerate(ISBNS, start=1)]
    (tmp_path / "books.csv").write_text("item,title,isbn13\n" + "".join(books))
    lines = [f"<{WD}{head}> <{WDT}{relation}> <{WD}{tail}> ." for head, relation, tail in facts]
    lines += [f'<{WD}{thing}> <{WDT}P345> "{text}" .' for text, thing in imdb.items()]
    (tmp_path / "latest-truthy.nt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "dbpedia").mkdir()
    base = "http://dbpedia.org/resource/"
    authors = ((1, "Ada"), (2, "Ada"), (1, "Bo"))
    dbpedia = [f"<{base}Book_{n}> <{base}author> <{base}{name}> ." for n, name in authors]
    (tmp_path / "dbpedia/part.ttl.bz2").write_bytes(bz2.compress("\n".join(dbpedia).encode()))
    (tmp_path / "mapping.tsv").write_text(f"1\t{base}Book_1\n2\t{base}Book_2\n")
    ids = {"P345": imdb, "P212": isbn}
    kinds = dict.fromkeys(("P57", "P50"), "WikibaseItem") | dict.fromkeys(
        ("P345", "P4947", "P212", "P957"), "ExternalId"
    )
    return Graph({p: {k: [v] for k, v in of.items()} for p, of in ids.items()}, facts, types=kinds)


@pytest.mark.real_data
@pytest.mark.slow
def test_the_page_of_wikidata(
    run_cli: RunCli, films: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_service, "PAUSE_S", 0.001)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    commands = page_commands(PAGES["docs/wikidata.md"])
    n_linked = []
    with serving(films) as service:
        monkeypatch.setattr(wikidata, "ENDPOINT", service.endpoint)
        for command in commands:
            words = shlex.split(command.line)[1:]
            done = run_cli(*words)
            assert done.exit_code == 0, f"{command.line}\n{done.stderr}"
            report = json.loads((tmp_path / f"dataset/{words[1]}/prepare.json").read_text())
            n_linked.append(report["links"]["items_linked"])
    assert n_linked == [300, 2, 300, 2]
