"""Run folders, `saved/<dataset>-<model>-<time>/`: made, listed, found and finished.

`run_files` reads and writes what is in one. Here too: the device and the threads that a run
computes with.
"""

import ctypes
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import torch

from kgrec_cli import __version__
from kgrec_cli.config import format_config, resolve_settings
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import MAX_LISTED, KgrecError, UsageError, shorten, unknown_name
from kgrec_cli.formats.atomic import write_atomic
from kgrec_cli.formats.files import staging, write_json, write_text
from kgrec_cli.formats.locks import InUse, only_writer, remove_leftovers
from kgrec_cli.runs.run_files import (
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    ITEM_TYPES,
    ITEMS,
    METRICS,
    MODEL,
    read_metrics,
    write_tensors,
)
from kgrec_cli.settings import Settings

LATEST, BEST = "latest", "best"
"""Names that mean a run by what it is."""


@contextmanager
def new_run(
    saved_dir: Path,
    settings: Settings,
    dataset: Dataset,
    device: torch.device,
    *,
    name: str | None = None,
    suffix: str = "",
    finish: Callable[[Path], object] = lambda run_dir: None,
    **origin: Any,
) -> Iterator[Path]:
    """Yields a new run folder with what is known before any training; this process may write it.

    It is filled under another name and then renamed, so that a kill leaves no half of a run.

    Args:
        saved_dir: The folder of the runs.
        settings: Those of the run.
        dataset: Its data set, for the items.
        device: Where it will be trained.
        name: Its name; None for one of data set, model and time.
        suffix: Ends its name.
        finish: Writes more into it before it is renamed.
        origin: Further values of `environment.json`, at least `on_all_data`.

    Raises:
        KgrecError: It cannot be made; nothing of it is left.
    """
    rows = [
        (token, dataset.titles.get(token), dataset.entities.get(token))
        for token in dataset.items.tokens[1:]
    ]
    table = pl.DataFrame(rows, dict.fromkeys(ITEM_TYPES, pl.String), orient="row")
    origin = {
        "inter_sha256": dataset.inter_sha256,
        "n_users": dataset.n_users,
        "n_interactions": dataset.n_interactions,
        **origin,
    }
    remove_leftovers(saved_dir)
    with ExitStack() as stack:
        if name is None:
            run_dir = _choose_name(saved_dir, dataset.name, settings.model, suffix, stack)
        else:
            run_dir = check_new_name(saved_dir, name + suffix)
            stack.enter_context(only_writer(run_dir))
        with staging(run_dir) as staging_dir:
            write_text(staging_dir / CONFIG, format_config(settings))
            write_atomic(staging_dir / ITEMS, table, ITEM_TYPES)
            write_json(staging_dir / ENVIRONMENT, {**describe_environment(device), **origin})
            finish(staging_dir)
            staging_dir.rename(run_dir)
        yield run_dir


def _choose_name(saved_dir: Path, dataset: str, model: str, suffix: str, stack: ExitStack) -> Path:
    """A free name for a run: data set, model and time. `stack` holds the right to write there."""
    stem = f"{dataset}-{model}-{datetime.now():%Y%m%d-%H%M%S}{suffix}"
    for number in range(1, 100):
        run_dir = saved_dir / (stem if number == 1 else f"{stem}-{number}")
        if not run_dir.exists():
            with suppress(InUse):
                stack.enter_context(only_writer(run_dir))
                return run_dir
    raise KgrecError(f"{saved_dir / stem}: a hundred runs of this second exist already")


def check_new_name(saved_dir: Path, name: str) -> Path:
    """The folder of a run to be named so.

    Raises:
        UsageError: It is no name of a folder, means something else, or is there already.
    """
    kind = name.partition(":")[0]
    if not re.fullmatch(r"[\w][\w.+=-]*", name) or kind in (LATEST, BEST) or name.endswith(".pth"):
        raise UsageError(
            f"run name '{shorten(name)}': expected letters, digits, '-', '_' and '.', and neither "
            f"{LATEST} nor {BEST}"
        )
    if (saved_dir / name).exists():
        raise UsageError(f"{saved_dir / name}: is there already; choose another name")
    return saved_dir / name


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
    meta = {"on_all_data": training["on_all_data"], "tables": widths}  # no times: the same bytes
    write_tensors(run_dir / MODEL, model.state_dict(), meta)
    write_json(run_dir / METRICS, {**metrics, "training": training})
    (run_dir / CHECKPOINT).unlink(missing_ok=True)


def is_run(path: Path) -> bool:
    """Whether a folder is a run, finished or not. One that was killed while it was made is none."""
    return _holds(path, CONFIG, ENVIRONMENT)


def is_finished(run_dir: Path) -> bool:
    """Whether a run was trained to its end."""
    return _holds(run_dir, CONFIG, ENVIRONMENT, METRICS, MODEL)


