"""What a trained model has to beat on the same split: popularity and ItemKNN."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from kgrec_cli.core.data.histories import Histories, Ints, seen_events
from kgrec_cli.core.data.splits import Split, training_events
from kgrec_cli.core.evaluation.ranking import Score


def popularity_score(popularity: NDArray[np.int64]) -> Score:
    """Every target gets the same scores: the training interactions of each item.

    Args:
        popularity: int64 (N,), padding first.
    """
    scores = torch.from_numpy(popularity.astype(np.float32))

    def score(targets: Ints) -> Tensor:
        return scores.repeat(len(targets), 1)

    return score


def item_knn_score(
    histories: Histories, split: Split, n_items: int, *, n_neighbours: int = 100
) -> Score:
    """ItemKNN (Sarwar et al. 2001): cosine of the users who had both items, summed over a prefix.

    Similarities are those of the training part (binary, one count a user and item); each item keeps
    its `n_neighbours` most similar ones.

    Args:
        histories: All histories.
        split: What is training.
        n_items: N, padding included.
        n_neighbours: Similar items kept for each item.
    """
    owners = histories.owners
    training = training_events(histories, split)
    users, items = owners[training], histories.items[training]
    ones = np.ones(len(items), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, (users, items)), shape=(len(histories), n_items))
    matrix.data[:] = 1.0
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    shared = (matrix.T @ matrix).tocsr()
    shared.setdiag(0)
    shared.eliminate_zeros()
    norms = np.sqrt(np.maximum(counts, 1))
    similarity = sparse.diags(1 / norms) @ shared @ sparse.diags(1 / norms)
    nearest = _keep_largest(similarity.tocsr(), n_neighbours)

    def score(targets: Ints) -> Tensor:
        row_index, events = seen_events(histories, targets)
        ones = np.ones(len(row_index), dtype=np.float32)
        prefix = sparse.csr_matrix(
            (ones, (row_index, histories.items[events])), shape=(len(targets), n_items)
        )
        return torch.from_numpy((prefix @ nearest.T).toarray().astype(np.float32))

    return score


def _keep_largest(matrix: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """The matrix with the `n` largest values of each row; of equal values the lower column."""
    rows, columns = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)), matrix.indices
    order = np.lexsort((columns, -matrix.data, rows))
    place = np.arange(len(order)) - matrix.indptr[rows[order]]
    largest = order[place < n]
    entries = matrix.data[largest], (rows[largest], columns[largest])
    return sparse.csr_matrix(entries, shape=matrix.shape)
