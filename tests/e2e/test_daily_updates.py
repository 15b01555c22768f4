"""docs/daily_updates.md as it stands there, on the sample data: two days of a shop."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from benchmarks.accuracy.warm_start import RESULT, page_table
from tests.conftest import RunCli
from tests.e2e.test_docs import collapsed, page_commands

REPO_DIR = Path(__file__).parents[2]
PAGE = REPO_DIR / "docs/daily_updates.md"
NEW_ITEMS, NEW_USERS = 3, 10


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The sample's log in two days; some items and users come on the second day only."""
    for name in ("movies.csv", "kg.tsv", "links.tsv"):
        shutil.copy(REPO_DIR / "sample_data" / name, tmp_path)
    head, *rows = csv.reader((REPO_DIR / "sample_data/ratings.csv").open())
    rows.sort(key=lambda row: float(row[3]))
    items = sorted({row[1] for row in rows})[:NEW_ITEMS]
    users = sorted({row[0] for row in rows})[:NEW_USERS]
    cut = rows[len(rows) * 95 // 100][3]
    days: dict[str, list[list[str]]] = {"2026-11-25": [], "2026-11-26": []}
    for row in rows:
        is_new = row[0] in users or row[1] in items or float(row[3]) >= float(cut)
        days["2026-11-26" if is_new else "2026-11-25"].append(row)
    for day, of_day in days.items():
        with (tmp_path / f"{day}.csv").open("w") as file:
            csv.writer(file).writerows([head, *of_day])
    (tmp_path / "kgrec.yaml").write_text(json.dumps({"epochs": 1, "pretrain_kg": {"epochs": 1}}))
    (tmp_path / "log").mkdir()
    return tmp_path


@pytest.mark.slow
def test_two_days_of_a_shop(run_cli: RunCli, shop: Path) -> None:
    days = sorted(shop.glob("2026-*.csv"))
    for command in page_commands(PAGE.read_text()):
        if command.line.startswith("kgrec prepare"):
            shutil.move(days[0], shop / "log" / days.pop(0).name)
        result = run_cli(*shlex.split(command.line)[1:])
        assert result.exit_code == 0, f"{command.line}\n{result.stderr}"
        for line in command.output:
            assert collapsed(line) in collapsed(result.stdout + result.stderr), command.line
    assert (shop / "lists.parquet").is_file()
    assert (shop / "vectors/users.parquet").is_file()


def test_the_table_is_that_of_the_figures() -> None:
    block = re.search(
        r"<!-- warm start: benchmarks/results/warm_start.json -->\n\n(.*?)\n\n"
        r"<!-- end of warm start -->",
        PAGE.read_text(),
        flags=re.DOTALL,
    )
    assert block is not None
    assert block[1] == page_table(json.loads(RESULT.read_text()))
