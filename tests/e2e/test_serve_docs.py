"""docs/serve.md: its commands are answered as it shows; the Dockerfile builds where docker is."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import QUICK, RunCli

REPO_DIR = Path(__file__).parents[2]
PAGE = (REPO_DIR / "docs/serve.md").read_text(encoding="utf-8")
pytestmark = [pytest.mark.extras, pytest.mark.slow]


@pytest.fixture
def folder(run_cli: RunCli, tmp_path: Path) -> Path:
    """The data of the demo, and a run of one epoch."""
    sample = REPO_DIR / "sample_data"
    raw = ["--raw", sample, "--kg", sample / "kg.tsv", "--links", sample / "links.tsv"]
    assert run_cli("prepare", "sample", *raw).exit_code == 0
    assert run_cli("pretrain-kg", "--epochs", "1").exit_code == 0
    assert run_cli("train", "--epochs", "1", *QUICK).exit_code == 0
    return tmp_path


def keys(value: object) -> object:
    """The names in a JSON value, of a list those of its first member."""
    if isinstance(value, dict):
        return {name: keys(inner) for name, inner in value.items()}
    return keys(value[0]) if isinstance(value, list) else None


def test_the_commands_of_the_page_are_answered_as_it_shows(folder: Path, tmp_path: Path) -> None:
    from tests.service.processes import running

    blocks = re.findall(r"^```sh\n(.*?)^```(?:\n\n```json\n(.*?)^```)?", PAGE, re.M | re.S)
    assert len(blocks) == 5
    with running(folder) as service:
        for typed, shown in blocks:
            script = typed.replace("http://127.0.0.1:8000", service.address)
            script = script.replace("curl -s", "curl --fail-with-body -sw '\\n'")
            done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            answers = [json.loads(line) for line in done.stdout.splitlines() if line]
            assert answers
            if shown:
                assert keys(answers[0]) == keys(json.loads(shown.replace(", ...", "")))
        script = f"curl -s '{service.address}/similar?item=umbrella'"
        answer = json.loads(subprocess.run(["sh", "-c", script], capture_output=True).stdout)
        shown = re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S)[-1].replace(", ...", "")
        assert answer["error"] == json.loads(shown)["error"]
        assert answer["matches"][0] == json.loads(shown)["matches"][0]


def test_the_image_builds_from_the_wheel(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.xfail("no docker here")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, REPO_DIR, "--wheel-dir", tmp_path / "dist"], check=True)
    shutil.copy(REPO_DIR / "Dockerfile", tmp_path)
    subprocess.run([docker, "build", "-q", "-t", "kgrec-test", tmp_path], check=True)
    shown = subprocess.run([docker, "run", "--rm", "kgrec-test", "--help"], capture_output=True)
    assert b"Serve a run over HTTP" in shown.stdout
