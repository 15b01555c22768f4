"""RecBole's `run_recbole` under its own name, and a run as RecBole's `load_data_and_model`.

    from kgrec_cli.quick_start import run_recbole
    run_recbole(model="GRU4RecKG", dataset="ml-100k")

works in the folder of `kgrec prepare` and `kgrec pretrain-kg`. Progress is shown on standard error.
Errors are `KgrecError`, each one line.
"""

import sys
import tempfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kgrec_cli import console
from kgrec_cli.api import load_run
from kgrec_cli.config import known_names, resolve_settings
from kgrec_cli.core.data.histories import Ints
from kgrec_cli.core.data.splits import test_targets, train_targets, valid_targets
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.dataset.load import Dataset, split_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.settings import Settings
from kgrec_cli.stages.train import run_train


def run_recbole(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    queue: Any = None,
) -> dict[str, Any]:
    """Trains and measures, and returns what RecBole's `run_recbole` returns.

    As there, `--key=value` on the script's command line overrides `config_dict`, which overrides
    the files, and the last lines printed are `best valid : ...` and `test result: ...`. Differs
    from RecBole: an unknown key is an error, except on the command line, where it may belong to the
    script; the test result is always of the best epoch.

    Args:
        model: GRU4RecKG or GRU4Rec; None leaves it to the settings.
        dataset: Name of the data set.
        config_file_list: Settings files, later over earlier.
        config_dict: Settings; None is a value.
        saved: Keep the run folder under `checkpoint_dir`.
        queue: Where to put the result as well (RecBole's multi-process runs).

    Returns:
        `best_valid_score`, `valid_score_bigger`, `best_valid_result` and `test_result` (lower-case
        metric names to values rounded to `metric_decimal_place`; seen items not masked), and
        `run_dir`, None when not saved.

    Raises:
        KgrecError: What the command line would say in one line.
    """
    folder = Path()
    settings = resolve_settings(
        folder=folder,
        config_paths=[Path(name) for name in config_file_list or ()],
        values=config_dict,
        options={"model": model, "dataset": dataset},
        assignments=_command_line(model, dataset),
        needs_dataset=True,
        on_note=console.note,
    )
    with tempfile.TemporaryDirectory() as elsewhere, console.listening() as on_event:
        if not saved:
            settings = settings.model_copy(update={"checkpoint_dir": elsewhere})
        (run,) = run_train(settings, folder, on_event=on_event)
    digits = settings.metric_decimal_place
    valid, test = (
        {name: round(value, digits) for name, value in run.metrics.get(part, {}).items()}
        for part in ("valid", "test")
    )
    result = {
        "best_valid_score": round(run.best_score, digits),
        "valid_score_bigger": True,
        "best_valid_result": valid,
        "test_result": test,
        "run_dir": str(run.run_dir) if saved else None,
    }
    console.say(f"best valid : {OrderedDict(valid)}")
    console.say(f"test result: {OrderedDict(test)}")
    if queue is not None:
        queue.put(result)
    return result


def run(
    model: str | None,
    dataset: str | None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    nproc: int = 1,
    **cluster: Any,
) -> dict[str, Any]:
    """RecBole's `run`, which its `run_recbole.py` calls: `run_recbole` in one process.

    Raises:
        KgrecError: More than one process is asked for, or as `run_recbole`.
    """
    if nproc != 1 or cluster.get("world_size", -1) > 1:
        raise KgrecError(f"nproc {nproc}: one process trains; leave nproc and world_size out")
    return run_recbole(model, dataset, config_file_list, config_dict, saved)


def _command_line(model: str | None, dataset: str | None) -> list[str]:
    """The settings on the script's command line, as `key=value`; `model=...` does not override."""
    names = {*known_names()} - {"model" if model else "", "dataset" if dataset else ""}
    assignments = []
    for text in sys.argv[1:]:
        key, separator, value = text.removeprefix("--").partition("=")
        key = key.replace("-", "_")
        if text.startswith("--") and separator and key in names:
            assignments.append(f"{key}={value}")
            console.note(f"from the command line: {text}")
    return assignments


class LoadedRun(NamedTuple):
    """A run in memory, in the order of the tuple that RecBole's `load_data_and_model` returns.

    Attributes:
        config: The settings that it was trained with.
        model: Its best weights, in evaluation mode.
        dataset: Its data: vocabularies, histories, titles.
        train_data: int64 (n,), the training targets as indices into `dataset.histories.items`.
            Differs from RecBole: there these three are data loaders.
        valid_data: int64 (n,), the validation targets.
        test_data: int64 (n,), the test targets.
    """

    config: Settings
    model: GRU4RecKG
    dataset: Dataset
    train_data: Ints
    valid_data: Ints
    test_data: Ints


def load_data_and_model(model_file: str | Path | None = None) -> LoadedRun:
    """The data and the model of a finished run. `kgrec_cli.load_run` gives its recommendations.

    Differs from RecBole: takes a run folder (or its name under `saved/`; None for the newest)
    instead of a pickle; `kgrec import` makes one of RecBole's checkpoints.

    Raises:
        KgrecError: No such run, or its data set is missing.
    """
    run = load_run(model_file, quiet=True)
    histories, split = run.dataset.histories, split_dataset(run.settings, run.dataset)
    train, valid, test = (
        targets(histories, split) for targets in (train_targets, valid_targets, test_targets)
    )
    return LoadedRun(run.settings, run.model, run.dataset, train, valid, test)
