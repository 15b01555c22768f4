"""Tables as they are drawn where there is no room: nothing is cut off."""

import pytest

from kgrec_cli import console


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
