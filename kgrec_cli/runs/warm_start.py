"""A warm start: the weights of a finished run under a model of the data set as it is now.

Items are known by their tokens. What the run learned of an item goes to the item's new row; items
that the run does not know keep their initial values. The GRUs and layers are taken over whole.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from kgrec_cli.config import narrow
from kgrec_cli.core.data.histories import Vocabulary, vocabulary_of
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings
from kgrec_cli.core.stored_tensors import find_misfit
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.runs.model_fit import expected_weights, read_fitting_weights
from kgrec_cli.runs.run_files import (
    Environment,
    read_environment,
    read_run_items,
    read_run_settings,
)
from kgrec_cli.settings import Settings

FREE = ("dropout_prob", "hidden_dropout_prob", "freeze_kg", "seed", "recbole_compat")
"""Settings of the model that a warm start may change: its tensors stay the same."""


@dataclass(frozen=True)
class WarmStart:
    """A finished run to start from: folder, settings, items, weights by name, what made it."""

    run_dir: Path
    settings: Settings
    items: Vocabulary
    weights: dict[str, Tensor]
    environment: Environment


def read_warm_start(run_dir: Path, settings: Settings) -> WarmStart:
    """The run to start from, for a training with these settings.

    Raises:
        KgrecError: A damaged run, or settings that make another model of it.
    """
    theirs = read_run_settings(run_dir)
    own_shape, shape = narrow(theirs, ModelSettings), narrow(settings, ModelSettings)
    if settings.model != theirs.model:
        raise KgrecError(_other_shape(run_dir, "model", theirs.model, settings.model))
    for name, value in asdict(shape).items():
        if name not in FREE and value != getattr(own_shape, name):
            raise KgrecError(_other_shape(run_dir, name, getattr(own_shape, name), value))
    items = vocabulary_of(read_run_items(run_dir)["item_id"].to_list())
    weights, _, _ = read_fitting_weights(run_dir, own_shape, len(items))
    return WarmStart(run_dir, theirs, items, weights, read_environment(run_dir))


def _other_shape(run_dir: Path, name: str, theirs: object, ours: object) -> str:
    return (
        f"--from {run_dir.name}: its {name} is {theirs}, found {ours}; a warm start keeps the "
        "model's shape: leave the setting as it is, or train anew"
    )


def check_fits(
    warm: WarmStart, settings: Settings, dataset: Dataset, widths: Mapping[str, int]
) -> None:
    """Checks a run beside the data set to go on with, before a run folder is made.

    `widths` are those of the data set's feature tables, by branch.

    Raises:
        KgrecError: The run knows no item of it, or has other feature tables.
    """
    name = warm.run_dir.name
    if not any(warm.items.get(token) for token in dataset.items.tokens[1:]):
        raise KgrecError(
            f"--from {name}: it knows no item of {dataset.name}; is it of another data set?"
        )
    expected = expected_weights(narrow(settings, ModelSettings), len(warm.items), widths)
    misfit = find_misfit(warm.weights, expected)
    if misfit:
        raise KgrecError(
            f"--from {name}: {misfit}; a warm start needs feature files of the same names and "
            "widths as the run's"
        )


def warn_of_leaks(warm: WarmStart, settings: Settings, folder: Path, on_event: OnEvent) -> None:
    """Warns where the weights may have been trained on events that the new run holds out.

    That is by the run itself, or by one before it that its own first weights came from.
    """
    ours = settings.eval_args
    run_dir, theirs, made = warm.run_dir, warm.settings, warm.environment
    met = {run_dir}
    while True:
        same_mode = theirs.eval_args.model_copy(update={"mode": ours.mode})
        if made.on_all_data or same_mode != ours:
            how = (
                "was trained on all data"
                if made.on_all_data
                else "split the events in another way (eval_args)"
            )
            on_event(
                Warn(
                    f"{run_dir.name} {how}, so the weights may know events that are held out now: "
                    "metrics are too good"
                )
            )
            return
        if made.warm_start is None or (run_dir := folder / made.warm_start) in met:
            return
        met.add(run_dir)
        try:
            theirs, made = read_run_settings(run_dir), read_environment(run_dir)
        except KgrecError:
            text = f"{warm.run_dir.name} comes from {run_dir.name}, which is gone: it is not known"
            on_event(Note(f"{text} whether that saw events that are held out now"))
            return


@torch.no_grad()
def take_over(warm: WarmStart, model: GRU4RecKG, dataset: Dataset, on_event: OnEvent) -> None:
    """Puts the run's weights into a new model of the data set, and says what is new in it."""
    ids = [warm.items.get(token) or 0 for token in dataset.items.tokens]
    rows = torch.tensor(ids[1:]).nonzero()[:, 0] + 1
    old_rows = torch.tensor(ids)[rows]
    tables = {f"{name}_embedding.weight": name for name in model.branches}
    for name, weight in model.state_dict().items():
        if name not in tables:
            weight.copy_(warm.weights[name])
        elif model.get_parameter(name).requires_grad:
            weight[rows] = warm.weights[name][old_rows].to(weight.device)
        else:
            _warn_of_other_vectors(warm, tables[name], weight[rows], old_rows, on_event)
    _tell(warm, dataset, len(rows), on_event)


def _warn_of_other_vectors(
    warm: WarmStart, branch: str, vectors: Tensor, old_ids: Tensor, on_event: OnEvent
) -> None:
    """Frozen vectors are those of the data set: the run's weights were learned on the run's."""
    theirs = warm.weights[f"{branch}_embedding.weight"][old_ids]
    differs = (vectors.cpu() != theirs).any(dim=1)
    n_other = int((differs & theirs.any(dim=1)).sum())
    if n_other:
        on_event(
            Warn(
                f"{n_other:,} of {len(old_ids):,} items have another {branch} vector than in "
                f"{warm.run_dir.name}: what it learned of them fits the old ones; if all were made "
                "anew, train anew"
            )
        )


def _tell(warm: WarmStart, dataset: Dataset, n_known: int, on_event: OnEvent) -> None:
    n_items, n_before = len(dataset.items) - 1, len(warm.items) - 1
    text = f"from {warm.run_dir.name}: {n_items - n_known:,} of {n_items:,} items are new"
    if n_before > n_known:
        text += f", {n_before - n_known:,} are gone"
    counts: Mapping[str, tuple[int | None, int]] = {
        "users": (warm.environment.n_users, dataset.n_users),
        "interactions": (warm.environment.n_interactions, dataset.n_interactions),
    }
    for what, (before, now) in counts.items():
        text += f"; {now:,} {what}" + ("" if before is None else f" ({now - before:+,})")
    on_event(Note(text))
