"""The README's four lines and its commands of make, exactly as they stand there.

What makes the test short lies in the folder beforehand and is not overwritten: few epochs and a
small search space. `test_docs.py` runs the README's other commands.
"""

import json
import shlex
from pathlib import Path

import pytest

from tests.conftest import RunCli

README_PATH = Path(__file__).parents[2] / "README.md"


def readme_block(heading: str) -> list[str]:
    """The commands of the first indented block under a heading, without comments."""
    _, _, section = README_PATH.read_text().partition(heading)
    lines: list[str] = []
    for line in section.splitlines():
        if line.startswith("    "):
            lines.append(line.strip())
        elif lines:
            break
    return lines


@pytest.mark.real_data
@pytest.mark.slow
def test_the_four_lines_as_typed(run_cli: RunCli, mirror: None, tmp_path: Path) -> None:
    lines = readme_block("## The real thing")
    assert lines == [
        "kgrec prepare ml-100k",
        "kgrec pretrain-kg --method TransE",
        "kgrec train --freeze-kg",
        "kgrec tune hyper.test",
    ]
    settings = {"dataset": "ml-100k", "epochs": 1, "pretrain_kg": {"epochs": 1}}
    (tmp_path / "kgrec.yaml").write_text(json.dumps(settings))
    (tmp_path / "hyper.test").write_text("dropout_prob choice [0.1, 0.3]\n")
    for line in lines:
        result = run_cli(*shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.stderr}"
    assert json.loads((tmp_path / "kgrec.yaml").read_text()) == settings
    report = json.loads((tmp_path / "dataset/ml-100k/prepare.json").read_text())
    assert report["interactions"]["kept"] == 100_000
    assert report["links"]["items_linked"] == 1_638
    assert (tmp_path / "studies/ml-100k-GRU4RecKG-hyper/best.yaml").is_file()


def test_the_commands_named_by_the_readme_are_targets_of_make() -> None:
    makefile = README_PATH.with_name("Makefile").read_text()
    lines = readme_block("## Two commands")
    assert [line.split("#")[0].strip() for line in lines] == ["make demo", "make test"]
    for line in lines:
        target = line.split()[1]
        assert f"\n{target}: setup\n" in makefile


def test_the_line_after_the_four_is_the_preset() -> None:
    _, _, section = README_PATH.read_text().partition("kgrec tune hyper.test\n")
    commands = [line.strip() for line in section.splitlines() if line.startswith("    kgrec ")]
    assert commands[0] == "kgrec train --preset best"
