"""`kgrec import`: a RecBole checkpoint in, a run folder that evaluate and recommend take out.

The checkpoint does not say which item a row is: that follows from the data set, which must be
there. The run is measured at once, and its validation score compared with the checkpoint's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor

from kgrec_cli.config import INTER, build_settings, narrow
from kgrec_cli.core.data.histories import Vocabulary, vocabulary_of
from kgrec_cli.core.data.splits import item_popularity
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure_model, merge_parts
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.stored_tensors import find_misfit
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.dataset.load import Dataset, items_in_graph, load_dataset, split_dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.atomic import read_atomic
from kgrec_cli.formats.files import sha256_of
from kgrec_cli.formats.recbole_checkpoint import Checkpoint
from kgrec_cli.runs.model_fit import expected_weights, widths_of
from kgrec_cli.runs.run_dir import choose_device, finish_run, new_run
from kgrec_cli.runs.run_files import merge_metrics
from kgrec_cli.settings import Settings
from kgrec_cli.stages.evaluate import measure_slices

# RecBole's settings that change the measured numbers; the others of `RECORDED` are for the record,
# and for a final fit.
MEASURED = (
    "MAX_ITEM_LIST_LENGTH", "metrics", "topk", "valid_metric", "metric_decimal_place", "eval_args",
    "rm_dup_inter", "val_interval", "filter_inter_by_user_or_item",
    "user_inter_num_interval", "item_inter_num_interval",
    "benchmark_filename", "field_separator", "USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD",
    "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "ENTITY_ID_FIELD",
)  # fmt: skip
RECORDED = (
    *MEASURED, "seed", "dropout_prob", "loss_type", "freeze_kg", "train_neg_sample_args",
    "learner", "learning_rate", "weight_decay", "train_batch_size", "stopping_step", "eval_step",
    "clip_grad_norm", "eval_batch_size",
)  # fmt: skip

# RecBole's GRU4Rec has other names than the item branch of its GRU4RecKG; kgrec has the latter.
GRU4REC_NAMES = {"gru_layers.": "item_gru_layers.", "dense.": "dense_layer."}

FEW_EVENTS = 0.05
"""Share of a score that RecBole's order of events may explain; rows mixed up cost far more."""


@dataclass(frozen=True)
class Imported:
    """The run that an import wrote, its metrics by part, and the checkpoint's own score if any."""

    run_dir: Path
    metrics: dict[str, dict[str, float]]
    best_valid_score: float | None


def checkpoint_settings(
    checkpoint: Checkpoint, path: Path, folder: Path, settings: Settings
) -> dict[str, Any]:
    """The settings that a checkpoint's model was trained and measured with, over the folder's.

    Values that kgrec does not take are ignored. The data set is the checkpoint's, if it is there.

    Raises:
        KgrecError: No checkpoint of a GRU4RecKG or GRU4Rec; `path` is where it was read from.
    """
    values = settings.model_dump(mode="json")
    if "loss_type" in checkpoint.config:
        values["train_neg_sample_args"] = None
    recorded = _recorded(checkpoint.config)
    values |= {name: value for name, value in recorded.items() if _is_valid(name, value)}
    sizes = _sizes(checkpoint.weights, path)
    build_settings(sizes, str(path))
    values |= sizes
    chosen = checkpoint.config.get("load_col")
    if isinstance(chosen, Mapping) and checkpoint.item_tokens is None:
        values["load_col"] = dict.fromkeys(map(str, chosen), "*")  # which files may filter
    dataset = checkpoint.config.get("dataset")
    dataset_dir = folder / settings.data_path / str(dataset)
    if dataset and any(any(dataset_dir.glob(f"*{end}")) for end in INTER):
        values["dataset"] = dataset
    return values


