"""The PyKEEN models that `pretrain-kg --method` takes, and what is read from them.

`fit.py` trains what `build_kg_model` returns; `entity_vectors` and `scorers` read it afterwards.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pykeen.losses import CrossEntropyLoss, Loss, NSSALoss
from pykeen.models import ERModel, TransE, model_resolver
from pykeen.nn.modules import NormBasedInteraction
from pykeen.triples import CoreTriplesFactory
from pykeen.utils import NoRandomSeedNecessary
from torch import Tensor

from kgrec_cli.core.kg import quiet_pykeen
from kgrec_cli.errors import UsageError, unknown_name

Ints = NDArray[np.int64]
KGModel = ERModel[Any, Any, Any]

NSSA_MARGIN = 5.0

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
_OPTIONS: dict[str, dict[str, Any]] = {
    "CP": {"rank": 1},  # PyKEEN's CP has a 64 x 64 matrix for each entity otherwise
    "TransE": {"scoring_fct_norm": 2, "entity_constrainer": None},  # `steps.py` normalises
}


def list_methods() -> tuple[str, ...]:
    """The PyKEEN models that `--method` takes, by their class names."""
    names = {model.__name__ for model in model_resolver.lookup_dict.values()}
    return tuple(sorted(names - REFUSED.keys()))


def check_method(name: str, embedding_size: int) -> str:
    """The name of a method as PyKEEN spells it.

    Upper and lower case of `name` are alike; `embedding_size` is the width of its vectors.

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


def build_factory(
    method: str, triples: Ints, *, n_entities: int, n_relations: int
) -> CoreTriplesFactory:
    """PyKEEN's form of triples, int64 (n, 3); with inverse ones where a method needs them."""
    return CoreTriplesFactory(
        torch.as_tensor(triples, dtype=torch.long),
        num_entities=n_entities,
        num_relations=n_relations,
        create_inverse_triples=method in _NEEDS_INVERSES,
    )


def build_kg_model(method: str, factory: CoreTriplesFactory, embedding_size: int) -> KGModel:
    """An untrained model whose entity vectors have `embedding_size` numbers.

    Raises:
        UsageError: It cannot make vectors of that width.
    """
    return _build_model(method, factory, _model_dim(method, embedding_size))


def _build_model(method: str, factory: CoreTriplesFactory, dim: int) -> KGModel:
    options = {"embedding_dim": dim, **_OPTIONS.get(method, {})}
    with quiet_pykeen():
        make: Any = model_resolver.lookup(method)
        model: KGModel = make(triples_factory=factory, random_seed=NoRandomSeedNecessary, **options)
    model.loss = choose_loss(model)
    return model


def _model_dim(method: str, embedding_size: int) -> int:
    """PyKEEN's `embedding_dim` that makes vectors of `embedding_size` numbers.

    An entity of a complex model has two numbers for each dimension, of QuatE four, and TransD,
    SimplE, BoxE and others have two vectors for each entity: the result concatenates them.
    """
    one_triple = np.array([[0, 0, 1]])
    factory = build_factory(method, one_triple, n_entities=3, n_relations=1)
    try:
        with torch.random.fork_rng(devices=[]):
            model = _build_model(method, factory, embedding_size)
            factor: int = entity_vectors(model).shape[1] // embedding_size
            dim, rest = divmod(embedding_size, factor)
            if rest == 0:
                model = _build_model(method, factory, dim)
                with torch.inference_mode():
                    model.eval().score_hrt(torch.as_tensor(one_triple))
                return dim
    except (ValueError, RuntimeError) as error:  # ConvE: a kernel larger than the picture
        reason = " ".join(str(error).split())
        raise UsageError(
            f"method {method} cannot make vectors of embedding_size {embedding_size} ({reason})"
        ) from error
    raise UsageError(
        f"method {method} describes an entity by {factor} parts of equal width side by side (such "
        f"as real and imaginary), so embedding_size must be a multiple of {factor}; "
        f"found {embedding_size}"
    )


