"""The wheel, as a user installs it: nothing of the checkout is seen, and the demo runs from it."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from email import message_from_bytes
from pathlib import Path

import pytest

CHECKOUT_DIR = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def call(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What a command of this Python prints; its error ends the test."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(checkout_dir: Path, dist_dir: Path) -> Path:
    pip_wheel = ("-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
    call(*pip_wheel, checkout_dir, "--wheel-dir", dist_dir, cwd=dist_dir)
    (path,) = dist_dir.glob("kgrec-*.whl")
    return path


@pytest.fixture(scope="module")
def wheel_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(CHECKOUT_DIR, tmp_path_factory.mktemp("dist"))


def test_a_wheel_built_twice_is_the_same_bytes(wheel_path: Path, tmp_path: Path) -> None:
    """The second time from a copy of other times, other permissions and another path."""
    copy_dir = tmp_path / "copy"
    for name in ("kgrec_cli", "sample_data"):
        shutil.copytree(
            CHECKOUT_DIR / name, copy_dir / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(CHECKOUT_DIR / name, copy_dir)
    for path in copy_dir.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700 if path.is_dir() else 0o600)
    again_path = build_wheel(copy_dir, tmp_path)
    assert again_path.name == wheel_path.name
    assert again_path.read_bytes() == wheel_path.read_bytes()


def test_the_wheel_says_what_it_is(wheel_path: Path) -> None:
    with zipfile.ZipFile(wheel_path) as wheel:
        names = wheel.namelist()
        (metadata_name,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(wheel.read(metadata_name))
        license_name = metadata_name.replace("METADATA", "licenses/LICENSE")
        assert b"The kgrec authors" in wheel.read(license_name)
    assert metadata["Name"] == "kgrec"
    assert metadata["License-Expression"] == "MIT"
    assert "kgrec_cli/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"kgrec_cli", metadata_name.split("/")[0]}


def test_the_demo_runs_from_the_wheel_in_an_empty_folder(wheel_path: Path, tmp_path: Path) -> None:
    installed_dir, empty_dir = tmp_path / "installed", tmp_path / "empty"
    empty_dir.mkdir()
    pip = ("-m", "pip", "install", "--no-deps", "--target", installed_dir)
    call(*pip, wheel_path, cwd=empty_dir)
    env = {"PYTHONPATH": str(installed_dir)}  # before an editable install
    where = call("-c", "import kgrec_cli; print(kgrec_cli.__file__)", cwd=empty_dir, env=env)
    assert Path(where.strip()) == installed_dir / "kgrec_cli" / "__init__.py"
    shown = call(installed_dir / "bin" / "kgrec", "demo", cwd=empty_dir, env=env)
    assert "$ kgrec recommend" in shown
    assert (empty_dir / "kgrec-demo/dataset/sample/sample.ent_feature").is_file()
    assert [path.name for path in empty_dir.iterdir()] == ["kgrec-demo"]
