"""Entity vectors from knowledge graph triples, by any PyKEEN model whose entities are vectors.

`pretrain-kg` calls `fit_kg`, `entity_vectors`, then `scale_vectors`. TransE takes the steps of
`core/kg_translation.py`, other methods those of PyKEEN.
"""

import gc
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import SparseAdam

from kgrec_cli.core.kg.allocator import keep_freed_memory
from kgrec_cli.core.kg.holdout import Ints
from kgrec_cli.core.kg.quiet import importing_pykeen, quiet_pykeen
from kgrec_cli.core.kg.transe import SharedNegatives, TranslationLoop, touch_few_rows
from kgrec_cli.errors import KgrecError, UsageError, unknown_name
from kgrec_cli.settings import PretrainKGSettings

with importing_pykeen():
    from pykeen.losses import CrossEntropyLoss, Loss, NSSALoss
    from pykeen.models import ERModel, TransE, model_resolver
    from pykeen.nn.modules import NormBasedInteraction
    from pykeen.training import SLCWATrainingLoop
    from pykeen.training.callbacks import TrainingCallback
    from pykeen.training.training_loop import NonFiniteLossError
    from pykeen.triples import CoreTriplesFactory
    from pykeen.utils import NoRandomSeedNecessary, get_batchnorm_modules

KGModel = ERModel[Any, Any, Any]

NSSA_MARGIN = 5.0
NEGATIVES, SHARED_NEGATIVES = 16, 512  # unless told otherwise: of a triple, of TransE's steps

_NEIGHBOURS = "it makes an entity's vector from the graph around it, over all of it at every step"
_LITERALS = "it needs numbers that describe the entities, which a .kg does not hold"
_INDUCTIVE = "it is for entities that training has not seen, and needs a second graph of them"
_NO_VECTORS = "it gives entities no vectors"
REFUSED = {
    "ComplExLiteral": _LITERALS,
    "DistMultLiteral": _LITERALS,
    "DistMultLiteralGated": _LITERALS,
    "CompGCN": _NEIGHBOURS,
    "RGCN": _NEIGHBOURS,
    "NodePiece": _NEIGHBOURS,
    "InductiveNodePiece": _INDUCTIVE,
    "InductiveNodePieceGNN": _INDUCTIVE,
    "CooccurrenceFilteredModel": _NO_VECTORS,
    "FixedModel": _NO_VECTORS,
}
_NEEDS_INVERSES = {"ConvE"}
_EXTRA_OPTIONS: dict[str, dict[str, Any]] = {
    # PyKEEN's CP keeps a 64 x 64 matrix of an entity otherwise.
    "CP": {"rank": 1},
}


def list_methods() -> tuple[str, ...]:
    """The PyKEEN models that `--method` takes, by their class names."""
    names = {model.__name__ for model in model_resolver.lookup_dict.values()}
    return tuple(sorted(names - REFUSED.keys()))


def check_method(name: str, embedding_size: int) -> str:
    """The name of a method as PyKEEN spells it.

    Args:
        name: What the user typed; upper and lower case are alike.
        embedding_size: Width of the vectors that it is to make.

    Raises:
        UsageError: No such model, a model whose entities are no vectors of their own, or an
            `embedding_size` that it cannot make.
    """
    known = {method.casefold(): method for method in (*list_methods(), *REFUSED)}
    method = known.get(name.casefold())
    if method is None:
        raise UsageError(unknown_name("method", name, list_methods()))
    if method in REFUSED:
        raise UsageError(f"method {method} cannot be used here: {REFUSED[method]}; try TransE")
    _model_dim(method, embedding_size)
    return method


def _model_dim(method: str, embedding_size: int) -> int:
    """PyKEEN's `embedding_dim` that makes vectors of `embedding_size` numbers.

    An entity of a complex model has two numbers for each dimension, of QuatE four, and TransD,
    SimplE, BoxE and others keep two vectors of it: all of them stand side by side in the result.
    """
    one_triple = np.array([[0, 0, 1]])
    factory = _triples_factory(method, one_triple, n_entities=3, n_relations=1)
    try:
        with torch.random.fork_rng(devices=[]):
            model = _make_model(method, factory, embedding_size)
            width: int = entity_vectors(model).shape[1]
            parts = width // embedding_size
            dim, rest = divmod(embedding_size, parts)
            if rest == 0:
                model = _make_model(method, factory, dim)
                with torch.inference_mode():
                    model.eval().score_hrt(torch.as_tensor(one_triple))
                return dim
    except (ValueError, RuntimeError) as error:  # ConvE: a kernel larger than the picture
        reason = " ".join(str(error).split())
        raise UsageError(
            f"method {method} cannot make vectors of embedding_size {embedding_size} ({reason})"
        ) from error
    raise UsageError(
        f"method {method} describes an entity by {parts} parts of equal width side by side (such "
        f"as real and imaginary), so embedding_size must be a multiple of {parts}; "
        f"found {embedding_size}"
    )


