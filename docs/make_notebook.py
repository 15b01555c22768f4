"""Runs docs/tutorial.ipynb and keeps what its cells print (`make notebook`)."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK_PATH = Path(__file__).with_name("tutorial.ipynb")


def run_notebook() -> nbformat.NotebookNode:
    """The notebook with the outputs of a run; a cell that fails raises nbclient's error."""
    notebook = nbformat.read(NOTEBOOK_PATH, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata = {}  # the times of the run
        for output in cell.get(
            "outputs", ()
        ):  # a table as text says the same, and is read in a diff
            output.get("data", {}).pop("text/html", None)
    return notebook


if __name__ == "__main__":
    nbformat.write(run_notebook(), NOTEBOOK_PATH)
