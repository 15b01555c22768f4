"""What `prepare` leaves in the working folder for the next commands: `kgrec.yaml`, `hyper.test`."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kgrec_cli.bounded_yaml import read_yaml
from kgrec_cli.config import CONFIG_NAME
from kgrec_cli.descriptions import DESCRIPTIONS
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import write_text
from kgrec_cli.settings import PRESETS, Settings

HYPER_NAME = "hyper.test"

REFERENCE_HYPER_TEST = """\
learning_rate choice [0.01,0.005,0.001,0.0005,0.0001]
dropout_prob choice [0.0,0.1,0.2,0.3,0.4,0.5]
num_layers choice [1,2,3]
hidden_size choice [128]
freeze_kg choice [True, False]
"""
"""The search space of RecBole's example, which `kgrec tune hyper.test` searches."""
HEAD = (
    "# Settings of this folder. Every kgrec command reads them; command line options override them."
)
USUAL = (
    "preset", "model", "num_layers", "freeze_kg", "loss_type", "train_batch_size", "epochs",
    "MAX_ITEM_LIST_LENGTH", "valid_metric", "pretrain_kg", "pretrain_kg.method",
    "pretrain_kg.epochs",
)  # fmt: skip
"""Settings that `kgrec.yaml` shows as comments; none that its preset sets."""


@dataclass(frozen=True)
class StarterFiles:
    """The names of the files written, and the data set that `kgrec.yaml` names now, if any."""

    written: tuple[str, ...] = ()
    named_dataset: str | None = None


def leave_starter_files(folder: Path, dataset: str, data_path: str) -> StarterFiles:
    """Writes the two files into the working folder; an existing file stays as it is."""
    written = []
    config_path = folder / CONFIG_NAME
    if not config_path.exists():
        write_text(config_path, settings_text(dataset, data_path))
        written.append(CONFIG_NAME)
    if not (folder / HYPER_NAME).exists():
        write_text(folder / HYPER_NAME, REFERENCE_HYPER_TEST)
        written.append(HYPER_NAME)
    named = None
    with suppress(KgrecError):  # the next command says what is wrong with it
        named = read_yaml(config_path).get("dataset")
    return StarterFiles(tuple(written), named)


def settings_text(dataset: str, data_path: str) -> str:
    """A `kgrec.yaml` that names the data set, with the usual settings as comments."""
    defaults = Settings().model_dump() | {"preset": next(iter(PRESETS))}
    mark = "# " if data_path == defaults["data_path"] else ""
    lines = [HEAD, _yaml_line("dataset", dataset), mark + _yaml_line("data_path", data_path), ""]
    for name in USUAL:
        block, _, key = name.rpartition(".")
        value = defaults[block][key] if block else defaults[key]
        text = f"{key}:" if isinstance(value, dict) else _yaml_line(key, value)
        first_sentence = DESCRIPTIONS[name].removesuffix(".").partition(". ")[0]
        lines.append(f"# {'  ' if block else ''}{text}".ljust(30) + f"# {first_sentence}")
    return "\n".join([*lines, ""])


def _yaml_line(key: str, value: Any) -> str:
    return yaml.safe_dump({key: value}, allow_unicode=True).strip()
