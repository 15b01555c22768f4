"""Schemathesis makes requests from the OpenAPI document: every answer is one that it names."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.extras, pytest.mark.slow]


@pytest.mark.parametrize("key", [None, "secret"])
def test_schemathesis_finds_nothing(trained_folder: Path, tmp_path: Path, key: str | None) -> None:
    from tests.service.processes import running

    pytest.importorskip("schemathesis")
    program = Path(sys.executable).with_name("schemathesis")
    arguments, headers = [], []
    if key is not None:
        (tmp_path / "key").write_text(key)
        arguments = ["--api-key-file", str(tmp_path / "key")]
        headers = ["--header", f"Authorization: Bearer {key}"]
    with running(trained_folder, *arguments) as service:
        found = subprocess.run(
            [
                program if program.is_file() else shutil.which("schemathesis"),
                "run",
                f"{service.address}/openapi.json",
                "--max-examples=40",
                "--seed=1",
                *headers,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stdout[-6000:]
        assert "No issues found" in found.stdout
