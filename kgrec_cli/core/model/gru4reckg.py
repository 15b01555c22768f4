"""GRU4RecKG: an item GRU beside a GRU over knowledge-graph vectors, concatenated.

Names of parameters and their shapes are RecBole 1.2.1's
(`model/sequential_recommender/gru4reckg.py`), so weights move both ways. Sources: Hidasi et al.
2016 (GRU4Rec); Huang et al. 2018 (KSR, where the KG variant is a baseline).

Letters: B rows, L length, P positions of all rows, D embedding_size, H hidden_size, N items
including the padding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from kgrec_cli.core.model import gru, gru_cpu
from kgrec_cli.core.model.gru import PackedRows, pack
from kgrec_cli.core.model.gru_dense import Block, DenseRows, look_up_items, run_blocks, side_by_side

ROWS_AT_ONCE = 512
"""Histories encoded at once: what they need stays in the processor's cache."""

ITEM_EMBEDDING_SCALE = 0.1
"""What Xavier's item embeddings are multiplied by at first with `kg_items`."""

COSINE_SCALE = 16.0
"""What cosines are multiplied by at first to be scores."""


@dataclass(frozen=True)
class ModelSettings:
    """What a GRU4RecKG is built from; names and defaults are those of `settings.Settings`."""

    embedding_size: int = 64
    hidden_size: int = 128
    num_layers: int = 1
    dropout_prob: float = 0.1
    hidden_dropout_prob: float = 0.0
    layer_norm: bool = False
    residual: bool = False
    similarity: str = "dot"
    freeze_kg: bool = True
    seen_bias: bool = False
    kg_items: bool = False
    recbole_compat: bool = False
    seed: int = 2020


class SeenItems(NamedTuple):
    """The items that the history of each row holds.

    Attributes:
        rows: int64 (S,), a row.
        items: int64 (S,), an item of its history.
    """

    rows: Tensor
    items: Tensor


class Dropout(nn.Dropout):
    """Zeros with probability p while training, the rest divided by 1 - p.

    On a CPU p is rounded to a multiple of 2^-16. Random numbers come from torch's default
    generator.
    """

    def forward(self, vectors: Tensor) -> Tensor:
        """The vectors, float of any shape, some of their elements dropped."""
        n_dropped = round(self.p * 2**16)
        if vectors.device.type != "cpu" or not self.training or n_dropped in (0, 2**16):
            return super().forward(vectors)
        return vectors * drop_factors(vectors.shape, self.p, vectors.dtype)