def _triples_factory(
    method: str, triples: Ints, *, n_entities: int, n_relations: int
) -> CoreTriplesFactory:
    return CoreTriplesFactory(
        torch.as_tensor(triples, dtype=torch.long),
        num_entities=n_entities,
        num_relations=n_relations,
        create_inverse_triples=method in _NEEDS_INVERSES,
    )


def _make_model(method: str, factory: CoreTriplesFactory, dim: int) -> KGModel:
    options = {"embedding_dim": dim, **_EXTRA_OPTIONS.get(method, {})}
    if method == TransE.__name__:
        options |= {"scoring_fct_norm": 2, "entity_constrainer": None}
    with quiet_pykeen():
        make: Any = model_resolver.lookup(method)
        model: KGModel = make(triples_factory=factory, random_seed=NoRandomSeedNecessary, **options)
    if isinstance(model, TransE):
        touch_few_rows(model)
    model.loss = choose_loss(model)
    return model


def choose_loss(model: KGModel) -> Loss:
    """The loss that a method is trained with, over one true triple and its corrupted ones.

    Methods whose score is a distance (RotatE, MuRE, ...) take self-adversarial negative sampling
    (Sun et al. 2019, margin 5, temperature 1), the others the cross entropy of the true triple
    among all of them; TransE has its own (`core/kg_translation.py`). PyKEEN's default for most
    methods is a margin loss, with which TransE ranked held-out triples about half as well (MRR 0.07
    against 0.14 with NSSA after 10 epochs of the Freebase triples of ml-100k).
    """
    if isinstance(model.interaction, NormBasedInteraction):
        return NSSALoss(margin=NSSA_MARGIN, adversarial_temperature=1.0)
    return CrossEntropyLoss()


@dataclass
class KGState:
    """How far a training has come; all that is needed to go on.

    Attributes:
        epoch: Epochs done.
        losses: Mean loss of each.
        tensors: Weights ("model.NAME") and Adam's moments ("adam.INDEX.NAME").
    """

    epoch: int = 0
    losses: list[float] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)


OnEpoch = Callable[[int, float, Callable[[], KGState]], None]


def fit_kg(
    triples: Ints,
    *,
    n_entities: int,
    n_relations: int,
    settings: PretrainKGSettings,
    embedding_size: int,
    device: torch.device,
    state: KGState | None = None,
    on_epoch: OnEpoch,
) -> tuple[KGModel, list[float]]:
    """Trains a PyKEEN model on triples, with Adam, under the stochastic local closed world.

    Every epoch draws its order and its negatives from (seed, epoch) alone, so that a training that
    goes on from a state ends at the numbers of one that was never stopped.

    Args:
        triples: int64 (n, 3): head, relation, tail ids.
        n_entities: Entity ids are below this.
        n_relations: Relation ids are below this.
        settings: Method (as `check_method` spells it), epochs, batch size, ...
        embedding_size: Width of the vectors.
        device: Where to train.
        state: Where to go on from; None starts.
        on_epoch: Called after each epoch with its number, its loss and a function that returns the
            state; the state's tensors change with the next step.

    Returns:
        The trained model and the loss of each epoch.

    Raises:
        KgrecError: Too few entities or triples to train on, a loss that is no finite number, or
            not enough memory.
    """
    if n_entities < 2:
        raise KgrecError("the knowledge graph has one entity: there is nothing to tell it from")
    keep_freed_memory()
    method = settings.method
    factory = _triples_factory(method, triples, n_entities=n_entities, n_relations=n_relations)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_epoch_seed(settings.seed, 0))
        model = _make_model(method, factory, _model_dim(method, embedding_size)).to(device)
        loop = _make_loop(model, factory, settings)
        if state is not None and state.epoch > 0:
            _restore(loop, state)
        torch.manual_seed(_epoch_seed(settings.seed, loop._epoch + 1))
        n_rows = len(triples) * (2 if factory.create_inverse_triples else 1)
        # PyKEEN collects garbage after every epoch: 0.25 s over the objects of all modules.
        gc.freeze()
        try:
            if loop._epoch < settings.epochs:
                with quiet_pykeen():
                    loop.train(
                        factory,
                        num_epochs=settings.epochs,
                        batch_size=settings.batch_size,
                        continue_training=loop._epoch > 0,
                        drop_last=_must_drop_last(model, n_rows, settings.batch_size),
                        use_tqdm=False,
                        pin_memory=False,
                        checkpoint_directory=Path(tempfile.gettempdir()),  # PyKEEN makes it
                        callbacks=_AfterEpoch(settings.seed, on_epoch),
                    )
        except NonFiniteLossError as error:
            raise KgrecError(
                f"{method}: the loss of epoch {loop._epoch + 1} is no finite number; "
                f"try a smaller --learning-rate than {settings.learning_rate:g}"
            ) from error
        except (MemoryError, RuntimeError) as error:
            if "memory" not in str(error) and not isinstance(error, MemoryError):
                raise
            raise KgrecError(
                f"{method}: not enough memory; try a smaller --batch-size than "
                f"{settings.batch_size} or fewer --negatives"
            ) from error
        finally:
            gc.unfreeze()
    return model, list(loop.losses_per_epochs)


