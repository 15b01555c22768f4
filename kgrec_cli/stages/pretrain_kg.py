"""`kgrec pretrain-kg`: reads a `.kg`, writes a vector for every entity and how it was made."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_cli import __version__
from kgrec_cli.core.cores import warn_of_busy_cores
from kgrec_cli.core.kg.methods import Ints, entity_vectors, relation_vectors, scale_vectors
from kgrec_cli.core.pace import Forecasting
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.atomic import RELATION_TYPES, write_entity_features
from kgrec_cli.formats.files import check_whole, sha256_of, write_json, write_together
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.runs.run_dir import choose_device
from kgrec_cli.settings import Settings
from kgrec_cli.stages.kg_fitting import Checkpoint, Fitting
from kgrec_cli.stages.kg_triples import Graph, note_links, read_given, read_graph

HELD_OUT_SHARE, HELD_OUT_AT_MOST = 0.05, 2000


@dataclass(frozen=True)
class Pretrained:
    """What a pre-training made: an `.ent_feature` with a vector of `width` numbers for each entity.

    `losses` has the mean of each epoch. `metrics` are mrr, hits@1, hits@3, hits@10 of the test
    triples, else of the held-out, else of the validation ones; empty without any. `best_epoch` is
    the one that the validation triples chose, else the last.
    """

    features_path: Path
    method: str
    n_entities: int
    n_triples: int
    width: int
    losses: list[float]
    metrics: dict[str, float]
    best_epoch: int
    elapsed_s: float


def run_pretrain_kg(
    settings: Settings,
    folder: Path,
    *,
    validate: bool = False,
    valid_path: Path | None = None,
    test_path: Path | None = None,
    relations: bool = False,
    resume: bool = False,
    save_every_s: float = 5.0,
    on_event: OnEvent,
) -> Pretrained:
    """Trains entity vectors and writes `NAME.ent_feature` and its sidecar.

    With `validate` a share of the triples is held out and ranked by vectors of the others; those
    that are written are then trained on all triples. The triples of `valid_path` choose the epoch
    whose vectors are written, those of `test_path` are ranked at the end; neither is trained on.
    With `relations` the vectors of relations are written to `NAME.rel_feature`.

    A checkpoint is written every `save_every_s` seconds and at the end; `resume` continues from it,
    also for more epochs than the training had.

    Raises:
        KgrecError: A missing or malformed `.kg`, a method that cannot be used, a training that
            diverges, a checkpoint that is damaged or of other settings.
        Stopped: Ctrl-C; the line says how to go on.
    """
    dataset_dir = atomic_path(settings, folder, "kg").parent
    with only_writer(dataset_dir):
        check_whole(dataset_dir, but="pretrain-kg")
        return _pretrain(
            settings, folder, validate, {"valid": valid_path, "test": test_path}, relations, resume,
            save_every_s, on_event,
        )  # fmt: skip


def _pretrain(
    settings: Settings, folder: Path, validate: bool, paths: dict[str, Path | None],
    with_relations: bool, resume: bool, save_every_s: float, on_event: OnEvent,
) -> Pretrained:  # fmt: skip
    began = time.perf_counter()
    kg_settings, width, graph = read_graph(settings, folder)
    entities, relations, triples = graph
    method = kg_settings.method
    on_event = Forecasting(on_event, kg_settings.epochs, task=method)
    kg_path = atomic_path(settings, folder, "kg")
    note_links(settings, folder, entities, on_event)
    device = choose_device(settings.device)
    if device.type == "cpu":
        warn_of_busy_cores(on_event)
    given = {
        part: read_given(path, entities, relations, on_event)
        for part, path in paths.items()
        if path
    }
    held = np.zeros(len(triples), dtype=bool)
    if validate:
        held = _hold_out(triples, len(entities) - 1, kg_settings.seed, kg_path)
    made_from = {
        "settings": kg_settings.model_dump(mode="json"),
        "kg_sha256": sha256_of(kg_path),
        "n_held_out": int(held.sum()),
        **({"valid_sha256": sha256_of(valid_path)} if (valid_path := paths["valid"]) else {}),
    }
    checkpoint_path = atomic_path(settings, folder, "ent_feature.checkpoint.safetensors")
    checkpoint = Checkpoint(checkpoint_path, made_from, save_every_s)
    state = checkpoint.read(on_event) if resume else None
    known = np.concatenate([triples, *given.values()])
    fitting = Fitting(
        kg_settings, width, len(entities) - 1, len(relations) - 1, known, given.get("valid"),
        device, checkpoint, on_event,
    )  # fmt: skip
    metrics = checkpoint.metrics
    if validate and not metrics:
        model, *_ = fitting.train(triples[~held], state, f"{method}, some held out")
        metrics = fitting.rank(model, triples[held], "validate")
        checkpoint.metrics, state = metrics, None
    model, losses, scores = fitting.train(triples, state, method)
    if metrics and "test" in given:
        text = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        on_event(Note(f"held-out triples, filtered: {text}"))
    if "test" in given:
        metrics = fitting.rank(model, given["test"], "rank test triples")
    elif "valid" in given and not validate:
        metrics = fitting.rank(model, given["valid"], "rank valid triples")
    vectors, length = scale_vectors(entity_vectors(model))
    fitting.check(model, vectors, triples)
    sidecar = {
        "method": method,
        "embedding_size": width,
        **made_from,
        "seed": kg_settings.seed,
        "n_entities": len(entities) - 1,
        "n_relations": len(relations) - 1,
        "n_triples": len(triples),
        "losses": losses,
        "scores": scores,
        "divided_by": length,
        "metrics": metrics,
        "versions": {
            "kgrec": __version__,
            "pykeen": version("pykeen"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    of_relations = relation_vectors(model) / np.float32(length or 1) if with_relations else None
    features_path = _write(settings, folder, graph, vectors, of_relations, sidecar, on_event)
    return Pretrained(
        features_path=features_path,
        method=method,
        n_entities=len(entities) - 1,
        n_triples=len(triples),
        width=width,
        losses=losses,
        metrics=metrics,
        best_epoch=max(scores, key=lambda epoch: scores[epoch], default=len(losses)),
        elapsed_s=time.perf_counter() - began,
    )


def _hold_out(triples: Ints, n_entities: int, seed: int, kg_path: Path) -> NDArray[np.bool_]:
    """Which triples `--validate` holds out; a KgrecError where none can be."""
    from kgrec_cli.core.kg.holdout import hold_out

    held = hold_out(triples, n_entities, share=HELD_OUT_SHARE, n_max=HELD_OUT_AT_MOST, seed=seed)
    if not held.any():
        raise KgrecError(
            f"{kg_path}: no triple can be held out (every one is the only one of an entity or a "
            "relation); leave out --validate"
        )
    return held


def _write(
    settings: Settings, folder: Path, graph: Graph, vectors: NDArray[np.float32],
    of_relations: NDArray[np.float32] | None, sidecar: dict[str, Any], on_event: OnEvent,
) -> Path:  # fmt: skip
    """Writes the vectors of entities, of relations if there are any, and the sidecar, together."""
    entities, relations, _ = graph
    features_path = atomic_path(settings, folder, "ent_feature")
    relations_path = atomic_path(settings, folder, "rel_feature")
    written: dict[str, Callable[[Path], None]] = {
        features_path.name: lambda path: write_entity_features(path, entities.tokens[1:], vectors),
        f"{features_path.name}.json": lambda path: write_json(path, sidecar),
    }
    if of_relations is not None:
        written[relations_path.name] = lambda path: write_entity_features(
            path, relations.tokens[1:], of_relations, RELATION_TYPES
        )
    elif relations_path.is_file():
        text = "it is of other entity vectors than those of now; --relations writes it anew"
        on_event(Warn(f"{relations_path}: {text}"))
    write_together(features_path.parent, written, by="pretrain-kg")
    return features_path
