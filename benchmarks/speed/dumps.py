"""A large dump of invented triples, of which `kgrec prepare` keeps what is around linked entities.

    .venv/bin/python -m benchmarks.speed.dumps [--triples 20] [--stream] [--record]

Makes N-Triples in the form of Wikidata's (two thirds lead to entities, the others are names in two
languages and dates), `--triples` millions of them, and counts beforehand what has to come out. As a
file they are packed by gzip and read by the command, in a folder of about 60 MB a million triples;
`--stream` makes them while they are read, in this process, and needs no disk for them. Prints
seconds, CPU seconds (the fairer ones on a busy machine), MB/s of unpacked text and the peak memory;
`--record` writes `results/dumps.json`.
"""

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.record import RESULTS_DIR

CHUNK = 1_000_000
N_HEADS, N_POPULAR, N_RELATIONS, LINKED_EVERY = 100_000, 5_000, 300, 100
ENTITY, DIRECT = "http://www.wikidata.org/entity/Q", "http://www.wikidata.org/prop/direct/P"
LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
MARK = 1000
"""What the number of every entity begins with; each chunk gets another one."""


def make_chunk() -> tuple[bytes, int]:
    """A million lines as text, and how many different triples lead from or to a linked entity."""
    rng = np.random.default_rng(0)
    heads = np.sort(rng.integers(0, N_HEADS, CHUNK))
    popular = rng.integers(0, N_POPULAR, CHUNK)
    tails = np.where(rng.random(CHUNK) < 0.6, popular, rng.integers(0, N_HEADS, CHUNK))
    relations = 1 + (N_RELATIONS * rng.random(CHUNK) ** 3).astype(np.int64)
    kind = rng.random(CHUNK)
    table = pl.DataFrame({"head": heads, "relation": relations, "tail": tails, "kind": kind})
    number = {name: pl.col(name).cast(pl.String).str.zfill(6) for name in ("head", "tail")}
    entity = {name: pl.format(f"<{ENTITY}{MARK}{{}}>", text) for name, text in number.items()}
    name = pl.format('"An invented thing, the {}th of its kind"', number["head"])
    line = (
        pl.when(pl.col("kind") < 0.15)
        .then(pl.format(f"{{}} <{LABEL}> {{}}@en .", entity["head"], name))
        .when(pl.col("kind") < 0.3)
        .then(pl.format(f"{{}} <{LABEL}> {{}}@fr .", entity["head"], name))
        .when(pl.col("kind") < 0.35)
        .then(pl.format(f'{{}} <{DIRECT}577> "19{{}}" .', entity["head"], number["tail"]))
        .otherwise(
            pl.format(f"{{}} <{DIRECT}{{}}> {{}} .", entity["head"], "relation", entity["tail"])
        )
    )
    facts = table.filter(pl.col("kind") >= 0.35).select("head", "relation", "tail").unique()
    is_kept = (pl.col("head") % LINKED_EVERY == 0) | (pl.col("tail") % LINKED_EVERY == 0)
    text = "\n".join(table.select(line.alias("line"))["line"]) + "\n"
    return text.encode(), facts.filter(is_kept).height


class Stream:
    """The dump, made while it is read: `n` times the chunk, each time of other entities."""

    def __init__(self, chunk: bytes, n: int):
        self.chunk, self.n = chunk, n
        self.done, self.at, self.text = 0, 0, b""
        self.n_read = 0

    def read(self, n_bytes: int) -> bytes:
        """The next bytes, at most so many."""
        if self.at >= len(self.text):
            if self.done == self.n:
                return b""
            old, new = (f"/entity/Q{mark}".encode() for mark in (MARK, MARK + self.done))
            self.text, self.at = self.chunk.replace(old, new), 0
            self.done += 1
        part = self.text[self.at : self.at + n_bytes]
        self.at += len(part)
        self.n_read += len(part)
        return part

    def tell(self) -> int:
        """How many bytes were read."""
        return self.n_read


