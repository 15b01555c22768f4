"""From a run folder to a model in memory, for the commands that use a trained run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kgrec_cli.config import build_settings, narrow, read_yaml
from kgrec_cli.core.data.vocabulary import Vocabulary, vocabulary_of
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.files import read_json
from kgrec_cli.runs import run_dir as runs
from kgrec_cli.runs.environment import choose_device
from kgrec_cli.settings import Settings


@dataclass(frozen=True)
class Trained:
    """A trained run.

    Attributes:
        run_dir: Its folder.
        settings: What it was trained with, device and threads as asked for now.
        items: Its item vocabulary.
        titles: Title by item token.
        entities: Entity token by item token.
        inter_sha256: What the run recorded of the `.inter` it was trained on.
        on_all_data: True when nothing was held out.
        model: The best weights, in evaluation mode, on `device`.
        device: Where it is.
    """

    run_dir: Path
    settings: Settings
    items: Vocabulary
    titles: dict[str, str]
    entities: dict[str, str]
    inter_sha256: str
    on_all_data: bool
    model: GRU4RecKG
    device: torch.device


def read_run_settings(run_dir: Path) -> Settings:
    """The settings that a run was trained with."""
    path = run_dir / runs.CONFIG
    return build_settings(read_yaml(path), str(path))


def load_trained(run_dir: Path, *, device: str | None, threads: int | None) -> Trained:
    """The model of a finished run.

    Raises:
        KgrecError: A file of the run is missing or damaged.
    """
    settings = read_run_settings(run_dir)
    now = {"device": device, "threads": threads}
    settings = settings.model_copy(update={k: v for k, v in now.items() if v is not None})
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    table = runs.read_items(run_dir)
    items = vocabulary_of(table["item_id"].to_list())
    known = {name: table.select("item_id", name).drop_nulls() for name in ("title", "entity_id")}
    tensors, meta = runs.read_tensors(run_dir / runs.MODEL)
    environment = read_json(run_dir / runs.ENVIRONMENT)
    torch_device = choose_device(settings.device)
    tables = {
        name: np.zeros((len(items), width), dtype=np.float32)
        for name, width in (meta or {}).get("tables", {}).items()
    }
    model = build_model(narrow(settings, ModelSettings), len(items), tables, torch_device)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise KgrecError(f"{run_dir / runs.MODEL}: not the weights of this config.yaml") from error
    return Trained(
        run_dir=run_dir,
        settings=settings,
        items=items,
        titles=dict(known["title"].iter_rows()),
        entities=dict(known["entity_id"].iter_rows()),
        inter_sha256=environment["inter_sha256"],
        on_all_data=bool((meta or {}).get("on_all_data")),
        model=model.eval(),
        device=torch_device,
    )
