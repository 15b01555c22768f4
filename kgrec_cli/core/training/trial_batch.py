"""Many trainings in one step: each weight has a leading dimension of trials.

Trials of equal shapes differ in learning rate, weight decay, dropout and seed. Each has its own
generators, rows and Adam state, so its numbers are those of `epoch` within float error, whoever
trains beside it. The steps are those of a CUDA graph too: fixed sizes, nothing waits for a result.

Letters: T trials, G branches, n = G * T GRUs, S steps, R rows, P positions of a step, C of what its
rows read before without gradients; N, D, H, K as in the model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kgrec_cli.core.gpu_steps import CapturedStep, look_up
from kgrec_cli.core.model import gru_batch
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, drop_factors
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.losses import cross_entropy_in_chunks, cross_entropy_of_trials
from kgrec_cli.core.training.trial_rows import (
    EpochRows,
    Layout,
    ValidRows,
    epoch_seeds,
    packed_places,
)

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch.optim.Adam's


class TrialBatch:
    """Trains up to T models at a time.

    Args:
        width: T.
        model: One of the models; only its shapes and what is frozen in it are read.
        rows: What they read.
        device: Where to train.
        like_gpu: Compute as on a GPU. None: if `device` is one.
    """

    def __init__(
        self,
        width: int,
        model: GRU4RecKG,
        rows: EpochRows,
        device: torch.device,
        *,
        like_gpu: bool | None = None,
    ) -> None:
        self.rows, self.device = rows, device
        self.like_gpu = device.type == "cuda" if like_gpu is None else like_gpu
        self.has_hidden_dropout = model.hidden_dropout.p > 0
        self.branches, self.n_layers = model.branches, model.item_gru_layers.num_layers
        self.n_items, self.hidden = (
            len(model.item_embedding.weight),
            model.item_gru_layers.hidden_size,
        )
        self.widths = [model.table_of(name).embedding_dim for name in self.branches]
        parameters = dict(model.named_parameters())
        self.names = [name for name, weight in parameters.items() if weight.requires_grad]
        self.frozen = {n: w.detach() for n, w in parameters.items() if not w.requires_grad}
        self.dtype = model.item_embedding.weight.dtype
        self.seeds = [0] * width
        self.by_trial: dict[str, Tensor] = {}
        for name in self.names:
            room = torch.zeros(width, *parameters[name].shape, dtype=self.dtype, device=device)
            self.by_trial |= {f"{kind}.{name}": room.clone() for kind in ("weight", "m", "v")}
        for name in ("rate", "decay", "dropout", "hidden_dropout", "n_steps"):
            self.by_trial[name] = torch.zeros(width, dtype=torch.float64, device=device)
        self._set_up(width)

    def __len__(self) -> int:
        """T."""
        return len(self.seeds)

    @property
    def n_gates(self) -> int:
        """How many numbers the gates of a position are, n * 3H."""
        return len(self) * len(self.branches) * 3 * self.hidden

    def _set_up(self, width: int) -> None:
        """What depends on T or on the sizes of a step."""
        self.generators = [torch.Generator(self.device) for _ in range(width)]
        self.total = torch.zeros(width, dtype=torch.float64, device=self.device)
        self.number = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.tables: Layout | None = None
        self.shape = self.rows.shape
        self.step = CapturedStep(self._step, self.device, self.generators)

    def resize(self, kept: Sequence[int], width: int) -> None:
        """Makes room for `width` trials; the first ones are those of the slots `kept`."""
        chosen = torch.tensor(kept, dtype=torch.int64, device=self.device)
        for name, values in self.by_trial.items():
            room = values.new_zeros(width, *values.shape[1:])
            room[: len(kept)] = values[chosen]
            self.by_trial[name] = room
        self.seeds = [self.seeds[slot] for slot in kept] + [0] * (width - len(kept))
        self._set_up(width)

    def start(self, slot: int, model: GRU4RecKG, settings: TrainingSettings) -> None:
        """Puts a new trial into a slot: its initial weights, rates, dropout and seed."""
        weights = model.state_dict()
        for name in self.names:
            self.by_trial[f"weight.{name}"][slot] = weights[name]
            self.by_trial[f"m.{name}"][slot] = 0
            self.by_trial[f"v.{name}"][slot] = 0
        values = (settings.learning_rate, settings.weight_decay, model.emb_dropout.p,
                  model.hidden_dropout.p, 0)  # fmt: skip
        for name, value in zip(
            ("rate", "decay", "dropout", "hidden_dropout", "n_steps"), values, strict=True
        ):
            self.by_trial[name][slot] = value
        self.seeds[slot] = settings.seed
        self.rows.expect(settings.seed, settings.epochs)

    def train(self, epochs: Sequence[int]) -> None:
        """Trains one epoch in each slot, by its number; 0 for slots without a trial."""
        if self.shape != self.rows.shape:
            self._set_up(len(self))
        layouts = [
            self.rows.of(seed, epoch) if epoch else None
            for seed, epoch in zip(self.seeds, epochs, strict=True)
        ]
        present = [layout for layout in layouts if layout is not None]
        n_steps = max(len(layout.items) for layout in present)
        if self.tables is None or self.tables.items.shape[1] < n_steps:
            self.step = CapturedStep(self._step, self.device, self.generators)
            room = (table.new_zeros(len(self), n_steps, *table.shape[1:]) for table in present[0])
            self.tables = Layout(*room)
        self.tables.n_targets.zero_()
        for slot, layout in enumerate(layouts):
            if layout is not None:
                for room_of, table in zip(self.tables, layout, strict=True):
                    room_of[slot, : len(table)] = table
                seeds = epoch_seeds(self.seeds[slot], epochs[slot])
                self.generators[slot].manual_seed(seeds[1])
        self.total.zero_()
        self.number.zero_()
        for _ in range(n_steps):
            self.step()

    def losses(self) -> Tensor:
        """The sum of the losses of each trial's targets, float64 (T,), of the last epoch."""
        return self.total

    def weights_of(self, slot: int) -> dict[str, Tensor]:
        """A copy of a trial's weights, by the names of the model's `state_dict`."""
        return self.frozen | {
            name: self.by_trial[f"weight.{name}"][slot].clone() for name in self.names
        }

    def are_finite(self) -> Tensor:
        """Whether all weights of a trial are finite numbers, bool (T,)."""
        found = [
            torch.isfinite(self.by_trial[f"weight.{name}"]).flatten(1).all(1) for name in self.names
        ]
        return torch.stack(found).all(0)

    def _step(self) -> None:
        """One step of all trials."""
        assert self.tables is not None
        now = Layout(*(table.index_select(1, self.number)[:, 0] for table in self.tables))
        weights = {
            name: self.by_trial[f"weight.{name}"].detach().requires_grad_() for name in self.names
        }
        before, read, hidden = self._draw(now)
        vectors = self._item_vectors(weights)
        states = self._states(weights, vectors, now, before, read)
        if hidden is not None:
            states = states * hidden
        losses = self._losses(self._to_scoring(weights, states), vectors, now)
        grads = torch.autograd.grad(losses.sum(), list(weights.values()))
        self._update(dict(zip(self.names, grads, strict=True)), (now.n_targets > 0).double())
        self.total += losses.detach() * now.n_targets
        self.number += 1

    def _weight(self, weights: dict[str, Tensor], name: str) -> Tensor:
        """A weight of all trials, (T, ...)."""
        if name in weights:
            return weights[name]
        frozen = self.frozen[name]
        return frozen.expand(len(self), *frozen.shape)

    def _item_vectors(self, weights: dict[str, Tensor]) -> Tensor:
        """As `GRU4RecKG.item_vectors`, float (T, N, D)."""
        vectors = self._weight(weights, "item_embedding.weight")
        for name in self.branches:
            if f"{name}_item_layer.weight" in weights:
                table = self._weight(weights, f"{name}_embedding.weight")
                vectors = vectors + table @ weights[f"{name}_item_layer.weight"].mT
        return vectors

    def _grus(self, weights: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The weights of all GRUs of each layer, (n, 3H, ...), branch by branch."""
        found = []
        for kind in ("ih", "hh"):
            for layer in range(self.n_layers):
                of_branches = [
                    weights[f"{b}_gru_layers.weight_{kind}_l{layer}"] for b in self.branches
                ]
                found.append(torch.cat(_of_one_width(of_branches)))
        return found[: self.n_layers], found[self.n_layers :]

    def _read(
        self,
        weights: dict[str, Tensor],
        vectors: Tensor,
        items: Tensor,
        order: Tensor | None,
        factors: list[Tensor] | None,
    ) -> Tensor:
        """What all GRUs read for items (T, P), zeros at padding: float (n, P, width)."""
        inputs = []
        for number, name in enumerate(self.branches):
            table_name = f"{name}_embedding.weight"
            if name != "item" and table_name in self.frozen:
                found = functional.embedding(items, self.frozen[table_name])
            else:
                table = vectors if name == "item" else weights[table_name]
                first = torch.arange(len(self), device=self.device)[:, None]
                ids, rows = items + first * self.n_items, table.flatten(0, 1)
                if order is None or not self.like_gpu:
                    found = functional.embedding(ids, rows)
                else:
                    places = (order + first * order.shape[1]).flatten()
                    found = look_up(ids, rows, places)
            found = found.masked_fill((items == 0).unsqueeze(-1), 0)
            inputs.append(found if factors is None else found * factors[number])
        return torch.cat(_of_one_width(inputs))

    def _states(
        self,
        weights: dict[str, Tensor],
        vectors: Tensor,
        now: Layout,
        before: list[Tensor] | None,
        read: list[Tensor] | None,
    ) -> Tensor:
        """The states of all branches after all positions, float (T, P, G * H)."""
        w_ih, w_hh = self._grus(weights)
        start, sizes = None, self.shape
        if sizes.context:
            with torch.no_grad():
                inputs = self._read(weights, vectors, now.context, None, before)
                last = gru_batch.last_states(inputs, w_ih, w_hh, sizes.context[::-1])
                by_trial = last.view(len(last), len(self.branches), len(self), *last.shape[2:])
                places = now.context_of[:, :, None].expand(*by_trial.shape)
                start = last.new_zeros(*by_trial.shape[:3], sizes.rows[0] + 1, self.hidden)
                start = start.scatter_(3, places, by_trial)[:, :, :, :-1].flatten(1, 2)
        states = self._read(weights, vectors, now.items, now.order, read)
        for layer in range(self.n_layers):
            first = None if start is None else start[layer]
            states = gru_batch.run_layer(states @ w_ih[layer].mT, w_hh[layer], sizes.rows, first)
        return torch.cat(states.chunk(len(self.branches)), dim=-1)

    def _to_scoring(self, weights: dict[str, Tensor], states: Tensor) -> Tensor:
        """As `GRU4RecKG.to_scoring` without dropout, float (T, P, D)."""
        bias, weight = weights["dense_layer.bias"], weights["dense_layer.weight"]
        scoring = torch.baddbmm(bias[:, None], states, weight.mT)
        if "layer_norm.weight" in weights:
            scoring = functional.layer_norm(scoring, scoring.shape[-1:])
            scale, shift = (weights[f"layer_norm.{kind}"][:, None] for kind in ("weight", "bias"))
            scoring = scoring * scale + shift
        return scoring

    def _losses(self, scoring: Tensor, vectors: Tensor, now: Layout) -> Tensor:
        """The mean loss of each trial's targets, float (T,)."""
        if self.like_gpu:
            return cross_entropy_of_trials(scoring, vectors, now.targets, now.n_targets)
        found = []
        for states, weight, targets in zip(scoring, vectors, now.targets, strict=True):
            mask = targets > 0
            has_any = bool(mask.any())
            found.append(
                cross_entropy_in_chunks(states[mask], weight, targets[mask])
                if has_any
                else states.sum() * 0
            )
        return torch.stack(found)

    @torch.no_grad()
    def _update(self, grads: dict[str, Tensor], active: Tensor) -> None:
        """Adam, each trial with its own rate and number of steps; none where `active` (T,) is 0."""
        of = self.by_trial
        of["n_steps"] += active
        steps = of["n_steps"].clamp(min=1)
        size = of["rate"] * active / (1 - BETAS[0] ** steps)
        root = (1 - BETAS[1] ** steps).sqrt()
        shares = [active * (1 - beta) for beta in BETAS]
        for name, grad in grads.items():
            weight, m, v = (of[f"{kind}.{name}"] for kind in ("weight", "m", "v"))

            def each(values: Tensor, like: Tensor = weight) -> Tensor:
                return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))

            grad = grad + each(of["decay"]) * weight
            m.lerp_(grad, each(shares[0]))
            v.lerp_(grad * grad, each(shares[1]))
            weight.sub_(each(size) * m / (v.sqrt() / each(root) + EPSILON))

    def _draw(self, now: Layout) -> tuple[list[Tensor] | None, list[Tensor] | None, Tensor | None]:
        """Factors of dropout: of what is read before, of what is read, of the states.

        On a CPU from the random numbers of `EpochRunner`; on a GPU the same for any companions.
        """
        context, read = now.context.shape[1], now.items.shape[1]
        wide = len(self.branches) * self.hidden * self.has_hidden_dropout
        shapes = [(n, width) for n in (context, read) for width in self.widths] + [(read, wide)]
        if self.like_gpu:
            factors = self._draw_like_gpu(shapes)
        else:
            factors = [
                torch.ones(len(self), *shape, dtype=self.dtype, device=self.device)
                for shape in shapes
            ]
            for slot in range(len(self)):
                if now.n_targets[slot]:
                    self._draw_one(slot, now, factors)
        n = len(self.branches)
        return factors[:n], factors[n : 2 * n], factors[-1] if wide else None

    def _draw_like_gpu(self, shapes: list[tuple[int, int]]) -> list[Tensor]:
        """Factors (T, ...) of these shapes, the last one's with the second probability."""
        counts = [rows * width for rows, width in shapes]
        draws = torch.empty(len(self), sum(counts), dtype=torch.float32, device=self.device)
        for row, generator in zip(draws, self.generators, strict=True):
            row.uniform_(generator=generator)
        factors = []
        for number, (part, shape) in enumerate(
            zip(torch.split(draws, counts, dim=1), shapes, strict=True)
        ):
            last = number == len(shapes) - 1
            p = self.by_trial["hidden_dropout" if last else "dropout"][:, None].to(self.dtype)
            of_part = (part >= p) / (1 - p).clamp(min=1e-9)
            factors.append(of_part.view(len(self), *shape))
        return factors

    def _draw_one(self, slot: int, now: Layout, factors: list[Tensor]) -> None:
        """Fills in one trial's factors, drawn in the order in which `GRU4RecKG` draws them."""
        n, generator = len(self.branches), self.generators[slot]
        places = [packed_places(now.context[slot], self.shape.context[::-1])] * n
        places += [torch.nonzero(now.items[slot])[:, 0]] * (n + 1)
        probabilities = [float(self.by_trial["dropout"][slot])] * (2 * n)
        probabilities += [float(self.by_trial["hidden_dropout"][slot])]
        for factor, chosen, p in zip(factors, places, probabilities, strict=True):
            if p and len(chosen) and factor.shape[2]:
                shape = torch.Size((len(chosen), factor.shape[2]))
                factor[slot, chosen] = drop_factors(shape, p, self.dtype, generator)