def run_import(
    checkpoint: Checkpoint, path: Path, settings: Settings, folder: Path, *, on_event: OnEvent
) -> Imported:
    """Makes a run folder from RecBole's weights and measures it.

    `settings` are those of `checkpoint_settings`, the data set named.

    Raises:
        KgrecError: No checkpoint of a GRU4RecKG or GRU4Rec, or one of another data set.
    """
    sizes = _sizes(checkpoint.weights, path)
    settings = build_settings({**settings.model_dump(mode="json"), **sizes}, str(path))
    for name, value in _recorded(checkpoint.config).items():
        if not _is_valid(name, value):
            text = f"{path}: its {name} {value!r} is not supported; the setting of kgrec is used"
            on_event(Warn(f"{text}, so numbers differ") if name in MEASURED else Note(text))
    dataset = _load_dataset(checkpoint, path, settings, folder, on_event)
    weights = rename_tensors(checkpoint.weights, GRU4REC_NAMES)
    entities = weights.get("entity_embedding.weight")
    tables = {} if entities is None else {"entity": entities.float().numpy()}
    device = choose_device("cpu")
    shape = narrow(settings, ModelSettings), len(dataset.items)
    weights = {name: tensor.float() for name, tensor in weights.items()}
    misfit = find_misfit(weights, expected_weights(*shape, widths_of(tables)))
    if misfit:
        raise KgrecError(f"{path}: not the weights of a {settings.model}: {misfit}")
    model = build_model(*shape, tables, device)
    model.load_state_dict(weights)
    split = split_dataset(settings, dataset)
    measured = measure_model(model, dataset.histories, split, narrow(settings, MeasureSettings))
    metrics = merge_parts(measured)
    popularity = item_popularity(
        dataset.histories, split, len(dataset.items), targets_only=settings.recbole_compat
    )
    slices = measure_slices(measured["test"], dataset, popularity, settings)
    n_epochs = 1 if checkpoint.epoch is None else checkpoint.epoch + 1
    training = {"best_epoch": n_epochs, "epochs": n_epochs, "on_all_data": False, "imported": True}

    def finish(run_dir: Path) -> None:
        finish_run(run_dir, model, training, metrics)
        merge_metrics(run_dir, {"slices": slices})

    with new_run(
        folder / settings.checkpoint_dir,
        settings,
        dataset,
        device,
        suffix="-imported",
        finish=finish,
        on_all_data=False,
        imported_from=path.name,
        imported_sha256=sha256_of(path),
    ) as run_dir:
        pass
    n_left_out = _count_left_out(checkpoint, settings, folder)
    _compare_score(checkpoint, settings, metrics.get("valid", {}), n_left_out, on_event)
    return Imported(run_dir, metrics, checkpoint.best_valid_score)


def _recorded(config: Mapping[str, Any]) -> dict[str, Any]:
    """RecBole's settings that a run records, in kgrec's terms, without those that are None."""
    values = {name: config[name] for name in RECORDED if config.get(name) is not None}
    sampling = values.get("train_neg_sample_args") or {}
    if sampling.get("distribution") in (None, "none") or values.get("loss_type") == "CE":
        values.pop("train_neg_sample_args", None)
    else:
        names = ("distribution", "sample_num")
        values["train_neg_sample_args"] = {name: sampling[name] for name in names}
    return values


def _is_valid(name: str, value: Any) -> bool:
    loss = {"loss_type": "BPR"} if name == "train_neg_sample_args" else {}
    try:
        build_settings({name: value, **loss}, name)
    except KgrecError:
        return False
    return True


