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

from kgrec_cli import __version__
from kgrec_cli.core.cores import warn_of_busy_cores
from kgrec_cli.core.kg.fit import KGState, Validation, fit_kg
from kgrec_cli.core.kg.holdout import is_like_guessing
from kgrec_cli.core.kg.methods import (
    Ints,
    KGModel,
    entity_vectors,
    relation_vectors,
    scale_vectors,
    scorers,
)
from kgrec_cli.core.pace import Forecasting
from kgrec_cli.core.vectors import find_fault
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.errors import KgrecError, Stopped
from kgrec_cli.events import Note, OnEvent, Progress, Warn
from kgrec_cli.formats.atomic import RELATION_TYPES, write_entity_features
from kgrec_cli.formats.files import check_whole, sha256_of, write_json, write_together
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.runs import run_files
from kgrec_cli.runs.run_dir import choose_device
from kgrec_cli.settings import Settings
from kgrec_cli.stages.kg_triples import note_links, read_given, read_graph

HELD_OUT_SHARE, HELD_OUT_AT_MOST = 0.05, 2000
MEASUREMENTS, MEASURED_AT_MOST = 10, 2000  # during a training: how often, of how many triples
OF_TRAINING = {
    "kg_sha256": "another .kg",
    "n_held_out": "--validate, or without it",
    "valid_sha256": "another --valid file, or none",
}
PROBED = 200  # triples of the training that tell whether it has learnt anything
RANKING_NUMBERS = 2**22  # scores x width computed at a time when ranking: 16 MB, about a cache


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
    kg_settings, width, (entities, relations, triples) = read_graph(settings, folder)
    method, device = kg_settings.method, choose_device(settings.device)
    on_event = Forecasting(on_event, kg_settings.epochs, task=method)
    kg_path = atomic_path(settings, folder, "kg")
    n_entities, n_relations = len(entities) - 1, len(relations) - 1
    note_links(settings, folder, entities, on_event)
    if device.type == "cpu":
        warn_of_busy_cores(on_event)
    given = {
        part: read_given(path, entities, relations, on_event)
        for part, path in paths.items()
        if path
    }
    known = np.concatenate([triples, *given.values()])
    held = np.zeros(len(triples), dtype=bool)
    if validate:
        from kgrec_cli.core.kg.holdout import hold_out

        held = hold_out(
            triples, n_entities, share=HELD_OUT_SHARE, n_max=HELD_OUT_AT_MOST, seed=kg_settings.seed
        )
        if not held.any():
            raise KgrecError(
                f"{kg_path}: no triple can be held out (every one is the only one of an entity or "
                "a relation); leave out --validate"
            )
    made_from = {
        "settings": kg_settings.model_dump(mode="json"),
        "kg_sha256": sha256_of(kg_path),
        "n_held_out": int(held.sum()),
        **({"valid_sha256": sha256_of(valid_path)} if (valid_path := paths["valid"]) else {}),
    }
    checkpoint_path = atomic_path(settings, folder, "ent_feature.checkpoint.safetensors")
    checkpoint = _Checkpoint(checkpoint_path, made_from, save_every_s)
    state = checkpoint.read(on_event) if resume else None

    def rank(model: KGModel, ranked: Ints, task: str) -> dict[str, float]:
        return _measure(model, ranked, known, width, device, task, on_event)

    def new_validation() -> Validation | None:
        if "valid" not in given:
            return None
        chosen = np.random.default_rng(kg_settings.seed).permutation(len(given["valid"]))
        sample = given["valid"][np.sort(chosen[:MEASURED_AT_MOST])]
        return Validation(
            lambda model: rank(model, sample, "rank validation triples")["mrr"],
            max(1, kg_settings.epochs // MEASUREMENTS),
        )

    def train(
        rows: Ints, state: KGState | None, task: str, validation: Validation | None
    ) -> tuple[KGModel, list[float]]:
        def after_epoch(epoch: int, loss: float, capture: Callable[[], KGState]) -> None:
            on_event(Progress(task, epoch, kg_settings.epochs, "epochs", f"loss {loss:.4f}"))
            checkpoint.save(capture, is_last=epoch == kg_settings.epochs)

        try:
            return fit_kg(
                rows,
                n_entities=n_entities,
                n_relations=n_relations,
                settings=kg_settings,
                embedding_size=width,
                device=device,
                state=state,
                validation=validation,
                on_epoch=after_epoch,
            )
        except KeyboardInterrupt as error:
            raise Stopped(
                "stopped; the same command with --resume goes on"
                if checkpoint.path.is_file()
                else "stopped before there was anything to keep"
            ) from error

    metrics = checkpoint.metrics
    if validate and not metrics:
        model, _ = train(triples[~held], state, f"{method}, some held out", new_validation())
        metrics = rank(model, triples[held], "validate")
        checkpoint.metrics, state = metrics, None
    validation = new_validation()
    model, losses = train(triples, state, method, validation)
    if metrics and "test" in given:
        text = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        on_event(Note(f"held-out triples, filtered: {text}"))
    if "test" in given:
        metrics = rank(model, given["test"], "rank test triples")
    elif "valid" in given and not validate:
        metrics = rank(model, given["valid"], "rank valid triples")
    vectors, length = scale_vectors(entity_vectors(model))
    fault = find_fault(vectors)
    if fault:
        raise KgrecError(
            f"{method}: the training has diverged, it gives {fault}; try a smaller "
            f"--learning-rate than {kg_settings.learning_rate:g}"
        )
    probed = triples[np.random.default_rng(0).permutation(len(triples))[:PROBED]]
    mrr = rank(model, probed, "look at the vectors")["mrr"]
    if is_like_guessing(mrr, 2 * len(probed), n_entities):
        text = (
            f"{method} ranks triples that it was trained on no better than guessing (MRR {mrr:.4f})"
        )
        cure = f"more --epochs or another --learning-rate than {kg_settings.learning_rate:g}"
        on_event(Warn(f"{text}: the vectors say little; {cure}"))
    scores = validation.scores if validation else {}
    features_path = atomic_path(settings, folder, "ent_feature")
    relations_path = atomic_path(settings, folder, "rel_feature")
    if not with_relations and relations_path.is_file():
        text = "it is of other entity vectors than those of now; --relations writes it anew"
        on_event(Warn(f"{relations_path}: {text}"))
    sidecar = {
        "method": method,
        "embedding_size": width,
        **made_from,
        "seed": kg_settings.seed,
        "n_entities": n_entities,
        "n_relations": n_relations,
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
    written: dict[str, Callable[[Path], None]] = {
        features_path.name: lambda path: write_entity_features(path, entities.tokens[1:], vectors),
        f"{features_path.name}.json": lambda path: write_json(path, sidecar),
    }
    if with_relations:
        of_relations = relation_vectors(model) / np.float32(length or 1)
        written[relations_path.name] = lambda path: write_entity_features(
            path, relations.tokens[1:], of_relations, RELATION_TYPES
        )
    write_together(features_path.parent, written, by="pretrain-kg")
    return Pretrained(
        features_path=features_path,
        method=method,
        n_entities=n_entities,
        n_triples=len(triples),
        width=width,
        losses=losses,
        metrics=metrics,
        best_epoch=max(scores, key=lambda epoch: scores[epoch], default=len(losses)),
        elapsed_s=time.perf_counter() - began,
    )


class _Checkpoint:
    """The state of a training, beside its output; written every few seconds, and at the end.

    `metrics` are those of a first training on some of the triples, once it is done.
    """

    def __init__(self, path: Path, made_from: dict[str, Any], save_every_s: float) -> None:
        self.path = path
        self.made_from = made_from
        self.save_every_s = save_every_s
        self.saved_at = time.perf_counter()
        self.metrics: dict[str, float] = {}

    def save(self, capture: Callable[[], KGState], *, is_last: bool) -> None:
        """Writes the state if the last time was long enough ago, and that of the last epoch."""
        if time.perf_counter() - self.saved_at < self.save_every_s and not is_last:
            return
        state = capture()
        meta = {"made_from": self.made_from, "losses": state.losses}
        meta |= {"scores": state.scores, "metrics": self.metrics}
        run_files.write_tensors(self.path, state.tensors, meta)
        self.saved_at = time.perf_counter()

    def read(self, on_event: OnEvent) -> KGState | None:
        """The state to go on from; None, with a note, when there is none."""
        if not self.path.is_file():
            on_event(Note("nothing to resume: starting anew"))
            return None
        with run_files.naming_the_cure(self.path):
            tensors, value = run_files.read_tensors(self.path)
            meta = run_files.check_shape(run_files.KGCheckpointMeta, value, self.path)
        n_epochs, n_done = self.made_from["settings"]["epochs"], len(meta.losses)
        of_file = (meta.made_from.get("settings") or {}).get("epochs")
        old, new = (
            {**made_from, **(made_from.get("settings") or {}), "epochs": epochs}
            for made_from, epochs in (
                (meta.made_from, max(n_done, n_epochs)), (self.made_from, n_epochs),
            )
        )  # fmt: skip
        for name in sorted(new.keys() - {"settings"} | old.keys() & {"valid_sha256"}):
            if old.get(name) != new.get(name):
                what = OF_TRAINING.get(name) or f"{name} {old.get(name)}, not {new.get(name)}"
                raise KgrecError(
                    f"{self.path}: of a training with {what}; give the same options again, or "
                    "leave out --resume to start anew"
                )
        if of_file != n_epochs and meta.made_from["n_held_out"]:
            raise KgrecError(
                f"{self.path}: of {of_file} epochs, with --validate; it cannot be lengthened, for "
                "what was measured were other vectors: leave out --resume to start anew"
            )
        on_event(Note(f"resuming after epoch {n_done}"))
        if of_file != n_epochs:
            text = f"it was to have {of_file} epochs: the learning rate now falls to zero over"
            on_event(Note(f"{text} {n_epochs}, so it starts again at the share that is left"))
        self.metrics = meta.metrics
        return KGState(meta.losses, tensors, meta.scores)


def _measure(
    model: KGModel, held: Ints, known: Ints, width: int, device: torch.device, task: str,
    on_event: OnEvent,
) -> dict[str, float]:  # fmt: skip
    """Filtered MRR and Hits@k of held-out triples, heads and tails alike."""
    from kgrec_cli.core.kg.holdout import rank_held_out, summarise_ranks

    n_entities = int(known[:, [0, 2]].max()) + 1
    score_tails, score_heads = scorers(model)
    ranks = rank_held_out(
        held,
        known,
        score_tails=score_tails,
        score_heads=score_heads,
        batch_size=max(1, RANKING_NUMBERS // (n_entities * width)),
        device=device,
        on_batch=lambda done: on_event(Progress(task, done, len(held), "triples", passing=True)),
    )
    return summarise_ranks(ranks)
