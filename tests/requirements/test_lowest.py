"""The lowest versions that pyproject.toml allows."""

import pytest

from requirements.lowest import lowest


def test_each_requirement_stands_at_its_lower_bound() -> None:
    wanted = ["numpy>=2.3,<3", "PyYAML>=6.0.2,<7", "types-PyYAML>=6.0.12"]
    assert lowest(wanted) == ["numpy==2.3", "PyYAML==6.0.2", "types-PyYAML==6.0.12"]


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy==2.3", "numpy>2.3"])
def test_a_requirement_without_a_lower_bound_is_refused(requirement: str) -> None:
    with pytest.raises(SystemExit, match="no lower bound"):
        lowest([requirement])
