"""Trains a PyKEEN model: some methods by the steps of `steps.py`, others by PyKEEN's loop.

`pretrain-kg` calls `fit_kg`, then `entity_vectors` and `scale_vectors` of `methods.py`.
"""

import gc
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pykeen.models import TransE
from pykeen.training import NonFiniteLossError, SLCWATrainingLoop, TrainingCallback
from pykeen.triples import CoreTriplesFactory
from pykeen.utils import get_batchnorm_modules
from torch import Tensor
from torch.optim import Adam, Optimizer, SparseAdam

from kgrec_cli.core.adam_state import pack_optimizer, unpack_optimizer
from kgrec_cli.core.kg import quiet_pykeen
from kgrec_cli.core.kg.methods import Ints, KGModel, build_factory, build_kg_model
from kgrec_cli.core.kg.steps import (
    SATURATED,
    WITH_SHARED_NEGATIVES,
    set_up_steps,
    train_epoch,
    untrained_loss,
)
from kgrec_cli.core.kg.transe_gpu import GPUTransE
from kgrec_cli.core.stored_tensors import find_misfit, find_optimizer_misfit
from kgrec_cli.errors import KgrecError
from kgrec_cli.setting_blocks import PretrainKGSettings

NEGATIVES, SHARED_NEGATIVES = 16, 512  # defaults: per triple; per batch where shared
GREW = 2.0  # times the loss of untrained vectors: no training that learns ends so high
MOST_LOSS = 100.0  # of untrained vectors it is some 3 to 60, by their width


@dataclass
class KGState:
    """All that a training needs to go on.

    The mean loss of each finished epoch; weights ("model.NAME"), moments ("adam.INDEX.NAME") and
    those of the best epoch so far ("best.NAME"); the scores of the epochs that were measured.
    """

    losses: list[float] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)


@dataclass
class Validation:
    """A model is measured during its training; the weights of the best epoch are kept.

    Attributes:
        measure: The score of a model, higher is better. Draws no random numbers.
        every: Epochs between two measurements; the last one is measured too.
        scores: By epoch.
        best: The weights of the epoch with the best score, the first of equal ones.
    """

    measure: Callable[[KGModel], float]
    every: int
    scores: dict[int, float] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)

    def after_epoch(self, model: KGModel, epoch: int, n_epochs: int) -> None:
        """Measures the model when it is time to."""
        if epoch % self.every and epoch != n_epochs:
            return
        score = self.measure(model)
        model.train()
        if score > max(self.scores.values(), default=-math.inf):
            self.best = {name: value.clone() for name, value in model.state_dict().items()}
        self.scores[epoch] = score


OnKGEpoch = Callable[[int, float, Callable[[], KGState]], None]
AfterEpoch = Callable[[float, Optimizer], None]


