"""Writes docs/cli.md from the commands (`make docs`); `--check` fails when it is stale."""

import subprocess
import sys
from pathlib import Path

CLI_PATH = Path(__file__).with_name("cli.md")


def render() -> str:
    """The reference of all commands and options, in Markdown."""
    command = [sys.executable, "-m", "typer", "kgrec_cli.cli", "utils", "docs", "--name", "kgrec"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line.rstrip() for line in finished.stdout.rstrip().splitlines()]
    note = "<!-- Made by `make docs` from the commands themselves; do not edit. -->"
    return "\n".join([note, "", *lines, ""])


if __name__ == "__main__":
    if "--check" not in sys.argv:
        CLI_PATH.write_text(render(), encoding="utf-8")
    elif CLI_PATH.read_text(encoding="utf-8") != render():
        sys.exit("docs/cli.md is stale: run `make docs`")
