"""Entity vectors on a public set: rows are measured, kept, and shown on the page."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import kge
from benchmarks.accuracy.tables import kge_table


def write_set(folder: Path) -> None:
    """A ring of 20 entities, numbered from 100; every tenth triple is valid, every tenth test."""
    folder.mkdir(parents=True)
    rows = [(100 + n, 7 + step, 100 + (n + step) % 20) for n in range(20) for step in (1, 2)]
    parts = {"valid": rows[::10], "test": rows[5::10]}
    parts["train"] = [row for row in rows if row not in parts["valid"] + parts["test"]]
    for part, of_part in parts.items():
        with gzip.open(folder / f"{part}.tsv.gz", "wt") as file:
            file.writelines("\t".join(map(str, row)) + "\n" for row in of_part)


def test_rows_are_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "fb15k-237")
    parts, n_entities, n_relations = kge.read_set(tmp_path / "fb15k-237")
    assert (n_entities, n_relations) == (20, 2)
    assert {part: len(of) for part, of in parts.items()} == {"train": 32, "valid": 4, "test": 4}
    np.testing.assert_array_equal(parts["valid"][0], [0, 0, 1])
    out = tmp_path / "kge.json"
    arguments = ["kge", "--data", str(tmp_path), "--out", str(out), "--sets", "fb15k-237"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--epochs", "2", "--methods", "TransE"])
    kge.main()
    monkeypatch.setattr(sys, "argv", [*arguments, "--epochs", "2", "--methods", "TransE ComplEx"])
    kge.main()
    rows = json.loads(out.read_text())["rows"]
    assert [row["method"] for row in rows] == ["TransE", "ComplEx"]
    assert all(1 / 20 <= row["test"]["mrr"] <= 1 for row in rows)
    monkeypatch.setattr(kge, "measure", None)  # all rows are there
    kge.main()
    shown = [line.split(" | ") for line in kge_table(out).splitlines()[2:4]]
    assert [cells[0] for cells in shown] == ["| fb15k-237, TransE", "| fb15k-237, ComplEx"]
    assert shown[0][-2:] == [f"{rows[0]['test']['mrr']:.4f}", "0.313 |"]


def test_a_page_without_figures_says_so(tmp_path: Path) -> None:
    assert kge_table(tmp_path / "kge.json") == "Entity vectors: not measured yet."
