"""What the service answers: the lists of `kgrec recommend`, and one line for every mistake."""

import json
from pathlib import Path

import numpy as np
import pytest

from kgrec_cli.runs.recommender import load_recommender
from tests.conftest import RunCli

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def recommender(run_dir: Path, trained_folder: Path):
    return load_recommender(run_dir, trained_folder, device="cpu")


def as_pairs(items: list[dict]) -> list[tuple[int, str, str]]:
    return [(item["rank"], item["item"], item["title"]) for item in items]


@pytest.mark.parametrize("hide_seen", [True, False])
def test_lists_are_those_of_the_recommender(client, recommender, hide_seen: bool) -> None:
    random = np.random.default_rng(0)
    for n in (1, 2, 9, 30, 60):
        history = [f"i{number}" for number in random.integers(1, 13, n)]
        (expected,) = recommender.recommend(histories=[history], topk=12, hide_seen=hide_seen)
        body = {"history": history, "topk": 12, "hide_seen": hide_seen}
        items = client.post("/recommend", json=body).json()["items"]
        assert as_pairs(items) == [(i.rank, i.item, i.title) for i in expected.items]
        scores = [item["score"] for item in items]
        assert scores == pytest.approx([item.score for item in expected.items], abs=1e-5)


def test_a_user_gets_what_the_command_gives(client, trained_folder: Path, run_cli: RunCli) -> None:
    typed = run_cli("recommend", "--user", "u3", "--topk", "4", "--json", cwd=trained_folder)
    (expected,) = json.loads(typed.stdout)
    found = client.post("/recommend", json={"user": "u3", "topk": 4}).json()
    assert as_pairs(found["items"]) == as_pairs(expected["items"])
    assert found["history"] == expected["history"]


def test_a_reason_is_that_of_the_recommender(client, recommender) -> None:
    history = ["i1", "i2", "i5"]
    (found,) = recommender.recommend(histories=[history], topk=2)
    reasons = recommender.explain(found)
    answer = client.post("/explain", json={"history": history, "topk": 2}).json()
    for item, reason in zip(answer["items"], reasons, strict=True):
        assert item["item"] == reason.item
        assert item["explanation"]["carriers"] == reason.carriers
        assert item["explanation"]["drops"] == pytest.approx(reason.drops, abs=1e-5)
        paths = [(path["item"], path["label"]) for path in item["explanation"]["paths"]]
        assert paths == [(path.item, path.label) for path in reason.paths]


def test_items_by_title_candidates_and_exclusions(client) -> None:
    body = {"history": ["film no 1", "Film No 2"], "candidates": ["i7", "i8", "i9", "i1"]}
    found = client.post("/recommend", json=body).json()
    assert [item["item"] for item in found["history"]] == ["i1", "i2"]
    assert {item["item"] for item in found["items"]} == {"i7", "i8", "i9"}
    found = client.post("/recommend", json={**body, "exclude": ["Film No 8"]}).json()
    assert {item["item"] for item in found["items"]} == {"i7", "i9"}


def test_similar_items_and_search(client, recommender) -> None:
    vectors = recommender.item_vectors()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors[recommender.item_tokens.index("i4")]
    cosines[recommender.item_tokens.index("i4")] = -1
    found = client.get("/similar", params={"item": "i4", "topk": 3}).json()
    best = [recommender.item_tokens[row] for row in np.argsort(-cosines)[:3]]
    assert [item["item"] for item in found["items"]] == best
    found = client.get("/items", params={"search": "flim no 12", "limit": 1}).json()
    assert found["items"] == [{"item": "i12", "title": "Film No 12"}]


