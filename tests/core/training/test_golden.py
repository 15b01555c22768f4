"""The first losses of seeded runs: a change of training that nobody meant shows here."""

import json

import pytest

from tests.golden.remake import CASES, CURVE_PATH, first_losses


@pytest.mark.parametrize("name", CASES)
def test_first_losses(name: str) -> None:
    golden = json.loads(CURVE_PATH.read_text())[name]
    assert first_losses(**CASES[name]) == pytest.approx(golden, rel=1e-4)
