"""`kgrec demo` as typed on a fresh machine: it ends with recommendations a person can read."""

from pathlib import Path

import pytest

from tests.conftest import RunCli


@pytest.mark.slow
def test_the_demo_ends_with_recommendations(run_cli: RunCli, tmp_path: Path) -> None:
    result = run_cli("demo")
    assert result.exit_code == 0, result.stderr
    for command in ("prepare", "pretrain-kg", "train", "evaluate", "recommend"):
        assert f"$ kgrec {command}" in result.stdout
    *_, table = result.stdout.partition("$ kgrec recommend")
    rows = [line for line in table.splitlines() if line.strip()[:1].isdigit()]
    assert len(rows) == 5
    assert (tmp_path / "kgrec-demo/dataset/sample/sample.ent_feature").is_file()
    again = run_cli("demo")
    assert again.exit_code == 0, again.stderr
