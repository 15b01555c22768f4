"""RecBole 1.2.1's settings keys that are no settings of kgrec: ignored with a line, or refused.

`config` asks `translate` before it checks a file, so that a RecBole user's YAML goes in as it is.
Older spellings become today's. `docs/recbole.md` lists every key from the tables here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kgrec_cli.errors import KgrecError

OnNote = Callable[[str], None]

IGNORED = {
    "state": "kgrec shows what it does on standard error",
    "show_progress": "a bar is drawn where there is a terminal; --json is quiet",
    "encoding": "atomic files are UTF-8; raw files may be latin-1 too",
    "reproducibility": "the same seed and machine always give the same numbers",
    "worker": "batches are made in the training process, without copies",
    **dict.fromkeys(
        ("nproc", "world_size", "offset", "ip", "port"), "torchrun starts several processes"
    ),
    "save_dataset": "atomic files are read in a moment, so nothing is cached",
    "dataset_save_path": "atomic files are read in a moment, so nothing is cached",
    "save_dataloaders": "atomic files are read in a moment, so nothing is cached",
    "dataloaders_save_path": "atomic files are read in a moment, so nothing is cached",
    "log_wandb": "trackers are an option: kgrec train --tracker",
    "wandb_project": "trackers are an option: kgrec train --tracker",
    "shuffle": "training batches are always shuffled",
    "loss_decimal_place": "losses are shown with four digits and saved with all",
    "require_pow": "no loss of this model takes it",
    "transform": "no transform of this model",
    "enable_scaler": "mixed precision is bfloat16, which needs no scaler",
    "repeatable": "both figures are always reported: seen items masked and not",
    "valid_metric_bigger": "every metric that can stop a training is better when bigger",
    "normalize_field": "the model reads no float column; times keep their exact order",
    "normalize_all": "the model reads no float column; times keep their exact order",
    "seq_len": "token sequences are not read by this model",
    "LABEL_FIELD": "ranking needs no labels",
    "NEG_PREFIX": "names a tensor inside RecBole",
    "LIST_SUFFIX": "names a tensor inside RecBole",
    "ITEM_LIST_LENGTH_FIELD": "names a tensor inside RecBole",
    "POSITION_FIELD": "names a tensor inside RecBole",
    "kg_reverse_r": "the model reads entity vectors, no triples",
    "unused_col": "columns that are not needed are not read",
    "MODEL_TYPE": "there is one kind of model here",
    "eval_type": "ranking is what is measured",
    "numerical_features": "the model reads no float column",
    "gpu_id": "give --device cuda:N",
}
"""Key -> why ignoring it changes nothing."""

EVERYTHING = "[0,inf)"

REFUSED: dict[str, tuple[Any, str]] = {
    "threshold": (None, "filter by val_interval, for instance {rating: '[4,inf)'}"),
    "entity_kg_num_interval": (EVERYTHING, "filter the .kg before `kgrec prepare`"),
    "relation_kg_num_interval": (EVERYTHING, "filter the .kg before `kgrec prepare`"),
    "discretization": (None, "the model reads no float column"),
    "customized_eval": (None, "not supported"),
    "eval_setting": (None, "an older spelling: write eval_args"),
    "split_ratio": (None, "an older spelling: write eval_args: {split: {RS: [...]}}"),
    "leave_one_out_num": (
        None,
        "an older spelling: write eval_args: {split: {LS: valid_and_test}}",
    ),
    "group_by_user": (None, "an older spelling: write eval_args: {group_by: user}"),
    "real_time_process": (None, "an older spelling without an effect here: remove it"),
    **{
        f"{end}_{of}_inter_num": (
            0 if end == "min" else None,
            f"an older spelling: write {of}_inter_num_interval: '{interval}'",
        )
        for of in ("user", "item")
        for end, interval in (("min", "[N,inf)"), ("max", "[0,N]"))
    },
    **{
        name: (None, f"an older spelling: write val_interval: {{FIELD: '{interval}'}}")
        for name, interval in (
            ("lowest_val", "[N,inf)"),
            ("highest_val", "(-inf,N]"),
            ("equal_val", "[N,N]"),
            ("not_equal_val", "(-inf,N);(N,inf)"),
        )
    },
}
"""Key -> the value at which, as at null, it changes nothing, and what to do instead of others."""

RENEWED = {
    "training_neg_sample_num": "train_neg_sample_args: {distribution: uniform, sample_num: N}",
    "neg_sampling": "train_neg_sample_args; {uniform: N} is the same as there",
    "fields_in_same_space": "alias_of_entity_id, alias_of_relation_id, ...",
    "use_gpu": "device: cpu when false",
}
"""Key of older files -> what `translate` makes of it."""

_ALSO_CALLED = {
    "learning_rate": "lr",
    "train_batch_size": "batch_size bs",
    "learner": "optimizer optimiser optim",
    "loss_type": "loss",
    "dropout_prob": "dropout",
    "stopping_step": "patience early_stop",
    "embedding_size": "emb_size emb_dim dim",
    "hidden_size": "hidden_dim",
    "num_layers": "n_layers layers",
    "epochs": "n_epochs num_epochs max_epochs",
    "MAX_ITEM_LIST_LENGTH": "max_len max_seq_length",
    "topk": "top_k k",
    "weight_decay": "wd l2",
    "device": "gpu cuda gpu_id use_gpu",
    "seed": "random_seed",
    "threads": "num_threads n_threads",
    "data_path": "data_dir",
    "config": "config_files config_file_list config_file",
}
OTHER_NAMES = {other: name for name, others in _ALSO_CALLED.items() for other in others.split()}
"""What other programs, and people, call a setting or an option -> its name here."""


def translate(values: Mapping[str, Any], where: str, on_note: OnNote) -> dict[str, Any]:
    """A file's mapping in kgrec's settings: older spellings renewed, without the ignored keys.

    `on_note` gets a line for each ignored key; `where` is the file that the lines name.

    Raises:
        KgrecError: A key of RecBole's that would change the result and is not supported.
    """
    renewed = {key: _null(value) for key, value in values.items()}
    for key in [key for key in renewed if key in IGNORED]:
        del renewed[key]
        on_note(f"{where}: {key} is ignored: {IGNORED[key]}")
    for key, (neutral, what_to_do) in REFUSED.items():
        if key in renewed and renewed.pop(key) not in (None, neutral):
            raise KgrecError(f"{where}: {key} is not supported: {what_to_do}")
    if "use_gpu" in renewed and not renewed.pop("use_gpu"):
        renewed.setdefault("device", "cpu")
    spaces = renewed.pop("fields_in_same_space", None)
    if spaces is not None:
        for key, aliases in _aliases(spaces, renewed, where).items():
            renewed.setdefault(key, aliases)
    _renew_negatives(renewed)
    if renewed.get("clip_grad_norm") is not None and not isinstance(
        renewed["clip_grad_norm"], dict
    ):
        raise KgrecError(f"{where}: clip_grad_norm takes {{max_norm: NUMBER}}")
    return renewed


def _null(value: Any) -> Any:
    """RecBole's None, written as text, is null; in a block too."""
    if isinstance(value, dict):
        return {key: None if inner == "None" else inner for key, inner in value.items()}
    return None if value == "None" else value


