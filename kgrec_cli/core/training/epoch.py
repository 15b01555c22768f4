"""One epoch: batches, loss, gradient, update. `gpu_epoch` makes the same steps on a GPU."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kgrec_cli.core.data import histories as events
from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories, Ints
from kgrec_cli.core.data.shards import Borders
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.evaluation.measure import MeasureSettings
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, SeenItems
from kgrec_cli.core.training import batches
from kgrec_cli.core.training.batches import Batch, Chunk
from kgrec_cli.core.training.losses import bpr, cross_entropy_in_chunks
from kgrec_cli.core.training.sampled_softmax import sampled_softmax_in_chunks
from kgrec_cli.core.workers import ALONE, Workers
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, Progress
from kgrec_cli.setting_blocks import GradientNorm, NegativeSampling


@dataclass(frozen=True)
class TrainingSettings(MeasureSettings):
    """Batches, loss, optimiser and early stopping; what `MeasureSettings` holds is for validation.

    Attributes:
        negatives: Those of the losses BPR and SSM.
    """

    epochs: int = 300
    train_batch_size: int = 2048
    train_batching: Literal["sequence", "prefix"] = "sequence"
    shuffle_ties: bool = False
    loss_type: Literal["CE", "BPR", "SSM"] = "CE"
    negatives: NegativeSampling = field(default_factory=NegativeSampling)
    learner: Literal["adam", "sparse_adam"] = "adam"
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    clip_grad_norm: GradientNorm | None = None
    ema_decay: float = 0.0
    enable_amp: bool = False
    eval_step: int = 1
    stopping_step: int = 10
    valid_metric: str = "NDCG@10"


def check_loss(loss: float, epoch: int, learning_rate: float) -> None:
    """Raises KgrecError when the loss of an epoch is not finite."""
    if not np.isfinite(loss):
        raise KgrecError(
            f"epoch {epoch}: the loss is not a number; a lower learning_rate (now "
            f"{learning_rate:g}) is the usual cure"
        )


class EpochRunner:
    """Trains a model for one epoch at a time.

    Args:
        model: On `device`.
        optimizer: Of the model's weights.
        histories: All histories, or this process's shard of them.
        split: Which of their events train.
        settings: Batches, loss, negatives and seed.
        device: Where to train.
        after_step: Called after every step of the optimiser.
        workers: The processes that share every step.
    """

    def __init__(
        self,
        model: GRU4RecKG,
        optimizer: torch.optim.Optimizer,
        histories: Histories,
        split: Split,
        settings: TrainingSettings,
        device: torch.device,
        after_step: Callable[[], None] = lambda: None,
        workers: Workers = ALONE,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.unshuffled = self.histories = histories  # the second one is the epoch's
        self.is_first = np.zeros(0, dtype=np.bool_)
        self.split = split
        self.borders = workers.borders or Borders(histories, split, 0)
        self.settings = settings
        self.device = device
        self.after_step = after_step
        self.workers = workers
        self.n_items = model.item_embedding.num_embeddings
        if settings.loss_type != "CE":
            self._prepare_negatives()

    def _prepare_negatives(self) -> None:
        """What BPR and SSM draw their negatives with."""
        from kgrec_cli.core.data.negatives import SharedNegatives, draw_shares, sample_negatives

        negatives = self.settings.negatives
        counts = splits.item_popularity(self.histories, self.split, self.n_items)
        popularity = torch.from_numpy(self.workers.total(counts))
        is_uniform = negatives.distribution == "uniform"
        weights = None if is_uniform else popularity.float() ** negatives.alpha
        self.sample_negatives = partial(
            sample_negatives,
            popularity=weights,
            n_items=self.n_items,
            sample_num=negatives.sample_num,
        )
        self.item_weights = torch.ones(self.n_items) if weights is None else weights
        shares = draw_shares(popularity, 0 if is_uniform else negatives.alpha)
        self.shared_negatives = SharedNegatives(shares, negatives.sample_num)

    def run(self, epoch: int, n_targets: int, on_event: OnEvent) -> float:
        """Trains on every target once; returns the mean loss per target.

        Everything random follows from (seed, epoch).

        Raises:
            KgrecError: The loss is not finite.
        """
        self.model.train()
        seeds = np.random.SeedSequence([self.settings.seed, epoch])
        order_seed, torch_seed = seeds.generate_state(2)
        own_seed = int(torch_seed) + 2 * self.workers.number
        torch.manual_seed(own_seed)
        is_shared = self.settings.loss_type == "SSM"  # then all processes draw the same negatives
        generator = torch.Generator().manual_seed((int(torch_seed) if is_shared else own_seed) + 1)
        rng = np.random.default_rng(order_seed)
        if self.settings.shuffle_ties:
            self.histories = splits.shuffle_ties(
                self.unshuffled,
                self.split,
                rng,
                self.borders.first_event,
                int(self.borders.histories.offsets[-1]),
            )
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        n_done, shown_at = 0, time.perf_counter()
        for n_new in self.steps(rng, generator, total):
            n_done += n_new
            if time.perf_counter() - shown_at > 0.2:
                shown_at = time.perf_counter()
                on_event(Progress(f"epoch {epoch}", n_done, n_targets, "targets", passing=True))
        on_event(Progress(f"epoch {epoch}", n_targets, n_targets, "targets", passing=True))
        self.workers.add_up([total])
        mean = float(total) / n_targets
        check_loss(mean, epoch, self.settings.learning_rate)
        return mean

    def steps(
        self, rng: np.random.Generator, generator: torch.Generator, total: Tensor
    ) -> Iterator[int]:
        """Makes the steps, adds their losses to `total`, yields how many targets each had."""
        if self.model.seen_bias is not None:
            self.is_first = events.first_events(self.histories, self.n_items)
        for batch in self.batches(rng):
            self.optimizer.zero_grad(set_to_none=True)
            batch_loss = torch.zeros_like(total)
            if self.settings.loss_type == "SSM":
                self.drawn = self.shared_negatives.draw(generator)
            for chunk in batch.chunks:
                loss = self.loss(chunk, self.model.summed_vectors(), generator)
                n_targets = np.count_nonzero(chunk.targets)
                if n_targets < batch.n_targets:
                    loss = loss * (n_targets / batch.n_targets)
                loss.backward()  # type: ignore[no-untyped-call]
                batch_loss += loss.detach()
            self.add_up_gradients()
            self.update_weights()
            self.after_step()
            total += batch_loss * batch.n_targets
            yield batch.n_targets

    def add_up_gradients(self) -> None:
        """The sums of the gradients over all processes."""
        if self.workers.count == 1:
            return
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        for weight in weights:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        self.workers.add_up(weight.grad for weight in weights if weight.grad is not None)

    def update_weights(self) -> None:
        """One step of the optimiser, its gradients clipped first if that is set."""
        clip = self.settings.clip_grad_norm
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), clip.max_norm, norm_type=clip.norm_type
            )
        self.optimizer.step()

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The epoch's batches."""
        length, size = self.settings.MAX_ITEM_LIST_LENGTH, self.settings.train_batch_size
        if self.settings.train_batching == "prefix":
            return batches.prefix_batches(
                self.histories, self.split, max_length=length, batch_size=size, rng=rng,
                borders=self.borders,
            )  # fmt: skip
        return batches.sequence_batches(
            self.histories, self.split, max_length=length, batch_size=size, context=length, rng=rng,
            borders=self.borders,
        )  # fmt: skip

    def start(self, chunk: Chunk, vectors: Tensor) -> Tensor | None:
        """The states that a chunk's rows begin with: those after what they read before it."""
        if chunk.context is None:
            return None
        states = self.model.remember(chunk.context, vectors)
        n_layers, n_branches, _, hidden = states.shape
        start = states.new_zeros(n_layers, n_branches, chunk.rows.sizes[0], hidden)
        start[:, :, torch.from_numpy(chunk.context_of)] = states
        return start

    def loss(self, chunk: Chunk, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """The mean loss over the targets of a chunk, by the model's `summed_vectors`."""
        wanted = torch.from_numpy(chunk.targets)
        mask = None if chunk.targets.all() else wanted > 0
        states = self.model(chunk.rows, mask, self.start(chunk, vectors), vectors)
        targets = (wanted if mask is None else wanted[mask]).long()
        places = chunk.places if mask is None else chunk.places[chunk.targets > 0]
        seen, bias = self.seen_items(places + 1), self.model.seen_bias
        if self.settings.loss_type == "SSM":
            return sampled_softmax_in_chunks(
                states,
                vectors,
                targets,
                *self.drawn,
                seen,
                bias,
                finish=self.model.finished,
                sparse=self.model.item_embedding.sparse,
            )
        weight = self.model.finished(vectors)
        if self.settings.loss_type == "CE":
            return cross_entropy_in_chunks(states, weight, targets, seen, bias)
        return bpr(states, weight, targets, self.sample_negatives(targets, generator=generator))

    def seen_items(self, targets: Ints) -> SeenItems | None:
        """The items before each target (T,), each once; None unless the model has `seen_bias`."""
        if self.model.seen_bias is None:
            return None
        rows, seen = events.seen_events(self.histories, targets)
        is_first = self.is_first[seen]
        items = self.histories.items[seen[is_first]].astype(np.int64)
        return SeenItems(torch.from_numpy(rows[is_first]), torch.from_numpy(items))
