"""`kgrec train`: options to settings, `run_train`, a table of what came out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.commands.completion import complete_run
from kgrec_cli.commands.estimate import show as show_estimate
from kgrec_cli.errors import UsageError

if TYPE_CHECKING:
    from kgrec_cli.stages.train import TrainedRun


def train(
    dataset: opt.DatasetArgument = None,
    dataset_option: opt.DatasetOption = None,
    model: opt.Model = None,
    freeze_kg: Annotated[
        bool | None, opt.setting("freeze_kg", "--freeze-kg/--no-freeze-kg")
    ] = None,
    preset: opt.Preset = None,
    epochs: Annotated[int | None, opt.count("epochs", "--epochs", "-e")] = None,
    learning_rate: Annotated[float | None, opt.setting("learning_rate")] = None,
    train_batch_size: Annotated[int | None, opt.count("train_batch_size")] = None,
    embedding_size: Annotated[int | None, opt.count("embedding_size")] = None,
    hidden_size: Annotated[int | None, opt.count("hidden_size")] = None,
    num_layers: Annotated[int | None, opt.count("num_layers")] = None,
    dropout_prob: Annotated[float | None, opt.setting("dropout_prob")] = None,
    loss_type: Annotated[str | None, opt.setting("loss_type")] = None,
    valid_metric: Annotated[str | None, opt.setting("valid_metric")] = None,
    stopping_step: Annotated[int | None, opt.count("stopping_step")] = None,
    seed: opt.Seed = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel="Training",
            help="Train this many runs, with consecutive seeds.",
        ),
    ] = 1,
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", metavar="NAME", help="Name of the run, of its folder too."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Resume a stopped run.", autocompletion=complete_run),
    ] = None,
    on_all_data: Annotated[
        bool,
        typer.Option(
            "--on-all-data",
            help="Final fit: hold nothing out; settings and epochs of a finished run (--like).",
        ),
    ] = False,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="The run --on-all-data follows; default: the newest.",
            autocompletion=complete_run,
        ),
    ] = None,
    tracker: Annotated[
        Literal["tensorboard", "mlflow", "trackio"] | None,
        typer.Option(
            "--tracker", help="Log the training there too: pip install 'kgrec[trackers]'."
        ),
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Warm start: settings and first weights of a finished run, for new interactions, "
            "users and items.",
            autocompletion=complete_run,
        ),
    ] = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    estimate: opt.Estimate = False,
    json_output: opt.Json = False,
) -> None:
    """Train GRU4RecKG (or GRU4Rec) and measure it on the validation and test parts."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.core.workers import join_workers
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages.base_settings import base_settings
    from kgrec_cli.stages.train import resume_train, run_train
    from kgrec_cli.trackers import tracking

    folder, dataset = Path(), opt.one_dataset(dataset, dataset_option)
    options: dict[str, Any] = {
        "dataset": dataset, "model": model, "freeze_kg": freeze_kg, "preset": preset,
        "epochs": epochs, "learning_rate": learning_rate, "train_batch_size": train_batch_size,
        "embedding_size": embedding_size, "hidden_size": hidden_size, "num_layers": num_layers,
        "dropout_prob": dropout_prob, "loss_type": loss_type, "valid_metric": valid_metric,
        "stopping_step": stopping_step, "seed": seed, "device": device,
    }  # fmt: skip
    if like is not None and not on_all_data:
        raise UsageError("--like goes with --on-all-data")
    if estimate and resume is not None:
        raise UsageError("--resume: give the options of the run instead to estimate it")
    typed = [value for value in options.values() if value is not None]
    if resume is not None and (
        typed or config or assignments or on_all_data or seeds > 1 or name or from_run
    ):
        raise UsageError("--resume uses the settings of the run: give it alone")
    with (
        join_workers() as workers,
        console.listening(json_output) as listen,
        tracking(tracker, listen) as on_event,
    ):
        # The first process reads settings and runs for all: other machines need neither.
        if resume is not None:
            settings = workers.first(lambda: resolve_settings(folder=folder))
            run_dir = workers.first(lambda: find_run(folder, resume, finished=False))
            results = [
                resume_train(run_dir, folder, threads=threads, on_event=on_event, workers=workers)
            ]
        else:
            warm_start = workers.first(
                lambda: None if from_run is None else find_run(folder, from_run)
            )
            settings = workers.first(
                lambda: resolve_settings(
                    folder=folder,
                    config_paths=config,
                    options={**options, "threads": threads},
                    assignments=assignments,
                    base=base_settings(
                        folder, warm_start, like, dataset, listen,
                        on_all_data=on_all_data, epochs=epochs,
                    ),
                    needs_dataset=True,
                    on_note=console.note,
                )
            )  # fmt: skip
            if estimate:
                from kgrec_cli.stages.estimate import estimate_training

                if workers.count > 1:
                    raise UsageError("--estimate takes one process: run it without torchrun")
                found = estimate_training(
                    settings, folder, n_seeds=seeds, on_all_data=on_all_data,
                    warm_start=warm_start, on_event=listen,
                )  # fmt: skip
                show_estimate(found, json_output)
                return
            results = run_train(
                settings,
                folder,
                n_seeds=seeds,
                name=name,
                on_all_data=on_all_data,
                warm_start=warm_start,
                on_event=on_event,
                workers=workers,
            )
    _show(results, settings.shown_cutoff, json_output)


