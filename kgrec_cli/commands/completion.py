"""What the shell completes: data sets, runs, settings, methods. Loads nothing heavy."""

from contextlib import suppress
from pathlib import Path

from kgrec_cli.errors import KgrecError

METHODS = ("TransE", "DistMult", "ComplEx", "RotatE", "TransH", "TransD", "ConvE", "TuckER")
"""The PyKEEN models that were tried with `pretrain-kg`; it takes others, too."""


def complete_dataset(incomplete: str) -> list[str]:
    """The data sets under `data_path` whose names begin so."""
    from kgrec_cli.config import INTER

    paths = (path for end in INTER for path in _folder("data_path").glob(f"*/*{end}"))
    return sorted({path.parent.name for path in paths if path.parent.name.startswith(incomplete)})


def complete_run(incomplete: str) -> list[str]:
    """The runs whose names begin so, newest first, then `latest` and `best`."""
    paths = list(_folder("checkpoint_dir").glob("[!.]*/environment.json"))
    paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    names = [*(path.parent.name for path in paths), "latest", "best"]
    return [name for name in names if name.startswith(incomplete)]


def complete_method(incomplete: str) -> list[str]:
    """The methods of `pretrain-kg` that begin so."""
    return [name for name in METHODS if name.startswith(incomplete)]


def complete_assignment(incomplete: str) -> list[str]:
    """The settings that begin so, each with its `=`."""
    from kgrec_cli.config import setting_names

    return [f"{name}=" for name in setting_names() if name.startswith(incomplete)]


def _folder(setting: str) -> Path:
    """The folder that a setting names; its default where the settings cannot be read."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.settings import Settings

    with suppress(KgrecError):
        return Path(getattr(resolve_settings(folder=Path()), setting))
    return Path(Settings.model_fields[setting].default)
