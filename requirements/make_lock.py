"""Writes the locks: each package that `make setup` and its like install, with its hashes.

`make lock` keeps the pins that fit pyproject.toml; `make lock UPGRADE=--upgrade` takes the newest
versions. uv resolves for every system and Python at once; it is installed for this alone, in a
virtual environment that is thrown away. Only wheels are taken: to build a source archive, pip
would install packages without hashes.

torch has a file of its own, since `TORCH_PIP_ARGS` chooses its build. Accepted are all wheels of
the package index, the build that pip chooses here, and those of the present lock. What only a
build with CUDA needs is a file of its own too, several GB that a build for the CPU does without.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

REPO_DIR = Path(__file__).parents[1]
LOCK = REPO_DIR / "requirements/lock.txt"
EXTRAS_LOCK = REPO_DIR / "requirements/extras.txt"
TORCH_LOCK = REPO_DIR / "requirements/torch.txt"
CUDA_LOCK = REPO_DIR / "requirements/torch-cuda.txt"
RECBOLE_LOCK = REPO_DIR / "benchmarks/recbole_side/lock.txt"
RECTOOLS_LOCK = REPO_DIR / "benchmarks/rectools_side/lock.txt"

DEV = ["--extra=dev"]
HEADER = "# Made by `make lock`.\n"
PIN = re.compile(r"^([\w.-]+)==[^\n]*\n(?: [^\n]*\n)*", re.MULTILINE)
HASHES = re.compile(r" \\\n +--hash=\S+")
CUDA_NAME = re.compile("(nvidia|cuda)-.*|triton")
OTHER_BUILD = re.compile(r"^# Also accepted: (torch-\S+) ([0-9a-f]{64})$", re.MULTILINE)


def main() -> None:
    """Writes the six locks and says how much is in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument("torch_pip_args", nargs="*", help="more arguments of pip, for torch alone")
    given = parser.parse_args()
    upgrade = ["--upgrade"] if given.upgrade else []
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin/python"
        output_of(python, "-m", "pip", "install", "--quiet", "uv")

        kept = "".join(path.read_text() for path in (LOCK, EXTRAS_LOCK, TORCH_LOCK, CUDA_LOCK))
        everything = resolved(python, ["pyproject.toml", *DEV, "--extra=extras", *upgrade], kept)
        pins = resolved(python, ["pyproject.toml", *DEV], "".join(everything.values()))
        further = [pin for name, pin in everything.items() if name not in {*pins, "kgrec"}]
        write(EXTRAS_LOCK, further)
        torch = pins.pop("torch")
        cuda = {name: pins.pop(name) for name in [*filter(CUDA_NAME.fullmatch, pins)]}
        version = torch.removeprefix("torch==").split()[0]
        builds = builds_of(TORCH_LOCK.read_text(), version)
        builds |= chosen_build(version, given.torch_pip_args)
        write(TORCH_LOCK, [with_builds(torch, builds)])
        write(CUDA_LOCK, cuda.values())
        write(LOCK, ["-r torch.txt\n", *pins.values()])

        same_torch = f"--constraint={TORCH_LOCK}"
        for lock in (RECBOLE_LOCK, RECTOOLS_LOCK):
            wanted = lock.with_name("requirements.txt")
            pins = resolved(python, [wanted, same_torch, *upgrade], lock.read_text())
            apart = {"torch", *filter(CUDA_NAME.fullmatch, pins)}
            write(lock, [pin for name, pin in pins.items() if name not in apart])


def resolved(python: Path, arguments: Sequence[str | Path], old: str) -> dict[str, str]:
    """What uv resolves requirements to, keeping the versions that stand in the old lock.

    Returns:
        Each package's name with its lines of a lock: version, marker and hashes.
    """
    project = tomllib.loads((REPO_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    out = python.with_name("lock.txt")
    out.write_text(HASHES.sub("", "".join(pins_of(old).values())))  # uv would keep old hashes
    output_of(
        *(python.with_name("uv"), "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--no-build", "--no-header", "--no-annotate", f"--output-file={out}"),
        f"--python-version={project['requires-python'].removeprefix('>=')}",
        *arguments,
        env=index_of_pip(python),
    )
    return pins_of(out.read_text())


def index_of_pip(python: Path) -> dict[str, str]:
    """The package index that pip is set to, as uv's variable; empty if pip takes its default."""
    configured = output_of(python, "-m", "pip", "config", "list")
    found = re.findall(r"^([\w:]+)\.index-url='(.+)'$", configured, re.MULTILINE)
    return {"UV_DEFAULT_INDEX": min(found)[1]} if found else {}  # ":env:", which rules, sorts first


def pins_of(lock: str) -> dict[str, str]:
    """Each package of a lock with its lines, which are several pins where markers differ."""
    pins: dict[str, str] = {}
    for pin in PIN.finditer(lock):
        pins[pin[1]] = pins.get(pin[1], "") + pin[0]
    return pins


def builds_of(torch_lock: str, version: str) -> dict[str, str]:
    """The wheels besides the index's that a lock of torch accepts: file name to SHA-256."""
    builds = {match[1]: match[2] for match in OTHER_BUILD.finditer(torch_lock)}
    of_version = re.compile(rf"torch-{re.escape(version)}[+-]")
    return {name: digest for name, digest in builds.items() if of_version.match(name)}


def chosen_build(version: str, pip_args: Iterable[str]) -> dict[str, str]:
    """The wheel of torch that pip would install here: file name to SHA-256."""
    report = json.loads(
        output_of(
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report=-"),
            *("--ignore-installed", "--no-deps", "--only-binary=:all:"),
            *(*pip_args, f"torch=={version}"),
        )
    )
    (chosen,) = (package["download_info"] for package in report["install"])
    name = urllib.parse.unquote(chosen["url"].rpartition("/")[2])
    return {name: chosen["archive_info"]["hashes"]["sha256"]}


def with_builds(torch: str, builds: Mapping[str, str]) -> str:
    """The pin of torch with the hashes of further wheels, each named in a comment above."""
    further = {name: digest for name, digest in sorted(builds.items()) if digest not in torch}
    comments = "".join(f"# Also accepted: {name} {digest}\n" for name, digest in further.items())
    hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in further.values())
    return f"{comments}{torch.rstrip()}{hashes}\n"


def write(path: Path, lines: Iterable[str]) -> None:
    """Writes one lock and says how many packages and hashes it has."""
    text = HEADER + "".join(lines)
    path.write_text(text, encoding="utf-8")
    name, count = path.relative_to(REPO_DIR), len(pins_of(text))
    print(f"{name}: {count} packages, {text.count('--hash=')} hashes")


def output_of(*command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """What a command prints; its error ends this one."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=REPO_DIR,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"make lock: {Path(command[0]).name} ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
