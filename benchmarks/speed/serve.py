"""`kgrec serve` under load: latency at a fixed arrival rate, and the rate at which it breaks.

    .venv/bin/python -m benchmarks.speed.serve --folder FOLDER [--quick] [--record]

FOLDER is a working folder with a finished run of ml-1m (`kgrec prepare ml-1m`, `kgrec pretrain-kg`,
`kgrec train ml-1m --epochs 1`; the weights do not matter for the speed). It takes five minutes,
with --quick one, and wants the machine for itself. --record writes benchmarks/results/serve.json.

Open loop: requests are sent at planned times, whether or not earlier ones have been answered, and a
latency counts from the planned time. So a server that stands still for a moment is charged with all
requests of that moment. Every request has another history of 1 to 50 items. The client runs on core
0, the server on core 1; there is nothing between them but the loopback.
"""

import argparse
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS_DIR, machine_words, package_commit

CLIENT_CORE, SERVER_CORE = 0, 1
MAX_LENGTH, TOPK = 50, 10
MAX_CONNECTIONS = 800
GOAL_RATE, GOAL_P99_MS = 1000, 5.0


@dataclass(frozen=True)
class Load:
    """What one rate gave. Times are milliseconds.

    Attributes:
        rate: Requests a second, as planned.
        arrivals: "constant" gaps between requests, or those of a "poisson" process.
        seconds: How long.
        p50, p90, p99, max: Latencies from the planned time.
        errors: Answers other than a list of ten items, and requests without an answer.
        answered_per_s: Answers a second.
        late_p99: How late the client itself sent.
        connections: Connections that the client needed.
    """

    rate: int
    arrivals: str
    seconds: float
    p50: float
    p90: float
    p99: float
    max: float
    errors: int
    answered_per_s: float
    late_p99: float
    connections: int


class Connection:
    """One connection with at most one request on the way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.planned, self.received = 0.0, b""

    def is_whole(self) -> bool:
        """Whether the answer has come in."""
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return False
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return len(body) >= int(length)

    def is_right(self) -> bool:
        """Whether the answer is a list of ten items."""
        return self.received.startswith(b"HTTP/1.1 200") and b'"rank":10,' in self.received


def make_requests(items: list[str], n: int, seed: int) -> list[bytes]:
    """Requests with random histories of 1 to 50 items."""
    draw, requests = random.Random(seed), []
    for _ in range(n):
        history = draw.choices(items, k=draw.randint(1, MAX_LENGTH))
        body = json.dumps({"history": history, "topk": TOPK}).encode()
        head = "POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return requests


def put_load(port: int, items: list[str], rate: int, seconds: float, arrivals: str) -> Load:
    """Sends requests at their planned times, and waits 3 s at most for the last answers."""
    n = int(rate * seconds)
    requests = make_requests(items, n, seed=rate)
    random_gaps = np.random.default_rng(rate).exponential(1 / rate, n)
    gaps = random_gaps if arrivals == "poisson" else np.full(n, 1 / rate)
    latencies: list[float] = []
    late: list[float] = []
    poller = select.epoll()
    free = deque(Connection(port) for _ in range(32))
    by_number = {each.socket.fileno(): each for each in free}
    for number in by_number:
        poller.register(number, select.EPOLLIN)
    begin = time.perf_counter() + 0.1
    times = (begin + np.cumsum(gaps)).tolist()
    sent = errors = 0
    while len(latencies) + errors < n:
        now = time.perf_counter()
        while sent < n and times[sent] <= now:
            if not free and len(by_number) < MAX_CONNECTIONS:
                free.append(Connection(port))
                by_number[free[0].socket.fileno()] = free[0]
                poller.register(free[0].socket.fileno(), select.EPOLLIN)
            if not free:
                break
            connection = free.popleft()
            connection.planned, connection.received = times[sent], b""
            connection.socket.sendall(requests[sent])
            late.append(time.perf_counter() - times[sent])
            sent += 1
        for number, _ in poller.poll(0):
            connection = by_number[number]
            data = connection.socket.recv(1 << 17)
            connection.received += data
            if data and not connection.is_whole():
                continue
            if data and connection.is_right():
                latencies.append(time.perf_counter() - connection.planned)
            else:
                errors += 1
            if data and b"\r\nconnection: close" not in connection.received.lower():
                free.append(connection)
            else:
                poller.unregister(number)
                del by_number[number]
        if now > times[-1] + 3:
            errors = n - len(latencies)
    elapsed = time.perf_counter() - begin
    for connection in by_number.values():
        connection.socket.close()
    ms = 1000 * np.array(latencies or [np.nan])
    p50, p90, p99 = np.percentile(ms, [50, 90, 99]).round(2).tolist()
    return Load(
        rate=rate,
        arrivals=arrivals,
        seconds=seconds,
        p50=p50,
        p90=p90,
        p99=p99,
        max=round(float(ms.max()), 2),
        errors=errors,
        answered_per_s=round(len(latencies) / elapsed, 1),
        late_p99=round(1000 * float(np.percentile(late, 99)), 3),
        connections=len(by_number),
    )


def start(folder: Path, run: str) -> tuple[subprocess.Popen[bytes], int, float]:
    """The server, its port, and the seconds from the start of the process to its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.perf_counter()
    command = [sys.executable, "-m", "kgrec_cli", "serve", run, "--port", str(port)]
    server = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CORE), *command],
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as probe:
                probe.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if probe.recv(4096).startswith(b"HTTP/1.1 200"):
                    return server, port, time.perf_counter() - began
        except ConnectionError:
            if server.poll() is not None:
                raise SystemExit("the server did not start") from None
            time.sleep(0.01)


