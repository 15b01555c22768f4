"""docs/export.md as it stands there: its commands and its code give the lists of `recommend`."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunCli

REPO_DIR = Path(__file__).parents[2]
pytestmark = pytest.mark.extras
STEP = re.compile(r"^    (kgrec [^\n]*)$|^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def sample(run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    kg = ("--kg", f"{REPO_DIR}/sample_data/kg.tsv", "--links", f"{REPO_DIR}/sample_data/links.tsv")
    for arguments in (
        ("prepare", "sample", "--raw", f"{REPO_DIR}/sample_data", *kg),
        ("pretrain-kg", "--set", "pretrain_kg.epochs=1"),
        ("train", "--epochs", "2", "--hidden-size", "16", "--threads", "1"),
    ):
        result = run_cli(*arguments)
        assert result.exit_code == 0, result.stderr
    return tmp_path


def test_the_page_gives_the_lists_of_recommend(
    run_cli: RunCli, sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(*typed: str) -> list[str]:
        (found,) = json.loads(run_cli("recommend", *typed, "--json").stdout)
        return [row["item"] for row in found["items"]]

    blocks: list[dict[str, Any]] = []
    printed = []
    for command, code in STEP.findall((REPO_DIR / "docs/export.md").read_text()):
        if command:
            result = run_cli(*shlex.split(command)[1:])
            assert result.exit_code == 0, result.stderr
        else:
            capsys.readouterr()
            blocks.append({})
            exec(compile(code, "docs/export.md", "exec"), blocks[-1])
            printed.append(capsys.readouterr().out)
    top10, users = blocks[0]["top10"], blocks[0]["users"]
    assert printed[0] == f"{top10('7')}\n"
    for user in ("7", *users["user"][:40]):
        assert top10(user) == listed("--user", user)
    first, second = (json.loads(line.replace("'", '"')) for line in printed[1].splitlines())
    assert first == listed("--items", "2,11,14", "--topk", "5")
    assert second == listed("--items", "14", "--topk", "5")
    assert {"vectors", "model.onnx", "model.pth"} <= {path.name for path in sample.iterdir()}
