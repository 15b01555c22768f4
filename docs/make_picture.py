"""Draws docs/demo.svg, the picture in the README, from a run of `kgrec demo` (`make picture`)."""

import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE_PATH = Path(__file__).with_name("demo.svg")
WIDTH = 88
# What the picture leaves out, so that it fits on a page: the long tables of `evaluate`.
LEFT_OUT = ("4/5", "5/5")


def run_demo() -> list[str]:
    """The lines that `kgrec demo` shows, its progress among them, in order."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "kgrec_cli", "demo", "--threads", "2"]
        environment = {**os.environ, "COLUMNS": str(WIDTH)}
        finished = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
        )
    root = str(PICTURE_PATH.parents[1])
    return finished.stdout.replace(f"{root}/", "").rstrip().splitlines()


def draw(lines: list[str]) -> str:
    """The lines as an SVG of a terminal, steps and commands picked out."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ kgrec demo", style="bold"))
    shown = True
    for line in lines:
        if line.startswith(LEFT_OUT):
            shown = line.startswith(LEFT_OUT[1])
            if not shown:
                console.print(Text(line, style="bold cyan"))
                console.print(Text("$ kgrec evaluate\n  ...\n", style="dim"))
                continue
        if not shown:
            continue
        style = "bold cyan" if line[:2] in ("1/", "2/", "3/", "5/") else ""
        style = "bold" if line.startswith("$ ") else style
        style = "green" if line.rstrip().endswith("best") else style
        console.print(Text(line, style=style), overflow="ellipsis", no_wrap=True)
    return console.export_svg(title="kgrec demo")


if __name__ == "__main__":
    PICTURE_PATH.write_text(draw(run_demo()), encoding="utf-8")
