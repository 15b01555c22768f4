"""A run folder, `saved/<dataset>-<model>-<time>/`: what training writes and other commands read.

`config.yaml` (resolved settings), `items.tsv` (the vocabulary: row n is item id n), `history.jsonl`
(one line an epoch), `environment.json`, `model.safetensors` (the best weights), `metrics.json`
(present once the run is finished), and while it runs `checkpoint.safetensors`. Here too: the device
and the threads that a run computes with.
"""

import ctypes
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from kgrec_cli import __version__
from kgrec_cli.bounded_yaml import read_yaml
from kgrec_cli.config import build_settings, format_config, resolve_settings
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import MAX_LISTED, KgrecError, unknown_name
from kgrec_cli.formats.atomic import read_atomic, write_atomic
from kgrec_cli.formats.files import cannot_write, read_json, write_json, write_text, writing
from kgrec_cli.settings import Settings

CONFIG, ITEMS, HISTORY = "config.yaml", "items.tsv", "history.jsonl"
ENVIRONMENT, MODEL, METRICS = "environment.json", "model.safetensors", "metrics.json"
CHECKPOINT = "checkpoint.safetensors"


def create_run(
    saved_dir: Path,
    settings: Settings,
    dataset: Dataset,
    device: torch.device,
    *,
    suffix: str = "",
    **origin: Any,
) -> Path:
    """A new run folder with what is known before any training: settings, items, environment.

    `suffix` ends its name; `origin` are further values of `environment.json`, at least
    `on_all_data`.

    Raises:
        KgrecError: It cannot be made.
    """
    run_dir = _make_dir(saved_dir, dataset.name, settings.model, suffix)
    write_text(run_dir / CONFIG, format_config(settings))
    types = {"item_id": "token", "title": "token_seq", "entity_id": "token"}
    rows = [
        (token, dataset.titles.get(token), dataset.entities.get(token))
        for token in dataset.items.tokens[1:]
    ]
    write_atomic(
        run_dir / ITEMS, pl.DataFrame(rows, dict.fromkeys(types, pl.String), orient="row"), types
    )
    origin = {"inter_sha256": dataset.inter_sha256, **origin}
    write_json(run_dir / ENVIRONMENT, {**describe_environment(device), **origin})
    return run_dir


def _make_dir(saved_dir: Path, dataset: str, model: str, suffix: str) -> Path:
    """A new, empty run folder named after the data set, the model and the time."""
    stem = f"{dataset}-{model}-{datetime.now():%Y%m%d-%H%M%S}{suffix}"
    for number in range(1, 100):
        run_dir = saved_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            run_dir.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise cannot_write(run_dir, error) from error
        return run_dir
    raise KgrecError(f"{saved_dir / stem}: a hundred runs of this second exist already")


def finish_run(
    run_dir: Path,
    model: GRU4RecKG,
    training: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, float]],
) -> None:
    """Writes the best weights and the metrics: from here on the run is finished.

    `training` holds best_epoch, epochs, on_all_data, ...; `metrics` are by part, masked and not,
    and empty where nothing was held out.
    """
    widths = {name: model.table_of(name).embedding_dim for name in model.branches[1:]}
    write_tensors(run_dir / MODEL, model.state_dict(), {**training, "tables": widths})
    merge_metrics(run_dir, {**metrics, "training": training})
    (run_dir / CHECKPOINT).unlink(missing_ok=True)


def is_run(path: Path) -> bool:
    """Whether a folder is a run, finished or not."""
    return (path / CONFIG).is_file()


def is_finished(run_dir: Path) -> bool:
    """Whether a run was trained to its end."""
    return (run_dir / METRICS).is_file() and (run_dir / MODEL).is_file()


def list_runs(saved_dir: Path) -> list[Path]:
    """All runs in a folder, oldest first by the time they were started."""
    runs = [path for path in saved_dir.glob("*") if is_run(path)]
    return sorted(runs, key=lambda path: ((path / ENVIRONMENT).stat().st_mtime_ns, path.name))


