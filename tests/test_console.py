"""Tables as they are drawn where there is no room: nothing is cut off."""

import pytest

from kgrec_cli import console
from kgrec_cli.cli import app, run
from kgrec_cli.events import EpochDone


def test_a_table_that_is_too_wide_folds_its_cells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    cells = [letter * 20 for letter in "abcd"]
    console.table(None, ["setting", "one", "two", "three", "four"], [["x" * 23, *cells]])
    drawn = capsys.readouterr().out
    assert max(len(line) for line in drawn.splitlines()) <= 60
    assert "x" * 23 in drawn
    for letter in "abcd":
        assert drawn.count(letter * 2) >= 1
        assert sum(word.count(letter) for word in drawn.split() if set(word) == {letter}) == 20


def test_no_help_text_is_cut_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in app.registered_commands:
        assert run([str(command.name), "--help"]) == 0
        shown = capsys.readouterr().out
        assert "…" not in shown, command.name
        assert max(map(len, shown.splitlines())) <= 80


def test_a_row_of_an_epoch_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    valid = {"recall@10": 0.5, "ndcg@10": 0.4, "hit@10": 0.5, "mrr@10": 0.3}
    with console.listening() as on_event:
        on_event(EpochDone(100, 300, 12.3456, 1_234_567, 1234.5, 40_000, best=True, valid=valid))
    head, row = capsys.readouterr().err.splitlines()
    assert head.split() == ["epoch", "loss", *list(valid)[:3], "targets/s", "seconds", "at", "most"]
    assert row.split()[-5:] == ["0.5000", "1,234,567", "1234.5", "11h06m", "best"]
    assert len(row) <= 80
