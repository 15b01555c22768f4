"""A working folder as one value, without what differs from one undisturbed run to the next."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

PASSING = ("elapsed_s", "targets_per_s", "train_s", "command", "metrics_s", "worker")
"""Keys that hold a time, or the name of a run or a process."""
NOT_COMPARED = ("study.db", "chart.html")  # dates; the leaderboard has what counts
RUN_TIME = re.compile(r"-\d{8}-\d{6}(-\d+)?")


def leftovers(folder: Path) -> list[str]:
    """The hidden files and folders in a working folder: a command that has ended leaves none."""
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.startswith(".")
    )


def describe(folder: Path, known_runs: frozenset[str]) -> dict[str, str]:
    """A digest by path for each file of a working folder.

    Runs that are not in `known_runs` are named `new` and numbered in the order of their names.
    """
    state = {}
    new_runs = sorted(
        path.name for path in (folder / "saved").glob("[!.]*") if path.name not in known_runs
    )
    names = {name: f"new{number}" for number, name in enumerate(new_runs)}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_dir() or path.name in NOT_COMPARED or "/." in f"/{relative}":
            continue
        parts = [names.get(part, part) for part in relative.parts]
        state["/".join(parts)] = hashlib.sha256(_content(path)).hexdigest()
    return state


def without_passing(value: Any) -> Any:
    """A JSON value without the keys of `PASSING`; the times in names of runs are left out."""
    if isinstance(value, dict):
        return {key: without_passing(inner) for key, inner in value.items() if key not in PASSING}
    if isinstance(value, list):
        return [without_passing(inner) for inner in value]
    return RUN_TIME.sub("", value) if isinstance(value, str) else value


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".json":
            return json.dumps(without_passing(json.loads(path.read_bytes()))).encode()
        if path.suffix == ".jsonl" and path.name == "history.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            return json.dumps(without_passing(rows)).encode()
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            return b"".join(name.encode() + tensors[name].tobytes() for name in sorted(tensors))
        if path.name == "leaderboard.csv":
            return _without_times(path)
    except (ValueError, SafetensorError):
        pass  # half a file: as it is
    return path.read_bytes()


def _without_times(path: Path) -> bytes:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    kept = [number for number, name in enumerate(rows[0]) if name not in PASSING]
    return "\n".join(",".join(row[number] for number in kept) for row in rows).encode()
