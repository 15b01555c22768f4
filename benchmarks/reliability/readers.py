"""Which command reads which file: where a damaged one is put, and what is run on it."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.reliability.corpus import TINY, USER
from benchmarks.reliability.mutations import Form, damage

Command = tuple[str, ...]
IN, TEXT = "{in}", "{text}"
"""In a command: the path of the damaged file, or (of `--set`) its text."""

RAW = ("prepare", "fuzz", "--raw", IN, "--kg", "none")
TABLE: tuple[Command, ...] = (RAW, (*RAW, "--on-bad-row", "skip"))
_PREPARE = ("prepare", "fuzz", "--raw", "raw.csv")
LIST: tuple[Command, ...] = (
    (*_PREPARE, "--items", IN, "--kg", "metadata"),
    (*_PREPARE, "--items", "items.csv", "--kg", "kg.tsv", "--links", "links.tsv", "--catalog", IN),
)
GRAPH: tuple[Command, ...] = (
    (*_PREPARE, "--kg", IN, "--links", "links.tsv"),
    (*_PREPARE, "--items", "items.csv", "--kg", IN, "--link-by", "title"),
)
LINKS: tuple[Command, ...] = ((*_PREPARE, "--kg", "kg.tsv", "--links", IN),)
RECOMMEND: Command = ("recommend", "done", "--user", USER, "--threads", "1")
EVALUATE: Command = ("evaluate", "done", "--threads", "1", "--no-baselines")
EXPORT: Command = ("export", "done", "--out", "out.pth")
RESUME: Command = ("train", "--resume", "open", "--threads", "1")
DOCTOR: Command = ("doctor", "tiny")
FINAL_FIT: Command = ("train", "--on-all-data", "--like", "done", "--dataset", "none")
COMPARE: Command = ("compare", "done", "done", "--threads", "1")
TUNE: Command = ("tune", IN, "--dataset", "broken", "--search", "random")
TUNE_ONE: Command = (
    "tune", IN, "--dataset", "tiny", "--search", "random", "--max-trials", "1", "--set", "epochs=1",
    "--threads", "1",
)  # fmt: skip
_SETTINGS = tuple(f"--set={text}" for text in TINY)
TRAIN: Command = ("train", "--dataset", "tiny", *_SETTINGS, "--set", TEXT, "--set", "epochs=1")
STUDY = "tiny-GRU4RecKG-one"
TUNE_AGAIN: Command = ("tune", "one.test", *_SETTINGS, "--dataset", "tiny")


@dataclass(frozen=True)
class Source:
    """One file that a reader reads.

    Attributes:
        path: The whole file in the corpus.
        form: What can be damaged in it.
        commands: One of them is run, in the folder of the corpus.
        in_place: Whether the damaged file takes its place; else it lies in `in/`.
    """

    path: str
    form: Form
    commands: tuple[Command, ...]
    in_place: bool = False


def _run_files(*files: tuple[str, Form, tuple[Command, ...]]) -> tuple[Source, ...]:
    return tuple(Source(f"saved/{path}", form, how, in_place=True) for path, form, how in files)


def _dataset_files(*suffixes: str) -> tuple[Source, ...]:
    how = (DOCTOR, RECOMMEND, EVALUATE)
    return tuple(
        Source(f"dataset/tiny/tiny.{suffix}", "text", how, in_place=True) for suffix in suffixes
    )


READERS: dict[str, tuple[Source, ...]] = {
    "checkpoint": (
        Source("run.pth", "zip", (("import", IN, "--dataset", "tiny"),)),
        *_run_files(
            ("done/model.safetensors", "safetensors", (RECOMMEND, EVALUATE, EXPORT)),
            ("open/checkpoint.safetensors", "safetensors", (RESUME,)),
        ),
    ),
    "run items": _run_files(("done/items.tsv", "text", (RECOMMEND, EVALUATE, EXPORT))),
    "--set": (
        Source("set.txt", "set", ((*DOCTOR, "--set", TEXT), (*EVALUATE, "--set", TEXT), TRAIN)),
    ),
    "item lists": (
        Source("items.csv", "text", LIST),
        Source("movies.csv", "text", LIST),
        Source("movies.dat", "text", LIST),
        Source("u.item", "text", LIST),
        Source("items.parquet", "binary", LIST),
    ),
    "raw tables": (
        *(Source(f"{name}.csv", "text", TABLE) for name in ("raw", "plain", "semicolon", "iso")),
        Source("raw.tsv", "text", TABLE),
        Source("raw.jsonl", "jsonl", TABLE),
        Source("raw.parquet", "binary", TABLE),
        Source("raw.csv.gz", "gzip", TABLE),
    ),
    "metrics.json": _run_files(("done/metrics.json", "json", (EXPORT, EVALUATE, FINAL_FIT))),
    "YAML": (
        Source("kgrec.yaml", "yaml", (("recommend", "--items", "1,2"), DOCTOR), in_place=True),
        Source("kgrec.yaml", "yaml", ((*DOCTOR, "--config", IN),)),
        Source("saved/done/config.yaml", "yaml", ((*DOCTOR, "--config", IN),)),
    ),
    "zip": tuple(
        Source(name, "zip", ((*RAW[:-1], "metadata"), TABLE[1]))
        for name in ("ml-1m.zip", "ml-100k.zip", "ml-latest-small.zip")
    ),
    "triples": (
        Source("kg.tsv", "text", GRAPH[:1]),
        Source("kg.csv", "text", GRAPH[:1]),
        Source("kg.kg", "text", GRAPH[:1]),
        Source("kg.nt", "text", GRAPH),
        Source("kg.parquet", "binary", GRAPH[:1]),
        Source("links.tsv", "text", LINKS),
    ),
    "config": _run_files(
        ("done/config.yaml", "yaml", (RECOMMEND, EVALUATE, EXPORT, FINAL_FIT, COMPARE)),
        ("open/config.yaml", "yaml", (RESUME,)),
    ),
    ".inter": (
        *_dataset_files("inter", "inter", "inter", "item", "user", "link", "kg", "ent_feature"),
        Source("dataset/tiny/prepare.json", "json", (DOCTOR,), in_place=True),
    ),
    "environment.json": _run_files(
        ("done/environment.json", "json", (RECOMMEND, EVALUATE, EXPORT, COMPARE)),
        ("open/environment.json", "json", (RESUME,)),
    ),
    "hyper.test": (Source("space.test", "text", (*[TUNE] * 40, TUNE_ONE)),),
    "history": _run_files(("open/history.jsonl", "jsonl", (RESUME,))),
    "study": (Source(f"studies/{STUDY}/study.db", "binary", (TUNE_AGAIN,), in_place=True),),
}
"""By name, in the words of the reports; drawn with equal chances within one."""


@dataclass(frozen=True)
class Input:
    """One damaged file and the command that reads it; `text` is what `--set` gets."""

    source: Source
    data: bytes
    command: Command

    @property
    def path(self) -> str:
        """Where it is put."""
        return self.source.path if self.source.in_place else f"in/{self.source.path.split('/')[-1]}"


def read_corpus(folder: Path) -> dict[str, bytes]:
    """The whole files of all sources, by path."""
    paths = {source.path for sources in READERS.values() for source in sources}
    return {path: (folder / path).read_bytes() for path in paths}


def draw_input(reader: str, seed: int, corpus: dict[str, bytes]) -> Input:
    """The input of a seed: the same for the same corpus."""
    random = Random(f"{reader}/{seed}")
    source = random.choice(READERS[reader])
    data = corpus[source.path]
    if source.form == "set":
        data = random.choice(data.split(b"\n"))
    others = [corpus[other.path] for other in READERS[reader] if other.path != source.path]
    data = damage(data, source.form, random, others)
    made = Input(source, data, random.choice(source.commands))
    text = data.decode("utf-8", "surrogateescape").replace("\0", "")
    command = [made.path if word == IN else text if word == TEXT else word for word in made.command]
    return Input(source, data, tuple(command))