def choose_loss(model: KGModel) -> Loss:
    """The loss that PyKEEN's loop trains a method with, over a true triple and its corrupted ones.

    Methods whose score is a distance (RotatE, MuRE, ...) take self-adversarial negative sampling
    (Sun et al. 2019, margin 5, temperature 1), the others the cross entropy of the true triple
    among all of them; TransE, DistMult and ComplEx have their own (`steps.py`). PyKEEN's default
    for most methods is a margin loss, with which TransE ranked held-out triples about half as well
    (MRR 0.07 against 0.14 with NSSA after 10 epochs of the Freebase triples of ml-100k).
    """
    if isinstance(model.interaction, NormBasedInteraction):
        return NSSALoss(margin=NSSA_MARGIN, adversarial_temperature=1.0)
    return CrossEntropyLoss()


def entity_vectors(model: KGModel) -> NDArray[np.float32]:
    """The vector of every entity.

    Complex numbers give their real parts, then their imaginary parts; the vectors of a method that
    has several for each entity are concatenated. Biases (one number an entity) are not vectors.

    Returns:
        float32 (n_entities, D).
    """
    return _vectors(model, model.entity_representations)


def relation_vectors(model: KGModel) -> NDArray[np.float32]:
    """The vector of every relation, as `entity_vectors` has those of entities.

    Returns:
        float32 (n_relations, D); D is 0 where a method has none.
    """
    vectors = _vectors(model, model.relation_representations)
    return vectors[::2] if type(model).__name__ in _NEEDS_INVERSES else vectors


def _vectors(model: KGModel, representations: Iterable[Any]) -> NDArray[np.float32]:
    model.eval()
    blocks: list[Tensor] = []
    with torch.inference_mode(), quiet_pykeen():
        for representation in representations:
            values = representation(None).detach()
            if values.ndim < 2:
                continue
            halves = [values.real, values.imag] if values.is_complex() else [values]
            blocks += [half.reshape(len(values), -1) for half in halves]
    return torch.cat(blocks, dim=1).float().cpu().numpy()


def scale_vectors(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The vectors divided by their mean length, and that length.

    TransE's have length 1. ComplEx's and RotatE's are five to eight times as long, and a GRU that
    read them so was worse than one that read zeros (`docs/studies/2026-11-accuracy.md`).

    Args:
        vectors: float32 (n, D).
    """
    length = float(np.linalg.norm(vectors.astype(np.float64), axis=1).mean())
    return vectors / np.float32(length or 1), length


class Scorers(NamedTuple):
    """Each takes int64 (B, 2) and returns float (B, N), all N entities, higher for likelier ones.

    Attributes:
        tails: Of heads and relations.
        heads: Of relations and tails.
        n_numbers: Numbers that a score takes memory for.
    """

    tails: Callable[[Tensor], Tensor]
    heads: Callable[[Tensor], Tensor]
    n_numbers: int


def scorers(model: KGModel) -> Scorers:
    """What scores all entities as tails and as heads, by the weights of now."""
    model.eval()
    if isinstance(model, TransE):
        return _by_distance(model)

    def quietly(score: Callable[[Tensor], Tensor], queries: Tensor) -> Tensor:
        with quiet_pykeen():
            return score(queries)

    n_numbers = sum(
        math.prod(vectors.shape) * (2 if vectors.is_complex else 1)
        for vectors in model.entity_representations
    )
    return Scorers(partial(quietly, model.predict_t), partial(quietly, model.predict_h), n_numbers)


def _by_distance(model: TransE) -> Scorers:
    """TransE's, by products of matrices: PyKEEN subtracts all entities from each query."""
    entities: Tensor = model.entity_representations[0](None).detach()
    relations: Tensor = model.relation_representations[0](None).detach()

    def score_tails(queries: Tensor) -> Tensor:
        heads, steps = queries.T
        return -torch.cdist(entities[heads] + relations[steps], entities)

    def score_heads(queries: Tensor) -> Tensor:
        steps, tails = queries.T
        return -torch.cdist(entities[tails] - relations[steps], entities)

    return Scorers(score_tails, score_heads, 1)
