"""Entity vectors: how much sooner than PyKEEN's own steps do kgrec's reach the same MRR?

    .venv/bin/python -m benchmarks.speed.pretraining --kg FILE [--target 0.15] [--rounds 3]
        [--threads 2]
    .venv/bin/python -m benchmarks.speed.pretraining --large [--threads 2]
    .venv/bin/python -m benchmarks.speed.pretraining --kg FILE --tune [--threads 2]

FILE is a `.kg` that `kgrec prepare` wrote. Both sides train PyKEEN's TransE, 64 numbers, with the
same triples held out as `pretrain-kg --validate` holds out (no pair of entities on both sides),
in turn, another seed each round. PyKEEN's side is its training loop as its pipeline runs it, with
the best of the configurations that `--tune` tries; the clock of either side stops while held-out
triples are ranked. `--large` times 50 epochs of invented triples: a million of 200,000 entities.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kgrec_cli.core.kg import quiet_pykeen
from kgrec_cli.core.kg.fit import fit_kg
from kgrec_cli.core.kg.holdout import hold_out, rank_held_out, summarise_ranks
from kgrec_cli.core.kg.methods import Ints
from kgrec_cli.formats.atomic import read_atomic
from kgrec_cli.runs.run_dir import keep_freed_memory
from kgrec_cli.setting_blocks import PretrainKGSettings
from kgrec_cli.stages.kg_triples import encode_triples
from kgrec_cli.stages.pretrain_kg import HELD_OUT_AT_MOST, HELD_OUT_SHARE

with quiet_pykeen():  # after core/kg, whose import leaves no folder in the home
    from pykeen.losses import NSSALoss
    from pykeen.models import TransE
    from pykeen.training import SLCWATrainingLoop
    from pykeen.training.callbacks import TrainingCallback
    from pykeen.triples import CoreTriplesFactory

CPU = torch.device("cpu")
WIDTH = 64
PYKEEN: dict[str, Any] = {"p": 1, "batch_size": 2048, "lr": 0.01, "negatives": 16, "margin": 5.0}
TRIED: list[dict[str, Any]] = [{}, {"p": 2}, {"negatives": 4}, {"batch_size": 1024}, {"lr": 0.02}]


class Reached(Exception):
    """The target is reached: seconds of training and epochs."""


class Clock(TrainingCallback):
    """Adds up the time of epochs and tells the MRR after each; stops at the target."""

    def __init__(self, measure: Callable[[], float], target: float, every: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.measure, self.target, self.every = measure, target, every
        self.seconds, self.best = 0.0, 0.0
        self.began = time.perf_counter()

    def post_epoch(self, epoch: int, epoch_loss: float, **kwargs: Any) -> None:
        """Called by PyKEEN, and by kgrec's `on_epoch`."""
        self.seconds += time.perf_counter() - self.began
        if epoch % self.every == 0:
            self.best = max(self.best, self.measure())
        if self.best >= self.target:
            raise Reached(self.seconds, epoch)
        self.began = time.perf_counter()


def mrr(heads: Any, tails: Any, held: Ints, known: Ints) -> float:
    """Filtered, of the held-out triples, both ends."""
    ranks = rank_held_out(
        held, known, score_tails=tails, score_heads=heads, batch_size=64, device=CPU,
        on_batch=lambda done: None,
    )  # fmt: skip
    return summarise_ranks(ranks)["mrr"]


def translations(entities: Tensor, relations: Tensor, p: int) -> tuple[Any, Any]:
    """Scores of all heads and of all tails, for `mrr`."""
    return (
        lambda asked: -torch.cdist(entities[asked[:, 1]] - relations[asked[:, 0]], entities, p=p),
        lambda asked: -torch.cdist(entities[asked[:, 0]] + relations[asked[:, 1]], entities, p=p),
    )


def run_pykeen(training: Ints, held: Ints, known: Ints, options: argparse.Namespace, seed: int,
               **changes: Any) -> tuple[float, int]:  # fmt: skip
    """Seconds and epochs until the target."""
    chosen = PYKEEN | changes
    factory = CoreTriplesFactory(
        torch.as_tensor(training),
        num_entities=int(known[:, [0, 2]].max()) + 1,
        num_relations=int(known[:, 1].max()) + 1,
    )
    with quiet_pykeen():
        model = TransE(
            triples_factory=factory, embedding_dim=WIDTH, scoring_fct_norm=chosen["p"],
            random_seed=seed, loss=NSSALoss(chosen["margin"], adversarial_temperature=1.0),
        )  # fmt: skip

        def measure() -> float:
            with torch.inference_mode():
                entities: Any = model.entity_representations[0](None)
                relations: Any = model.relation_representations[0](None)
                return mrr(*translations(entities, relations, chosen["p"]), held, known)

        clock = Clock(measure, options.target, options.every)
        try:
            SLCWATrainingLoop(
                model=model,
                triples_factory=factory,
                optimizer=torch.optim.Adam(model.get_grad_params(), lr=chosen["lr"]),
                negative_sampler_kwargs={"num_negs_per_pos": chosen["negatives"]},
                automatic_memory_optimization=False,
            ).train(
                factory, num_epochs=options.epochs, batch_size=chosen["batch_size"],
                use_tqdm=False, callbacks=clock,
            )  # fmt: skip
        except Reached as reached:
            return reached.args
        print(f"  not reached: best {clock.best:.4f} in {clock.seconds:.1f} s")
        return float("nan"), options.epochs