def is_half_begun(path: Path) -> bool:
    """Whether a folder is what a `train` left that was killed while it made the run's folder."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError:  # a file, or a folder that may not be read
        return False
    return all(name in (CONFIG, ITEMS) or name.startswith(".") for name in names)


def _holds(folder: Path, *names: str) -> bool:
    """Whether all these files are in a folder. False where it may not be read."""
    try:
        return all((folder / name).is_file() for name in names)
    except OSError:
        return False


def list_runs(saved_dir: Path) -> list[Path]:
    """All runs in a folder, oldest first by the time they were started.

    Removes what killed commands left.
    """
    folders = list(saved_dir.glob("[!.]*"))
    for folder in (saved_dir, *folders):
        remove_leftovers(folder)
    runs = [path for path in folders if is_run(path)]
    for run in filter(is_finished, runs):
        with suppress(OSError):
            (run / CHECKPOINT).unlink()
    return sorted(runs, key=lambda path: ((path / ENVIRONMENT).stat().st_mtime_ns, path.name))


def list_half_begun(saved_dir: Path) -> list[Path]:
    """The folders beside the runs that are no runs yet; see `is_half_begun`."""
    return [path for path in sorted(saved_dir.glob("[!.]*")) if is_half_begun(path)]


def remove_folder(path: Path) -> None:
    """Removes a run, or a folder that `is_half_begun`.

    Raises:
        KgrecError: It cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise KgrecError(f"{path}: cannot be removed ({error.strerror})") from error


def find_run(folder: Path, name: str | Path | None, *, finished: bool = True) -> Path:
    """The run that a user means.

    Args:
        folder: The working folder; its runs are in `checkpoint_dir`.
        name: A run folder, its name or the beginning of a single name; of a data set its newest
            run; None or `latest` for the newest run; `best` or `best:DATASET` (see `best_run`).
        finished: Whether the run must be finished.

    Raises:
        KgrecError: No such run, several, or it is not finished; the line says what there is.
    """
    saved_dir = folder / resolve_settings(folder=folder).checkpoint_dir
    runs = list_runs(saved_dir)
    if isinstance(name, str) and name.partition(":")[0] == BEST:
        return best_run(folder, name.partition(":")[2] or None)
    if name is None or name == LATEST:
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
    if all(run.name != name for run in runs):  # of a data set the newest one
        of_dataset = [run for run in runs if dataset_of(run) == name]
        matches = [run for run in of_dataset if is_finished(run) or not finished][-1:] or matches
    for run_dir in [Path(name), saved_dir / name, *(matches if len(matches) == 1 else [])]:
        if is_run(run_dir):
            if finished and not is_finished(run_dir):
                raise KgrecError(
                    f"{run_dir}: not finished; `kgrec train --resume {run_dir.name}` resumes it"
                )
            return run_dir
        if is_half_begun(run_dir):
            raise KgrecError(
                f"{run_dir}: half-begun, its training was killed before it was ready; "
                "`kgrec runs --remove-half-begun` removes it"
            )
    if not runs:
        raise KgrecError(
            f"no run '{name}': nothing under {saved_dir.name}/; `kgrec train` makes one"
        )
    if matches:
        listed = ", ".join(run.name for run in matches[-MAX_LISTED:])
        raise KgrecError(f"run '{name}': {len(matches)} names begin so: {listed}")
    raise KgrecError(unknown_name("run", name, [*(run.name for run in runs), LATEST, BEST]))


def dataset_of(run_dir: Path) -> str | None:
    """The name of a run's data set; None where its `config.yaml` cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        for line in (run_dir / CONFIG).read_text(encoding="utf-8").splitlines():
            if line.startswith("dataset: "):
                return line.removeprefix("dataset: ").strip("'\"")
    return None


def masked_metric(run_dir: Path, part: str, metric: str) -> float | None:
    """A metric of a run's `valid` or `test` part with seen items masked; None if not measured."""
    try:
        values = (read_metrics(run_dir).model_extra or {}).get(f"{part}_masked") or {}
        return float(values[metric])
    except (KgrecError, KeyError, TypeError, ValueError):
        return None


def best_run(folder: Path, dataset: str | None = None) -> Path:
    """The finished run of a data set with the best masked `valid_metric` on validation.

    Args:
        folder: The working folder; its settings say `checkpoint_dir` and `valid_metric`.
        dataset: Its name; None for that of the settings, else the only one that has runs.

    Raises:
        KgrecError: No run with that metric, or runs of several data sets.
    """
    settings = resolve_settings(folder=folder)
    metric = settings.valid_metric.casefold()
    saved_dir = folder / settings.checkpoint_dir
    scores = {run: masked_metric(run, "valid", metric) for run in list_runs(saved_dir)}
    runs = [run for run, score in scores.items() if score is not None and is_finished(run)]
    names = sorted({dataset_of(run) or "" for run in runs})
    dataset = dataset or settings.dataset or (names[0] if len(names) == 1 else None)
    if runs and dataset is None:
        raise KgrecError(f"runs of several data sets: give {BEST}:NAME ({', '.join(names)})")
    candidates = [run for run in runs if dataset_of(run) == dataset]
    if not candidates:
        of = f" of {dataset}" if dataset else ""
        raise KgrecError(f"no finished run{of} under {saved_dir.name}/ with a masked {metric}")
    return max(candidates, key=lambda run: scores[run] or 0.0)


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
    torch.backends.cuda.matmul.allow_tf32 = settings.allow_tf32
    torch.backends.cudnn.allow_tf32 = settings.allow_tf32
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
