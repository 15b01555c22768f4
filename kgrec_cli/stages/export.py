"""`kgrec export`: a run folder in, a checkpoint that RecBole's GRU4RecKG loads out."""

from dataclasses import dataclass
from pathlib import Path

import torch

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent
from kgrec_cli.formats import run_dir as runs
from kgrec_cli.formats.files import read_json
from kgrec_cli.formats.recbole_checkpoint import write_checkpoint
from kgrec_cli.stages.dataset import items_in_graph
from kgrec_cli.stages.trained import load_trained

ITEM_TABLES = ("item_embedding.weight", "entity_embedding.weight")


@dataclass(frozen=True)
class Exported:
    """What was written: the file, and how many items RecBole has and leaves out."""

    path: Path
    n_items: int
    n_left_out: int


def run_export(run_dir: Path, folder: Path, out_path: Path, *, on_event: OnEvent) -> Exported:
    """Writes the weights of a run under RecBole's names, item rows in RecBole's order.

    RecBole drops items without an entity in the graph and numbers the rest in the order of their
    first appearance in the `.inter`; so are the rows of the tables. The file also holds
    `item_tokens`, the token of each row.

    Raises:
        KgrecError: A run of another model, or with further feature files.
    """
    trained = load_trained(run_dir, device="cpu", threads=None)
    weights = trained.model.state_dict()
    if trained.model.branches != ("item", "entity"):
        raise KgrecError(
            f"{run_dir}: its branches are {', '.join(trained.model.branches)}; "
            "RecBole's GRU4RecKG has item and entity"
        )
    known = items_in_graph(trained.settings, folder, trained.entities)
    tokens = trained.items.tokens
    rows = [0, *(row for row, token in enumerate(tokens) if row and token in known)]
    for name in ITEM_TABLES:
        weights[name] = weights[name][torch.tensor(rows)]
    metrics = read_json(run_dir / runs.METRICS)
    more = {
        "config": trained.settings.model_dump(mode="json"),
        "epoch": metrics["training"]["best_epoch"],
        "item_tokens": [tokens[row] for row in rows],
    }
    write_checkpoint(out_path, weights, more)
    return Exported(out_path, len(rows) - 1, len(tokens) - len(rows))
