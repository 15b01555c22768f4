"""Where settings come from: files, options, `--set`; and which data set is meant.

Resolved once a command, in this order (later wins): defaults, the preset, `kgrec.yaml` in the
working folder, `--config` files, options and `--set key=value`. Any of them can name the preset. An
unknown key is an error.
"""

import glob
import os
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from kgrec_cli.bounded_yaml import MAX_DEPTH, parse_yaml, read_yaml, yaml_problem
from kgrec_cli.errors import KgrecError, UsageError, nearest, shorten, unknown_name
from kgrec_cli.recbole_keys import IGNORED, OTHER_NAMES, REFUSED, RENEWED, OnNote, translate
from kgrec_cli.setting_blocks import BLOCKS, PretrainKGSettings
from kgrec_cli.settings import Settings, with_preset

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CONFIG_NAME = "kgrec.yaml"
INTER = (".inter", ".inter.parquet")
"""How the names of files of interactions end."""
TEXT_SETTINGS = {
    name for name, field in Settings.model_fields.items() if field.annotation in (str, str | None)
}

UNIONS = {"val_interval": 2, "load_col": 2, "unload_col": 2, "eval_args": 3}
"""Settings with values of several types -> how many parts of an error's place are the user's."""

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

    A value that is text by its key may be no YAML: `user_inter_num_interval=[2,inf)`, a blank as
    `field_separator`. None is null, as on RecBole's command line.

    Raises:
        UsageError: A text without '='.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        try:
            assignment.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"--set {shorten(assignment)}: not UTF-8") from error
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"--set {shorten(assignment)}: expected key=value")
        *parents, last = key.strip().split(".")
        if len(parents) > MAX_DEPTH:
            raise UsageError(f"--set {shorten(assignment)}: over {MAX_DEPTH} levels")
        try:
            value = _parse_value((*parents, last), text)
        except yaml.YAMLError as error:
            problem = f"the value is not valid YAML: {yaml_problem(error)}"
            raise UsageError(
                f"--set {shorten(assignment)}: {problem} (text with brackets stands in quotes)"
            ) from error
        block = values
        for parent in parents:
            inner = block.setdefault(parent, {})
            if not isinstance(inner, dict):
                problem = f"'{shorten(parent)}' is set to a single value too"
                raise UsageError(f"--set {shorten(assignment)}: {problem}")
            block = inner
        block[last] = value
    return values


def _parse_value(path: tuple[str, ...], text: str) -> Any:
    """The value of one assignment: YAML, or text that is none where the setting is text."""
    is_null = text == "" or text.strip() in ("None", "null", "~")
    if path[0].endswith("_separator") and not is_null and text.lstrip()[:1] not in ("'", '"'):
        return text  # a blank, a comma, a bar
    try:
        return None if is_null else parse_yaml(text)
    except yaml.YAMLError:
        if path[0] in TEXT_SETTINGS or (path[0] == "val_interval" and len(path) > 1):
            return text.strip()
        raise


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


EXPECTED = {
    "string": "text; put it in quotes",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple": "a list such as [a, b]",
    "dict": "a mapping such as {a: b}",
    "finite": "a number that is not infinite",
    "too": "a list of at least one",
}
"""What a setting takes, by the first word of the type of pydantic's error."""

BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
"""The same for bounds, by their name in the error."""


def _explain(error: ValidationError) -> str:
    """The first problem of a pydantic error, in one line."""
    first, *others = error.errors()
    # A list is no text, which is the first member of every union: the next one says more.
    same = [each for each in others if each["loc"][0] == first["loc"][0]] if first["loc"] else []
    problem = same[0] if same and first["type"] == "string_type" else first
    location = [name for name in problem["loc"] if isinstance(name, str)]
    kind, found = problem["type"], f"found {reprlib.repr(problem['input'])}"
    if kind == "extra_forbidden":
        if len(location) > 1:
            return unknown_name("key", location[-1], BLOCKS[location[0]].model_fields)
        return unknown_key(location[0])
    if location and location[0] in UNIONS:  # pydantic goes on with the members of the union
        location = location[: UNIONS[location[0]]]
    key = ".".join(location)
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "literal_error":
        expected = str(problem.get("ctx", {}).get("expected", ""))
        guess = nearest(str(problem["input"]), re.findall("'([^']*)'", expected))
        hint = f"; did you mean {guess}?" if guess else ""
        return f"{key}: {found}, expected {expected}{hint}"
    if kind == "string_pattern_mismatch":  # `device` is the one setting with a pattern
        return f"{key}: {found}, expected auto, cpu, cuda or cuda:N{_device_hint(problem['input'])}"
    if kind == "value_error":
        return f"{key}: {message}" if key else message
    if kind in ("model_type", "model_attributes_type") and location[0] in BLOCKS:
        return f"{key}: {found}, expected {{{', '.join(BLOCKS[location[0]].model_fields)}}}"
    return f"{key}: {expected_of(problem)}"


