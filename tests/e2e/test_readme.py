"""The README's lines, exactly as they stand there, in one folder, with real data.

Downloads come from a server on 127.0.0.1 that mirrors the registered addresses. What makes the test
short lies in the folder beforehand and is not overwritten: few epochs and a small search space.
"""

import gzip
import hashlib
import http.server
import json
import shlex
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kgrec_cli.stages.prepare import sources
from tests.conftest import RunCli

README_PATH = Path(__file__).parents[2] / "README.md"

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def zip_folder(zip_path: Path, folder: Path, inside: str) -> str:
    zip_path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(zip_path, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{inside}/{path.name}")
    return hashlib.md5(zip_path.read_bytes()).hexdigest()


@pytest.fixture
def mirror(
    real_data_dir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Serves the real files under the paths of their registered addresses."""
    root = tmp_path_factory.mktemp("mirror")

    def place(remote: sources.RemoteFile) -> Path:
        path = root / urlsplit(remote.url).path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    freebase = sources.KGS["freebase"]
    for name in ("ml-100k", "ml-1m"):
        remote = sources.DATASETS[name]
        md5 = zip_folder(place(remote), real_data_dir / name, name)
        monkeypatch.setitem(sources.DATASETS, name, replace(remote, checksum=md5))
    with gzip.open(real_data_dir / "freebase/ml-100k.kg.gz") as file:
        place(freebase.triples).write_bytes(file.read())  # its registered SHA-256 must hold
    place(freebase.links).write_bytes((real_data_dir / "freebase/ml2fb.txt").read_bytes())
    monkeypatch.setitem(
        sources.KGS, "freebase", replace(freebase, titles=(sources.DATASETS["ml-1m"],))
    )
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(QuietHandler, directory=str(root))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("KGREC_MIRROR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("KGREC_CACHE_DIR", str(root / "cache"))
    yield
    server.shutdown()
    server.server_close()


def readme_block(heading: str) -> list[str]:
    """The commands of the first indented block under a heading, without comments."""
    _, _, section = README_PATH.read_text().partition(heading)
    lines: list[str] = []
    for line in section.splitlines():
        if line.startswith("    "):
            lines.append(line.strip())
        elif lines:
            break
    return lines


def test_the_four_lines_as_typed(run_cli: RunCli, mirror: None, tmp_path: Path) -> None:
    lines = readme_block("## The real thing")
    assert lines == [
        "kgrec prepare ml-100k",
        "kgrec pretrain-kg --method TransE",
        "kgrec train --freeze-kg",
        "kgrec tune hyper.test",
    ]
    settings = {"dataset": "ml-100k", "epochs": 1, "pretrain_kg": {"epochs": 1}}
    (tmp_path / "kgrec.yaml").write_text(json.dumps(settings))
    (tmp_path / "hyper.test").write_text("dropout_prob choice [0.1, 0.3]\n")
    for line in lines:
        result = run_cli(*shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.stderr}"
    assert json.loads((tmp_path / "kgrec.yaml").read_text()) == settings
    report = json.loads((tmp_path / "dataset/ml-100k/prepare.json").read_text())
    assert report["interactions"]["kept"] == 100_000
    assert report["links"]["items_linked"] >= 1_600
    assert (tmp_path / "studies/ml-100k-GRU4RecKG-hyper/best.yaml").is_file()

    for line in (
        "kgrec evaluate",
        "kgrec recommend --user 42",
        'kgrec recommend --items "50,181,172"',
        "kgrec recommend --all-users --out recs.parquet",
        "kgrec train --on-all-data",
    ):
        assert line in README_PATH.read_text()
        result = run_cli(*shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.stderr}"


def test_the_commands_named_by_the_readme_are_targets_of_make() -> None:
    makefile = README_PATH.with_name("Makefile").read_text()
    for line in readme_block("## Two commands"):
        target = line.split()[1]
        assert f"\n{target}: setup\n" in makefile
