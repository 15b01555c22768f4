"""The baselines of a data set: ranked once for each data, split and metrics, and kept beside it."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from kgrec_cli.config import narrow
from kgrec_cli.core.evaluation.baselines import BASELINES, QUICK, Baseline, measure_baseline
from kgrec_cli.core.evaluation.measure import Measured, MeasureSettings, part_targets
from kgrec_cli.core.evaluation.ranking import Ranking
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Progress, Warn
from kgrec_cli.formats.files import CannotWrite
from kgrec_cli.runs.held_out import HeldOut
from kgrec_cli.runs.run_files import read_tensors, write_tensors

WhichBaselines = bool | Literal["all"]
"""True: all four up to `MAX_ITEMS` items, above it the quick ones; "all": all four; False: none."""

MAX_ITEMS = 5000
VERSION = 1  # of how they are computed: what another version kept is not read


def measure_baselines(
    held_out: HeldOut, which: WhichBaselines, on_event: OnEvent
) -> dict[str, Baseline]:
    """The baselines on the test targets of a run's data set, by name; none without targets.

    They are read from `dataset/NAME/baselines/`, where they were kept; what is missing is computed
    and kept. Of a ranking that was kept only the ranks are there, no lists. A baseline that does
    not fit into the memory is left out with a warning.
    """
    histories, split, popularity = held_out.dataset.histories, held_out.split, held_out.popularity
    n_items, targets = len(popularity), part_targets(histories, split, "test")
    if not which or not len(targets):
        return {}
    names: Sequence[str] = BASELINES
    if which != "all" and n_items - 1 > MAX_ITEMS:
        left_out = " and ".join(name for name in BASELINES if name not in QUICK)
        text = f"{left_out} take a while, so they are measured by --baselines all only"
        on_event(Note(f"{n_items - 1:,} items: {text}"))
        names = QUICK
    measuring = narrow(held_out.recommender.settings, MeasureSettings)
    path = _path(held_out, measuring)
    found = _read(path, targets)
    missing = [name for name in names if name not in found]
    for name in missing:
        task = f"ranking by {name}"

        def tell(done: int, total: int, task: str = task) -> None:
            on_event(Progress(task, done, total, "targets", passing=True))

        try:
            found[name] = measure_baseline(name, histories, split, measuring, popularity, tell)
        except KgrecError as error:
            on_event(Warn(f"{name} is left out: {error}"))
    if missing:
        with suppress(CannotWrite):  # a folder that is read-only: they are computed again next time
            _write(path, found)
    return {name: found[name] for name in names if name in found}


def _path(held_out: HeldOut, settings: MeasureSettings) -> Path:
    """A name that follows from all that the figures depend on."""
    histories, split = held_out.dataset.histories, held_out.split
    digest = hashlib.sha256()
    arrays = (
        *(histories.items, histories.offsets, histories.user_ids),
        *(split.train_end, split.valid_end, held_out.popularity),
    )
    for array in arrays:
        digest.update(array.tobytes())
    values = {
        "version": VERSION,
        "of_samples": split.of_samples,
        "metrics": sorted(settings.metrics),
        "topk": sorted(settings.topk),
        "mode": settings.eval_args.mode,
        "recbole_compat": settings.recbole_compat,
        "seed": settings.seed,
    }
    digest.update(json.dumps(values, sort_keys=True).encode())
    folder = atomic_path(held_out.recommender.settings, held_out.recommender.folder, "inter").parent
    return folder / "baselines" / f"{digest.hexdigest()[:16]}.safetensors"


def _write(path: Path, baselines: dict[str, Baseline]) -> None:
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
    rankings = {name: each.measured.ranking for name, each in baselines.items()}
    tensors = {f"{name}.ranks": torch.from_numpy(of.ranks) for name, of in rankings.items()}
    tensors |= {
        f"{name}.ranks_masked": torch.from_numpy(of.ranks_masked) for name, of in rankings.items()
    }
    meta = {
        name: {"metrics": each.measured.metrics, "parameters": each.parameters}
        for name, each in baselines.items()
    }
    write_tensors(path, tensors, meta)


def _read(path: Path, targets: np.ndarray[Any, Any]) -> dict[str, Baseline]:
    """What is kept; nothing where the file is missing or damaged."""
    if not path.is_file():
        return {}
    no_lists = np.zeros((len(targets), 0), np.int32)
    try:
        tensors, meta = read_tensors(path)
        return {
            name: Baseline(
                Measured(
                    targets,
                    Ranking(
                        tensors[f"{name}.ranks"].numpy(),
                        tensors[f"{name}.ranks_masked"].numpy(),
                        no_lists,
                        no_lists,
                    ),
                    values["metrics"],
                ),
                values["parameters"],
            )
            for name, values in meta.items()
        }
    except (KgrecError, KeyError, TypeError, AttributeError):
        return {}
