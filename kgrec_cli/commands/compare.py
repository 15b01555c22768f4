"""`kgrec compare`: runs named, `run_compare`, its tables shown."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.commands.completion import complete_run

if TYPE_CHECKING:
    from kgrec_cli.stages.compare import Comparison


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Run folders or their names under saved/. All are compared with the first.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ],
    group: Annotated[
        bool,
        typer.Option(
            "--group/--no-group",
            help="Average runs whose settings differ in `seed` alone, by user.",
        ),
    ] = True,
    device: opt.Device = None,
    threads: opt.Threads = None,
    json_output: opt.Json = False,
) -> None:
    """Compare finished runs on the same test targets, with intervals by paired bootstrap."""
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages.compare import run_compare

    folder = Path()
    with console.listening(json_output) as on_event:
        result = run_compare(
            [find_run(folder, run) for run in runs],
            folder,
            group=group,
            device=device,
            threads=threads,
            on_event=on_event,
        )
    if json_output:
        console.emit_json(_as_json(result))
    else:
        _show(result)


def _show(result: "Comparison") -> None:
    changes = result.changes()
    shown = dict.fromkeys(change.metric for change in changes)
    views = {"test": "", "test_masked": "masked\n"}
    console.table(
        "Test targets",
        ["", "run", *(label + name for label in views.values() for name in shown)],
        [
            [number, side.name, *(side.metrics[view][name] for view in views for name in shown)]
            for number, side in enumerate(result.sides, start=1)
        ],
    )
    console.table(
        "Difference from run 1, on users with the same targets and history",
        ["run", "metric", "users", "difference", "%", "95% from", "to", "p", "Holm's p"],
        [
            [
                change.number,
                views[change.view].replace("\n", " ") + change.metric,
                change.n_users,
                found.difference,
                "" if found.relative_percent is None else f"{found.relative_percent:+.1f}",
                found.low,
                found.high,
                found.p_value,
                change.p_holm,
            ]
            for change in changes
            for found in (change.difference,)
        ],
    )
    console.say(f"Holm's p: corrected for the {len(changes)} differences of this table")
    for number, pair in enumerate(result.pairs, start=2):
        if pair.n_changed or pair.n_in_one:
            console.say(
                f"run {number}: {pair.n_changed + pair.n_in_one:,} users not compared, "
                f"{pair.n_changed:,} with another target or history than in run 1, "
                f"{pair.n_in_one:,} in only one of the two"
            )
    if result.settings:
        columns = ["setting", *(f"run {n}" for n in range(1, len(result.sides) + 1))]
        console.table("Settings that differ", columns, result.setting_rows)
    else:
        console.say("no setting differs")


def _as_json(result: "Comparison") -> dict[str, Any]:
    pairs = [asdict(pair) for pair in result.pairs]
    for change in result.changes():  # of those that the tables show
        pairs[change.number - 2]["differences"][change.view][change.metric]["p_holm"] = (
            change.p_holm
        )
    return {
        "runs": [
            {
                "name": side.name,
                "runs": [str(run_dir) for run_dir in side.run_dirs],
                "seeds": list(side.seeds),
                "n_users": len(side.targets),
                "metrics": side.metrics,
            }
            for side in result.sides
        ],
        "pairs": [
            {"first": result.sides[0].name, "other": side.name, **pair}
            for side, pair in zip(result.sides[1:], pairs, strict=True)
        ],
        "settings": result.settings,
    }