def of_process(pid: int, *names: str) -> list[int]:
    """Lines of /proc/PID/status as numbers."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return [int(values[name].split()[0]) for name in names]


def measure(folder: Path, run: str, *, quick: bool) -> dict[str, Any]:
    """The whole measurement."""
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.runs.run_files import read_run_items

    items = read_run_items(find_run(folder, str(folder / "saved" / run)))["item_id"].to_list()
    os.sched_setaffinity(0, {CLIENT_CORE})
    ready = []
    for _ in range(1 if quick else 3):
        server, port, ready_s = start(folder, run)
        ready.append(round(ready_s, 2))
        if len(ready) < (1 if quick else 3):
            server.send_signal(signal.SIGTERM)
            server.wait()
    time.sleep(1)
    put_load(port, items, 200, 2, "constant")  # first calls
    seconds, loads = (10, []) if quick else (60, [])
    for arrivals in ("constant", "poisson"):
        loads.append(put_load(port, items, GOAL_RATE, seconds, arrivals))
        show(loads[-1])
    rate = GOAL_RATE
    while loads[-1].errors == 0 and loads[-1].p99 < 100 and rate < 20_000:
        rate += 250
        loads.append(put_load(port, items, rate, 3 if quick else 8, "constant"))
        show(loads[-1])
    threads, peak_kb = of_process(server.pid, "Threads", "VmHWM")
    children = subprocess.run(["pgrep", "-P", str(server.pid)], capture_output=True).stdout.split()
    server.send_signal(signal.SIGTERM)
    return {
        "ready_s": ready,
        "processes": 1 + len(children),
        "threads": threads,
        "peak_mb": round(peak_kb / 1024),
        "exit_code": server.wait(),
        "n_items": len(items),
        "loads": [asdict(load) for load in loads],
        "highest_rate_under_goal": max(
            (load.rate for load in loads if not load.errors and load.p99 < GOAL_P99_MS), default=0
        ),
        "command": "python -m benchmarks.speed.serve --folder FOLDER --record",
        "commit": package_commit(),
        "date": date.today().isoformat(),
        "machine": machine_words(),
    }


def show(load: Load) -> None:
    """Prints one line of the table."""
    print(
        f"{load.rate:>6}/s {load.arrivals:9}{load.seconds:>4.0f} s  p50 {load.p50:>8.2f}  "
        f"p90 {load.p90:>8.2f}  p99 {load.p99:>8.2f}  max {load.max:>8.2f} ms  "
        f"errors {load.errors:>5}  answered {load.answered_per_s:>7.1f}/s  "
        f"client late p99 {load.late_p99:.2f} ms",
        flush=True,
    )


def main() -> None:
    """Measures, prints a table, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--run", help="its name; default: the newest")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    saved = sorted(path.name for path in (options.folder / "saved").iterdir() if path.is_dir())
    found = measure(options.folder.resolve(), options.run or saved[-1], quick=options.quick)
    print({name: value for name, value in found.items() if name != "loads"})
    if options.record:
        (RESULTS_DIR / "serve.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
