"""Which vectors are of use."""

import numpy as np
import pytest

from kgrec_cli.core.vectors import find_fault


def table(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        (table([0, 0], [0, 0]), "vectors that are all zeros"),
        (table([1, np.nan], [0, 1]), "vectors with numbers that are not finite"),
        (table([1, -np.inf], [0, 1]), "vectors with numbers that are not finite"),
        (table([1, -1e38], [0, 1]), "vectors with numbers up to 1e+38"),
        (table([1, 0], [0, 0]), None),
        (table([1, 0]), None),
        (table([1.6e12, 3], [1.7e12, 2]), None),  # a time in milliseconds
    ],
)
def test_vectors_that_say_nothing_are_named(vectors: np.ndarray, expected: str | None) -> None:
    assert find_fault(vectors) == expected