def test_a_session_gives_the_lists_of_its_whole_history(
    client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kgrec_cli.service.scorer import Scorer

    reads: list[int] = []
    read = Scorer.read

    def counting(scorer: Scorer, rows: list, starts: list) -> np.ndarray:
        reads.extend(map(len, rows))
        return read(scorer, rows, starts)

    monkeypatch.setattr(Scorer, "read", counting)
    events = ["i1", "i2", "i3", "i4", "i4", "i9"]
    opened = client.post("/sessions", json={"history": events[:2]})
    assert opened.status_code == 201
    name = opened.json()["session"]
    for n in range(3, 7):
        reads.clear()
        answer = client.post(f"/sessions/{name}/events", json={"items": events[n - 1 : n]}).json()
        assert reads == [1]  # one step
        whole = client.post("/recommend", json={"history": events[:n]}).json()
        assert as_pairs(answer["items"]) == as_pairs(whole["items"])
        scores = [item["score"] for item in whole["items"]]
        assert [item["score"] for item in answer["items"]] == pytest.approx(scores, abs=1e-5)
        assert [item["item"] for item in answer["history"]] == events[:n]
    shown = client.get(f"/sessions/{name}").json()
    assert [item["item"] for item in shown["history"]] == events
    assert client.delete(f"/sessions/{name}").status_code == 204
    assert client.get(f"/sessions/{name}").status_code == 404


MISTAKES = [
    ({}, 422, "give one of user and history"),
    ({"user": "u1", "history": ["i1"]}, 422, "give one of user and history"),
    ({"user": "nobody"}, 404, "no user 'nobody' in the data set"),
    ({"history": []}, 422, "history: List should have at least 1 item"),
    ({"history": [7]}, 422, "history.0: Input should be a valid string"),
    ({"history": ["i1"], "topk": 0}, 422, "topk: Input should be greater than or equal to 1"),
    ({"history": ["i1"], "top": 1}, 422, "top: Extra inputs are not permitted"),
    ({"history": ["film"]}, 409, "'film': 12 items, give an id"),
    ({"history": ["flim no 3"]}, 409, "'flim no 3': no item with this id or title"),
]


@pytest.mark.parametrize(("body", "status", "line"), MISTAKES)
def test_a_mistake_is_one_line(client, body: dict, status: int, line: str) -> None:
    answer = client.post("/recommend", json=body)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(line)


def test_items_that_may_be_meant_are_named(client) -> None:
    matches = client.post("/recommend", json={"history": ["flim no 3"]}).json()["matches"]
    assert matches[0] == {"item": "i3", "title": "Film No 3"}
    matches = client.post("/recommend", json={"history": ["film"]}).json()["matches"]
    assert [item["item"] for item in matches] == [f"i{n}" for n in range(1, 11)]


def test_bodies_are_bounded(client) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/recommend", content=b'{"history":["' + b"x" * 300_000, headers=headers)
    assert (answer.status_code, answer.json()) == (
        413,
        {"error": "a body of more than 262,144 bytes"},
    )
    assert client.post("/recommend", content=b"{", headers=headers).status_code == 422
    assert client.post("/recommend", content=b"{}").status_code == 415
    assert client.get("/recommend").headers["allow"] == "POST"
    assert client.post("/sessions/x").headers["allow"] == "DELETE, GET"
    assert client.get("/etc/passwd").json() == {"error": "not found"}


def test_a_key_is_asked_for(service) -> None:
    from starlette.testclient import TestClient

    from kgrec_cli.service.app import build_app
    from kgrec_cli.service.measures import Measures

    with TestClient(build_app(service, Measures(service), "secret")) as client:
        for path in ("/metrics", "/items?search=film", "/nothing"):
            assert client.get(path).status_code == 401
            wrong = client.get(path, headers={"authorization": "Bearer secre"})
            assert wrong.status_code == 401
            assert wrong.headers["www-authenticate"] == "Bearer"
        right = client.get("/items?search=film", headers={"authorization": "Bearer secret"})
        assert right.status_code == 200
        assert client.get("/health").status_code == client.get("/").status_code == 200
        document = client.get("/openapi.json").json()
        assert document["paths"]["/recommend"]["post"]["security"] == [{"key": []}]


def test_what_is_measured(client) -> None:
    client.post("/recommend", json={"history": ["i1"]})
    client.get("/nothing/of/this/name")
    client.post("/sessions", json={})
    lines = client.get("/metrics").text.splitlines()
    assert 'kgrec_requests_total{route="/recommend",status="200"} 1.0' in lines
    assert 'kgrec_requests_total{route="other",status="404"} 1.0' in lines
    assert "kgrec_sessions 1.0" in lines
    assert "kgrec_items 12.0" in lines


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200), ("127.0.0.1:8000", 200), ("[::1]:8000", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("localhost.evil.example:8000", 403), ("127.0.0.1.nip.io", 403),
    ],
)  # fmt: skip
def test_without_a_key_a_name_that_leads_here_is_refused(service, host: str, status: int) -> None:
    from starlette.testclient import TestClient

    from kgrec_cli.service.app import build_app
    from kgrec_cli.service.measures import Measures

    with TestClient(build_app(service, Measures(service), None, is_local=True)) as client:
        assert client.get("/health", headers={"host": host}).status_code == status


def test_events_that_are_refused_leave_the_session_as_it_was(client) -> None:
    """Else a client that mends its mistake would tell its event twice."""
    name = client.post("/sessions", json={"history": ["i1"]}).json()["session"]
    for wish in ({"exclude": ["nothing"]}, {"candidates": ["nothing"]}):
        answer = client.post(f"/sessions/{name}/events", json={"items": ["i2"], **wish})
        assert answer.status_code == 409
    shown = client.get(f"/sessions/{name}").json()
    assert [item["item"] for item in shown["history"]] == ["i1"]
    answer = client.post(f"/sessions/{name}/events", json={"items": ["i2"]}).json()
    whole = client.post("/recommend", json={"history": ["i1", "i2"]}).json()
    assert as_pairs(answer["items"]) == as_pairs(whole["items"])


def test_a_request_that_timed_out_lets_no_second_thread_begin(service) -> None:
    import asyncio
    import threading

    running, most, may_end = 0, 0, threading.Event()

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        may_end.wait(5)
        running -= 1

    async def ask() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await service.in_thread(work)
        may_end.set()
        await service.in_thread(work)

    asyncio.run(ask())
    assert most == 1
