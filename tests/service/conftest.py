"""A service over the run of the small data set, without a socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kgrec_cli.events import Event
from kgrec_cli.runs.run_dir import find_run


@pytest.fixture(scope="session")
def run_dir(trained_folder: Path) -> Path:
    return trained_folder / find_run(trained_folder, None).relative_to(trained_folder)


@pytest.fixture
def served(run_dir: Path, trained_folder: Path, events: list[Event]):
    from kgrec_cli.service.served import load_served

    return load_served(run_dir, trained_folder, events.append)


@pytest.fixture
def service(served):
    from kgrec_cli.service.service import Service

    return Service(served)


@pytest.fixture
def client(service) -> Iterator:
    from starlette.testclient import TestClient

    from kgrec_cli.service.app import build_app
    from kgrec_cli.service.measures import Measures

    with TestClient(build_app(service, Measures(service), None)) as client:
        yield client