@torch.no_grad()
def rank_valid(batch: TrialBatch, rows: ValidRows) -> Tensor:
    """The rank of each target among all items, by every trial: int64 (T, V), on the device.

    0 where a score is no finite number. Ties count against the target; see `rank_targets`.
    """
    weights = {name: batch.by_trial[f"weight.{name}"] for name in batch.names}
    vectors = batch._item_vectors(weights)
    grus = batch._grus(weights)
    ranks = []
    for items, sizes, wanted in rows.chunks:
        inputs = batch._read(weights, vectors, items.expand(len(batch), -1), None, None)
        last = gru_batch.last_states(inputs, *grus, sizes)[-1]
        states = torch.cat(last.chunk(len(batch.branches)), dim=-1)
        scores = batch._to_scoring(weights, states) @ vectors.mT
        is_finite = torch.isfinite(scores).all(dim=2)
        scores[..., 0] = -torch.inf
        own = scores.gather(2, wanted.expand(len(batch), -1)[..., None])
        ranks.append((scores >= own).sum(2) * is_finite)
    by_length = torch.cat(ranks, dim=1)
    back = torch.from_numpy(np.argsort(rows.order)).to(by_length.device)
    return by_length[:, back]


def _of_one_width(tables: list[Tensor]) -> list[Tensor]:
    """Tables (..., width), the narrower ones with zeros behind."""
    width = max(table.shape[-1] for table in tables)
    if all(table.shape[-1] == width for table in tables):
        return tables
    return [functional.pad(table, (0, width - table.shape[-1])) for table in tables]
