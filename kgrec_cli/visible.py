"""Texts as a screen may show them: no control codes, one line, breaks between words."""

import re

from rich.cells import cell_len

MAX_ERROR, MAX_NOTE = 300, 1000
"""Characters of a line at most; of a longer one the middle, where files are quoted, is cut."""

# C0 and C1 codes, marks of direction, invisible characters, line separators, half characters. The
# two joiners of Persian and of emoji (U+200C, U+200D) stay.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with its control and invisible characters as Python's escapes."""
    return UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def as_line(text: str, width: int = MAX_ERROR) -> str:
    """The text as one visible line of at most `width` characters: begin and end are kept."""
    line = visible(text)
    if len(line) <= width:
        return line
    n_last = width // 3
    return f"{line[: width - n_last - 5]} ... {line[-n_last:]}"


def wrap(text: str, width: int, indent: int = 0) -> str:
    """The text with line breaks between words, so that each line has at most `width` columns.

    A longer word (a path) stays whole. Lines after the first begin with `indent` blanks.
    """
    lines = [""]
    for word in re.findall(" *[^ ]+", text):
        if lines[-1].strip() and cell_len(lines[-1] + word) > width:
            lines.append(" " * indent + word.lstrip(" "))
        else:
            lines[-1] += word
    return "\n".join(lines)
