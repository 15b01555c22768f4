"""`kgrec recommend`: users or histories in, lists with titles out."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.errors import UsageError

if TYPE_CHECKING:
    from kgrec_cli.stages.recommend import Recommendations

SHOWN_HISTORY = 5


def recommend(
    run: opt.Run = None,
    user: Annotated[
        list[str] | None, typer.Option(help="A user of the data set; may be repeated.")
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(metavar="ITEM,ITEM,...", help="A history never seen, oldest first."),
    ] = None,
    all_users: Annotated[
        bool, typer.Option("--all-users", help="Every user of the data set, to --out.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to (.parquet, .csv, .tsv or .jsonl)."),
    ] = None,
    topk: Annotated[int, typer.Option(min=1, help="Items a list.")] = 10,
    device: opt.Device = None,
    threads: opt.Threads = None,
    json_output: opt.Json = False,
) -> None:
    """Recommend items: to users from their whole histories, or after any list of items."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages import recommend as stage

    if sum([bool(user), items is not None, all_users]) != 1:
        raise UsageError("give one of --user USER, --items ITEM,ITEM,... and --all-users")
    if all_users != (out is not None):
        raise UsageError("--all-users and --out FILE go together")
    folder = Path()
    run_dir = find_run(folder / resolve_settings(folder=folder).checkpoint_dir, run)
    with console.listening(json_output) as on_event:
        if all_users and out is not None:
            n_users = stage.recommend_to_all(
                run_dir,
                folder,
                out,
                topk=topk,
                device=device,
                threads=threads,
                on_event=on_event,
            )
            if json_output:
                console.emit_json({"run": run_dir.name, "users": n_users, "out": str(out)})
            else:
                console.say(f"{n_users:,} users x {topk} items -> {out}")
            return
        if items is not None:
            tokens = [token.strip() for token in items.split(",") if token.strip()]
            if not tokens:
                raise UsageError("--items: no item given")
            lists = [
                stage.recommend_after(run_dir, tokens, topk=topk, device=device, threads=threads)
            ]
        else:
            lists = stage.recommend_to_users(
                run_dir,
                folder,
                user or [],
                topk=topk,
                device=device,
                threads=threads,
                on_event=on_event,
            )
    if json_output:
        console.emit_json([_as_json(found) for found in lists])
        return
    for found in lists:
        _show(found)


def _as_json(found: "Recommendations") -> dict[str, Any]:
    history = [{"item": item, "title": title} for item, title in found.history]
    items = [asdict(item) for item in found.items]
    return {"user": found.user, "history": history, "items": items}


def _show(found: "Recommendations") -> None:
    recent = [title or item for item, title in found.history[-SHOWN_HISTORY:]]
    who = f"user {found.user}" if found.user is not None else "this history"
    console.say(f"{who}: {len(found.history)} items, the last of them: {'; '.join(recent)}")
    rows = [[item.rank, item.item, item.title, item.score] for item in found.items]
    console.table(None, ["", "item", "title", "score"], rows)
