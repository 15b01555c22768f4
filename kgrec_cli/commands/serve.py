"""`kgrec serve`: a run and an address in, a service until it is stopped."""

import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.errors import KgrecError

NEEDED = ("fastapi", "uvicorn", "orjson", "prometheus_client")


def serve(
    run: opt.Run = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="0 for any free one.")
    ] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File with the API key; default: KGREC_API_KEY, if it is set."
        ),
    ] = None,
) -> None:
    """Serve a run over HTTP: lists, reasons, similar items, sessions, and a page to try it."""
    began = time.time()
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise KgrecError(
            f"kgrec serve needs {missing[0].replace('_', '-')}: pip install 'kgrec[serve]'"
        )
    # Before NumPy is loaded: for a product of one row its threads wait longer than they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from kgrec_cli.events import Warn
    from kgrec_cli.service.server import Place, read_api_key
    from kgrec_cli.service.server import serve as run_service

    place = Place(host, port, read_api_key(api_key_file))
    with console.listening(doing="") as on_event:
        if place.is_public and place.api_key is None:
            text = f"everyone who reaches {host} may ask: set KGREC_API_KEY or give --api-key-file"
            on_event(Warn(text))
        run_service(run, Path(), place, on_event=on_event, began=began)