def _renew_negatives(values: dict[str, Any]) -> None:
    """Writes every spelling of the negatives as `train_neg_sample_args`; that key overrides."""
    number, older = (values.pop(key, None) for key in ("training_neg_sample_num", "neg_sampling"))
    if number:
        older = {"distribution": "uniform", "sample_num": number}
    given = values.get("train_neg_sample_args")
    chosen = older if given is None else given
    if not isinstance(chosen, dict):
        if chosen is not None:
            values["train_neg_sample_args"] = chosen
        return
    for distribution in ("uniform", "popularity"):
        if distribution in chosen:  # {uniform: N}, as in RecBole 1.0
            rest = {key: value for key, value in chosen.items() if key != distribution}
            chosen = {"distribution": distribution, "sample_num": chosen[distribution], **rest}
    is_none = chosen.get("distribution", "uniform") in (None, "none")
    values["train_neg_sample_args"] = None if is_none else chosen


def _aliases(spaces: Any, values: Mapping[str, Any], where: str) -> dict[str, list[str]]:
    """The fields that older files put into one space with that of entities, items, ..., by key."""
    if not isinstance(spaces, list) or not all(isinstance(space, list) for space in spaces):
        raise KgrecError(f"{where}: fields_in_same_space takes [[ent_id, entity_id]]")
    aliases = {}
    for kind in ("entity_id", "item_id", "user_id", "relation_id"):
        field = values.get(f"{kind.upper()}_FIELD") or kind
        others = [str(name) for space in spaces if field in space for name in space]
        if others:
            aliases[f"alias_of_{kind}"] = [name for name in others if name != field]
    return aliases
