"""GRU4RecKG: an item GRU beside a GRU over knowledge-graph vectors, concatenated.

Names of parameters and their shapes are RecBole 1.2.1's
(`model/sequential_recommender/gru4reckg.py`), so weights move both ways. Sources: Hidasi et al.
2016 (GRU4Rec); Huang et al. 2018 (KSR, where the KG variant is a baseline).

Letters: B rows, L length, D embedding_size, H hidden_size, N items including the padding.
"""

import torch
from torch import Tensor, nn

from kgrec_cli.config import Settings


class GRU4RecKG(nn.Module):
    """Reads item histories, returns a vector per position whose dot products score all items.

    Without `entity_vectors` it is GRU4Rec: the same network without the KG branch.

    Args:
        settings: embedding_size D, hidden_size H, num_layers, dropout_prob, freeze_kg.
        n_items: N, padding included.
        entity_vectors: float32 (N, D), the vector of each item's entity; None for GRU4Rec.

    Raises:
        ValueError: The vectors are not (N, D).
    """

    def __init__(
        self, settings: Settings, n_items: int, entity_vectors: Tensor | None = None
    ) -> None:
        super().__init__()
        size, hidden = settings.embedding_size, settings.hidden_size
        self.item_embedding = nn.Embedding(n_items, size, padding_idx=0)
        self.emb_dropout = nn.Dropout(settings.dropout_prob)
        self.item_gru_layers = nn.GRU(
            size, hidden, settings.num_layers, bias=False, batch_first=True
        )
        self.has_kg = entity_vectors is not None
        if entity_vectors is not None:
            if entity_vectors.shape != (n_items, size):
                raise ValueError(
                    f"entity_vectors: {tuple(entity_vectors.shape)}, not {n_items, size}"
                )
            self.entity_embedding = nn.Embedding(n_items, size, padding_idx=0)
            self.entity_gru_layers = nn.GRU(
                size, hidden, settings.num_layers, bias=False, batch_first=True
            )
        self.dense_layer = nn.Linear(hidden * (2 if self.has_kg else 1), size)
        self._set_initial_values(entity_vectors, settings.freeze_kg)

    def _set_initial_values(self, entity_vectors: Tensor | None, freeze_kg: bool) -> None:
        """Xavier-normal embeddings and dense layer, zero bias, torch's own values for the GRUs.

        Differs from RecBole: the padding row stays zero (there the padding row is drawn too).
        """
        nn.init.xavier_normal_(self.item_embedding.weight)
        nn.init.xavier_normal_(self.dense_layer.weight)
        nn.init.zeros_(self.dense_layer.bias)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0
            if entity_vectors is not None:
                self.entity_embedding.weight.copy_(entity_vectors)
        if entity_vectors is not None:
            self.entity_embedding.weight.requires_grad_(not freeze_kg)

    def forward(self, items: Tensor, where: Tensor | None = None) -> Tensor:
        """The state after each position, or after the chosen ones.

        Args:
            items: int (B, L) item ids, oldest first, zeros behind. The GRUs are causal, so what
                stands behind a position does not change its state.
            where: bool (B, L), True at the T positions wanted; None for all.

        Returns:
            float (B, L, D), or (T, D) in row order when `where` is given.
        """
        branches = [self.item_gru_layers(self.emb_dropout(self.item_embedding(items)))[0]]
        if self.has_kg:
            entities = self.emb_dropout(self.entity_embedding(items))
            branches.append(self.entity_gru_layers(entities)[0])
        if where is not None:
            branches = [states[where] for states in branches]
        dense: Tensor = self.dense_layer(torch.cat(branches, dim=-1))
        return dense

    def encode(self, items: Tensor, lengths: Tensor) -> Tensor:
        """The state after the last real item of each row.

        Args:
            items: int (B, L), zeros behind.
            lengths: int64 (B,), at least 1.

        Returns:
            float (B, D).
        """
        positions = torch.arange(items.shape[1], device=items.device)
        return self.forward(items, positions == (lengths - 1)[:, None])

    def score(self, states: Tensor) -> Tensor:
        """Scores of all items, float (..., N), for states (..., D). Column 0 is the padding's."""
        return states @ self.item_embedding.weight.T