def _sizes(weights: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The model and its sizes, from the names and shapes of the tensors."""
    tensors = rename_tensors(weights, GRU4REC_NAMES)
    tables = ["item_embedding.weight", "dense_layer.weight"]
    model = "GRU4Rec" if "gru_layers.weight_ih_l0" in weights else "GRU4RecKG"
    if model == "GRU4RecKG":
        tables.insert(1, "entity_embedding.weight")
    for name in tables:
        if name not in tensors or tensors[name].dim() != 2:
            raise KgrecError(f"{path}: no table {name} in it; expected RecBole's GRU4RecKG")
    return {
        "model": model,
        "preset": None,
        "recbole_compat": True,
        "train_batching": "prefix",
        "embedding_size": tensors["item_embedding.weight"].shape[1],
        "hidden_size": tensors["dense_layer.weight"].shape[1] // (len(tables) - 1),
        "seen_bias": False,
        "kg_items": False,
        "layer_norm": False,
        "residual": False,
        "similarity": "dot",
        "num_layers": sum(name.startswith("item_gru_layers.weight_hh_l") for name in tensors),
    }


def rename_tensors(
    weights: Mapping[str, Tensor], beginnings: Mapping[str, str]
) -> dict[str, Tensor]:
    """The tensors, the beginning of each name replaced: `GRU4REC_NAMES`, or the other way round."""
    renamed = {}
    for name, tensor in weights.items():
        old = next((beginning for beginning in beginnings if name.startswith(beginning)), "")
        renamed[beginnings.get(old, "") + name.removeprefix(old)] = tensor
    return renamed


def _load_dataset(
    checkpoint: Checkpoint, path: Path, settings: Settings, folder: Path, on_event: OnEvent
) -> Dataset:
    """The data set, its items numbered as the rows of the checkpoint are."""
    dataset = load_dataset(settings, folder, on_event)
    n_items, n_rows = len(dataset.items), len(checkpoint.weights["item_embedding.weight"])
    if checkpoint.item_tokens is not None and checkpoint.item_tokens != list(dataset.items.tokens):
        raise KgrecError(f"{path}: its items are not those of {dataset.name}")
    if n_rows == n_items:
        return dataset
    chosen = checkpoint.config.get("load_col")  # RecBole reads every file unless this names some
    if not isinstance(chosen, Mapping) or "item" in chosen:
        items = _items_with_item_file(settings, folder, dataset)
        if n_rows == len(items):
            text = "items of the .item file have no interaction; they are candidates, as in RecBole"
            on_event(Note(f"{n_rows - n_items:,} {text}"))
            new_ids = items.encode(pl.Series(dataset.items.tokens))
            histories = replace(dataset.histories, items=new_ids[dataset.histories.items])
            return replace(dataset, items=items, histories=histories)
    which = " with an entity in the graph" if settings.model == "GRU4RecKG" else ""
    raise KgrecError(
        f"{path}: {n_rows - 1:,} items, but {dataset.name} has {n_items - 1:,}{which}; "
        "is it of another data set (--dataset), or were interactions filtered (--set)?"
    )


def _items_with_item_file(settings: Settings, folder: Path, dataset: Dataset) -> Vocabulary:
    """RecBole's numbers when the `.item` file is read too: its further items, unlinked ones first.

    Source: `_merge_item_and_entity` in RecBole's `data/dataset/kg_dataset.py`.
    """
    rated = pl.Series("item_id", dataset.items.tokens[1:], dtype=pl.String)
    tokens = pl.concat([rated, dataset.catalogue["item_id"]]).unique(maintain_order=True).to_list()
    if settings.model == "GRU4RecKG":
        linked = items_in_graph(settings, folder, dataset.entities)
        tokens.sort(key=linked.__contains__)
    return vocabulary_of(tokens)


def _count_left_out(checkpoint: Checkpoint, settings: Settings, folder: Path) -> int | None:
    """How many items of the log `kgrec export` left out; None for RecBole's own files."""
    if checkpoint.item_tokens is None or settings.benchmark_filename:
        return None
    path = atomic_path(settings, folder, "inter")
    items = read_atomic(path, [settings.ITEM_ID_FIELD], settings.field_separator).to_series()
    return len(set(items.drop_nulls().cast(pl.String)) - set(checkpoint.item_tokens))


def _compare_score(
    checkpoint: Checkpoint,
    settings: Settings,
    valid: Mapping[str, float],
    n_left_out: int | None,
    on_event: OnEvent,
) -> None:
    """Compares the validation score with the checkpoint's: this proves that rows match items."""
    theirs, name = checkpoint.best_valid_score, settings.valid_metric
    their_name = str(checkpoint.config.get("valid_metric", "")).casefold()
    if theirs is None or name.casefold() not in valid or their_name != name.casefold():
        return
    if settings.eval_args.mode_of("valid") != "full":
        return  # ranked among sampled items, which are others here
    decimals = settings.metric_decimal_place
    ours = valid[name.casefold()]
    line = f"validation {name} {ours:.{decimals}f} here, {theirs:.{decimals}f} in the checkpoint"
    if abs(ours - theirs) <= 0.51 * 10**-decimals:
        on_event(Note(line))
    elif n_left_out:
        reason = f"the run that was exported ranked {n_left_out:,} items more, which RecBole drops"
        on_event(Note(f"{line}: {reason} (no entity in the graph)"))
    elif n_left_out is None and abs(ours - theirs) <= FEW_EVENTS * theirs:
        on_event(Note(f"{line}: RecBole rounds times to float32, which moves a few events"))
    else:
        on_event(Warn(f"{line}: are these the data files that it was trained on?"))
