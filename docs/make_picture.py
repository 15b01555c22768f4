"""Draws the pictures in the README (`make picture`): docs/demo.svg and docs/report.png.

    python docs/make_picture.py [terminal] [report]

Both are of a run on the bundled sample data. The picture of the report needs Chromium: its name is
in CHROMIUM, by default chromium.
"""

import io
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS_DIR = Path(__file__).parent
SAMPLE_DIR = DOCS_DIR.parent / "sample_data"
WIDTH, MOST_ROWS = 88, 40
PREPARED = (
    f"prepare sample --raw {SAMPLE_DIR} --kg {SAMPLE_DIR / 'kg.tsv'} "
    f"--links {SAMPLE_DIR / 'links.tsv'}",
    "pretrain-kg --method TransE --epochs 30",
)
SHOWN = (
    "train --freeze-kg --epochs 5 --learning-rate 0.005 --train-batch-size 512 --name first",
    "recommend --user 7 -k 2 --explain",
    "runs best",
)
"""The commands in the picture of the terminal, and before them those that it does not show."""
ONLY = "section:not([aria-labelledby=map]) { display: none }"
"""The section in the picture of the report."""


def kgrec(command: str, folder: Path) -> list[str]:
    """The lines that a command shows, its progress among them, in order."""
    finished = subprocess.run(
        [sys.executable, "-m", "kgrec_cli", *shlex.split(command)],
        cwd=folder, env={**os.environ, "COLUMNS": str(WIDTH)}, text=True, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return finished.stdout.rstrip().splitlines()


def draw_terminal(screens: dict[str, list[str]]) -> str:
    """Commands and what they show as an SVG of a terminal."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    n_rows = 0
    for command, lines in screens.items():
        console.print(Text(f"$ kgrec {command}", style="bold cyan"))
        for line in (*(line for line in lines if line.strip()), ""):
            style = "green" if line.endswith(" best") else ""
            console.print(Text(line, style=style), overflow="ellipsis", no_wrap=True)
            n_rows += 1
    if n_rows + len(screens) > MOST_ROWS:
        sys.exit(f"the picture has {n_rows + len(screens)} rows, expected {MOST_ROWS} at most")
    return console.export_svg(title="kgrec")


def draw_report(folder: Path, target: Path) -> None:
    """The map of items of `kgrec report`, as Chromium draws it."""
    kgrec("report first --out report.html", folder)
    page = folder / "report.html"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("</head>", f"<style>{ONLY}</style></head>", 1), encoding="utf-8")
    command = [
        os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--hide-scrollbars",
        "--window-size=1000,725", "--virtual-time-budget=20000", f"--screenshot={target}",
        page.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)


def main() -> None:
    """Draws the pictures that are named, or both."""
    wanted = sys.argv[1:] or ["terminal", "report"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for command in PREPARED:
            kgrec(command, folder)
        screens = {command: kgrec(command, folder) for command in SHOWN}
        if "terminal" in wanted:
            (DOCS_DIR / "demo.svg").write_text(draw_terminal(screens), encoding="utf-8")
        if "report" in wanted:
            draw_report(folder, (DOCS_DIR / "report.png").resolve())


if __name__ == "__main__":
    main()
