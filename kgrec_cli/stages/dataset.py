"""From atomic files to what the core works on: vocabularies, histories, split, entity vectors.

Every command after `pretrain-kg` starts here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.config import Settings
from kgrec_cli.core import sequences
from kgrec_cli.core.linking import align_entity_vectors
from kgrec_cli.core.sequences import Histories, Split
from kgrec_cli.core.vocab import Vocabulary, build_vocabulary
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.atomic import read_atomic, read_header
from kgrec_cli.formats.entity_features import read_entity_features
from kgrec_cli.formats.files import read_json, sha256_of


@dataclass(frozen=True)
class Dataset:
    """One data set, ready to train on or to rank with.

    Attributes:
        name: Its name.
        inter_sha256: Which `.inter` file it came from.
        users: User tokens.
        items: Item tokens; N ids, padding included.
        histories: All interactions in time order.
        titles: Title by item token; empty without a `.item` file.
        entities: Entity token by item token; empty without a `.link` file.
    """

    name: str
    inter_sha256: str
    users: Vocabulary
    items: Vocabulary
    histories: Histories
    titles: dict[str, str]
    entities: dict[str, str]


def atomic_path(settings: Settings, folder: Path, suffix: str) -> Path:
    """Where an atomic file of the data set is, for instance suffix "inter"."""
    return folder / settings.data_path / f"{settings.dataset}" / f"{settings.dataset}.{suffix}"


def load_dataset(
    settings: Settings, folder: Path, on_event: OnEvent, items: Vocabulary | None = None
) -> Dataset:
    """The data set that `settings` names.

    Args:
        settings: dataset and data_path.
        folder: The working folder.
        on_event: Hears what is worth knowing.
        items: The vocabulary of a trained run; interactions of other items are left out, with a
            note. None makes the vocabulary from the data.

    Raises:
        KgrecError: A missing or malformed file; the line names it.
    """
    path = atomic_path(settings, folder, "inter")
    if not path.is_file():
        raise KgrecError(f"{path}: no such file; `kgrec prepare {settings.dataset}` makes it")
    header = read_header(path)
    columns = ["user_id", "item_id", *(["timestamp"] if "timestamp" in header else [])]
    table = read_atomic(path, columns)
    if table.is_empty():
        raise KgrecError(f"{path}: no interactions")
    for name in columns:
        if table[name].null_count():
            row = int(table[name].is_null().arg_max() or 0)
            raise KgrecError(f"{path}, line {row + 2}, column {name}: empty")
    if "timestamp" in columns:
        times = table["timestamp"].to_numpy()
    else:
        on_event(Note(f"{path.name} has no timestamp column: its row order is taken as time order"))
        times = np.arange(len(table))
    items = items or build_vocabulary(table["item_id"])
    users = build_vocabulary(table["user_id"])
    user_ids, item_ids = users.encode(table["user_id"]), items.encode(table["item_id"])
    known = item_ids > 0
    if not known.all():
        unknown = int((~known).sum())
        on_event(Note(f"{unknown:,} interactions of items that the run does not know are left out"))
        user_ids, item_ids, times = user_ids[known], item_ids[known], times[known]
    if len(item_ids) == 0:
        raise KgrecError(f"{path}: none of its items is known to the run: is it another data set?")
    histories = sequences.build_histories(user_ids, item_ids, times)
    return Dataset(
        name=str(settings.dataset),
        inter_sha256=sha256_of(path),
        users=users,
        items=items,
        histories=histories,
        titles=_read_titles(atomic_path(settings, folder, "item")),
        entities=read_entities(atomic_path(settings, folder, "link")),
    )


def _read_titles(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    header = read_header(path)
    column = next((name for name in ("movie_title", "title", "name") if name in header), None)
    if column is None:
        return {}
    table = read_atomic(path, ["item_id", column]).drop_nulls()
    return dict(zip(table["item_id"].to_list(), table[column].to_list(), strict=True))


def read_entities(path: Path) -> dict[str, str]:
    """Entity token by item token from a `.link` file; empty when there is none."""
    if not path.is_file():
        return {}
    table = read_atomic(path, ["item_id", "entity_id"])
    return dict(zip(table["item_id"].to_list(), table["entity_id"].to_list(), strict=True))


def load_entity_vectors(
    settings: Settings, dataset: Dataset, folder: Path, on_event: OnEvent
) -> NDArray[np.float32] | None:
    """The entity vector of every item, float32 (N, embedding_size); None for GRU4Rec.

    Raises:
        KgrecError: No `.ent_feature` or `.link`, vectors of another width, or vectors whose sidecar
            says that they were made from another `.kg`.
    """
    if settings.model == "GRU4Rec":
        return None
    path = atomic_path(settings, folder, "ent_feature")
    if not path.is_file():
        raise KgrecError(
            f"{path}: no such file; `kgrec pretrain-kg` makes it "
            "(or train without: --model GRU4Rec)"
        )
    _check_sidecar(path, atomic_path(settings, folder, "kg"))
    if not dataset.entities:
        raise KgrecError(
            f"{atomic_path(settings, folder, 'link')}: no item is linked to an entity, so the "
            "vectors belong to nothing; give links to `kgrec prepare --links FILE`"
        )
    entity_ids, vectors = read_entity_features(path, expected_width=settings.embedding_size)
    links = pl.DataFrame(
        {"item_id": list(dataset.entities), "entity_id": list(dataset.entities.values())}
    )
    table, report = align_entity_vectors(list(dataset.items.tokens), links, entity_ids, vectors)
    on_event(
        Note(
            f"{report.n_with_vector:,} of {len(dataset.items) - 1:,} items have an entity vector; "
            "the others read zeros on the KG branch"
        )
    )
    return table


def _check_sidecar(path: Path, kg_path: Path) -> None:
    sidecar_path = path.with_name(f"{path.name}.json")
    if not sidecar_path.is_file() or not kg_path.is_file():
        return
    made_from = read_json(sidecar_path).get("kg_sha256")
    if made_from is not None and made_from != sha256_of(kg_path):
        raise KgrecError(
            f"{path}: made from another {kg_path.name} than the one beside it; "
            "run `kgrec pretrain-kg` again"
        )


def split_histories(settings: Settings, histories: Histories) -> Split:
    """The split that `eval_args` asks for."""
    shares = settings.eval_args.split.get("RS")
    if shares is None or isinstance(shares, str):
        return sequences.split_leave_one_out(histories)
    if settings.eval_args.group_by == "user":
        return sequences.split_ratio(histories, shares)
    return sequences.split_temporal(histories, shares)


def set_threads(settings: Settings) -> None:
    """Tells torch how many CPU threads to use, when the settings say."""
    import torch

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)


def describe_environment(device: Any) -> dict[str, Any]:
    """What a run was made with: versions, machine, threads, command line."""
    import platform
    import sys
    from importlib.metadata import version

    import torch

    from kgrec_cli import __version__

    packages = ("torch", "numpy", "polars", "pykeen", "safetensors")
    return {
        "kgrec": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "command": ["kgrec", *sys.argv[1:]],
    }