def find_run(folder: Path, name: str | Path | None, *, finished: bool = True) -> Path:
    """The run that a user means.

    Args:
        folder: The working folder; its runs are in `checkpoint_dir`.
        name: A run folder, its name or the beginning of a single name; None for the newest run.
        finished: Whether the run must be finished.

    Raises:
        KgrecError: No such run, several, or it is not finished; the line says what there is.
    """
    saved_dir = folder / resolve_settings(folder=folder).checkpoint_dir
    runs = list_runs(saved_dir)
    if name is None:
        candidates = [run for run in runs if is_finished(run)] if finished else runs
        if candidates:
            return candidates[-1]
        if runs:
            raise KgrecError(
                f"no finished run under {saved_dir.name}/: resume one by "
                f"`kgrec train --resume {runs[-1].name}`"
            )
        raise KgrecError(f"no run under {saved_dir.name}/: `kgrec train` makes one")
    name = str(name)
    if name.endswith(".pth"):
        raise KgrecError(f"{name}: a RecBole checkpoint; `kgrec import {name}` makes a run of it")
    matches = [run for run in runs if run.name.startswith(name)]
    for run_dir in [Path(name), saved_dir / name, *(matches if len(matches) == 1 else [])]:
        if is_run(run_dir):
            if finished and not is_finished(run_dir):
                raise KgrecError(
                    f"{run_dir}: not finished; `kgrec train --resume {run_dir.name}` resumes it"
                )
            return run_dir
    if not runs:
        raise KgrecError(
            f"no run '{name}': nothing under {saved_dir.name}/; `kgrec train` makes one"
        )
    if matches:
        listed = ", ".join(run.name for run in matches[-MAX_LISTED:])
        raise KgrecError(f"run '{name}': {len(matches)} names begin so: {listed}")
    raise KgrecError(unknown_name("run", name, [run.name for run in runs]))


def read_run_settings(run_dir: Path) -> Settings:
    """The settings that a run was trained with.

    Raises:
        KgrecError: Its `config.yaml` is missing or malformed.
    """
    path = run_dir / CONFIG
    return build_settings(read_yaml(path), str(path))


def read_run_items(run_dir: Path) -> pl.DataFrame:
    """The vocabulary: String columns item_id, title, entity_id; row n (from 1) is item id n."""
    return read_atomic(run_dir / ITEMS)


def write_history(run_dir: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON line per epoch."""
    write_text(run_dir / HISTORY, "".join(json.dumps(row) + "\n" for row in rows))


def merge_metrics(run_dir: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Puts `values` over those in `metrics.json` and returns all of them."""
    path = run_dir / METRICS
    merged = {**(read_json(path) if path.is_file() else {}), **values}
    write_json(path, merged)
    return merged


def write_tensors(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes tensors and a JSON value in one safetensors file, whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with writing(path) as temporary_path:
        try:
            save_file(plain, temporary_path, {"meta": json.dumps(meta)})
        except SafetensorError as error:
            raise cannot_write(path, OSError(str(error))) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors (on the CPU) and the JSON value in a safetensors file.

    Raises:
        KgrecError: The file is missing or is no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = (file.metadata() or {}).get("meta", "null")
        return load_file(path), json.loads(meta)
    except FileNotFoundError as error:
        raise KgrecError(f"{path}: no such file") from error
    except (SafetensorError, json.JSONDecodeError) as error:
        raise KgrecError(f"{path}: not a whole safetensors file ({error})") from error


def choose_device(name: str) -> torch.device:
    """The torch device of a `device` setting; auto is CUDA where there is one.

    Raises:
        KgrecError: CUDA is asked for and not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        n_devices = torch.cuda.device_count()
        raise KgrecError(f"device {name}: torch finds {n_devices} CUDA devices; use auto or cpu")
    return device


def set_up_cpu(settings: Settings) -> None:
    """Sets the number of CPU threads of torch to `threads`, if that is set; keeps freed memory."""
    keep_freed_memory()
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)


def keep_freed_memory() -> None:
    """Tells glibc to keep up to 1 GB of freed memory rather than give it back at once.

    A training step frees gradients and activations of some 10 MB each and asks for the same again.
    By default glibc returns them to the system in between, and the system hands out zeroed pages
    anew: on a virtual machine that made TransE epochs 1.2 to 6 times as long. Results stay the
    same; with another C library nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # names of mallopt's options in malloc.h
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 2**25)  # the largest that glibc takes
        library.mallopt(trim_threshold, 2**30)


def describe_environment(device: torch.device) -> dict[str, Any]:
    """What a run was made with: versions, machine, device, threads, command line."""
    packages = ("torch", "numpy", "polars", "pykeen", "safetensors")
    return {
        "kgrec": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "command": ["kgrec", *sys.argv[1:]],
    }
