"""One graph's trainings of vectors: their checkpoint, validation, ranking, and a last look."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kgrec_cli.core.kg.fit import KGState, Validation, fit_kg
from kgrec_cli.core.kg.holdout import is_like_guessing
from kgrec_cli.core.kg.methods import Ints, KGModel, scorers
from kgrec_cli.core.vectors import find_fault
from kgrec_cli.errors import KgrecError, Stopped
from kgrec_cli.events import Note, OnEvent, Progress, Warn
from kgrec_cli.runs import run_files
from kgrec_cli.setting_blocks import PretrainKGSettings

MEASUREMENTS, MEASURED_AT_MOST = 10, 2000  # during a training: how often, of how many triples
OF_TRAINING = {
    "kg_sha256": "another .kg",
    "n_held_out": "--validate, or without it",
    "valid_sha256": "another --valid file, or none",
}
PROBED = 200  # triples of the training that tell whether it has learnt anything
RANKING_NUMBERS = 2**22  # computed at a time when ranking: 16 MB, about a cache


class Checkpoint:
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


@dataclass(frozen=True)
class Fitting:
    """Trainings on one graph: `known` triples are not wrong answers, `valid` choose the epoch."""

    kg_settings: PretrainKGSettings
    width: int
    n_entities: int
    n_relations: int
    known: Ints
    valid: Ints | None
    device: torch.device
    checkpoint: Checkpoint
    on_event: OnEvent

    def train(
        self, triples: Ints, state: KGState | None, task: str
    ) -> tuple[KGModel, list[float], dict[int, float]]:
        """The model, the loss of each epoch, and the MRR of those that were validated."""
        validation = self._validation()

        def after_epoch(epoch: int, loss: float, capture: Callable[[], KGState]) -> None:
            n_epochs = self.kg_settings.epochs
            self.on_event(Progress(task, epoch, n_epochs, "epochs", f"loss {loss:.4f}"))
            self.checkpoint.save(capture, is_last=epoch == n_epochs)

        try:
            model, losses = fit_kg(
                triples,
                n_entities=self.n_entities,
                n_relations=self.n_relations,
                settings=self.kg_settings,
                embedding_size=self.width,
                device=self.device,
                state=state,
                validation=validation,
                on_epoch=after_epoch,
            )
        except KeyboardInterrupt as error:
            raise Stopped(
                "stopped; the same command with --resume goes on"
                if self.checkpoint.path.is_file()
                else "stopped before there was anything to keep"
            ) from error
        return model, losses, validation.scores if validation else {}

    def _validation(self) -> Validation | None:
        if self.valid is None:
            return None
        chosen = np.random.default_rng(self.kg_settings.seed).permutation(len(self.valid))
        sample = self.valid[np.sort(chosen[:MEASURED_AT_MOST])]
        return Validation(
            lambda model: self.rank(model, sample, "rank validation triples")["mrr"],
            max(1, self.kg_settings.epochs // MEASUREMENTS),
        )

    def rank(self, model: KGModel, triples: Ints, task: str) -> dict[str, float]:
        """Filtered MRR and Hits@k of triples, heads and tails alike."""
        from kgrec_cli.core.kg.holdout import rank_held_out, summarise_ranks

        score = scorers(model)
        n_entities = int(self.known[:, [0, 2]].max()) + 1
        ranks = rank_held_out(
            triples,
            self.known,
            score_tails=score.tails,
            score_heads=score.heads,
            batch_size=max(1, RANKING_NUMBERS // (n_entities * score.n_numbers)),
            device=self.device,
            on_batch=lambda done: self.on_event(
                Progress(task, done, len(triples), "triples", passing=True)
            ),
        )
        return summarise_ranks(ranks)

    def check(self, model: KGModel, vectors: NDArray[np.float32], triples: Ints) -> None:
        """A KgrecError for a training that diverged; warns of one that has learnt nothing."""
        method, rate = self.kg_settings.method, self.kg_settings.learning_rate
        if fault := find_fault(vectors):
            raise KgrecError(
                f"{method}: the training has diverged, it gives {fault}; try a smaller "
                f"--learning-rate than {rate:g}"
            )
        probed = triples[np.random.default_rng(0).permutation(len(triples))[:PROBED]]
        mrr = self.rank(model, probed, "look at the vectors")["mrr"]
        if is_like_guessing(mrr, 2 * len(probed), self.n_entities):
            text = f"{method} ranks triples that it was trained on no better than guessing"
            cure = f"more --epochs or another --learning-rate than {rate:g}"
            self.on_event(Warn(f"{text} (MRR {mrr:.4f}): the vectors say little; {cure}"))
