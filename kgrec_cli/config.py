"""Where settings come from: files, options, `--set`; and which data set is meant.

Resolved once a command, in this order (later wins): defaults, the preset, `kgrec.yaml` in the
working folder, `--config` files, options and `--set key=value`. Any of them can name the preset. An
unknown key is an error.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from kgrec_cli.bounded_yaml import MAX_DEPTH, parse_yaml, read_yaml, yaml_problem
from kgrec_cli.errors import KgrecError, UsageError, nearest, shorten, unknown_name
from kgrec_cli.recbole_keys import IGNORED, REFUSED, RENEWED, OnNote, translate
from kgrec_cli.settings import BLOCKS, PretrainKGSettings, Settings, with_preset

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG_NAME = "kgrec.yaml"

Narrow = TypeVar("Narrow", bound="DataclassInstance")


def setting_names() -> tuple[str, ...]:
    """Every key that has an effect, those of the `pretrain_kg` block as `block.key`."""
    nested = (f"pretrain_kg.{name}" for name in PretrainKGSettings.model_fields)
    return (*Settings.model_fields, *RENEWED, *nested)


def known_names() -> tuple[str, ...]:
    """Every key that a settings file may hold: RecBole's that are ignored or refused, too."""
    return (*setting_names(), *IGNORED, *REFUSED)


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """The mapping that `--set key=value ...` gives; values are YAML, `a.b=1` reaches into a block.

    Raises:
        UsageError: A text without '='.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"--set {shorten(assignment)}: expected key=value")
        try:
            value = parse_yaml(text)
        except yaml.YAMLError as error:
            problem = f"the value is not valid YAML: {yaml_problem(error)}"
            raise UsageError(f"--set {shorten(assignment)}: {problem}") from error
        block = values
        *parents, last = key.strip().split(".")
        if len(parents) > MAX_DEPTH:
            raise UsageError(f"--set {shorten(assignment)}: over {MAX_DEPTH} levels")
        for parent in parents:
            inner = block.setdefault(parent, {})
            if not isinstance(inner, dict):
                problem = f"'{shorten(parent)}' is set to a single value too"
                raise UsageError(f"--set {shorten(assignment)}: {problem}")
            block = inner
        block[last] = value
    return values


WHOLE = ("split", "mode", "load_col", "unload_col", "preload_weight", "val_interval")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` on top; `pretrain_kg` and other blocks merge by key.

    Mappings in `WHOLE` are replaced as a whole: {RS: ...} replaces {LS: ...}.
    """
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key not in WHOLE:
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def resolve_settings(
    *,
    folder: Path,
    config_paths: Iterable[Path] | None = None,
    values: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    assignments: Iterable[str] | None = None,
    base: Mapping[str, Any] | None = None,
    needs_dataset: bool = False,
    on_note: OnNote = lambda text: None,
) -> Settings:
    """The settings of one command; later sources override earlier ones, in this order.

    Args:
        folder: The working folder; its `kgrec.yaml` is read when there is one.
        config_paths: `--config` files, later over earlier.
        values: By name, as in a file: None is a value, RecBole's older keys are renewed.
        options: Values of options; those that are None were not typed.
        assignments: Texts of `--set`.
        base: Replaces the defaults and `kgrec.yaml`: the settings of a run to follow. A preset
            named elsewhere overrides it.
        needs_dataset: Fill in `dataset` (see `choose_dataset`).
        on_note: Gets a line for each of RecBole's keys that is ignored.

    Raises:
        KgrecError: A file that cannot be read, an unknown key or a value out of range, named with
            the file it came from; with `needs_dataset` no data set, or several.
    """

    def read(path: Path) -> dict[str, Any]:
        values = translate(read_yaml(path), str(path), on_note)
        check_values(values, str(path))
        return values

    local_path = folder / CONFIG_NAME
    paths = [local_path] if base is None and local_path.is_file() else []
    explicit: dict[str, Any] = {}
    for path in (*paths, *(config_paths or ())):
        explicit = merge(explicit, read(path))
    try:
        explicit = merge(explicit, translate(values or {}, "settings", on_note))
        typed = {key: value for key, value in (options or {}).items() if value is not None}
        assigned = translate(parse_assignments(assignments or ()), "--set", on_note)
        explicit = merge(merge(explicit, typed), assigned)
        settings = build_settings(merge(base or {}, with_preset(explicit)), "settings")
    except UsageError:
        raise
    except KgrecError as error:
        raise UsageError(str(error).removeprefix("settings: ").removeprefix("--set: ")) from error
    return choose_dataset(settings, folder) if needs_dataset else settings


