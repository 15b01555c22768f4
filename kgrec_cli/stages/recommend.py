"""`kgrec recommend` for many: a run, and users or histories in, a file of all lists out."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.core.evaluation.ranking import MAX_CHUNK_ROWS
from kgrec_cli.core.memory import check_memory
from kgrec_cli.errors import KgrecError, cannot_read, shorten
from kgrec_cli.events import OnEvent, Warn
from kgrec_cli.formats.files import check_export_path, parse_json, write_chunks
from kgrec_cli.runs.recommender import Recommender

COLUMNS = {
    "user": pl.String(),
    "rank": pl.Int32(),
    "item": pl.String(),
    "title": pl.String(),
    "score": pl.Float32(),
}
ROW_BYTES = 72  # rank, score and three texts by reference
LINE_SHAPE = '["ITEM", ...] or {"user": "NAME", "items": ["ITEM", ...]}'


def run_recommend_many(
    recommender: Recommender,
    out_path: Path,
    *,
    users: Sequence[str] | None = None,
    histories_path: Path | None = None,
    topk: int = 10,
    on_event: OnEvent,
    **wishes: Any,
) -> int:
    """Writes the lists to a file, some hundreds at a time; returns how many lists.

    Columns: user, rank, item, title, score. Without `users` and `histories_path` the lists are
    those of all users of the data set. `wishes` are further arguments of `Recommender.recommend`.

    Raises:
        KgrecError: A missing or damaged file, or one that cannot be written.
    """
    check_export_path(out_path)
    n_rows = MAX_CHUNK_ROWS * min(topk, len(recommender.items) - 1)
    check_memory(ROW_BYTES * n_rows, f"--topk {topk}: {n_rows:,} rows at once")
    histories = None
    if histories_path is not None:
        histories = read_histories(histories_path, recommender, on_event)
    elif users is not None:
        users = known_users(users, recommender, on_event)
    n_written = 0

    def chunks() -> Iterator[pl.DataFrame]:
        nonlocal n_written
        for chunk in recommender.recommend_all(
            users, histories, topk=topk, on_event=on_event, **wishes
        ):
            n_written += int((chunk["rank"] == 1).sum())
            yield chunk

    write_chunks(out_path, chunks(), COLUMNS)
    return n_written


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The number and text of each line of a file that is not blank, one after the other.

    Raises:
        KgrecError: It cannot be read, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.strip()
    except (OSError, UnicodeDecodeError) as error:
        raise cannot_read(path, error) from error


def known_users(users: Sequence[str], recommender: Recommender, on_event: OnEvent) -> list[str]:
    """The users that have a history in the data set, each once; a warning counts the others.

    Raises:
        KgrecError: None has one.
    """
    users = list(dict.fromkeys(users))
    known = [user for user in users if recommender.has_history(user)]
    if len(known) < len(users):
        example = next(user for user in users if not recommender.has_history(user))
        what = f"{len(users) - len(known):,} of {len(users):,} users have no history"
        text = f"{what} in {recommender.dataset.name}, such as {shorten(example)}"
        if not known:
            raise KgrecError(text)
        on_event(Warn(f"{text}: no list for them"))
    return known


def read_histories(
    path: Path, recommender: Recommender, on_event: OnEvent
) -> Iterator[tuple[str, list[str]]]:
    """The histories of a file of JSON lines, with the user of each or the number of its line.

    Items that the run does not know are left out, and a warning counts them.

    Raises:
        KgrecError: A line of another shape, a user with two lines, or no item at all that the run
            knows.
    """
    n_items, n_unknown, n_empty, n_lists = 0, 0, 0, 0
    line_of: dict[str, int] = {}
    for number, line in read_lines(path):
        name, items = _parse_history(line, f"{path}, line {number}")
        name = str(number) if name is None else name
        if line_of.setdefault(name, number) != number:
            raise KgrecError(
                f"{path}, line {number}: user {shorten(name)} has line {line_of[name]}, too; "
                "expected one line a user: join their items, or name the users differently"
            )
        known = [item for item in items if recommender.items.get(item) is not None]
        n_items, n_unknown = n_items + len(items), n_unknown + len(items) - len(known)
        if known:
            n_lists += 1
            yield name, known
        else:
            n_empty += 1
    if not n_lists:
        raise KgrecError(f"{path}: no history with an item that {recommender.run_dir.name} knows")
    if n_unknown:
        on_event(Warn(f"{path}: {n_unknown:,} of {n_items:,} items are unknown: not read"))
    if n_empty:
        on_event(Warn(f"{path}: {n_empty:,} histories have no item that is known: no list"))


def _parse_history(line: str, where: str) -> tuple[str | None, list[str]]:
    try:
        value = parse_json(line)
    except ValueError as error:
        raise KgrecError(f"{where}: not JSON; expected {LINE_SHAPE}") from error
    name, items = None, value
    if isinstance(value, dict):
        name, items = value.get("user"), value.get("items")
    texts = [name] if name is not None else []
    texts += items if isinstance(items, list) else [None]
    if any(isinstance(text, bool) or not isinstance(text, str | int) for text in texts):
        found = shorten(json.dumps(value), 60)
        raise KgrecError(f"{where}: found {found}, expected {LINE_SHAPE}")
    return None if name is None else str(name), [str(item) for item in items]
