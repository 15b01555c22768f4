"""A server on 127.0.0.1 that mirrors the registered addresses of all downloads, with real data."""

import gzip
import hashlib
import http.server
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from kgrec_cli.stages.prepare import sources

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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
    for name in ("ml-100k", "ml-1m", "ml-latest-small"):
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


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Headless Chromium; a test without one is skipped, and fails under CI."""
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} (.ci/browser.sh installs one)")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    arguments = ["--no-sandbox"] if not hasattr(os, "getuid") or os.getuid() == 0 else []
    chromium = playwright.chromium.launch(executable_path=found[0], args=arguments)
    yield chromium
    chromium.close()
    playwright.stop()