def check_values(values: Mapping[str, Any], where: str) -> None:
    """Checks one file's values one by one, so that an error can name the file.

    Rules that need several keys at once wait for the merged settings.

    Raises:
        KgrecError: An unknown key or a value out of range.
    """
    for key, value in values.items():
        loss = {"loss_type": "BPR"} if key == "train_neg_sample_args" else {}
        build_settings({key: value, **loss}, where)


def build_settings(values: Mapping[str, Any], where: str) -> Settings:
    """Checked settings from a mapping.

    Raises:
        KgrecError: `where: key: what was found, what was expected`.
    """
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as error:
        raise KgrecError(f"{where}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """The first problem of a pydantic error, in one line."""
    problem = error.errors()[0]
    location = [name for name in problem["loc"] if isinstance(name, str)]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        names = setting_names() if len(location) == 1 else BLOCKS[location[0]].model_fields
        return unknown_name("key", location[-1], names)
    message = problem["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    found = f"found {shorten(repr(problem['input']))}"
    if problem["type"] == "literal_error":
        expected = str(problem.get("ctx", {}).get("expected", ""))
        guess = nearest(str(problem["input"]), re.findall("'([^']*)'", expected))
        hint = f"; did you mean {guess}?" if guess else ""
        return f"{key}: {found}, expected {expected}{hint}"
    if problem["type"] == "string_pattern_mismatch":  # `device` is the one setting with a pattern
        return f"{key}: {found}, expected auto, cpu, cuda or cuda:N"
    if problem["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {found}; {message[0].lower()}{message[1:]}"


def narrow(settings: Settings, kind: type[Narrow]) -> Narrow:
    """The few settings that a function of the core takes, by their names.

    `kind` is a frozen dataclass whose fields are names of settings, `ModelSettings` for instance.
    """
    return kind(**{field.name: getattr(settings, field.name) for field in fields(kind)})


def format_config(settings: Settings) -> str:
    """Settings as YAML text that `--config` reads back to the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def choose_dataset(settings: Settings, folder: Path) -> Settings:
    """The settings with `dataset` filled in: as set, else the only one under `data_path`.

    Raises:
        KgrecError: None there, or several; the line lists them.
    """
    paths = (folder / settings.data_path).glob("*/*.inter")
    # Named after their folder, as ml/ml.inter or ml/ml.train.inter.
    names = sorted({p.parent.name for p in paths if p.name.startswith(f"{p.parent.name}.")})
    if settings.dataset is not None:
        if settings.dataset not in names:
            if nearest(settings.dataset, names):
                raise KgrecError(unknown_name("data set", settings.dataset, names))
            raise KgrecError(
                f"no data set '{settings.dataset}' under {settings.data_path}/: "
                f"`kgrec prepare {settings.dataset}` makes it"
            )
        return settings
    if len(names) == 1:
        return settings.model_copy(update={"dataset": names[0]})
    if not names:
        raise KgrecError(
            f"no data set under {settings.data_path}/: start with `kgrec prepare ml-100k`"
        )
    raise KgrecError(
        f"several data sets under {settings.data_path}/: name one by --dataset ({', '.join(names)})"
    )
