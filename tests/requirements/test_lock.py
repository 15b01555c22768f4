"""The locks hold what pyproject.toml asks for, each pin with a hash, and torch's builds apart."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements.make_lock import (
    CUDA_LOCK,
    LOCK,
    RECBOLE_LOCK,
    RECTOOLS_LOCK,
    REPO_DIR,
    TORCH_LOCK,
    builds_of,
    pins_of,
    with_builds,
)

RIVAL_LOCKS = (RECBOLE_LOCK, RECTOOLS_LOCK)
LOCKS = (LOCK, TORCH_LOCK, CUDA_LOCK, *RIVAL_LOCKS)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_each_line_of_a_lock_is_a_pin_or_a_hash(path: Path) -> None:
    pin = r"[\w.-]+==[\w.+!]+( ; [^\\]+)?"
    hashes = r"( \\\n    --hash=sha256:[0-9a-f]{64})+"
    text = re.sub(r"^#.*\n|^-r torch\.txt\n", "", path.read_text(), flags=re.MULTILINE)
    assert re.fullmatch(f"({pin}{hashes}\n)+", text)


def test_the_lock_has_what_pyproject_asks_for() -> None:
    project = tomllib.loads((REPO_DIR / "pyproject.toml").read_text())
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
    ]
    locked = pins_of(LOCK.read_text() + TORCH_LOCK.read_text())
    for requirement in map(Requirement, wanted):
        version = locked[canonicalize_name(requirement.name)].split()[0].partition("==")[2]
        assert version in requirement.specifier, f"{requirement}: run make lock"


@pytest.mark.parametrize("lock", RIVAL_LOCKS, ids=lambda path: path.parent.name)
def test_a_rival_is_locked_as_it_is_asked_for(lock: Path) -> None:
    lines = lock.with_name("requirements.txt").read_text().splitlines()
    locked = pins_of(lock.read_text())
    for requirement in [Requirement(line) for line in lines if not line.startswith("#")]:
        version = locked[requirement.name].split()[0].partition("==")[2]
        assert version in requirement.specifier, f"{requirement}: run make lock"
    assert "torch" not in locked


def test_no_lock_but_the_one_of_cuda_installs_its_libraries() -> None:
    assert "nvidia-cublas" in pins_of(CUDA_LOCK.read_text())
    assert not any(
        "nvidia" in pin for path in (LOCK, *RIVAL_LOCKS) for pin in pins_of(path.read_text())
    )


def test_a_pin_of_a_package_may_stand_once_for_each_marker() -> None:
    lock = (
        "# Made by `make lock`.\n-r torch.txt\n"
        "a-b==1 \\\n    --hash=sha256:11\n"
        "c==1 ; python_version < '3.12' \\\n    --hash=sha256:22 \\\n    --hash=sha256:33\n"
        "c==2 ; python_version >= '3.12' \\\n    --hash=sha256:44\n"
    )
    assert list(pins_of(lock)) == ["a-b", "c"]
    assert "".join(pins_of(lock).values()) == lock.split("torch.txt\n")[1]


def test_another_build_of_torch_is_named_and_its_hash_accepted() -> None:
    pin = "torch==2.13.0 \\\n    --hash=sha256:aa\n"
    name, digest = "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "b" * 64
    lock = with_builds(pin, {name: digest, "torch-2.13.0-cp311-none-macosx.whl": "aa"})
    assert lock == (
        f"# Also accepted: {name} {digest}\n"
        f"torch==2.13.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:{digest}\n"
    )
    assert builds_of(lock, "2.13.0") == {name: digest}
    assert builds_of(lock, "2.13") == {}