def linked(n_chunks: int) -> list[str]:
    """The linked entities of a dump."""
    numbers = range(0, N_HEADS, LINKED_EVERY)
    return [f"Q{MARK + chunk}{number:06d}" for chunk in range(n_chunks) for number in numbers]


def by_command(chunk: bytes, n_chunks: int, folder: Path) -> tuple[float, int]:
    """Seconds of `kgrec prepare` on the dump as a file, and the triples that it kept."""
    path, stream = folder / "dump.nt.gz", Stream(chunk, n_chunks)
    with gzip.open(path, "wb", compresslevel=1) as file:
        while part := stream.read(1 << 24):
            file.write(part)
    print(f"{path.name}: {path.stat().st_size >> 20:,} MB, {stream.n_read >> 20:,} MB unpacked")
    entities = linked(n_chunks)
    items = [f"{number}\t{entity}" for number, entity in enumerate(entities)]
    (folder / "links.tsv").write_text("\n".join(items) + "\n")
    rows = [f"{user},{number},{number}" for user in "12" for number in range(len(entities))]
    (folder / "log.csv").write_text("user,item,time\n" + "\n".join(rows) + "\n")
    command = [sys.executable, "-m", "kgrec_cli", "prepare", "large", "--raw", "log.csv", "--kg"]
    command += [path.name, "--links", "links.tsv", "--relations", "all", "--hops", "1"]
    began = time.perf_counter()
    done = subprocess.run([*command, "--json"], cwd=folder, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - began, json.loads(done.stdout)["kg"]["triples"]


def by_stream(chunk: bytes, n_chunks: int, folder: Path) -> tuple[float, int]:
    """Seconds of the selection from the dump as it is made, and the triples that it kept."""
    from kgrec_cli.formats.raw import dumps
    from kgrec_cli.formats.raw.files import RawFile
    from kgrec_cli.stages.prepare.around import select_from_dump

    @contextmanager
    def opened(file: RawFile) -> Iterator[tuple[Any, Any]]:
        stream = Stream(chunk, n_chunks)
        yield stream, stream

    dumps._open = opened  # the one place where a file is opened
    path = folder / "dump.nt"
    path.touch()
    entities = linked(n_chunks)
    links = pl.DataFrame({"item_id": list(map(str, range(len(entities)))), "entity_id": entities})
    began = time.perf_counter()
    selected = select_from_dump(
        [RawFile(path)], links, where=str(path), relations=("all",), hops=1, languages=("en",),
        on_event=lambda event: None,
    )  # fmt: skip
    return time.perf_counter() - began, selected.triples.height


def main() -> None:
    """Measures, checks the count, prints a line, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triples", type=int, default=20, help="in millions")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    chunk, n_of_chunk = make_chunk()
    with tempfile.TemporaryDirectory() as name:
        measure = by_stream if options.stream else by_command
        seconds, n_kept = measure(chunk, options.triples, Path(name))
    if n_kept != options.triples * n_of_chunk:
        raise SystemExit(f"kept {n_kept:,} triples, expected {options.triples * n_of_chunk:,}")
    used = resource.getrusage(resource.RUSAGE_SELF if options.stream else resource.RUSAGE_CHILDREN)
    result = {
        "triples": options.triples * CHUNK,
        "way": "stream" if options.stream else "file.nt.gz, by the command",
        "kept": n_kept,
        "linked_entities": options.triples * (N_HEADS // LINKED_EVERY),
        "seconds": round(seconds, 1),
        "mb_per_s": round(len(chunk) * options.triples / 1e6 / seconds, 1),
        "triples_per_s": round(options.triples * CHUNK / seconds),
        "peak_gb": round(used.ru_maxrss / 2**20, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "machine": platform.platform(),
    }
    print(json.dumps(result, indent=2))
    if options.record:
        path = RESULTS_DIR / "dumps.json"
        others = json.loads(path.read_text()) if path.is_file() else []
        same = (result["triples"], result["way"])
        others = [each for each in others if (each["triples"], each["way"]) != same]
        path.write_text(json.dumps([*others, result], indent=2) + "\n")


if __name__ == "__main__":
    main()
