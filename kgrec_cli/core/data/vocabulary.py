"""Tokens (strings from files) to ids (integers) and back. Id 0 is the padding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

PADDING = "[PAD]"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one field in id order; `tokens[0]` is the padding.

    Attributes:
        tokens: Token of each id.
    """

    tokens: Sequence[str]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ids = {token: index for index, token in enumerate(self.tokens)}
        if len(ids) != len(self.tokens) or self.tokens[0] != PADDING:
            raise ValueError("a vocabulary starts with the padding and holds each token once")
        object.__setattr__(self, "_ids", ids)

    def __len__(self) -> int:
        """The number of ids, padding included."""
        return len(self.tokens)

    def get(self, token: str) -> int | None:
        """The id of a token, None when it is not in the vocabulary."""
        return self._ids.get(token) if token != PADDING else None

    def encode(self, tokens: pl.Series) -> np.ndarray:
        """The ids of a column of tokens (String or Categorical).

        Returns:
            int32 array of the column's length; 0 for tokens that are not in the vocabulary.
        """
        if tokens.dtype == pl.Categorical:
            codes, known = tokens.to_physical().to_numpy(), tokens.unique()
            ids_of_codes = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.int32)
            ids_of_codes[known.to_physical()] = self.encode(known.cast(pl.String))
            ids: np.ndarray = ids_of_codes[codes]
            return ids
        keys = pl.Series(self.tokens, dtype=pl.String)
        numbers = pl.Series(range(len(self.tokens)), dtype=pl.Int32)
        return tokens.replace_strict(keys, numbers, default=0, return_dtype=pl.Int32).to_numpy()


def build_vocabulary(tokens: pl.Series) -> Vocabulary:
    """The vocabulary of a column, ids in order of first appearance from 1 (as RecBole numbers)."""
    return Vocabulary([PADDING, *tokens.unique(maintain_order=True).cast(pl.String).to_list()])


def vocabulary_of(tokens: Iterable[str]) -> Vocabulary:
    """The vocabulary of tokens that are already in id order, the padding left out."""
    return Vocabulary([PADDING, *tokens])
