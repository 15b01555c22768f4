"""The commands that are killed, the folder that they find, and what a user may do next."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.children import Child, Command, import_like, run_child

SETTINGS = """\
dataset: toy
embedding_size: 8
hidden_size: 16
learning_rate: 0.02
train_batch_size: 64
epochs: 3
threads: 1
pretrain_kg:
  epochs: 4
"""
PREPARE: Command = ("prepare", "toy", "--items", "items.csv")
FIRST: Command = (*PREPARE, "--raw", "log.csv", "--kg", "kg.tsv", "--links", "links.tsv")
SECOND: Command = (*PREPARE, "--raw", "log2.csv", "--kg", "kg2.tsv", "--links", "links2.tsv")


@dataclass(frozen=True)
class Scenario:
    """A command that is killed.

    Attributes:
        name: What it is called in the results.
        command: Without the word kgrec.
        others: What is tried on a copy of what the kill left.
        writers: Further such commands, of which one kill tries one, in turn.
        is_resume: True when it may find that the killed process had done all of it.
    """

    name: str
    command: Command
    others: tuple[Command, ...]
    writers: tuple[Command, ...] = ()
    is_resume: bool = False


def write_raw_files(folder: Path) -> None:
    """Two logs, graphs and tables of links of the same items, an item list and the settings."""
    draws = random.Random(20)
    items = [f"i{number}" for number in range(12)]
    for suffix, n_users in (("", 30), ("2", 34)):
        rows = [
            f"u{user},{items[(user + step) % 12]},{draws.randint(1, 5)},{1000 + step}"
            for user in range(n_users)
            for step in range(9)
        ]
        _write(folder / f"log{suffix}.csv", ["user,item,rating,timestamp", *rows])
        shift = 0 if not suffix else 5
        entities = [f"e{(number + shift) % 12}" for number in range(12)]
        links = [f"{item}\t{entity}" for item, entity in zip(items, entities, strict=True)]
        _write(folder / f"links{suffix}.tsv", links[:10])
        triples = [f"e{number}\tfollows\te{(number + 1 + shift) % 12}" for number in range(12)] + [
            f"e{number}\tin\tg{number % 3}" for number in range(12)
        ]
        _write(folder / f"kg{suffix}.tsv", triples)
    titles = [f"{item},Film No {number} ({1980 + number})" for number, item in enumerate(items)]
    _write(folder / "items.csv", ["id,title", *titles])
    _write(folder / "kgrec.yaml", SETTINGS.splitlines())
    _write(folder / "hyper.test", ["learning_rate choice [0.02,0.01]", "num_layers choice [1,2]"])


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join([*lines, ""]))


def make_folder(folder: Path, scratch_dir: Path) -> tuple[str, str]:
    """Makes a folder with a data set, a finished and a stopped run, lists and a checkpoint.

    Returns:
        The names of the finished and the stopped run.
    """
    folder.mkdir()
    write_raw_files(folder)
    child = succeed(folder, [FIRST, ("pretrain-kg",), ("train",)], scratch_dir)
    import_like(child)
    (finished,) = (path.name for path in (folder / "saved").iterdir())
    more: list[Command] = [
        ("recommend", finished, "--all-users", "--out", "lists.csv", "--topk", "2"),
        ("export", finished, "--out", "toy.pth"),
    ]
    succeed(folder, more, scratch_dir)
    shutil.copytree(folder, trial := folder.with_name("trial"))
    import_like(succeed(trial, [("tune", "hyper.test", "--max-trials", "1")], scratch_dir))
    events = succeed(trial, [("train",)], scratch_dir).events
    renames = [number for number, line in enumerate(events, 1) if line == "rename history.jsonl"]
    shutil.rmtree(trial)
    child = run_child(folder, [("train",)], scratch_dir, die_at=renames[1] + 2)
    assert child.was_killed
    succeed(folder, [("recommend", finished, "--items", "i1")], scratch_dir)  # tidies up
    (stopped,) = {path.name for path in (folder / "saved").glob("[!.]*")} - {finished}
    return finished, stopped


def scenarios(finished: str, stopped: str) -> list[Scenario]:
    """All of them, on the folder of `make_folder`."""
    reading: tuple[Command, ...] = (
        ("doctor", "--json"),
        ("evaluate", finished, "--json"),
        ("recommend", finished, "--items", "i1,i2,i3", "--json"),
        ("recommend", finished, "--all-users", "--out", "other.csv"),
        ("export", finished, "--out", "other.pth"),
    )
    training: Command = ("train", "--json")
    writers: tuple[Command, ...] = (
        training,
        ("tune", "hyper.test", "--max-trials", "1", "--json"),
        ("pretrain-kg", "--json"),
    )
    to_lists: Command = ("recommend", finished, "--all-users", "--out", "lists.csv", "--topk", "3")
    first_time: Command = ("prepare", "new", *SECOND[2:])
    of_new: Command = ("doctor", "--dataset", "new", "--json")
    return [
        Scenario("prepare", SECOND, reading, writers),
        Scenario("prepare, first time", first_time, (of_new, *reading), writers[:1]),
        Scenario("pretrain-kg", ("pretrain-kg", "--method", "DistMult"), reading, writers),
        Scenario("train", ("train",), reading, writers[:2]),
        Scenario("train --resume", ("train", "--resume", stopped), reading, writers[:2], True),
        Scenario("tune", ("tune", "hyper.test"), reading, writers[:1]),
        Scenario("evaluate", ("evaluate", finished), reading, writers[:1]),
        Scenario("recommend --out", to_lists, reading),
        Scenario("export", ("export", finished, "--out", "toy.pth"), reading),
        Scenario("import", ("import", "toy.pth"), reading, writers[:1]),
    ]


def succeed(folder: Path, commands: Sequence[Command], scratch_dir: Path) -> Child:
    """Runs commands that must not fail.

    Raises:
        RuntimeError: One did.
    """
    child = run_child(folder, commands, scratch_dir)
    for outcome in child.outcomes:
        if outcome.code != 0:
            raise RuntimeError(f"{outcome.command}: exit {outcome.code}\n{outcome.stderr}")
    return child
