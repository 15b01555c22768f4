"""`kgrec import`: a RecBole checkpoint in, a run folder that evaluate and recommend take out."""

from pathlib import Path
from typing import Any

from torch import Tensor

from kgrec_cli.config import build_settings, write_config
from kgrec_cli.core.training import build_model, choose_device
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats import run_dir as runs
from kgrec_cli.formats.files import write_json, write_text
from kgrec_cli.formats.recbole_checkpoint import Checkpoint, read_checkpoint
from kgrec_cli.settings import Settings
from kgrec_cli.stages.dataset import describe_environment, load_dataset

# What of RecBole's settings a trained model depends on, or is measured by.
TAKEN = (
    "dropout_prob", "loss_type", "freeze_kg", "MAX_ITEM_LIST_LENGTH", "seed", "learning_rate",
    "metrics", "topk", "valid_metric", "eval_args", "rm_dup_inter", "val_interval",
    "user_inter_num_interval", "item_inter_num_interval",
)  # fmt: skip


def run_import(
    checkpoint_path: Path, settings: Settings, folder: Path, *, on_event: OnEvent
) -> Path:
    """Makes a run folder from RecBole's weights; returns it.

    Sizes are told from the tensors, the rest from the checkpoint's settings. Item rows are in
    RecBole's order, which is that of `recbole_compat`, so the run gets that setting.

    Args:
        checkpoint_path: RecBole's `.pth`.
        settings: Names the data set that the model was trained on.
        folder: The working folder.
        on_event: Hears what is worth knowing.

    Raises:
        KgrecError: No checkpoint of a GRU4RecKG, or of another data set.
    """
    checkpoint = read_checkpoint(checkpoint_path)
    imported = _settings_of(checkpoint, settings, str(checkpoint_path))
    dataset = load_dataset(imported, folder, on_event)
    n_rows = len(checkpoint.weights["item_embedding.weight"])
    if n_rows != len(dataset.items):
        raise KgrecError(
            f"{checkpoint_path}: {n_rows - 1:,} items, but {dataset.name} has "
            f"{len(dataset.items) - 1:,} with an entity in the graph: is it of another data set?"
        )
    device = choose_device("cpu")
    table = checkpoint.weights["entity_embedding.weight"]
    model = build_model(imported, n_rows, {"entity": table.numpy()}, device)
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise KgrecError(f"{checkpoint_path}: not the weights of a GRU4RecKG") from error
    run_dir = runs.create_run_dir(
        folder / imported.checkpoint_dir, dataset.name, imported.model, suffix="-imported"
    )
    write_text(run_dir / runs.CONFIG, write_config(imported))
    runs.write_items(run_dir, dataset.items.tokens, dataset.titles, dataset.entities)
    origin = {"inter_sha256": dataset.inter_sha256, "imported_from": checkpoint_path.name}
    write_json(run_dir / runs.ENVIRONMENT, {**describe_environment(device), **origin})
    training: dict[str, Any] = {"on_all_data": False, "imported": True, "best_epoch": 0}
    tables = {"entity": table.shape[1]}
    runs.write_tensors(run_dir / runs.MODEL, model.state_dict(), {**training, "tables": tables})
    runs.merge_metrics(run_dir, {"training": training})
    on_event(
        Note(f"items are numbered as RecBole does: {n_rows - 1:,} with an entity in the graph")
    )
    return run_dir


def _settings_of(checkpoint: Checkpoint, settings: Settings, where: str) -> Settings:
    """The data set of `settings` with the model of the checkpoint."""
    weights = checkpoint.weights
    missing = {"item_embedding.weight", "entity_embedding.weight", "dense_layer.weight"} - set(
        weights
    )
    if missing:
        raise KgrecError(f"{where}: no {sorted(missing)[0]} in it; expected RecBole's GRU4RecKG")
    values = settings.model_dump(mode="json")
    values |= {name: value for name, value in checkpoint.config.items() if name in TAKEN}
    values |= {
        "model": "GRU4RecKG",
        "recbole_compat": True,
        "train_batching": "prefix",
        "embedding_size": weights["item_embedding.weight"].shape[1],
        "hidden_size": weights["dense_layer.weight"].shape[1] // 2,
        "num_layers": _count_layers(weights),
    }
    if values.get("loss_type") == "CE":
        values["train_neg_sample_args"] = None
    mode = (values.get("eval_args") or {}).get("mode")
    if mode == {"valid": "full", "test": "full"}:
        values["eval_args"]["mode"] = "full"
    return build_settings(values, where)


def _count_layers(weights: dict[str, Tensor]) -> int:
    return sum(name.startswith("item_gru_layers.weight_hh_l") for name in weights)