def run_kgrec(training: Ints, held: Ints, known: Ints, options: argparse.Namespace, seed: int
              ) -> tuple[float, int]:  # fmt: skip
    """Seconds and epochs until the target."""
    keep_freed_memory()  # as the stages do
    state: dict[str, Tensor] = {}

    def measure() -> float:
        (entities, relations) = (value for name, value in state.items() if name.endswith("weight"))
        unit = torch.nn.functional.normalize(entities)
        return mrr(*translations(unit, relations, 2), held, known)

    clock = Clock(measure, options.target, options.every)

    def on_epoch(epoch: int, loss: float, capture: Any) -> None:
        state.update(
            {name: value for name, value in capture().tensors.items() if name.startswith("model.")}
        )
        clock.post_epoch(epoch, loss)

    try:
        fit_kg(
            training, n_entities=int(known[:, [0, 2]].max()) + 1,
            n_relations=int(known[:, 1].max()) + 1, embedding_size=WIDTH, device=CPU,
            settings=PretrainKGSettings(epochs=options.epochs, seed=seed), on_epoch=on_epoch,
        )  # fmt: skip
    except Reached as reached:
        return reached.args
    print(f"  not reached: best {clock.best:.4f} in {clock.seconds:.1f} s")
    return float("nan"), options.epochs


def race(options: argparse.Namespace) -> None:
    """Both sides in turn, or PyKEEN's configurations one after the other."""
    _, _, triples = encode_triples(read_atomic(options.kg, ["head_id", "relation_id", "tail_id"]))
    held = hold_out(
        triples, int(triples[:, [0, 2]].max()) + 1,
        share=HELD_OUT_SHARE, n_max=HELD_OUT_AT_MOST, seed=2020,
    )  # fmt: skip
    parts = triples[~held], triples[held], triples
    print(f"{len(parts[0]):,} triples, {len(parts[1]):,} held out, target MRR {options.target}")
    if options.tune:
        for changes in TRIED:
            seconds, epochs = run_pykeen(*parts, options, 0, **changes)
            print(f"PyKEEN {PYKEEN | changes}: {seconds:.1f} s, {epochs} epochs", flush=True)
        return
    found: dict[str, list[float]] = {"PyKEEN": [], "kgrec": []}
    for seed in range(options.rounds):
        for name, run in (("PyKEEN", run_pykeen), ("kgrec", run_kgrec)):
            seconds, epochs = run(*parts, options, seed)
            found[name].append(seconds)
            rate = len(parts[0]) * epochs / seconds
            print(f"{name}: {seconds:.1f} s, {epochs} epochs, {rate:,.0f} triples/s", flush=True)
    medians = {name: statistics.median(times) for name, times in found.items()}
    print(f"medians {medians}; {medians['PyKEEN'] / medians['kgrec']:.1f} times sooner")


def time_large() -> None:
    """50 epochs of a million triples."""
    rng = np.random.default_rng(0)
    triples = np.stack([rng.integers(0, n, 1_000_000) for n in (200_000, 20, 200_000)], axis=1)
    began = time.perf_counter()
    fit_kg(
        np.unique(triples, axis=0), n_entities=200_000, n_relations=20, embedding_size=WIDTH,
        device=CPU, settings=PretrainKGSettings(epochs=50),
        on_epoch=lambda epoch, loss, capture: print(
            f"epoch {epoch}: {time.perf_counter() - began:.0f} s, loss {loss:.3f}", flush=True
        ),
    )  # fmt: skip


def main() -> None:
    """Prints what each side took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kg", type=Path)
    parser.add_argument("--target", type=float, default=0.15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60, help="at most")
    parser.add_argument("--every", type=int, default=1, help="epochs between two measurements")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tune", action="store_true", help="try PyKEEN's configurations")
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.large:
        time_large()
    elif options.kg:
        race(options)
    else:
        parser.error("give --kg FILE or --large")


if __name__ == "__main__":
    main()