def expected_of(problem: Mapping[str, Any]) -> str:
    """What pydantic found and what was expected, without the place."""
    found, message = f"found {reprlib.repr(problem['input'])}", problem["msg"]
    if expected := EXPECTED.get(problem["type"].partition("_")[0]):
        return f"{found}, expected {expected}"
    for name, words in BOUNDS.items():
        if name in problem.get("ctx", {}):
            return f"{found}, expected {words} {problem['ctx'][name]:g}"
    return f"{found}; {message[0].lower()}{message[1:]}"


def _device_hint(device: object) -> str:
    """What somebody meant who wrote gpu, mps or a number."""
    text = str(device).strip().casefold()
    number = re.fullmatch(r"(?:gpu|cuda)?[:\s]*(\d+)", text)
    if number is not None:
        return f"; did you mean cuda:{number[1]}?"
    return "; did you mean cuda?" if text.startswith(("gpu", "cuda", "nvidia")) else ""


def unknown_key(name: str) -> str:
    """One line on a key that is no setting: the one that was meant, where it can be guessed."""
    meant = OTHER_NAMES.get(name.casefold())
    if meant == "config":
        return f"unknown key '{name}': name settings files by --config FILE"
    if meant is not None:
        return f"unknown key '{name}': did you mean '{meant}'?"
    begins_so = sorted(key for key in setting_names() if key[:4] == name[:4])
    if nearest(name, setting_names()) is None and begins_so:
        return f"unknown key '{shorten(name)}': did you mean {' or '.join(begins_so[:3])}?"
    return unknown_name("key", name, setting_names())


def narrow(settings: Settings, kind: type[Narrow]) -> Narrow:
    """The few settings that a function of the core takes, by their names.

    `kind` is a frozen dataclass whose fields are names of settings, `ModelSettings` for instance.
    """
    return kind(**{field.name: getattr(settings, field.name) for field in fields(kind)})


def format_config(settings: Settings) -> str:
    """Settings as YAML text that `--config` reads back to the same settings."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, those of a block as `block.key`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in BLOCKS and isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": of_inner for inner, of_inner in value.items()}
        else:
            flat[key] = value
    return flat


def find_origins(
    folder: Path, config_paths: Iterable[Path] = (), assignments: Iterable[str] = ()
) -> dict[str, str]:
    """Where each setting that is no default comes from: name, as of `flatten`, to file or `--set`.

    Raises:
        KgrecError: As `resolve_settings`, which says more.
    """
    local_path = folder / CONFIG_NAME
    paths = [local_path] if local_path.is_file() else []
    sources = {str(path): read_yaml(path) for path in (*paths, *config_paths)}
    sources["--set"] = parse_assignments(assignments)
    explicit: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source, values in sources.items():
        values = translate(values, source, lambda text: None)
        explicit = merge(explicit, values)
        origins |= dict.fromkeys(flatten(values), source)
    preset = explicit.get("preset")
    of_preset = dict.fromkeys(flatten(with_preset(explicit)), f"preset {preset}")
    return of_preset | origins


def choose_dataset(settings: Settings, folder: Path) -> Settings:
    """The settings with `dataset` filled in: as set, else the only one under `data_path`.

    A `dataset` that is not there may be a folder elsewhere with one; `data_path` is then where it
    lies.

    Raises:
        KgrecError: None there, or several; the line lists them.
    """
    paths = [path for end in INTER for path in (folder / settings.data_path).glob(f"*/*{end}")]
    # Named after their folder, as ml/ml.inter or ml/ml.train.inter.
    names = sorted({p.parent.name for p in paths if p.name.startswith(f"{p.parent.name}.")})
    if not names or settings.dataset not in (None, *names):  # a graph alone is enough for some
        graphs = (folder / settings.data_path).glob("*/*.kg")
        only_graphs = {p.parent.name for p in graphs if p.stem == p.parent.name}
        names = sorted({*names, *only_graphs}) if settings.dataset else sorted(only_graphs)
    if settings.dataset is not None:
        if settings.dataset in names:
            return settings
        path = folder / settings.dataset
        whole = path.resolve() if path.name in ("", "..") else path
        if any(any(path.glob(f"{glob.escape(whole.name)}.*{end[1:]}")) for end in INTER):
            is_relative = not Path(settings.dataset).is_absolute() and whole is path
            data_path = os.path.relpath(path.parent, folder) if is_relative else str(whole.parent)
            return settings.model_copy(update={"dataset": whole.name, "data_path": data_path})
        if path.name != settings.dataset or whole is not path:
            raise KgrecError(f"{settings.dataset}: expected a folder with {whole.name}.inter in it")
        if nearest(settings.dataset, names):
            raise KgrecError(unknown_name("data set", settings.dataset, names))
        raise KgrecError(
            f"no data set '{settings.dataset}' under {settings.data_path}/: "
            f"`kgrec prepare {settings.dataset}` makes it"
        )
    if len(names) == 1:
        return settings.model_copy(update={"dataset": names[0]})
    if not names:
        raise KgrecError(
            f"no data set under {settings.data_path}/: start with `kgrec prepare ml-100k`"
        )
    raise KgrecError(
        f"several data sets under {settings.data_path}/: name one by --dataset ({', '.join(names)})"
    )
