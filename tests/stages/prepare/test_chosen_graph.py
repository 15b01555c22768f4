"""Which graph `prepare` takes: a registered one, the metadata, or none."""

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.stages.prepare.sources import DATASETS, KGS, KGSource, RemoteFile
from tests.stages.prepare.conftest import Prepare, texts


def test_metadata_of_items_of_which_nothing_is_known_is_a_warning(
    prepare: Prepare, kg_files: dict[str, object], tmp_path: Path, events: list[Event]
):
    table = tmp_path / "log.csv"
    table.write_text("user_id,item_id\n1,20\n2,30\n")
    report = prepare(raw_path=table, **kg_files, add_metadata=True).report
    assert report["kg"]["triples"] == 3
    assert report["kg"]["name"] == "kg.tsv"
    assert Warn("--add-metadata: the raw data says nothing of its items") in events


def test_metadata(prepare: Prepare):
    result = prepare(kg="metadata")
    assert result.report["kg"]["name"] == "metadata"
    links = result.report["links"]
    assert (links["items_linked"], links["verdict"]) == (3, "sound")
    assert links["summary"] == "the graph is made of the items themselves"
    relations = Counter(line.split("\t")[1] for line in texts(result)["toy.kg"].splitlines()[1:])
    assert relations == {"has_genre": 5, "released_in": 4, "released_in_decade": 4}
    assert result.report["kg"]["triples"] == 13


def test_none_writes_empty_files(prepare: Prepare):
    result = prepare(kg="none")
    assert result.report["links"]["verdict"] == "unknown"
    files = texts(result)
    assert files["toy.kg"] == "head_id:token\trelation_id:token\ttail_id:token\n"
    assert files["toy.link"] == "item_id:token\tentity_id:token\n"


def test_a_table_without_items_has_no_graph(prepare: Prepare, tmp_path: Path, events: list[Event]):
    (tmp_path / "log.csv").write_text("user,item\nu,i\nv,i\nv,j\n")
    result = prepare(raw_path=tmp_path / "log.csv", kg="auto")
    assert any(isinstance(event, Warn) and "no knowledge graph" in event.text for event in events)
    files = texts(result)
    assert files["toy.inter"] == (
        "user_id:token\titem_id:token\ttimestamp:float\nu\ti\t0\nv\ti\t1\nv\tj\t2\n"
    )
    assert files["toy.item"] == "item_id:token\ni\nj\n"
    assert files["toy.user"] == "user_id:token\nu\nv\n"


NOWHERE = "http://127.0.0.1:9"


def remote(name: str, option: str = "--raw PATH") -> RemoteFile:
    url = f"{NOWHERE}/{name}"
    return RemoteFile(name, url, f"the file {name}", option, "sha256", checksum_url=f"{url}.sum")


