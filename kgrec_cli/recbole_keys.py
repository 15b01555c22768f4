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
    "nproc": "one process trains",
    "world_size": "one process trains",
    "offset": "one process trains",
    "ip": "one process trains",
    "port": "one process trains",
    "save_dataset": "atomic files are read in a moment, so nothing is cached",
    "dataset_save_path": "atomic files are read in a moment, so nothing is cached",
    "save_dataloaders": "atomic files are read in a moment, so nothing is cached",
    "dataloaders_save_path": "atomic files are read in a moment, so nothing is cached",
    "log_wandb": "a run's history.jsonl and metrics.json hold what was measured",
    "wandb_project": "a run's history.jsonl and metrics.json hold what was measured",
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
    "alias_of_user_id": "the model reads no user features",
    "alias_of_relation_id": "the model reads no relations",
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
    "filter_inter_by_user_or_item": (True, "interactions follow their users and items"),
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
}
"""Key -> the value at which, as at null, it changes nothing, and what to do instead of others."""

RENEWED = {
    "training_neg_sample_num": "train_neg_sample_args: {distribution: uniform, sample_num: N}",
    "fields_in_same_space": "alias_of_entity_id",
    "use_gpu": "device: cpu when false",
}
"""Key of older files -> what `translate` makes of it."""


def translate(values: Mapping[str, Any], where: str, on_note: OnNote) -> dict[str, Any]:
    """A file's mapping in kgrec's settings: older spellings renewed, without the ignored keys.

    `on_note` gets a line for each ignored key; `where` is the file that the lines name.

    Raises:
        KgrecError: A key of RecBole's that would change the result and is not supported.
    """
    renewed = dict(values)
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
        renewed.setdefault("alias_of_entity_id", _entity_aliases(spaces, renewed, where))
    number = renewed.pop("training_neg_sample_num", None)
    if number and renewed.get("train_neg_sample_args") is None:
        renewed["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": number}
    if renewed.get("clip_grad_norm") is not None and not isinstance(
        renewed["clip_grad_norm"], dict
    ):
        raise KgrecError(f"{where}: clip_grad_norm takes {{max_norm: NUMBER}}")
    return renewed


def _entity_aliases(spaces: Any, values: Mapping[str, Any], where: str) -> list[str]:
    """The fields that older files put into one space with the entity field."""
    entity_field = values.get("ENTITY_ID_FIELD", "entity_id")
    if not isinstance(spaces, list) or not all(isinstance(space, list) for space in spaces):
        raise KgrecError(f"{where}: fields_in_same_space takes [[ent_id, entity_id]]")
    return [
        str(field)
        for space in spaces
        if entity_field in space
        for field in space
        if field != entity_field
    ]
