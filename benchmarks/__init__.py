"""Commands that measure kgrec: nothing that they write is typed by hand."""

from pathlib import Path

REPO_DIR = Path(__file__).parents[1]