@pytest.fixture
def registry(tmp_path: Path, raw_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Registers a set and a graph for it; returns the cache, which holds both."""
    source = KGSource(
        name="toykg",
        datasets=("toyset",),
        triples=remote("toy.kg.tsv", "--kg FILE --links FILE"),
        links=remote("toy.links.tsv", "--kg FILE --links FILE"),
        titles=(remote("titles.zip"),),
        link_by="title",
        licence="free",
    )
    monkeypatch.setitem(DATASETS, "toyset", remote("toyset.zip"))
    monkeypatch.setitem(KGS, "toykg", source)
    cache_dir = tmp_path / "cache"
    cache_dir.mkdir()
    with zipfile.ZipFile(cache_dir / "toyset.zip", "w") as archive:
        for path in raw_dir.iterdir():
            archive.write(path, f"toyset/{path.name}")
    with zipfile.ZipFile(cache_dir / "titles.zip", "w") as archive:
        archive.writestr("t/movies.csv", "movieId,title,genres\n7,Heat (1995),Crime\n")
    (cache_dir / "toy.kg.tsv").write_text("e1\tactor\ta1\n")
    (cache_dir / "toy.links.tsv").write_text("7\te1\n")
    return cache_dir


def test_auto_takes_the_registered_graph(prepare: Prepare, registry: Path, events: list[Event]):
    result = prepare("toyset", None, kg="auto")
    assert result.report["kg"]["name"] == "toykg"
    assert texts(result)["toyset.link"].splitlines()[1:] == ["20\te1"]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert (
        "knowledge graph: toykg, linked by title (free); another: --kg FILE --links FILE" in notes
    )
    assert result.report["interactions"]["kept"] == 6


def test_links_of_the_user_go_with_the_registered_graph(
    prepare: Prepare, registry: Path, tmp_path: Path, events: list[Event]
):
    (tmp_path / "my.tsv").write_text("10\te1\n")
    result = prepare("toyset", None, kg="auto", links_path=tmp_path / "my.tsv")
    assert result.report["kg"]["name"] == "toykg"
    assert texts(result)["toyset.link"].splitlines()[1:] == ["10\te1"]
    assert Note("knowledge graph: toykg (free)") in events
    (tmp_path / "list.csv").write_text("movieId,title\n7,Toy Story (1995)\n")
    result = prepare("toyset", None, kg="auto", catalog_path=tmp_path / "list.csv")
    assert texts(result)["toyset.link"].splitlines()[1:] == ["10\te1"]
    (registry / "toy.kg.tsv").unlink()
    with pytest.raises(KgrecError, match=r"toy\.kg\.tsv.*--kg FILE --links FILE"):
        prepare("toyset", None, kg="auto", links_path=tmp_path / "my.tsv")


def test_auto_falls_back_to_metadata(prepare: Prepare, registry: Path, events: list[Event]):
    (registry / "toy.kg.tsv").unlink()
    result = prepare("toyset", None, kg="auto")
    assert result.report["kg"]["name"] == "metadata"
    assert any("because toykg cannot be reached" in event.text for event in events)
    with pytest.raises(KgrecError, match=r"toy\.kg\.tsv.*--kg FILE --links FILE"):
        prepare("toyset", None, kg="toykg")


def test_auto_takes_no_graph_by_title_where_there_are_no_titles(
    prepare: Prepare, registry: Path, tmp_path: Path
):
    (tmp_path / "log.csv").write_text("user,item\nu,i\n")
    result = prepare("toyset", tmp_path / "log.csv", kg="auto")
    assert result.report["kg"]["triples"] == 0


def test_own_links_for_a_registered_graph(prepare: Prepare, registry: Path, tmp_path: Path):
    (tmp_path / "links.tsv").write_text("30\te1\n")
    result = prepare("toyset", None, kg="toykg", links_path=tmp_path / "links.tsv")
    assert texts(result)["toyset.link"].splitlines()[1:] == ["30\te1"]


def test_the_links_that_everybody_uses_are_called_broken(
    prepare: Prepare, real_data_dir: Path, events: list[Event]
):
    freebase = real_data_dir / "freebase"
    result = prepare(
        "ml-100k",
        real_data_dir / "ml-100k",
        kg=str(freebase / "ml-100k.kg.gz"),
        links_path=freebase / "ml-100k.recbole.link",
    )
    (warning,) = [event.text for event in events if isinstance(event, Warn)]
    assert "the links are broken: " in warning
    assert warning.endswith("`kgrec prepare --link-by title --catalog FILE` joins by title")
    assert result.report["links"]["verdict"] == "broken"
    events.clear()
    result = prepare(
        "ml-100k",
        real_data_dir / "ml-100k",
        kg=str(freebase / "ml-100k.kg.gz"),
        links_path=freebase / "ml2fb.txt",
        catalog_path=real_data_dir / "ml-1m" / "movies.dat",
    )
    assert not [event for event in events if isinstance(event, Warn)]
    assert result.report["links"]["verdict"] == "sound"


def test_no_network(prepare: Prepare, registry: Path):
    (registry / "toyset.zip").unlink()
    with pytest.raises(
        KgrecError, match=r"http://127\.0\.0\.1:9/toyset\.zip.*--raw PATH"
    ) as caught:
        prepare("toyset", None)
    assert "\n" not in str(caught.value)
