"""`kgrec pretrain-kg`: options to settings, `run_pretrain_kg`, what came out."""

from pathlib import Path
from typing import Annotated

import typer

from kgrec_cli import console
from kgrec_cli.commands import options as opt
from kgrec_cli.commands.completion import complete_method
from kgrec_cli.commands.estimate import show as show_estimate


def pretrain_kg(
    dataset: opt.DatasetArgument = None,
    method: Annotated[
        str | None,
        opt.setting("pretrain_kg.method", "--method", "-m", autocompletion=complete_method),
    ] = None,
    embedding_size: Annotated[int | None, opt.count("pretrain_kg.embedding_size")] = None,
    epochs: Annotated[int | None, opt.count("pretrain_kg.epochs", "--epochs", "-e")] = None,
    batch_size: Annotated[int | None, opt.count("pretrain_kg.batch_size")] = None,
    learning_rate: Annotated[float | None, opt.setting("pretrain_kg.learning_rate")] = None,
    negatives: Annotated[int | None, opt.count("pretrain_kg.negatives")] = None,
    validate: Annotated[
        bool,
        typer.Option(
            "--validate",
            help="Hold out a share of the triples; report filtered MRR and Hits@k. The vectors "
            "that are written are then trained on all.",
        ),
    ] = False,
    valid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Triples that choose the best epoch (not trained on)."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Triples to report MRR and Hits@k of (not trained on)."),
    ] = None,
    relations: Annotated[
        bool, typer.Option("--relations", help="Write NAME.rel_feature: a vector a relation.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume a stopped training; with more --epochs lengthen a finished one. Its file "
            "NAME.ent_feature.checkpoint.safetensors may be deleted when that is not needed.",
        ),
    ] = False,
    dataset_option: opt.DatasetOption = None,
    seed: opt.Seed = None,
    config: opt.Config = None,
    assignments: opt.Assignments = None,
    device: opt.Device = None,
    threads: opt.Threads = None,
    estimate: opt.Estimate = False,
    json_output: opt.Json = False,
) -> None:
    """Train a vector for every entity of the knowledge graph, with PyKEEN."""
    from kgrec_cli.config import resolve_settings
    from kgrec_cli.stages.pretrain_kg import run_pretrain_kg

    folder = Path()
    typed = {
        "method": method, "embedding_size": embedding_size, "epochs": epochs,
        "batch_size": batch_size, "learning_rate": learning_rate, "negatives": negatives,
        "seed": seed,
    }  # fmt: skip
    settings = resolve_settings(
        folder=folder,
        config_paths=config,
        options={
            "pretrain_kg": {name: value for name, value in typed.items() if value is not None},
            "dataset": opt.one_dataset(dataset, dataset_option),
            "device": device,
            "threads": threads,
        },
        assignments=assignments,
        needs_dataset=True,
    )
    if estimate:
        from kgrec_cli.stages.estimate import estimate_pretraining

        with console.listening(json_output) as on_event:
            found = estimate_pretraining(settings, folder, validate=validate, on_event=on_event)
        show_estimate(found, json_output)
        return
    with console.listening(json_output) as on_event:
        result = run_pretrain_kg(
            settings,
            folder,
            validate=validate,
            valid_path=valid,
            test_path=test,
            relations=relations,
            resume=resume,
            on_event=on_event,
        )
    if json_output:
        console.emit_json(
            {
                "features": str(result.features_path),
                "method": result.method,
                "n_entities": result.n_entities,
                "n_triples": result.n_triples,
                "embedding_size": result.width,
                "loss": result.losses[-1],
                "best_epoch": result.best_epoch,
                "metrics": result.metrics,
                "elapsed_s": round(result.elapsed_s, 3),
            }
        )
        return
    console.say(
        f"{result.method}: {result.n_entities:,} entities x {result.width} from "
        f"{result.n_triples:,} triples in {console.duration(result.elapsed_s)}, "
        f"loss {result.losses[-1]:.4f}"
    )
    if result.metrics:
        console.table(
            f"{'Test' if test else 'Held-out' if validate else 'Validation'} triples, filtered",
            list(result.metrics),
            [list(result.metrics.values())],
        )
    if valid:
        console.say(f"best epoch by the validation triples: {result.best_epoch}")
    console.say(f"wrote {result.features_path}")
    is_named = resolve_settings(folder=folder).dataset == settings.dataset
    console.say(
        f"next: kgrec train --freeze-kg{'' if is_named else f' --dataset {settings.dataset}'}"
    )
