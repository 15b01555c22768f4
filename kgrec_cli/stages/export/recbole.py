"""`kgrec export`: a run folder in, a checkpoint that RecBole's model of the same name loads out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from kgrec_cli.dataset.files import atomic_path, origin_sha256
from kgrec_cli.dataset.filtering import deciding_columns
from kgrec_cli.dataset.load import items_in_graph
from kgrec_cli.descriptions import KGREC_ONLY
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, Warn
from kgrec_cli.formats.atomic import read_header
from kgrec_cli.formats.recbole_checkpoint import write_checkpoint
from kgrec_cli.runs.recommender import Recommender, load_recommender
from kgrec_cli.runs.run_files import read_metrics
from kgrec_cli.settings import Settings
from kgrec_cli.stages.import_weights import GRU4REC_NAMES, rename_tensors

ITEM_TABLES = ("item_embedding.weight", "entity_embedding.weight")
BRANCHES = {"GRU4RecKG": ("item", "entity"), "GRU4Rec": ("item",)}

LOCAL_SETTINGS = ("data_path", "checkpoint_dir")


@dataclass(frozen=True)
class Exported:
    """The file, the number of items in it, and of those without an entity, which RecBole drops."""

    path: Path
    n_items: int
    n_dropped: int


def run_export(run_dir: Path, folder: Path, out_path: Path, *, on_event: OnEvent) -> Exported:
    """Writes the weights of a run under RecBole's names, item rows in RecBole's order.

    RecBole drops items without an entity in the graph and numbers the rest in the order of their
    first appearance in the `.inter`; so are the rows of the tables, as long as `.item` is not among
    the files that it loads. The file also holds `item_tokens`, the token of each row, and `config`,
    a mapping that RecBole's `Config(config_dict=...)` takes.

    Raises:
        KgrecError: A run with seen_bias, kg_items, layer_norm, residual or cosines, with further
            feature files, or with vectors of another width than `embedding_size`; a missing `.kg`.
    """
    trained = load_recommender(run_dir, folder, device="cpu")
    settings, tokens = trained.settings, trained.items.tokens
    weights = trained.model.state_dict()
    _check_model(trained)
    deciding = deciding_columns(settings, folder)
    _warn_of_other_order(trained, deciding, on_event)
    rows = list(range(len(tokens)))
    if settings.model == "GRU4RecKG" and not settings.recbole_compat:
        known = items_in_graph(settings, folder, trained.entities)
        rows = [row for row, token in enumerate(tokens) if row == 0 or token in known]
        for name in ITEM_TABLES:
            weights[name] = weights[name][torch.tensor(rows)]
    if settings.model == "GRU4Rec":
        weights = rename_tensors(weights, {ours: theirs for theirs, ours in GRU4REC_NAMES.items()})
    metrics = read_metrics(run_dir)
    more = {
        "config": recbole_config(_with_intervals_as_text(settings, folder), deciding),
        "epoch": metrics.training.best_epoch - 1,  # RecBole counts from 0
        "best_valid_score": metrics.valid.get(settings.valid_metric.casefold()),
        "item_tokens": [tokens[row] for row in rows],
    }
    write_checkpoint(out_path, weights, more)
    return Exported(out_path, len(rows) - 1, len(tokens) - len(rows))


def _check_model(trained: Recommender) -> None:
    model, settings = trained.model, trained.settings
    names = ("seen_bias", "kg_items", "layer_norm", "residual")
    options = [name for name in names if getattr(settings, name)]
    options += ["similarity: cosine"] if settings.similarity == "cosine" else []
    if options:
        raise KgrecError(
            f"{trained.run_dir}: trained with {', '.join(options)}, which RecBole does not have"
        )
    if model.branches != BRANCHES[settings.model]:
        raise KgrecError(
            f"{trained.run_dir}: its branches are {', '.join(model.branches)}; "
            "RecBole's GRU4RecKG has item and entity"
        )
    for name in model.branches:
        width = model.table_of(name).embedding_dim
        if width != settings.embedding_size:
            raise KgrecError(
                f"{trained.run_dir}: {name} vectors of width {width}; RecBole's GRU4RecKG takes "
                f"those of embedding_size ({settings.embedding_size})"
            )


def _warn_of_other_order(
    trained: Recommender, deciding: Mapping[str, list[str]], on_event: OnEvent
) -> None:
    """Warns where RecBole would number the items in another order than the run."""
    path = atomic_path(trained.settings, trained.folder, "inter")
    rows = "item_tokens in the file gives the item of each row"
    text = ""
    if trained.settings.benchmark_filename is not None:
        text = f"with benchmark_filename RecBole numbers the items in another order; {rows}"
    elif path.is_file() and origin_sha256(path) != trained.inter_sha256:
        text = f"{path} has changed since the training: RecBole may number its items anew"
    elif "item" in deciding:
        text = "the .item file decides which interactions are kept: RecBole has to load it, too, "
        text += f"and adds its other items; {rows}"
    elif trained.settings.rm_dup_inter is not None:
        text = f"with rm_dup_inter RecBole numbers items in the order of its float32 times; {rows}"
    if text:
        on_event(Warn(text))


def _with_intervals_as_text(settings: Settings, folder: Path) -> Settings:
    """The settings, in `val_interval` [a, b] as "[a,b]" where it is an interval of numbers."""
    kinds: dict[str, str] = {}
    for path in (atomic_path(settings, folder, suffix) for suffix in ("inter", "user", "item")):
        kinds |= read_header(path, settings.field_separator) if path.is_file() else {}
    rules = {
        name: f"[{','.join(rule)}]"
        if kinds.get(name) == "float" and isinstance(rule, tuple)
        else rule
        for name, rule in (settings.val_interval or {}).items()
    }
    return settings.model_copy(update={"val_interval": rules or None})


def recbole_config(settings: Settings, deciding: Mapping[str, list[str]]) -> dict[str, Any]:
    """A run's settings as RecBole's, plain values for `Config(config_dict=...)`, without paths.

    `deciding` are the columns of `.user` and `.item` that RecBole has to load as well.
    """
    config = settings.model_dump(mode="json", exclude={*KGREC_ONLY, *LOCAL_SETTINGS})
    elsewhere = {name for columns in deciding.values() for name in columns}
    values = [name for name in settings.val_interval or {} if name not in elsewhere]
    inter = [settings.USER_ID_FIELD, settings.ITEM_ID_FIELD, *values, settings.TIME_FIELD]
    inter = [name for name in dict.fromkeys(inter) if name is not None]
    config["load_col"] = {"inter": inter, **deciding}
    config["filter_inter_by_user_or_item"] = bool(deciding) or settings.drops_unlisted
    config["unload_col"] = None
    if settings.model == "GRU4RecKG":
        suffix = (settings.additional_feat_suffix or ("ent_feature",))[0]
        fields = settings.preload_weight or {settings.alias_of_entity_id[0]: "ent_vec"}
        config["additional_feat_suffix"] = [suffix]
        config["preload_weight"] = dict(fields)
        config["load_col"] |= {
            "kg": [
                settings.HEAD_ENTITY_ID_FIELD,
                settings.RELATION_ID_FIELD,
                settings.TAIL_ENTITY_ID_FIELD,
            ],
            "link": [settings.ITEM_ID_FIELD, settings.ENTITY_ID_FIELD],
            suffix: [name for pair in fields.items() for name in pair],
        }
    else:
        for name in ("additional_feat_suffix", "preload_weight", "alias_of_entity_id", "freeze_kg"):
            del config[name]
    return config
