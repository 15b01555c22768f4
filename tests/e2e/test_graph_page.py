"""The commands of docs/graph.md run as typed, on a small shop."""

from pathlib import Path

import numpy as np

from tests.conftest import RunCli
from tests.e2e.test_docs import page_commands

PAGE = Path(__file__).parents[2] / "docs" / "graph.md"


def write_shop(folder: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["item,title,brand,tags,price,year,ean,about"]
    for n in range(60):
        about = f"Thing number {n} is the one that you will want to have every day of your life"
        tags = "|".join(rng.choice(["new", "red", "small"], 2, replace=False))
        lines.append(f"A{n},Thing {n},B{n % 4},{tags},{n}.90,{1990 + n % 20},{40_000 + n},{about}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    log = [f"u{user},A{rng.integers(60)},{user + t}" for user in range(40) for t in range(9)]
    (folder / "clicks.csv").write_text("user,item,time\n" + "\n".join(log) + "\n")
    makers = [f"m{n}\tmade_in\tplace{n % 3}" for n in range(60)]
    (folder / "makers.tsv").write_text("\n".join(makers) + "\n")
    (folder / "makers.link").write_text("".join(f"A{n}\tm{n}\n" for n in range(60)))
    (folder / "places.tsv").write_text("".join(f"place{n}\tin\tland\n" for n in range(3)))


def test_the_page_runs(run_cli: RunCli, tmp_path: Path):
    write_shop(tmp_path)
    commands = page_commands(PAGE.read_text())
    assert len(commands) == 5
    for command in commands:
        done = run_cli(*command.line.split()[1:])
        assert done.exit_code == 0, (command.line, done.stderr)
    first = run_cli(*commands[0].line.split()[1:])
    assert "ean: it holds identifiers" in first.stderr
    assert "about: it is free text" in first.stderr
    assert "price: it holds numbers" in first.stderr
