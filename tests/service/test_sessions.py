"""Sessions are bounded in number and in time; one that outlives its run goes on with the next."""

import pytest

from kgrec_cli.service.sessions import EXPIRY_S, Sessions


def test_the_least_recently_used_goes_first_and_old_ones_go() -> None:
    now = [0.0]
    sessions = Sessions(most=2, clock=lambda: now[0])
    first, _ = sessions.open(None)  # type: ignore[arg-type]
    second, _ = sessions.open(None)  # type: ignore[arg-type]
    assert sessions.get(first) is not None
    third, _ = sessions.open(None)  # type: ignore[arg-type]
    assert sessions.get(second) is None
    assert len(sessions) == 2
    now[0] = EXPIRY_S - 1
    assert sessions.get(third) is not None
    now[0] = EXPIRY_S + 1
    assert sessions.get(first) is None
    assert sessions.get(third) is not None
    assert sessions.close(third)
    assert not sessions.close(third)
    assert len(sessions) == 0


@pytest.mark.extras
def test_waiting_requests_are_bounded(served, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    import numpy as np

    from kgrec_cli.service import batcher

    monkeypatch.setattr(batcher, "MAX_WAITING", 40)
    rows = [np.array([1 + n % 12] * (1 + n % 5), dtype=np.int32) for n in range(60)]

    async def ask_all() -> list:
        waiting = batcher.Batcher()
        asked = [waiting.read(served.scorer, row) for row in rows]
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask_all())
    assert [type(answer) for answer in answers[40:]] == [batcher.Overloaded] * 20
    for row, (state, scores) in zip(rows, answers[:40], strict=False):
        alone = served.scorer.read([row])
        np.testing.assert_allclose(state, alone[0], atol=1e-6)
        np.testing.assert_allclose(scores, served.scorer.score(alone, row[-1:])[0], atol=1e-5)
