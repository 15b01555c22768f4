"""Damaged files by the thousand: every reader of kgrec, inputs by fixed seeds.

    python -m benchmarks.reliability.fuzz [--inputs N] [--readers A,B] [--jobs N] [--record]
    python -m benchmarks.reliability.fuzz --again READER SEED [--keep FILE]

Prints how many inputs each reader got, and the faults, grouped by exception and place, each with a
seed that makes it again. Exit code 1 when there is a fault. `--record` puts the counts into
`benchmarks/results/reliability.json`.
"""

import argparse
import io
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import date
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", COLUMNS="120")

from benchmarks.record import machine_words, package_commit
from benchmarks.reliability import corpus
from benchmarks.reliability.readers import READERS, draw_input, read_corpus
from benchmarks.reliability.results import record
from benchmarks.reliability.worker import MAX_WALL_S, Fault, Worker
from kgrec_cli.cli import run

INPUTS = 7_200
"""For each of the readers: above 100,000 in all."""
CHUNK = 40
COSTLY = {
    "history": 8, "study": 16, ".inter": 3, "item lists": 3, "run items": 2, "metrics.json": 2,
    "environment.json": 2, "config": 2,
}  # fmt: skip
"""Readers whose commands train or measure: in a sample they get this many times fewer inputs."""

_fork = multiprocessing.get_context("fork")


class Chunk(NamedTuple):
    """Seeds of a reader, from `begin` to before `end`."""

    reader: str
    begin: int
    end: int


@dataclass
class Report:
    """What came out.

    Attributes:
        inputs: Number of inputs by reader.
        results: Of these, how many were read: the others ended in one line of error.
        cpu_ms: Processor time by reader.
        faults: All faults.
        elapsed_s: Wall time.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    cpu_ms: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    elapsed_s: float = 0.0

    def groups(self) -> list[dict[str, Any]]:
        """The faults by exception and place, the most frequent first, each with a seed."""
        counts = Counter((fault.reader, fault.error, fault.where) for fault in self.faults)
        first: dict[tuple[str, str, str], Fault] = {}
        for fault in self.faults:
            first.setdefault((fault.reader, fault.error, fault.where), fault)
        return [
            {
                "reader": key[0], "error": key[1], "where": key[2], "inputs": count,
                "seed": first[key].seed, "detail": first[key].detail,
            }
            for key, count in counts.most_common()
        ]  # fmt: skip


def fuzz(n_inputs: Mapping[str, int], jobs: int, folder: Path) -> Report:
    """Runs the seeds 0 to n of each reader in `jobs` processes; `folder` is an empty one."""
    began = time.perf_counter()
    corpus_dir = folder / "corpus"
    _build_corpus(corpus_dir)
    report = Report()
    chunks = list(_chunks(n_inputs))[::-1]
    running: list[_Process] = []
    n_started = 0
    while chunks or running:
        while chunks and len(running) < jobs:
            worker_dir = folder / f"worker-{n_started}"
            running.append(_Process(corpus_dir, worker_dir, list(n_inputs), chunks.pop()))
            n_started += 1
        ready = wait([process.connection for process in running], timeout=1)
        for process in running[:]:
            if process.connection in ready or process.is_stuck():
                is_over = process.listen(report)
                if is_over and chunks and not process.is_worn:
                    process.give(chunks.pop())
                elif is_over:
                    process.end()
                    running.remove(process)
                    if process.rest is not None:
                        chunks.append(process.rest)
    report.elapsed_s = time.perf_counter() - began
    return report


def _chunks(n_inputs: Mapping[str, int]) -> Iterator[Chunk]:
    """All seeds of all readers, the readers in turn."""
    for begin in range(0, max(n_inputs.values()), CHUNK):
        for reader, count in n_inputs.items():
            if begin < count:
                yield Chunk(reader, begin, min(begin + CHUNK, count))


class _Process:
    """A process with a worker in it, and the chunk that it works on.

    Forked from this one, which has loaded torch and polars but used neither: their threads do not
    survive a fork.
    """

    def __init__(
        self, corpus_dir: Path, folder: Path, readers: Sequence[str], chunk: Chunk
    ) -> None:
        self.rest: Chunk | None = None
        self.connection, theirs = _fork.Pipe()
        self.at = _fork.RawValue("q", -1)
        self.folder = folder
        arguments = (theirs, self.at, corpus_dir, folder, readers)
        self.process = _fork.Process(target=_work, args=arguments)
        self.process.start()
        theirs.close()
        self.is_worn = False
        self.give(chunk)

    def give(self, chunk: Chunk) -> None:
        """A chunk to work on; what will be left of it if the process dies is `rest`."""
        self.chunk, self.rest = chunk, None
        self.seen_at, self.seen_s = self.at.value, time.perf_counter()
        self.connection.send(chunk)

    def is_stuck(self) -> bool:
        """Whether the process has been at one input for too long; it is killed then."""
        if self.at.value != self.seen_at:
            self.seen_at, self.seen_s = self.at.value, time.perf_counter()
        is_stuck = time.perf_counter() - self.seen_s > 2 * MAX_WALL_S
        if is_stuck:
            self.process.kill()
        return is_stuck

    def listen(self, report: Report) -> bool:
        """Takes the next message; True when the chunk is over or the process is dead."""
        reader, begin, end = self.chunk
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            seed, self.is_worn = int(self.at.value), True
            if seed < begin:
                raise SystemExit(
                    f"a worker died before its first input, see {self.folder}"
                ) from None
            report.faults.append(Fault(reader, seed, f"process ended: {self.process.exitcode}"))
            report.inputs[reader] += seed + 1 - begin
            self.rest = Chunk(reader, seed + 1, end) if seed + 1 < end else None
            return True
        if isinstance(message, Fault):
            report.faults.append(message)
            return False
        report.inputs[reader] += end - begin
        n_results, cpu_ms, self.is_worn = message
        report.results[reader] += n_results
        report.cpu_ms[reader] += cpu_ms
        return True

    def end(self) -> None:
        """Ends the process and removes its folder."""
        self.connection.close()
        self.process.join(5)
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _work(
    connection: Connection, at: Any, corpus_dir: Path, folder: Path, readers: Sequence[str]
) -> None:
    """A worker's process: chunks come in; faults go out, then the number of results."""
    worker = Worker(corpus_dir, folder, readers)
    with suppress(EOFError, ConnectionError):
        while True:
            reader, begin, end = connection.recv()
            n_results, began = 0, time.process_time()
            for seed in range(begin, end):
                at.value = seed
                outcome = worker.try_input(reader, seed)
                if isinstance(outcome, Fault):
                    connection.send(outcome)
                else:
                    n_results += outcome == 0
            cpu_ms = round(1000 * (time.process_time() - began))
            connection.send((n_results, cpu_ms, worker.is_worn))