def fit_kg(
    triples: Ints,
    *,
    n_entities: int,
    n_relations: int,
    settings: PretrainKGSettings,
    embedding_size: int,
    device: torch.device,
    state: KGState | None = None,
    validation: Validation | None = None,
    on_epoch: OnKGEpoch,
) -> tuple[KGModel, list[float]]:
    """Trains a PyKEEN model on triples, with Adam, under the stochastic local closed world.

    Every epoch draws its order and its negatives from (seed, epoch) alone, so a training that is
    resumed from a state gives the same result as an uninterrupted one.

    Args:
        triples: int64 (n, 3): head, relation, tail ids.
        n_entities: Entity ids are below this.
        n_relations: Relation ids are below this.
        settings: Method (as `check_method` spells it), epochs, batch size, ...
        embedding_size: Width of the vectors.
        device: Where to train.
        state: Where to resume; None starts.
        validation: Chooses the best epoch; None takes the last one.
        on_epoch: Called after each epoch with its number, its loss and a function that returns the
            state; the state's tensors change with the next step.

    Returns:
        The trained model and the mean loss of each epoch.

    Raises:
        KgrecError: Too few entities or triples to train on, a loss that is no finite number or so
            large that the training has diverged, or not enough memory.
    """
    if n_entities < 2:
        raise KgrecError("the knowledge graph has one entity: there is nothing to tell it from")
    method = settings.method
    factory = build_factory(method, triples, n_entities=n_entities, n_relations=n_relations)
    losses = list(state.losses) if state else []
    untrained: float | None = None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_epoch_seed(settings.seed, 0))
        model = build_kg_model(method, factory, embedding_size).to(device)
        optimizer = _build_optimizer(model, settings.learning_rate)
        if state:
            _restore(model, optimizer, state)
            if validation:
                validation.scores = dict(state.scores)
                validation.best = _weights(state, "best.")
        torch.manual_seed(_epoch_seed(settings.seed, len(losses) + 1))

        def after_epoch(loss: float, optimizer: Optimizer) -> None:
            losses.append(loss)
            if validation:
                validation.after_epoch(model, len(losses), settings.epochs)
            on_epoch(len(losses), loss, lambda: _capture(model, optimizer, losses, validation))
            torch.manual_seed(_epoch_seed(settings.seed, len(losses) + 1))

        def set_rate(optimizer: Optimizer) -> None:
            for group in optimizer.param_groups:
                group["lr"] = falling_rate(settings, len(losses))

        try:
            if isinstance(model, WITH_SHARED_NEGATIVES):
                sizes = settings.batch_size, settings.negatives or SHARED_NEGATIVES
                if not losses:
                    model.reset_parameters_()  # type: ignore[no-untyped-call]
                    untrained = untrained_loss(model, factory.mapped_triples, *sizes)
                given = factory.mapped_triples, *sizes
                run_epoch: Callable[[], float] = partial(train_epoch, model, optimizer, *given)
                if device.type != "cpu" and isinstance(model, TransE):
                    run_epoch = GPUTransE(model, optimizer, *given).run_epoch
                while len(losses) < settings.epochs:
                    set_rate(optimizer)
                    loss = run_epoch()
                    if isinstance(model, TransE) and loss > SATURATED:
                        raise _diverged(settings, len(losses) + 1, loss)
                    after_epoch(loss, optimizer)
            elif len(losses) < settings.epochs:
                callback = _AfterEpoch(after_epoch, set_rate)
                _run_pykeen(model, factory, optimizer, settings, len(losses), callback)
            untrained = losses[0] if untrained is None else untrained
            if losses[-1] > max(GREW * untrained, 1.0) or max(losses) > MOST_LOSS:
                raise _diverged(settings, len(losses), losses[-1])
        except NonFiniteLossError as error:
            raise KgrecError(
                f"{method}: the loss of epoch {len(losses) + 1} is no finite number; "
                f"try a smaller --learning-rate than {settings.learning_rate:g}"
            ) from error
        except (MemoryError, RuntimeError) as error:
            if "memory" not in str(error) and not isinstance(error, MemoryError):
                raise
            raise KgrecError(
                f"{method}: not enough memory; try a smaller --batch-size than "
                f"{settings.batch_size} or fewer --negatives"
            ) from error
    if validation and validation.best:
        model.load_state_dict(validation.best)
    return model, losses


def falling_rate(settings: PretrainKGSettings, n_done: int) -> float:
    """The learning rate of the epoch after `n_done` ones: it falls linearly, after the last to 0.

    It follows from the epoch's number, so a training that is resumed takes the same steps.
    """
    return settings.learning_rate * (1 - n_done / settings.epochs)


def _diverged(settings: PretrainKGSettings, epoch: int, loss: float) -> KgrecError:
    return KgrecError(
        f"{settings.method}: the training has diverged, the loss of epoch {epoch} is {loss:.4g}; "
        f"try a smaller --learning-rate than {settings.learning_rate:g}"
    )


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed for an epoch's order and negatives; that of epoch 1 gives the initial values too."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]) >> 1