def drop_factors(
    shape: torch.Size, p: float, dtype: torch.dtype, generator: torch.Generator | None = None
) -> Tensor:
    """What dropout multiplies vectors on a CPU by; p rounded to 2^-16, neither 0 nor 1."""
    n_dropped = round(p * 2**16)
    draws = torch.empty(-(-shape.numel() // 4), dtype=torch.int64)
    bits = draws.random_(-(2**63), None, generator=generator).view(torch.int16)[: shape.numel()]
    factors = (bits.view(shape) >= n_dropped - 2**15).to(dtype)
    return factors.mul_(2**16 / (2**16 - n_dropped))


class GRU4RecKG(nn.Module):
    """Reads item histories and returns a vector per position; dot products with it score all items.

    One GRU reads the item embeddings, one more each table of pre-trained vectors; their states are
    concatenated. RecBole's model has one such table, "entity"; without any it is GRU4Rec.

    Args:
        settings: embedding_size D, hidden_size H and the options.
        n_items: N, padding included.
        tables: By branch name, float32 (N, width): the vector of each item in that branch. Those
            that `freeze_kg` freezes are not copied.

    Raises:
        ValueError: A table that has not N rows.
    """

    def __init__(
        self, settings: ModelSettings, n_items: int, tables: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        tables = tables or {}
        hidden, layers = settings.hidden_size, settings.num_layers
        self.branches = ("item", *tables)
        widths = {"item": settings.embedding_size}
        widths |= {name: table.shape[1] for name, table in tables.items()}
        for name, width in widths.items():
            if name in tables and len(tables[name]) != n_items:
                raise ValueError(f"table {name}: {len(tables[name])} rows for {n_items} items")
            embedding = nn.Embedding(n_items, width, padding_idx=0)
            setattr(self, f"{name}_embedding", embedding)
            of_branch = nn.GRU(width, hidden, layers, bias=False, batch_first=True)
            setattr(self, f"{name}_gru_layers", of_branch)
            if name in tables and settings.kg_items:
                to_items = nn.Linear(width, settings.embedding_size, bias=False)
                setattr(self, f"{name}_item_layer", to_items)
        self.emb_dropout = Dropout(settings.dropout_prob)
        self.hidden_dropout = Dropout(settings.hidden_dropout_prob)
        self.dense_layer = nn.Linear(hidden * len(widths), settings.embedding_size)
        self.layer_norm = (
            nn.LayerNorm(settings.embedding_size) if settings.layer_norm else nn.Identity()
        )
        self.residual = settings.residual
        is_cosine = settings.similarity == "cosine"
        self.score_scale = nn.Parameter(torch.tensor(COSINE_SCALE)) if is_cosine else None
        self.seen_bias = nn.Parameter(torch.zeros(())) if settings.seen_bias else None
        self._set_initial_values(tables, settings)

    item_embedding: nn.Embedding
    item_gru_layers: nn.GRU

    def _set_initial_values(self, tables: Mapping[str, Tensor], settings: ModelSettings) -> None:
        """Xavier-normal item embeddings and dense layer, zero bias, torch's values for the GRUs.

        Differs from RecBole: the padding row stays zero (there, and with `recbole_compat`, the
        padding row is drawn too). With `kg_items` item embeddings start at a tenth of that, so that
        the projected entity vector dominates for rare items at first.
        """
        nn.init.xavier_normal_(self.item_embedding.weight)
        nn.init.xavier_normal_(self.dense_layer.weight)
        nn.init.zeros_(self.dense_layer.bias)
        with torch.no_grad():
            if not settings.recbole_compat:
                self.item_embedding.weight[0] = 0
            if tables and settings.kg_items:
                self.item_embedding.weight.mul_(ITEM_EMBEDDING_SCALE)
        for name, table in tables.items():
            values = table if settings.freeze_kg else table.clone()
            self.table_of(name).weight = nn.Parameter(values, requires_grad=not settings.freeze_kg)
            if settings.kg_items:
                nn.init.xavier_normal_(getattr(self, f"{name}_item_layer").weight)

    def table_of(self, branch: str) -> nn.Embedding:
        """The table of a branch."""
        return cast(nn.Embedding, getattr(self, f"{branch}_embedding"))

    def forward(
        self,
        rows: PackedRows,
        mask: Tensor | None = None,
        start: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """The state after each position, or after the chosen ones.

        Args:
            rows: Rows of item ids, P positions.
            mask: bool (P,), True at the T positions wanted; None for all.
            start: What `remember` gave for the rows; None when nothing was read before.
            vectors: `summed_vectors`, where they are at hand.

        Returns:
            float (P, D), or (T, D) in their order when `mask` is given.
        """
        inputs = self._inputs(rows.items, vectors)
        states = self._fast_gru.run_grus(self._grus, inputs, rows.sizes, start)
        if self.residual:
            states = torch.cat([states, inputs[0]], dim=-1)
        return self.to_scoring(states if mask is None else states[mask])

    def read_rows(self, rows: DenseRows, positions: Tensor) -> Tensor:
        """The states of all branches after some positions of rows of one length.

        Args:
            rows: P positions.
            positions: int64 (T,), those that are wanted.

        Returns:
            float (T, G * H), G the number of branches; with `residual` (T, G * H + D).
        """
        last_items: list[Tensor] = []

        def read(branch: str, table: Tensor) -> Tensor:
            context = None
            if rows.context is not None:
                with torch.no_grad():
                    context = self.emb_dropout(look_up_items(rows.context, table, None))
            vectors = self.emb_dropout(look_up_items(rows.items, table, rows.order))
            if self.residual and branch == "item":
                last_items.append(vectors.index_select(0, positions))
            layers = getattr(self, f"{branch}_gru_layers")
            return run_blocks(layers, rows.blocks, vectors, context).index_select(0, positions)

        branches = [partial(read, name, self._table(name)) for name in self.branches]
        return torch.cat([*side_by_side(branches), *last_items], dim=-1)

    def to_scoring(self, states: Tensor) -> Tensor:
        """What items are scored by, float (..., D), from the branches' states (..., G * H).

        With `residual` D numbers more: the vector of the last item, as the item GRU read it.
        """
        added: Tensor | float = 0.0
        if self.residual:
            width = self.item_embedding.embedding_dim
            states, added = states[..., :-width], states[..., -width:]
        scoring: Tensor = self.layer_norm(self.dense_layer(self.hidden_dropout(states)) + added)
        if self.score_scale is None:
            return scoring
        return functional.normalize(scoring, dim=-1) * self.score_scale

    @torch.no_grad()
    def remember(self, rows: PackedRows, vectors: Tensor | None = None) -> Tensor:
        """The GRUs' states after each row, for rows that go on: float (layers, branches, B, H)."""
        states: Tensor = self._fast_gru.last_states(
            self._grus, self._inputs(rows.items, vectors), rows.sizes
        )
        return states

    @torch.no_grad()
    def encode(self, items: Tensor, lengths: Tensor, vectors: Tensor | None = None) -> Tensor:
        """The state after the last item of each row, without gradients.

        Args:
            items: int (B, L), zeros behind.
            lengths: int64 (B,), at least 1.
            vectors: `item_vectors`, where they are at hand.

        Returns:
            float (B, D).
        """
        if not items.is_cpu:
            return self.encode_rows(items, lengths)
        order = torch.argsort(lengths, descending=True, stable=True)
        vectors = self.item_vectors() if vectors is None else vectors
        inputs = None
        if self._pays_by_item(int(lengths.sum())):
            pairs = zip(self.branches, self._grus, strict=True)
            inputs = [
                gru_cpu.inputs_by_item(gru, self._table(name, vectors)) for name, gru in pairs
            ]
        states = []
        for chosen in torch.split(order, ROWS_AT_ONCE):
            rows = pack(items[chosen], lengths[chosen])
            if inputs is None:
                last = self.remember(rows, vectors)
            else:
                last = gru_cpu.last_states_by_item(self._grus, inputs, rows)
            states.append(torch.cat(last[-1].unbind(), dim=-1))
        ordered = torch.cat(states)[torch.argsort(order)]
        if self.residual:
            last = items.gather(1, lengths[:, None] - 1)[:, 0]
            ordered = torch.cat([ordered, vectors[last]], dim=-1)
        return self.to_scoring(ordered)

    @torch.no_grad()
    def encode_rows(self, items: Tensor, lengths: Tensor) -> Tensor:
        """As `encode`, over rows of one length: fast on a GPU."""
        steps = torch.arange(-items.shape[1], 0, device=items.device) + lengths[:, None]
        padding_first = items.gather(1, steps.clamp(min=0)) * (steps >= 0)
        block = Block(len(items), items.shape[1])
        rows = DenseRows([block], padding_first.T.flatten())
        last = torch.arange(len(items), device=items.device) + len(items) * (items.shape[1] - 1)
        return self.to_scoring(self.read_rows(rows, last))

    def _pays_by_item(self, n_positions: int) -> bool:
        """Whether the inputs' products are to be made for every item, not for every position."""
        table = self.item_embedding.weight
        is_one_layer = self.item_gru_layers.num_layers == 1
        return is_one_layer and not self.training and table.is_cpu and n_positions > len(table)

    @property
    def _fast_gru(self) -> ModuleType:
        """What computes the GRUs over packed rows; on a GPU rows of one length are faster."""
        return gru_cpu if self.item_embedding.weight.is_cpu else gru

    @property
    def _grus(self) -> list[nn.GRU]:
        return [getattr(self, f"{name}_gru_layers") for name in self.branches]

    def _table(self, branch: str, vectors: Tensor | None = None) -> Tensor:
        """What a branch reads for every item, float (N, width)."""
        if branch != "item":
            return self.table_of(branch).weight
        return self.item_vectors() if vectors is None else vectors

    def _inputs(self, items: Tensor, vectors: Tensor | None = None) -> list[Tensor]:
        """What each branch reads for the items (P,): float (P, width)."""
        tables = {name: self.table_of(name).weight for name in self.branches}
        tables["item"] = self.summed_vectors() if vectors is None else vectors
        read = [
            functional.embedding(items, table, padding_idx=0, sparse=self.table_of(name).sparse)
            for name, table in tables.items()
        ]
        read[0] = self.finished(read[0])
        return [self.emb_dropout(of_branch) for of_branch in read]

    def item_vectors(self) -> Tensor:
        """What the item GRU reads and items are scored by, float (N, D).

        The item embeddings; with `kg_items` plus a learned projection of each pre-trained vector.
        With `similarity: cosine` all have length 1.
        """
        return self.finished(self.summed_vectors())

    def finished(self, vectors: Tensor) -> Tensor:
        """Rows of `summed_vectors` as rows of `item_vectors`; those of `item_vectors` stay."""
        return vectors if self.score_scale is None else functional.normalize(vectors, dim=-1)

    def summed_vectors(self) -> Tensor:
        """As `item_vectors`, of any length."""
        vectors: Tensor = self.item_embedding.weight
        for name in self.branches:
            to_items = getattr(self, f"{name}_item_layer", None)
            if to_items is not None:
                vectors = vectors + to_items(self.table_of(name).weight)
        return vectors

    def score(
        self, states: Tensor, seen: SeenItems | None = None, vectors: Tensor | None = None
    ) -> Tensor:
        """Scores of all items, float (B, N), for states (B, D). Column 0 is the padding's.

        Args:
            states: What `encode` gave.
            seen: The items of each row's history, whose scores get `seen_bias`, once even if an
                item repeats. None for none.
            vectors: `item_vectors`, where they are at hand.
        """
        scores = states @ (self.item_vectors() if vectors is None else vectors).T
        if self.seen_bias is None or seen is None:
            return scores
        return add_once(scores, seen, self.seen_bias)


def add_once(scores: Tensor, seen: SeenItems, number: Tensor | float) -> Tensor:
    """Adds a number (0-d) to scores (B, N) in place, once at each pair even if it repeats."""
    scores[seen.rows, seen.items] = scores[seen.rows, seen.items] + number
    return scores


def build_model(
    settings: ModelSettings, n_items: int, tables: Mapping[str, np.ndarray], device: torch.device
) -> GRU4RecKG:
    """A model with the initial values of `settings.seed`.

    Args:
        settings: Sizes, dropout and seed.
        n_items: N, padding included.
        tables: By branch name, float32 (N, width); empty for GRU4Rec. On a CPU a frozen one is
            the model's own memory afterwards.
        device: Where it is to be.
    """
    torch.manual_seed(settings.seed)
    tensors = {name: torch.from_numpy(table) for name, table in tables.items()}
    return GRU4RecKG(settings, n_items, tensors).to(device)