def _make_loop(
    model: KGModel, factory: CoreTriplesFactory, settings: PretrainKGSettings
) -> SLCWATrainingLoop:
    """PyKEEN's loop with Adam; TransE's own steps and sparse gradients for TransE."""
    parameters = list(model.get_grad_params())
    if isinstance(model, TransE):
        make: Any = partial(TranslationLoop, negative_sampler=SharedNegatives)
        optimizer: Any = SparseAdam(parameters, lr=settings.learning_rate)
        negatives = settings.negatives or SHARED_NEGATIVES
    else:
        make = partial(SLCWATrainingLoop, negative_sampler="basic")
        optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
        negatives = settings.negatives or NEGATIVES
    loop: SLCWATrainingLoop = make(
        model=model,
        triples_factory=factory,
        optimizer=optimizer,
        negative_sampler_kwargs={"num_negs_per_pos": negatives},
        automatic_memory_optimization=False,
    )
    return loop


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed for an epoch's order and negatives; epoch 0 is that of the initial values."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]) >> 1


def _must_drop_last(model: KGModel, n_rows: int, batch_size: int) -> bool:
    """Whether the last batch must be left out: batch normalisation cannot take a single row."""
    if not get_batchnorm_modules(model):
        return False
    if min(n_rows, batch_size) < 2:
        raise KgrecError(
            f"{type(model).__name__} normalises over batches, so it needs at least two triples and "
            f"a --batch-size of at least 2; found {n_rows} triples and {batch_size}"
        )
    return n_rows % batch_size == 1


class _AfterEpoch(TrainingCallback):
    """Reports an epoch and seeds the next one."""

    def __init__(self, seed: int, on_epoch: OnEpoch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seed = seed
        self.on_epoch = on_epoch

    def post_epoch(self, epoch: int, epoch_loss: float, **kwargs: Any) -> None:
        """Called by PyKEEN between two epochs."""
        self.on_epoch(epoch, epoch_loss, self.capture)
        torch.manual_seed(_epoch_seed(self.seed, epoch + 1))

    def capture(self) -> KGState:
        """The state as it is now."""
        loop = self.training_loop
        tensors = {f"model.{name}": value for name, value in loop.model.state_dict().items()}
        for index, slots in loop.optimizer.state_dict()["state"].items():
            for name, value in slots.items():  # SparseAdam counts its steps in a plain number
                tensors[f"adam.{index}.{name}"] = torch.as_tensor(value)
        return KGState(loop._epoch, list(loop.losses_per_epochs), tensors)


def _restore(loop: SLCWATrainingLoop, state: KGState) -> None:
    """Puts a state into a new training loop (PyKEEN's own way is a pickle)."""
    model: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor | float]] = {}
    for name, value in state.tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "model":
            model[rest] = value
        else:
            index, _, slot = rest.partition(".")
            is_plain = isinstance(loop.optimizer, SparseAdam) and slot == "step"
            moments.setdefault(int(index), {})[slot] = value.item() if is_plain else value
    loop.model.load_state_dict(model)
    groups = loop.optimizer.state_dict()["param_groups"]
    loop.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    loop._epoch = state.epoch
    loop.losses_per_epochs = list(state.losses)


def entity_vectors(model: KGModel) -> NDArray[np.float32]:
    """The vector of every entity.

    Complex numbers give their real parts, then their imaginary parts; a method that keeps several
    vectors of an entity gives them one after the other. Biases (one number an entity) are left out.

    Returns:
        float32 (n_entities, D).
    """
    model.eval()
    blocks: list[Tensor] = []
    with torch.inference_mode(), quiet_pykeen():
        for representation in model.entity_representations:
            values = representation(None).detach()
            if values.ndim < 2:
                continue
            halves = [values.real, values.imag] if values.is_complex() else [values]
            blocks += [half.reshape(len(values), -1) for half in halves]
    return torch.cat(blocks, dim=1).float().cpu().numpy()


def scale_vectors(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The vectors brought to a mean length of 1, and the length that they had.

    TransE's have it. ComplEx's and RotatE's are five to eight times as long, and a GRU that read
    them so was worse than one that read zeros (`docs/accuracy.md`).

    Args:
        vectors: float32 (n, D).
    """
    length = float(np.linalg.norm(vectors.astype(np.float64), axis=1).mean())
    return vectors / np.float32(length or 1), length


def scorers(model: KGModel) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Scores of all entities as tails of (head, relation), and as heads of (relation, tail).

    Each takes int64 (B, 2) and returns float (B, n_entities), higher for likelier ones.
    """
    model.eval()

    def score_tails(asked: Tensor) -> Tensor:
        with quiet_pykeen():
            return model.predict_t(asked)

    def score_heads(asked: Tensor) -> Tensor:
        with quiet_pykeen():
            return model.predict_h(asked)

    return score_tails, score_heads
