"""One HTML file of sections: text, tables and Plotly charts, all within it. It needs no network.

Plotly's script (4.8 MB) lies in the page compressed and is unpacked by the browser. Every text is
escaped by the template; figures stand in the page as JSON without `<`, `>` and `&`.
"""

import base64
import gzip
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

Figure = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A place of a list in a cell: a text, and smaller lines under it."""

    text: str
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table. A cell is a number, a text or a list of entries.

    With `search` it gets a field to search rows in and columns to sort by; `unit` is what a row is.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    search: bool = False
    unit: str = "rows"
    kind: Literal["table"] = "table"

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers alone (or nothing)."""
        return [
            all(isinstance(row[n], int | float | None) for row in self.rows)
            and any(row[n] is not None for row in self.rows)
            for n in range(len(self.columns))
        ]


@dataclass(frozen=True)
class Chart:
    """A Plotly figure under a name of its own; `text` says in words what it shows."""

    name: str
    text: str
    figure: Figure
    height: int = 360
    kind: Literal["chart"] = "chart"


@dataclass(frozen=True)
class Lines:
    """Paragraphs, or with `is_list` a list."""

    lines: Sequence[str]
    is_list: bool = False
    kind: Literal["lines"] = "lines"


Block = Table | Chart | Lines


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading; `key` is its anchor."""

    key: str
    title: str
    blocks: Sequence[Block]


def render_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML. The same sections give the same bytes."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = show_number
    has_charts = any(block.kind == "chart" for section in sections for block in section.blocks)
    return environment.get_template("page.html").render(
        title=title, lead=lead, sections=sections, plotly=packed_plotly() if has_charts else ""
    )


@cache
def packed_plotly() -> str:
    """Plotly's script, gzipped, in base64."""
    script = (files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return base64.b64encode(gzip.compress(script, 9, mtime=0)).decode()


def show_number(value: object) -> str:
    """A cell as text: whole numbers with thousands, others with four digits after the point."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}" if 0 < abs(value) < 0.001 else f"{value:.4f}"
    return str(value)


def as_label(text: str) -> str:
    """A text as Plotly shows it: its labels take HTML."""
    return html.escape(text)
