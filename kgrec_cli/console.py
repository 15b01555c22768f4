"""The only printer. Results go to standard output; progress, notes and errors to standard error.

Files may hold control codes, which terminals obey: texts are printed by `visible` alone. On a
terminal lines are wrapped between words (`print_line`), and a table that does not fit is stacked
(`table`): nothing is cut. In a pipe lines and tables are as wide as they are.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from kgrec_cli import terminal
from kgrec_cli.display import listening as listening
from kgrec_cli.terminal import duration as duration
from kgrec_cli.terminal import err, out, print_line, stream
from kgrec_cli.visible import MAX_NOTE, UNSEEN, as_line, visible

MIN_TEXT = 24
"""Columns of text in a table are not wrapped to fewer characters than this."""


def say(text: str) -> None:
    """Prints a line on standard output."""
    print_line(out(), visible(text))


def indented(text: str, indent: int) -> None:
    """Prints a text on standard output, wrapped between words; `indent` blanks before each line."""
    console = out()
    for line in Text(visible(text)).wrap(console, console.width - indent):
        console.print(Text(" " * indent) + line, soft_wrap=True)


def heading(text: str) -> None:
    """Prints a line in bold."""
    print_line(out(), visible(text), style="bold")


def show_error(text: str) -> None:
    """Prints the one line of an error on standard error."""
    print_line(err(), as_line(text), label="error: ", style="bold red")


def note(text: str) -> None:
    """Prints a note on standard error, unless `--quiet`."""
    if terminal.level >= 0:
        print_line(err(), as_line(text, MAX_NOTE))


def finding(level: str, about: str, text: str, cure: str) -> None:
    """Prints one finding of `doctor`, its cure below it."""
    style = {"ok": "green", "note": "", "warn": "yellow", "bad": "bold red"}[level]
    line = as_line(f"{about:13}{text}", MAX_NOTE)
    print_line(out(), line, label=f"{level:5}", style=style, indent=18)
    if cure:
        print_line(out(), f"{'':18}-> {visible(cure)}", indent=21)


def emit_json(value: Any) -> None:
    """Prints `value` as JSON, the only thing on standard output. Control characters are escaped."""
    file = stream(sys.stdout)
    is_unicode = (file.encoding or "utf-8").lower().startswith("utf")
    text = json.dumps(value, indent=2, ensure_ascii=not is_unicode, allow_nan=False)
    # Only the texts in it can hold such characters, and JSON reads the escapes as what they were.
    file.writelines(
        UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], line) + "\n"
        for line in text.split("\n")
    )


def table(title: str | None, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table, numbers right-aligned; where it does not fit, `name: value` line by line.

    Cells that are no text are shown by `format_cell`. Cells of text may be wrapped between words
    down to `MIN_TEXT` columns, names of columns after an underscore.
    """
    console = out()
    if title is not None:
        print_line(console, visible(title), style="italic")
    names = ["\n".join(map(visible, name.split("\n"))) for name in columns]
    cells = [[visible(format_cell(cell)) for cell in row] for row in rows]
    numeric = [bool(rows) and all(_is_number(row[n]) for row in rows) for n in range(len(names))]
    broken = [name.replace("_", "_\n") for name in names]
    for heads, gap in ((names, 2), (broken, 2), (broken, 1)):
        widths = _fit(heads, cells, numeric, console.width - 2 - gap * (len(names) - 1))
        if widths is not None:
            break
    else:
        _stack([name.replace("\n", " ") for name in names], cells)
        return
    padding = (0, gap - 1)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=padding)
    for head, is_number, width in zip(heads, numeric, widths, strict=True):
        justify: Literal["left", "right"] = "right" if is_number else "left"
        drawn.add_column(escape(head), justify=justify, overflow="fold", width=width)
    for row in cells:
        drawn.add_row(*map(escape, row))
    console.print(drawn)


def _fit(
    heads: Sequence[str], cells: Sequence[Sequence[str]], numeric: Sequence[bool], width: int
) -> list[int] | None:
    """The width of each column of a table, or None where together they are wider than `width`.

    Numbers and the first column stay whole, other text is wrapped between words where need be.
    """
    least, whole = [], []
    for n, head in enumerate(heads):
        column = [row[n] for row in cells]
        name = max(map(cell_len, head.split("\n")))
        whole.append(max([name, *map(cell_len, column)]))
        words = max([name, *(cell_len(word) for cell in column for word in cell.split(" "))])
        least.append(whole[n] if n == 0 or numeric[n] else max(words, min(MIN_TEXT, whole[n])))
    room = width - sum(least)
    if room < 0:
        return None
    for n, most in enumerate(whole):
        more = min(room, most - least[n])
        least[n] += more
        room -= more
    return least


def _stack(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Prints each row as lines of `name: value`, an empty line between rows."""
    console = out()
    for row in cells:
        console.print()
        for name, cell in zip(names, row, strict=True):
            if cell:
                print_line(console, cell, label=f"{name}: " if name else "", indent=2)
    console.print()


def format_cell(cell: Any) -> str:
    """A cell's text: thousands separated, four decimals, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return str(cell)


def _is_number(cell: Any) -> bool:
    return cell is None or (isinstance(cell, int | float) and not isinstance(cell, bool))


SAME = {"hit": "recall", "map": "mrr"}
"""Metrics that are one number where each list has one target."""


def metric_table(
    title: str, results: Mapping[str, Mapping[str, float]], cutoffs: Sequence[int]
) -> None:
    """Prints the metrics at some cutoffs: a row for each metric, a column for each part.

    A metric that is another's duplicate (`SAME`) in all parts stands in that one's row.
    """
    names = dict.fromkeys(name for values in results.values() for name in values)
    rows: list[list[Any]] = []
    for cutoff in cutoffs:
        for name in (name for name in names if name.endswith(f"@{cutoff}")):
            values = [results[part].get(name) for part in results]
            twin = f"{SAME.get(name.partition('@')[0])}@{cutoff}"
            if [twin, *values] in rows:
                rows[rows.index([twin, *values])][0] = f"{twin.partition('@')[0]} = {name}"
            else:
                rows.append([name, *values])
    heads = [part.replace("_masked", "\nmasked") for part in results]
    table(title, ["metric", *heads], rows)
