"""One epoch's optimiser steps: batches to the device, loss, gradient, update."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from kgrec_cli.core.data import histories, splits
from kgrec_cli.core.data.histories import Histories
from kgrec_cli.core.data.negatives import SharedNegatives, draw_shares, sample_negatives
from kgrec_cli.core.data.splits import Split
from kgrec_cli.core.model.gru import Packed
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.core.training import batches
from kgrec_cli.core.training.batches import Batch, Part
from kgrec_cli.core.training.losses import Seen, bpr, cross_entropy, sampled_softmax
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, Progress
from kgrec_cli.settings import Settings


class TrainingStep:
    """One epoch's steps: batches to the device, loss, gradient, update."""

    def __init__(
        self,
        model: GRU4RecKG,
        optimizer: torch.optim.Optimizer,
        histories: Histories,
        split: Split,
        settings: Settings,
        device: torch.device,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.given = self.histories = histories  # the second one is the epoch's
        self.is_first = np.zeros(0, dtype=np.bool_)
        self.split = split
        self.settings = settings
        self.device = device
        self.n_items = model.item_embedding.num_embeddings
        popularity = torch.from_numpy(splits.item_popularity(histories, split, self.n_items))
        negatives = settings.negatives
        is_uniform = negatives.distribution == "uniform"
        self.popularity = None if is_uniform else popularity.float() ** negatives.alpha
        shares = draw_shares(popularity, 0 if is_uniform else negatives.alpha)
        self.shared = SharedNegatives(shares, negatives.sample_num)

    def run_epoch(self, epoch: int, n_targets: int, on_event: OnEvent) -> float:
        """Trains on every target once; returns the mean loss per target."""
        self.model.train()
        seeds = np.random.SeedSequence([self.settings.seed, epoch])
        order_seed, torch_seed = seeds.generate_state(2)
        torch.manual_seed(int(torch_seed))
        negatives = torch.Generator().manual_seed(int(torch_seed) + 1)
        rng = np.random.default_rng(order_seed)
        if self.settings.shuffle_ties:
            self.histories = splits.shuffle_ties(self.given, self.split, rng)
        if self.model.seen_bias is not None:
            self.is_first = histories.first_events(self.histories, self.n_items)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        done, last_told = 0, time.perf_counter()
        for batch in self.batches(rng):
            total += self.run(batch, negatives) * batch.n_targets
            done += batch.n_targets
            if time.perf_counter() - last_told > 0.2:
                last_told = time.perf_counter()
                on_event(Progress(f"epoch {epoch}", done, n_targets, "targets", passing=True))
        on_event(Progress(f"epoch {epoch}", n_targets, n_targets, "targets", passing=True))
        loss = float(total) / n_targets
        if not np.isfinite(loss):
            raise KgrecError(
                f"epoch {epoch}: the loss is not a number; a lower learning_rate (now "
                f"{self.settings.learning_rate:g}) is the usual cure"
            )
        return loss

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The epoch's batches."""
        length, size = self.settings.MAX_ITEM_LIST_LENGTH, self.settings.train_batch_size
        if self.settings.train_batching == "prefix":
            return batches.prefix_batches(
                self.histories, self.split, max_length=length, batch_size=size, rng=rng
            )
        return batches.sequence_batches(
            self.histories, self.split, max_length=length, batch_size=size, context=length, rng=rng
        )

    def run(self, batch: Batch, negatives: torch.Generator) -> Tensor:
        """One optimiser step; returns the mean loss of the batch."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for part in batch.parts:
            loss = self.loss(part, negatives)
            if len(batch.parts) > 1:
                loss = loss * (np.count_nonzero(part.targets) / batch.n_targets)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        clip = self.settings.clip_grad_norm
        if clip is not None:
            weights = self.model.parameters()
            torch.nn.utils.clip_grad_norm_(weights, clip.max_norm, norm_type=clip.norm_type)
        self.optimizer.step()
        return total

    def loss(self, part: Part, negatives: torch.Generator) -> Tensor:
        """The mean loss over the targets of a part."""
        read = Packed(self.to_device(part.rows.items), part.rows.sizes)
        wanted = self.to_device(part.targets)
        with torch.autocast("cuda", enabled=self.settings.enable_amp and wanted.is_cuda):
            where = None if part.targets.all() else wanted > 0
            states = self.model(read, where, self.start(part))
            targets = (wanted if where is None else wanted[where]).long()
            weight = self.model.item_vectors()
            if self.settings.loss_type == "CE":
                places = part.rows.places if where is None else part.rows.places[part.targets > 0]
                return cross_entropy(states, weight, targets, self.seen(places + 1))
            if self.settings.loss_type == "SSM":
                drawn, log_q = self.shared.draw(negatives)
                return sampled_softmax(
                    states, weight, targets, drawn.to(self.device), log_q.to(self.device)
                )
            sampled = sample_negatives(
                targets.cpu(),
                self.popularity,
                self.n_items,
                self.settings.negatives.sample_num,
                negatives,
            )
            return bpr(states, weight, targets, sampled.to(self.device))

    def seen(self, targets: histories.Ints) -> Seen | None:
        """The items before each target (T,), when the model has a number for them."""
        if self.model.seen_bias is None:
            return None
        rows, events = histories.seen_events(self.histories, targets)
        kept = self.is_first[events]
        items = self.histories.items[events[kept]].astype(np.int64)
        return Seen(self.to_device(rows[kept]), self.to_device(items), self.model.seen_bias)

    def start(self, part: Part) -> Tensor | None:
        """The states that the rows of a part begin with: those after what they read before it."""
        if part.before is None:
            return None
        before = Packed(self.to_device(part.before.items), part.before.sizes)
        states = self.model.remember(before)
        n_layers, n_branches, _, hidden = states.shape
        start = states.new_zeros(n_layers, n_branches, part.rows.sizes[0], hidden)
        start[:, :, self.to_device(part.before_of)] = states
        return start

    def to_device(self, array: np.ndarray) -> Tensor:
        """An array as a tensor on the device; pinned on its way to CUDA."""
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor
