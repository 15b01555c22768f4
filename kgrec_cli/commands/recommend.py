"""`kgrec recommend`: users or histories in, lists with titles out."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.errors import UsageError, shorten

if TYPE_CHECKING:
    from kgrec_cli.runs.recommended import Explanation, Recommendations
    from kgrec_cli.runs.recommender import Recommender

SHOWN_HISTORY = 5
SHOWN_AMOUNT = 0.005


def recommend(
    run: opt.Run = None,
    user: Annotated[
        list[str] | None,
        typer.Option(
            "--user", "-u", metavar="USER", help="A user of the data set; may be repeated."
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            metavar="ITEM,ITEM,...", help="A history, oldest first: ids, or titles without commas."
        ),
    ] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(
            "--item",
            "-i",
            metavar="ITEM",
            help="An item of a history, by id or title; may be repeated, in order.",
        ),
    ] = None,
    all_users: Annotated[
        bool, typer.Option("--all-users", help="All users of the data set, to --out.")
    ] = False,
    users_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Users, one per line, to --out.")
    ] = None,
    histories: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Histories as JSON lines, to --out: ["ITEM", ...] or {"user": "NAME", "items": '
            "[...]}.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="File to write (.parquet, .csv, .tsv or .jsonl)."
        ),
    ] = None,
    topk: Annotated[
        int, typer.Option("--topk", "-k", min=1, metavar="N", help="Items per list.")
    ] = 10,
    exclude: Annotated[
        str | None,
        typer.Option(
            metavar="ITEMS", help="Items that no list may hold: ITEM,ITEM,... or @FILE, one a line."
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(metavar="ITEMS", help="The only items that lists may hold, given likewise."),
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Lists may hold items of the history.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say for each item which history items carry its score."),
    ] = False,
    device: opt.Device = None,
    threads: opt.Threads = None,
    json_output: opt.Json = False,
) -> None:
    """Recommend items: to users by their whole histories, or after any list of items."""
    from kgrec_cli.runs.item_search import ItemSearch
    from kgrec_cli.runs.recommender import load_recommender
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages.recommend import read_lines, run_recommend_many

    many = sum([all_users, users_file is not None, histories is not None])
    if sum([bool(user), items is not None, bool(item), many]) != 1:
        raise UsageError(
            "give one of --user USER, --item ITEM, --items ITEM,..., --all-users, --users-file "
            "FILE and --histories FILE"
        )
    if bool(many) != (out is not None):
        raise UsageError(
            "--out FILE and one of --all-users, --users-file and --histories go together"
        )
    if many and explain:
        raise UsageError("--explain goes with --user, --item and --items, not with --out")
    history = opt.split_list(items or "")
    if items is not None and not history:
        raise UsageError("--items: no item in it; expected ITEM,ITEM,...")

    def listed(option: str, typed: str) -> list[str]:
        if typed.startswith("@"):
            found = [line for _, line in read_lines(Path(typed[1:]))]
        else:
            found = opt.split_list(typed)
        if not found:
            raise UsageError(f"{option}: no item in it; expected ITEM,ITEM,... or @FILE")
        return found

    wishes: dict[str, Any] = {
        "topk": topk,
        "hide_seen": not include_seen,
        "exclude": listed("--exclude", exclude) if exclude is not None else (),
        "candidates": listed("--candidates", candidates) if candidates is not None else None,
    }
    users = [line for _, line in read_lines(users_file)] if users_file else user
    folder = Path()
    run_dir = find_run(folder, run)
    with console.listening(json_output) as on_event:
        recommender = load_recommender(
            run_dir, folder, device=device, threads=threads, on_event=on_event
        )
        if out is not None:
            n_lists = run_recommend_many(
                recommender,
                out,
                users=users,
                histories_path=histories,
                on_event=on_event,
                **wishes,
            )
            if json_output:
                console.emit_json({"run": run_dir.name, "lists": n_lists, "out": str(out)})
            else:
                console.say(f"{n_lists:,} lists of at most {topk} items -> {out}")
            return
        search = ItemSearch(recommender.items.tokens[1:], recommender.titles)
        if item:
            history = [search.find_one(each, "--item") for each in item]
        else:  # an id is an id here, whatever else has it as a title
            known = recommender.items
            history = [
                each if known.get(each) else search.find_one(each, "--items") for each in history
            ]
        lists = recommender.recommend(users, [history] if history else None, **wishes)
        reasons = [recommender.explain(each) if explain else [] for each in lists]
    if json_output:
        console.emit_json([_as_json(*pair) for pair in zip(lists, reasons, strict=True)])
        return
    for each, of_list in zip(lists, reasons, strict=True):
        _show(each)
        if not each.items:
            console.indented("no item is left: --include-seen lists those of the history, too", 0)
        elif explain:
            _show_reasons(each, of_list, recommender)
        else:
            rows = [[item.rank, item.item, item.title, item.score] for item in each.items]
            console.table(None, ["", "item", "title", "score"], rows)


def _as_json(of_user: "Recommendations", reasons: "list[Explanation]") -> dict[str, Any]:
    history = [{"item": item, "title": title} for item, title in of_user.history]
    items = [asdict(item) for item in of_user.items]
    for item, reason in zip(items, reasons, strict=False):  # no reason where none is asked for
        item["explanation"] = {k: v for k, v in asdict(reason).items() if k not in item}
    return {"user": of_user.user, "items": items, "history": history}


def _show(of_user: "Recommendations") -> None:
    recent = [shorten(title or item, 60) for item, title in of_user.history[-SHOWN_HISTORY:]]
    who = "this history" if of_user.user is None else f"user {of_user.user}"
    last = "; ".join(recent)
    console.indented(f"{who}: {len(of_user.history)} items, the last ones: {last}", 0)


def _show_reasons(
    of_user: "Recommendations", reasons: "list[Explanation]", recommender: "Recommender"
) -> None:
    """Under each item: the history items that carry its score, what the graph says, the parts."""
    for item, reason in zip(of_user.items, reasons, strict=True):
        parts = [
            f"{part.replace('_gru', ' GRU')} {value:+.2f}"
            for part, value in reason.parts.items()
            if abs(value) >= SHOWN_AMOUNT
        ]
        name = shorten(item.title or item.item, 60)
        console.indented(f"{item.rank:>2}. {name} [{item.item}]", 0)
        for line in recommender.in_words(reason):
            console.indented(line, 4)
        console.indented(f"score {item.score:.2f}: {', '.join(parts)}", 4)
    console.indented("(+: how far the score falls when that item is left out of the history)", 0)