def _show(results: "list[TrainedRun]", cutoff: int, json_output: bool) -> None:
    if json_output:
        console.emit_json([_as_json(result) for result in results])
        return
    last = results[-1]
    if len(results) == 1 and last.metrics:
        seconds = console.duration(last.elapsed_s)
        title = f"{last.run_dir.name}: best epoch {last.best_epoch} of {last.epochs}, {seconds}"
        console.metric_table(title, last.metrics, [cutoff])
    elif last.metrics:
        console.table("Mean and spread over seeds", *_spread(results, cutoff))
        console.table("Each seed", *_each_seed(results, cutoff))
    for result in results:
        console.say(f"run: {result.run_dir}")
    if last.metrics:
        console.say("next: kgrec evaluate    or: kgrec recommend --user USER")
    else:
        console.say("trained on all data: kgrec recommend --user USER")


def _spread(results: "list[TrainedRun]", cutoff: int) -> tuple[list[str], list[list[Any]]]:
    from statistics import mean, stdev

    from scipy.stats import t

    columns = ["metric", "mean", "sd", "95 %"]
    width = t.ppf(0.975, len(results) - 1) / len(results) ** 0.5
    rows: list[list[Any]] = []
    for part in results[0].metrics:
        for name in results[0].metrics[part]:
            if not name.endswith(f"@{cutoff}"):
                continue
            values = [result.metrics[part][name] for result in results]
            middle, spread = mean(values), stdev(values)
            interval = f"{middle - width * spread:.4f} to {middle + width * spread:.4f}"
            rows.append([f"{part} {name}", middle, spread, interval])
    return columns, rows


def _each_seed(results: "list[TrainedRun]", cutoff: int) -> tuple[list[str], list[list[Any]]]:
    """NDCG of each seed, or else the first metric: a column for each part."""
    parts = results[0].metrics
    names = [name for name in next(iter(parts.values())) if name.endswith(f"@{cutoff}")]
    name = f"ndcg@{cutoff}" if f"ndcg@{cutoff}" in names else names[0]
    columns = ["seed", *(f"{part} {name}" for part in parts)]
    return columns, [[str(r.seed), *(r.metrics[part][name] for part in parts)] for r in results]


def _as_json(result: "TrainedRun") -> dict[str, Any]:
    return {
        "run": str(result.run_dir),
        "seed": result.seed,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "elapsed_s": round(result.elapsed_s, 3),
        "metrics": result.metrics,
    }
