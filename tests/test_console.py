"""What is printed: tables where there is no room, and texts that hold anything."""

import io
import json
import os
import subprocess
import sys

import pytest

from kgrec_cli import console
from kgrec_cli.cli import app, run
from kgrec_cli.events import EpochDone, Note, Progress, Warn

HOSTILE = "a\x1b[2J\x1b]0;title\x07\x9b31m\x85\r\n\u202eb\u2066c\ud800\ufeff\U000e0041"
SHOWN = r"a\x1b[2J\x1b]0;title\x07\x9b31m\x85\r\n\u202eb\u2066c\ud800\ufeff\U000e0041"


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
    for name in [*(str(command.name) for command in app.registered_commands), "runs", "config"]:
        assert run([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "…" not in shown, name
        assert max(map(len, shown.splitlines())) <= 80


def test_a_row_of_an_epoch_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    valid = {"recall@10": 0.5, "ndcg@10": 0.4, "hit@10": 0.5, "mrr@10": 0.3}
    with console.listening() as on_event:
        on_event(EpochDone(100, 300, 12.3456, 1_234_567, 1234.5, 40_000, best=True, valid=valid))
    head, row = capsys.readouterr().err.splitlines()
    assert head.split() == ["epoch", "loss", *list(valid)[:3], "targets/s", "seconds", "at", "most"]
    assert row.split()[-5:] == ["0.5000", "1,234,567", "1234.5", "11h06m", "best"]
    assert len(row) <= 80


def test_control_characters_are_printed_as_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    console.say(HOSTILE)
    console.heading(HOSTILE)
    console.note(HOSTILE)
    console.show_error(HOSTILE)
    console.finding("bad", "links", HOSTILE, HOSTILE)
    console.table(HOSTILE, ["title"], [[HOSTILE]])
    with console.listening() as on_event:
        for event in (Note(HOSTILE), Warn(HOSTILE), Progress(HOSTILE, 1, 1, "", HOSTILE)):
            on_event(event)
    captured = capsys.readouterr()
    printed = captured.out + captured.err
    assert printed.count(SHOWN) == 12
    assert {c for c in printed if not c.isprintable()} == {"\n"}
    assert captured.err.splitlines()[1] == f"error: {SHOWN}"


def test_titles_in_any_script_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    title = "七人の侍\u3000می\u200cخواهم 👩\u200d🚀 Amélie\xa0[1]"
    console.say(title)
    assert capsys.readouterr().out == f"{title}\n"


def test_a_bar_shows_no_control_character_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    with console.listening() as on_event:
        on_event(Progress("tune\x1b[2J [red]x[/red]", 1, 2, "", "\u202ebest"))
    assert r"tune\x1b[2J [red]x[/red]" in shown.getvalue()
    assert r"\u202ebest" in shown.getvalue()
    assert "\x1b[2J" not in shown.getvalue()


def test_no_time_is_left_where_no_end_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    with console.listening() as on_event:
        on_event(Progress("recommend", 0, None, "lists"))
        on_event(Progress("recommend", 7, None, "lists"))
    assert "7 lists" in shown.getvalue()
    assert " left" not in shown.getvalue()


def test_json_keeps_the_data_and_holds_no_control_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.emit_json({"title": HOSTILE, "other": "Amélie\x7f"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"title": HOSTILE, "other": "Amélie\x7f"}
    assert {c for c in printed if not c.isprintable()} == {"\n"}
    assert "Amélie" in printed


def test_a_long_error_keeps_its_begin_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_error("data.csv, line 7: found '" + "x" * 5000 + "', expected a number; skip it")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: data.csv, line 7: found 'xxx")
    assert line.endswith("xxx', expected a number; skip it")
    assert len(line) == len("error: ") + 300


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_lacks_a_character_gets_its_escape(encoding: str) -> None:
    code = (
        "from kgrec_cli import console\n"
        "console.say('七 Amélie')\n"
        "console.note('七 Amélie')\n"
        "console.table('七', ['title'], [['七 Amélie']])\n"
        "console.emit_json({'title': '七 Amélie'})\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert result.returncode == 0, result.stderr
    shown = result.stdout.decode(encoding)
    amelie = r"Am\xe9lie" if encoding == "ascii" else "Amélie"
    assert shown.startswith(rf"\u4e03 {amelie}")
    assert shown.count(amelie) == 2  # JSON escapes it otherwise
    assert r'"\u4e03 Am\u00e9lie"' in shown
    assert rf"\u4e03 {amelie}" in result.stderr.decode(encoding)
