"""The process: runs that are replaced, SIGTERM, slow clients, mistakes on the command line."""

import asyncio
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kgrec_cli.commands import serve as command
from kgrec_cli.events import ignore_event
from kgrec_cli.runs.run_files import MODEL
from tests.conftest import RunCli

BODY = {"history": ["i1", "i2"], "topk": 5}


@pytest.fixture
def folder(trained_folder: Path, tmp_path: Path) -> Path:
    """A copy of the trained folder, to be written to."""
    shutil.copytree(trained_folder, tmp_path / "folder")
    return tmp_path / "folder"


def run_of(folder: Path) -> Path:
    (run_dir,) = [path for path in (folder / "saved").iterdir() if path.is_dir()]
    return run_dir


def reverse_scores(run_dir: Path) -> None:
    """Weights under which every score is the negative of what it was."""
    path = run_dir / MODEL
    with safe_open(path, "pt") as file:
        meta = file.metadata()
    tensors = load_file(path)
    for name in ("dense_layer.weight", "dense_layer.bias"):
        tensors[name] = -tensors[name]
    save_file(tensors, run_dir / "new", meta)
    (run_dir / "new").replace(path)


@pytest.mark.extras
def test_a_run_that_was_replaced_while_it_was_read_is_taken_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kgrec_cli.service import server
    from kgrec_cli.service.measures import Measures
    from kgrec_cli.service.served import load_served, signature_of
    from kgrec_cli.service.service import Service

    monkeypatch.setattr(server, "POLL_S", 0.01)
    service = Service(load_served(run_of(folder), folder, ignore_event))
    loaded, first = signature_of(run_of(folder)), service.served
    reverse_scores(run_of(folder))

    async def watch() -> None:
        watch = server.Watch(service, Measures(service), None, folder, ignore_event, loaded)
        task = asyncio.create_task(watch.forever())
        for _ in range(500):
            await asyncio.sleep(0.01)
            if service.served is not first:
                break
        task.cancel()

    asyncio.run(watch())
    assert service.served is not first


@pytest.mark.extras
def test_a_replaced_run_is_taken_up_without_a_dropped_request(folder: Path) -> None:
    from tests.service.processes import running, until

    with running(folder) as service, service.client() as client:
        first = client.post("/recommend", json={**BODY, "hide_seen": False, "topk": 12}).json()
        session = client.post("/sessions", json={"history": ["i1"]}).json()["session"]
        stopped, statuses = threading.Event(), []

        def ask_on() -> None:
            with service.client() as other:
                while not stopped.is_set():
                    statuses.append(other.post("/recommend", json=BODY).status_code)

        thread = threading.Thread(target=ask_on)
        thread.start()
        reverse_scores(run_of(folder))

        def order() -> list[str]:
            body = {**BODY, "hide_seen": False, "topk": 12}
            return [item["item"] for item in client.post("/recommend", json=body).json()["items"]]

        expected = [item["item"] for item in reversed(first["items"])]
        until(lambda: order() == expected, "the new weights are never taken up")
        events = {"items": ["i2"], "hide_seen": False, "topk": 12}
        of_session = client.post(f"/sessions/{session}/events", json=events).json()
        assert [item["item"] for item in of_session["items"]] == expected

        newer = folder / "saved" / "small-GRU4RecKG-29991231-235959"  # latest is a newer run now
        shutil.copytree(run_of(folder), folder / "copy")
        (folder / "copy").rename(newer)
        until(lambda: client.get("/health").json()["run"] == newer.name, "latest is not taken up")
        (newer / MODEL).write_bytes(b"damaged")
        lines = lambda: client.get("/metrics").text.splitlines()  # noqa: E731
        until(lambda: 'kgrec_reloads_total{result="failed"} 1.0' in lines(), "no failure is told")
        assert client.post("/recommend", json=BODY).status_code == 200
        stopped.set()
        thread.join()
        assert len(statuses) > 20
        assert set(statuses) == {200}
        code, said = service.stop()
    assert code == 0
    assert f"{newer.name}: taken up, 12 items" in said
    assert "was replaced but cannot be read, the one before is served on" in said


@pytest.mark.extras
def test_sigterm_answers_what_has_come_in(folder: Path) -> None:
    from tests.service.processes import running, until

    with running(folder) as service:
        body = b'{"history": ["i1"]}'
        head = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        begun = socket.create_connection(("127.0.0.1", service.port))
        begun.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
        time.sleep(0.3)
        service.process.terminate()

        def is_closed() -> bool:
            try:
                socket.create_connection(("127.0.0.1", service.port), timeout=5).close()
            except OSError:
                return True
            return False

        until(is_closed, "new connections are still accepted")
        begun.sendall(body[5:])
        begun.settimeout(30)
        assert begun.recv(1000).startswith(b"HTTP/1.1 200 OK")
        begun.close()
        said = service.process.communicate(timeout=60)[1]
        assert service.process.returncode == 0
        assert "all requests that had come in were answered" in said


@pytest.mark.extras
def test_slow_and_endless_heads_are_closed(folder: Path) -> None:
    from tests.service.processes import running

    patch = "import kgrec_cli.service.protocol as p; p.HEAD_S = 0.3; p.MAX_HEAD = 2000"
    with running(folder, patch=patch) as service:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost:", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9999):
            with socket.create_connection(("127.0.0.1", service.port), timeout=30) as slow:
                try:
                    slow.sendall(sent)
                    assert slow.recv(100) == b""
                except ConnectionError:
                    pass
        with service.client() as client:
            assert client.get("/health").status_code == 200


@pytest.mark.extras
def test_a_slow_body_gets_an_answer(folder: Path) -> None:
    from tests.service.processes import running

    patch = "import kgrec_cli.service.guard as g; g.Guard.__init__.__defaults__ = (0.3,)"
    with running(folder, patch=patch) as service:
        head = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as slow:
            slow.sendall(head + b"Content-Length: 100\r\n\r\n{")
            answer = b"".join(iter(lambda: slow.recv(2000), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'{"error":"no answer within 0.3 s"}' in answer


@pytest.mark.extras
def test_mistakes_on_the_command_line_are_one_line(
    run_cli: RunCli, folder: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run_cli("serve", "--port", port, cwd=folder)
    assert result.exit_code == 2
    assert result.error.startswith(f"error: --host 127.0.0.1 --port {port}: cannot listen there")
    result = run_cli("serve", "--host", "no.such.host.invalid", cwd=folder)
    assert result.exit_code == 2
    (tmp_path / "empty").write_text("\n")
    result = run_cli("serve", "--api-key-file", tmp_path / "empty", cwd=folder)
    assert result.error == f"error: {tmp_path / 'empty'}: expected one line, the API key"
    result = run_cli("serve", "--api-key-file", tmp_path / "none", cwd=folder)
    assert "cannot be read" in result.error
    assert run_cli("serve", "nothing", cwd=folder).error.startswith("error: unknown run 'nothing'")


def test_without_the_extra_one_line_says_what_to_install(
    run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = run_cli("serve")
    assert result.exit_code == 1
    assert result.error == "error: kgrec serve needs fastapi: pip install 'kgrec[serve]'"
