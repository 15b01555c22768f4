"""What does not fit into the memory is refused before it is asked for."""

from pathlib import Path

import pytest

from kgrec_cli.core import memory
from kgrec_cli.core.memory import check_memory, memory_limit
from kgrec_cli.errors import KgrecError


def test_more_than_there_is_is_refused() -> None:
    check_memory(10**6, "a little")
    with pytest.raises(
        KgrecError, match=r"^much: would take 1,000,000 GB of memory, there are \d+"
    ):
        check_memory(10**15, "much")


@pytest.mark.parametrize(("text", "expected"), [("5000000", 5_000_000), ("max", None)])
def test_a_control_group_has_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int | None
) -> None:
    (tmp_path / "memory.max").write_text(text + "\n")
    monkeypatch.setattr(memory, "CGROUP_LIMIT", tmp_path / "memory.max")
    limit = memory_limit()
    assert limit is not None
    assert limit == (expected or limit)
    assert limit > 10**9 or expected