def _build_corpus(folder: Path) -> None:
    """Builds the corpus in a process of its own, which may use threads."""
    process = _fork.Process(target=_quietly_build, args=(folder,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the corpus could not be made")


def _quietly_build(folder: Path) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as errors:
        try:
            corpus.build(folder)
        except BaseException:
            sys.__stderr__.write(errors.getvalue())  # type: ignore[union-attr]
            raise


def run_again(reader: str, seed: int, keep: Path | None, folder: Path) -> None:
    """Makes the input of a seed again, shows its command and how it ends."""
    _build_corpus(folder / "corpus")
    made = draw_input(reader, seed, read_corpus(folder / "corpus"))
    print(f"kgrec {' '.join(made.command)!a}\n{len(made.data)} bytes: {made.data[:300]!r}")
    if keep is not None:
        keep.write_bytes(made.data)
    os.chdir(folder / "corpus")
    Path(made.path).write_bytes(made.data)
    print("exit code", run(made.command))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 1 when there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability.fuzz")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="for each reader")
    parser.add_argument("--total", type=int, help="in all instead, fewer where commands take long")
    parser.add_argument("--readers", help="only these, separated by commas")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--record", action="store_true", help="into benchmarks/results")
    parser.add_argument("--again", nargs=2, metavar=("READER", "SEED"))
    parser.add_argument("--keep", type=Path, help="with --again: the file to write the input to")
    options = parser.parse_args(arguments)
    names = options.readers.split(",") if options.readers else list(READERS)
    with tempfile.TemporaryDirectory(prefix="kgrec-fuzz-") as folder:
        if options.again:
            reader, seed = options.again
            reader = "--set" if reader == "set" else reader  # argparse takes --set for an option
            run_again(reader, int(seed), options.keep, Path(folder))
            return 0
        n_inputs = dict.fromkeys(names, options.inputs)
        if options.total:
            shares = {name: 1 / COSTLY.get(name, 1) for name in names}
            n_inputs = {
                name: math.ceil(options.total * share / sum(shares.values()))
                for name, share in shares.items()
            }
        report = fuzz(n_inputs, options.jobs, Path(folder))
    show(report)
    if options.record:
        record(
            "fuzz",
            as_json(report, f"python -m benchmarks.reliability.fuzz --inputs {options.inputs}"),
        )
    return 1 if report.faults else 0


def show(report: Report) -> None:
    """Prints the counts and the groups of faults."""
    by_reader = Counter(fault.reader for fault in report.faults)
    for reader, count in report.inputs.items():
        n_read, n_faults = report.results[reader], by_reader[reader]
        line = f"{reader:18}{count:8,} inputs{n_read:8,} read{n_faults:6,} faults"
        print(f"{line}{report.cpu_ms[reader] / count:8.1f} ms each")
    print(
        f"{'all':18}{report.inputs.total():8,} inputs{report.results.total():8,} read"
        f"{len(report.faults):6,} faults, {report.elapsed_s:.0f} s"
    )
    for group in report.groups():
        print(
            f"{group['inputs']:5} {group['reader']}: {group['error']} in {group['where']} "
            f"(seed {group['seed']}): {group['detail']!a}"
        )


def as_json(report: Report, command: str) -> dict[str, Any]:
    """The report as `reliability.json` keeps it."""
    return {
        "command": command,
        "commit": package_commit(),
        "date": date.today().isoformat(),
        "machine": machine_words(),
        "elapsed_s": round(report.elapsed_s),
        "inputs": dict(report.inputs),
        "read": dict(report.results),
        "total": report.inputs.total(),
        "faults": report.groups(),
    }


if __name__ == "__main__":
    sys.exit(main())
