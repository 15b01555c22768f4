"""`kgrec evaluate`: a run named, `run_evaluate`, its tables shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.errors import UsageError

_WHICH: dict[str, "bool | Literal['all']"] = {"auto": True, "all": "all", "none": False}


def evaluate(
    run: opt.Run = None,
    topk: Annotated[
        str | None,
        opt.setting("topk", "--topk", "-k", metavar="K[,K...]", show_default="the run's"),
    ] = None,
    metrics: Annotated[
        str | None, opt.setting("metrics", metavar="NAME[,NAME...]", show_default="all")
    ] = None,
    per_user: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the rank of each test target (.tsv, .csv, .parquet or .jsonl).",
        ),
    ] = None,
    baselines: Annotated[
        Literal["auto", "all", "none"],
        typer.Option(
            help="Which baselines to measure on the same split: popularity, ItemKNN, sequential "
            "rules and EASE. auto: all up to 5,000 items, above them the first two."
        ),
    ] = "auto",
    no_baselines: Annotated[
        bool, typer.Option("--no-baselines", help="The same as --baselines none.")
    ] = False,
    explanations: Annotated[
        bool,
        typer.Option(
            "--explanations", help="Measure the paths that recommend --explain would show, too."
        ),
    ] = False,
    assignments: opt.Assignments = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    json_output: opt.Json = False,
) -> None:
    """Measure a run by full ranking, seen items masked and not, beside baselines."""
    from kgrec_cli.config import parse_assignments
    from kgrec_cli.runs.held_out import evaluation_settings
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages.evaluate import run_evaluate

    if no_baselines and baselines != "auto":
        raise UsageError(f"--no-baselines and --baselines {baselines}: give one")
    folder = Path()
    run_dir = find_run(folder, run)
    typed = {
        name: opt.split_list(text) if text else None
        for name, text in (("topk", topk), ("metrics", metrics))
    }
    settings = evaluation_settings(run_dir, {**typed, **parse_assignments(assignments or ())})
    with console.listening(json_output) as on_event:
        result = run_evaluate(
            run_dir,
            folder,
            settings=settings,
            per_user_path=per_user,
            baselines=_WHICH["none" if no_baselines else baselines],
            explanations=explanations,
            device=device,
            threads=threads,
            on_event=on_event,
        )
    if json_output:
        values: dict[str, Any] = {"run": result.run_dir.name, **result.metrics}
        values |= {"baselines": result.baselines, "slices": result.slices}
        console.emit_json(values | ({"explanations": result.explanations} if explanations else {}))
        return
    cutoffs = sorted(settings.topk) if topk else [settings.shown_cutoff]
    console.metric_table(result.run_dir.name, result.metrics, cutoffs)
    for cutoff in cutoffs if "test" in result.metrics else ():
        at = f" (at {cutoff})" if len(cutoffs) > 1 else ""
        systems = {"this run": result.metrics, **result.baselines}
        _show_side_by_side(f"Test targets: this run and the baselines{at}", systems, cutoff)
        for line in _below(systems, cutoff):
            console.say(line)
        slices = {
            name: {view: result.slices[view][name] for view in ("test", "test_masked")}
            for name in result.slices["test"]
        }
        _show_side_by_side(f"Slices of the test targets{at}", slices, cutoff)
    if explanations:
        _show_explanations(result.explanations, cutoffs)
    if per_user is not None:
        console.say(f"ranks of the test targets: {per_user}")
    if result.is_kept:
        console.say(f"written to {result.run_dir / 'metrics.json'}")


def _below(systems: Mapping[str, Mapping[str, Mapping[str, float]]], cutoff: int) -> list[str]:
    """A line for each baseline that ranks better than the run, by NDCG or else Hit."""
    lines = []
    (run, values), *baselines = systems.items()
    for name, of_baseline in baselines:
        worse = [
            f"{metric}{view.removeprefix('test').replace('_', ' ')} "
            f"{values[view][metric]:.4f} against {of_baseline[view][metric]:.4f}"
            for metric in [f"ndcg@{cutoff}", f"hit@{cutoff}"]
            for view in ("test", "test_masked")
            if metric in of_baseline[view] and values[view][metric] < of_baseline[view][metric]
        ]
        if worse:
            lines.append(f"{run} is below {name}: {', '.join(worse)}")
    return lines


def _show_explanations(values: Mapping[str, float], cutoffs: Sequence[int]) -> None:
    from kgrec_cli.core.linking.path_metrics import path_metric_rows

    users = f"{int(values['users']):,} of {int(values['of_users']):,} test users"
    rows = [[name, *row, words] for name, row, words in path_metric_rows(values, cutoffs)]
    at = [f"at {cutoff}" for cutoff in cutoffs]
    console.table(f"Paths to the items of {users}, one an item", ["", *at, "what"], rows)


def _show_side_by_side(
    title: str, rows: Mapping[str, Mapping[str, Mapping[str, float]]], cutoff: int
) -> None:
    """A row for each name: NDCG and Hit at one cutoff, seen items not masked and masked.

    Without these two, other metrics that were measured; no table where none was.
    """
    measured = next(iter(rows.values()))["test"]
    usual = [f"{name}@{cutoff}" for name in ("ndcg", "hit")]
    others = [name for name in measured if name.endswith(f"@{cutoff}")]
    metrics = [name for name in usual if name in measured] or others[:2]
    if not metrics:
        return
    has_counts = "n_targets" in measured
    columns = ["", *(["targets"] if has_counts else []), *metrics]
    columns += [f"masked\n{name}" for name in metrics]
    cells = [
        [
            name,
            *([int(views["test"]["n_targets"])] if has_counts else []),
            *(views["test"][metric] for metric in metrics),
            *(views["test_masked"][metric] for metric in metrics),
        ]
        for name, views in rows.items()
    ]
    console.table(title, columns, cells)
