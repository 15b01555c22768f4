"""The page to try the service: one HTML file that needs no network but the service's own."""

import functools
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from kgrec_cli.service.served import Served

N_EXAMPLES = 4
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@functools.cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def render_page(served: Served) -> str:
    """The page as HTML."""
    titled = [token for token in served.run.item_tokens if token in served.run.titles]
    return _template().render(
        run=served.name,
        dataset=served.run.settings.dataset,
        n_items=len(served.run.items) - 1,
        examples=served.items_of(titled[:N_EXAMPLES]),
    )
