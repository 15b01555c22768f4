"""A small MovieLens set, a graph with links, and `prepare` on them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kgrec_cli.events import Event
from kgrec_cli.stages.prepare.graph import KGRequest
from kgrec_cli.stages.prepare.run import PrepareRequest, PrepareResult, run_prepare

RATINGS = [
    "1::10::5::978300760",
    "1::20::3::978300750",
    "2::10::4::978300760",
    "2::30::1::978300770",
    "3::10::2::978300780",
    "1::10::1::978300790",  # rated again
]
MOVIES = [
    "10::Toy Story (1995)::Animation|Comedy",
    "20::Heat (1995)::Crime",
    "30::Postman, The (Postino, Il) (1994)::Drama",
    "40::Nobody Saw It (2000)::Drama",
]
USERS = ["1::F::1::10::48067", "2::M::56::16::70072", "3::M::25::15::55117"]

Prepare = Callable[..., PrepareResult]


@pytest.fixture
def raw_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    write_raw(folder)
    return folder


def write_raw(folder: Path, ratings: list[str] = RATINGS, movies: list[str] = MOVIES):
    for name, lines in (("ratings", ratings), ("movies", movies), ("users", USERS)):
        (folder / f"{name}.dat").write_text("\n".join(lines) + "\n")


@pytest.fixture
def prepare(tmp_path: Path, raw_dir: Path, events: list[Event]) -> Prepare:
    def call(name: str = "toy", raw_path: Path | None = raw_dir, **options: object):
        kg = {key: options.pop(key) for key in KGRequest.__annotations__ if key in options}
        request = PrepareRequest(
            name,
            raw_path,
            folder=tmp_path / "work",
            cache_dir=tmp_path / "cache",
            kg=KGRequest(**{"kg": "none", **kg}),
            **options,
        )
        return run_prepare(request, on_event=events.append)

    (tmp_path / "work").mkdir()
    return call


@pytest.fixture
def kg_files(tmp_path: Path) -> dict[str, object]:
    """A graph and links: 20 and 30 share an entity, 40's has no triple, 99 is no item."""
    (tmp_path / "kg.tsv").write_text("e1\tactor\ta1\ne2\tactor\ta1\ne1\tactor\ta1\na1\tborn\tp1\n")
    (tmp_path / "links.tsv").write_text("30\te2\n20\te2\n40\te4\n99\te1\n")
    return {"kg": str(tmp_path / "kg.tsv"), "links_path": tmp_path / "links.tsv"}


def texts(result: PrepareResult) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(result.dataset_dir.iterdir())}
