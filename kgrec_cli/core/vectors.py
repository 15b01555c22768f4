"""What a table of vectors must be to be of use: where it is made, read and looked at."""

import numpy as np
from numpy.typing import NDArray

MOST = 1e15
"""Measured quantities are smaller; squares of larger numbers soon leave float32."""


def find_fault(vectors: NDArray[np.float32]) -> str | None:
    """Why vectors say nothing, in a few words; None when they can be used.

    A training that diverged leaves vectors that are zeros, not finite or of enormous size.

    Args:
        vectors: float32 (n, D), a row for each entity or item that has one.
    """
    if not np.isfinite(vectors).all():
        return "vectors with numbers that are not finite"
    largest = float(np.abs(vectors).max(initial=0))
    if largest == 0:
        return "vectors that are all zeros"
    if largest > MOST:
        return f"vectors with numbers up to {largest:.1g}"
    return None
