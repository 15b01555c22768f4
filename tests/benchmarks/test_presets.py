"""Presets on validation: rows are measured once and kept, the page shows the best of each set."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.accuracy import presets
from benchmarks.accuracy.presets import PresetRow
from benchmarks.accuracy.tables import preset_table


def row(dataset: str, preset: str, ndcg: float) -> PresetRow:
    """A row whose best epoch is the third of five."""
    return PresetRow(
        dataset, preset, "leave-one-out", 2020, ndcg, 3, 5, 1.0, "abc", "a machine", "2026-11-28"
    )


def test_rows_are_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, asked = tmp_path / "presets.json", []

    def measure(data: Path, folder: Path, name: str, preset: str, seed: int) -> PresetRow:
        asked.append((name, preset, seed))
        return row(name, preset, 0.1)

    monkeypatch.setattr(presets, "measure", measure)
    arguments = ["presets", "--data", str(tmp_path), "--folder", str(tmp_path), "--out", str(out)]
    for of_presets in ("best", "best sparse"):
        monkeypatch.setattr(sys, "argv", [*arguments, "--sets", "beauty", "--presets", of_presets])
        presets.main()
    assert asked == [("beauty", "best", 2020), ("beauty", "sparse", 2020)]
    assert [each["preset"] for each in json.loads(out.read_text())["rows"]] == ["best", "sparse"]


def test_the_best_preset_of_a_set_is_bold_and_what_is_missing_not_run(tmp_path: Path) -> None:
    out = tmp_path / "presets.json"
    rows = [row("ml-1m", "best", 0.1875), row("ml-1m", "large", 0.2)]
    out.write_text(json.dumps({"command": "COMMAND", "rows": [asdict(each) for each in rows]}))
    lines = preset_table(out).splitlines()
    assert lines[2] == "| ml-1m | 0.1875 (3 of 5) | not run | **0.2000** (3 of 5) | not run |"
    assert lines[-1] == "One seed, written by `COMMAND` (a machine); in brackets the best epoch."


def test_a_page_without_figures_says_so(tmp_path: Path) -> None:
    assert preset_table(tmp_path / "presets.json") == "Presets: not measured yet."