def _build_optimizer(model: KGModel, learning_rate: float) -> Optimizer:
    """Adam; with sparse gradients for shared negatives, which the model is set up for here."""
    parameters = list(model.get_grad_params())
    if not isinstance(model, WITH_SHARED_NEGATIVES):
        return Adam(parameters, lr=learning_rate, fused=True)
    set_up_steps(model)
    return SparseAdam(parameters, lr=learning_rate)


def _run_pykeen(
    model: KGModel, factory: CoreTriplesFactory, optimizer: Optimizer,
    settings: PretrainKGSettings, n_done: int, callback: TrainingCallback,
) -> None:  # fmt: skip
    """The epochs that are left, by PyKEEN's loop, through its public names alone.

    Its count of finished epochs is private, so `num_epochs` is the number of epochs left. At the
    start of a training it makes the initial values, and a new optimizer like `optimizer`.
    """
    loop = SLCWATrainingLoop(
        model=model,
        triples_factory=factory,
        optimizer=optimizer,
        negative_sampler="basic",
        negative_sampler_kwargs={"num_negs_per_pos": settings.negatives or NEGATIVES},
        automatic_memory_optimization=False,
    )
    gc.freeze()  # PyKEEN collects garbage after every epoch: 0.25 s over the objects of all modules
    try:
        with quiet_pykeen():
            loop.train(
                factory,
                num_epochs=settings.epochs - n_done,
                batch_size=settings.batch_size,
                continue_training=n_done > 0,
                drop_last=_must_drop_last(model, factory, settings.batch_size),
                use_tqdm=False,
                pin_memory=False,
                checkpoint_directory=Path(tempfile.gettempdir()),  # PyKEEN makes it
                callbacks=callback,
            )
    finally:
        gc.unfreeze()


class _AfterEpoch(TrainingCallback):
    """Calls a function between two epochs of PyKEEN's loop, another one before each batch."""

    def __init__(self, after_epoch: AfterEpoch, set_rate: Callable[[Optimizer], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.after_epoch = after_epoch
        self.set_rate = set_rate

    def pre_step(self, **kwargs: Any) -> None:
        """Called by PyKEEN."""
        self.set_rate(self.optimizer)

    def post_epoch(self, epoch: int, epoch_loss: float, **kwargs: Any) -> None:
        """Called by PyKEEN."""
        self.after_epoch(epoch_loss, self.optimizer)


def _must_drop_last(model: KGModel, factory: CoreTriplesFactory, batch_size: int) -> bool:
    """Whether to drop the last batch: batch normalisation cannot take a single row."""
    if not get_batchnorm_modules(model):
        return False
    n_triples = factory.num_triples * (2 if factory.create_inverse_triples else 1)
    if min(n_triples, batch_size) < 2:
        raise KgrecError(
            f"{type(model).__name__} normalises over batches, so it needs at least two triples and "
            f"a --batch-size of at least 2; found {n_triples} triples and {batch_size}"
        )
    return n_triples % batch_size == 1


def _capture(
    model: KGModel, optimizer: Optimizer, losses: list[float], validation: Validation | None
) -> KGState:
    """The state as it is now; its tensors are those of the model, not copies."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= pack_optimizer(optimizer.state_dict(), "adam")
    if validation is None:
        return KGState(list(losses), tensors)
    tensors |= {f"best.{name}": value for name, value in validation.best.items()}
    return KGState(list(losses), tensors, dict(validation.scores))


def _weights(state: KGState, prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in state.tensors.items()
        if name.startswith(prefix)
    }


def _restore(model: KGModel, optimizer: Optimizer, state: KGState) -> None:
    """Puts a state into a new model and its new optimizer."""
    weights = _weights(state, "model.")
    groups = optimizer.state_dict()["param_groups"]
    moments = unpack_optimizer(state.tensors, "adam", groups)
    parameters = list(model.get_grad_params())
    misfit = find_misfit(weights, model.state_dict())
    misfit = misfit or find_optimizer_misfit(moments["state"], parameters)
    if misfit:
        raise KgrecError(
            f"the checkpoint cannot be resumed: {misfit}; leave out --resume to start anew"
        )
    model.load_state_dict(weights)
    optimizer.load_state_dict(moments)
