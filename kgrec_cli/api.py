"""The Python API: one function a command, offered as `kgrec_cli.train` and so on.

Arguments are the options of the command of the same name (`kgrec train --help`, docs/cli.md), and
these, which mean the same everywhere:

- `folder`: the working folder. Data sets, runs and `kgrec.yaml` are in it. Paths that you type are
  relative to the current directory.
- `dataset`: name of the data set; None as the settings say, else the only one there.
- `run`: run folder, its name under `saved/` or the beginning of it; None for the newest.
- `config`: a settings file.
- `settings`: any of docs/settings.md by name. None is a value. The order is that of the command
  line: defaults, `kgrec.yaml`, `config`, then what is typed here.
- `device`, `threads`: where to compute; None as the settings or the run say.
- `quiet`: show warnings only. Progress is shown on standard error.

Every mistake raises a `kgrec_cli.errors.KgrecError` of one line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgrec_cli import console
from kgrec_cli.config import resolve_settings
from kgrec_cli.errors import UsageError

if TYPE_CHECKING:  # none of them is loaded before it is called
    from kgrec_cli.runs.baselines import WhichBaselines
    from kgrec_cli.runs.recommender import Recommender
    from kgrec_cli.settings import Settings
    from kgrec_cli.stages.evaluate import Evaluation
    from kgrec_cli.stages.prepare.run import PrepareResult
    from kgrec_cli.stages.pretrain_kg import Pretrained
    from kgrec_cli.stages.report.run import Report
    from kgrec_cli.stages.train import TrainedRun
    from kgrec_cli.stages.tune import Tuning
    from kgrec_cli.trackers import TrackerName

AnyPath = str | Path


def prepare(
    name: str,
    *,
    raw: AnyPath | None = None,
    items: AnyPath | None = None,
    id_col: str | None = None,
    title_col: str | None = None,
    year_col: str | None = None,
    genre_col: str | None = None,
    user_col: str | None = None,
    item_col: str | None = None,
    rating_col: str | None = None,
    time_col: str | None = None,
    offset_col: str | None = None,
    time_format: str | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
    missing_ids: Literal["error", "skip", "keep"] = "error",
    kg: AnyPath | Sequence[AnyPath] = "auto",
    links: AnyPath | Sequence[AnyPath] | None = None,
    link_by: str | None = None,
    catalog: AnyPath | None = None,
    relations: str | None = None,
    hops: int | None = None,
    language: str | None = None,
    endpoint: str | None = None,
    add_metadata: bool = False,
    kg_columns: str | None = None,
    kg_labels: AnyPath | None = None,
    drop_relation: Sequence[str] = (),
    kg_min_degree: int = 0,
    kg_max_degree: int | None = None,
    min_rating: float | None = None,
    min_user_inter: int = 0,
    min_item_inter: int = 0,
    duplicates: Literal["all", "first", "last"] = "all",
    inter_format: Literal["atomic", "parquet"] = "atomic",
    data_path: str | None = None,
    dry_run: bool = False,
    folder: AnyPath = ".",
    quiet: bool = False,
) -> "PrepareResult":
    """Turns raw interactions and a knowledge graph into RecBole's atomic files.

    The arguments are the options of `kgrec prepare`; see also `help(kgrec_cli.api)`.

    Returns:
        Where the files are, and the report that `prepare.json` holds.
    """
    from kgrec_cli.core.linking.prune import Pruning
    from kgrec_cli.formats.raw.choice import ColumnChoice
    from kgrec_cli.formats.raw.item_columns import parse_wanted
    from kgrec_cli.formats.raw.item_lists import ListColumns
    from kgrec_cli.stages.prepare.graph import KGRequest, requests
    from kgrec_cli.stages.prepare.run import PrepareRequest, run_prepare

    folder = Path(folder)
    settings = resolve_settings(folder=folder, options={"data_path": data_path})
    request = PrepareRequest(
        name=name,
        raw_path=_path(raw),
        folder=folder,
        data_path=settings.data_path,
        kg=requests(
            list(map(str, _listed(kg))),
            list(map(Path, _listed(links))),
            KGRequest(
                link_by=link_by,
                catalog_path=_path(catalog),
                add_metadata=add_metadata,
                relations=tuple(filter(None, map(str.strip, (relations or "").split(",")))),
                hops=hops,
                language=language,
                endpoint=endpoint,
                labels_path=_path(kg_labels),
                kg_columns=parse_wanted(kg_columns) if kg_columns is not None else (),
                pruning=Pruning(tuple(drop_relation), kg_min_degree, kg_max_degree),
            ),
        ),
        items_path=_path(items),
        list_columns=ListColumns(id_col, title_col, year_col, genre_col),
        columns=ColumnChoice(user_col, item_col, rating_col, time_col, offset_col, time_format),
        min_rating=min_rating,
        min_user_inter=min_user_inter,
        min_item_inter=min_item_inter,
        duplicates=duplicates,
        on_bad_row=on_bad_row,
        on_missing_id=missing_ids,
        dry_run=dry_run,
        inter_format=inter_format,
    )
    with console.listening(quiet) as on_event:
        return run_prepare(request, on_event=on_event)


def convert(
    name: str,
    *,
    inter_format: Literal["atomic", "parquet"],
    data_path: str | None = None,
    folder: AnyPath = ".",
) -> list[Path]:
    """Rewrites the interactions of a prepared data set as text or as Parquet.

    Returns:
        The files that were written.
    """
    from kgrec_cli.stages.prepare.convert import run_convert

    folder = Path(folder)
    settings = resolve_settings(folder=folder, options={"data_path": data_path, "dataset": name})
    return run_convert(settings, folder, inter_format)


def pretrain_kg(
    dataset: str | None = None,
    *,
    method: str | None = None,
    validate: bool = False,
    valid: AnyPath | None = None,
    test: AnyPath | None = None,
    relations: bool = False,
    resume: bool = False,
    device: str | None = None,
    threads: int | None = None,
    config: AnyPath | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "Pretrained":
    """Trains a vector for every entity of the knowledge graph, with PyKEEN.

    `settings` are those of the `pretrain_kg` block: embedding_size, epochs, batch_size, ... The
    other arguments are the options of `kgrec pretrain-kg`; see also `help(kgrec_cli.api)`.

    Returns:
        Where the vectors are, losses and metrics.
    """
    from kgrec_cli.stages.pretrain_kg import run_pretrain_kg

    block = settings if method is None else {**settings, "method": method}
    options = {"dataset": dataset, "device": device, "threads": threads}
    resolved = _resolve(folder, config, options, {"pretrain_kg": block}, quiet)
    with console.listening(quiet) as on_event:
        return run_pretrain_kg(
            resolved,
            Path(folder),
            validate=validate,
            valid_path=_path(valid),
            test_path=_path(test),
            relations=relations,
            resume=resume,
            on_event=on_event,
        )


def train(
    dataset: str | None = None,
    *,
    on_all_data: bool = False,
    like: AnyPath | None = None,
    tracker: "TrackerName | None" = None,
    from_run: AnyPath | None = None,
    config: AnyPath | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "TrainedRun":
    """Trains GRU4RecKG (or GRU4Rec) and measures it on the validation and test parts.

    `settings` are any of docs/settings.md by name, `preset` too. `from_run` is `--from`. The other
    arguments are the options of `kgrec train`; see also `help(kgrec_cli.api)`.

    Returns:
        The run folder, its best epoch, its metrics.
    """
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages.base_settings import base_settings
    from kgrec_cli.stages.train import run_train
    from kgrec_cli.trackers import tracking

    folder = Path(folder)
    if like is not None and not on_all_data:
        raise UsageError("train: like goes with on_all_data")
    with console.listening(quiet) as listen, tracking(tracker, listen) as on_event:
        warm_start = None if from_run is None else find_run(folder, from_run)
        base = base_settings(
            folder, warm_start, like, dataset, on_event,
            on_all_data=on_all_data, epochs=settings.get("epochs"),
        )  # fmt: skip
        resolved = _resolve(folder, config, {"dataset": dataset}, settings, quiet, base)
        (run,) = run_train(
            resolved, folder, on_all_data=on_all_data, warm_start=warm_start, on_event=on_event
        )
    return run


def evaluate(
    run: AnyPath | None = None,
    *,
    topk: int | Sequence[int] | None = None,
    metrics: Sequence[str] | None = None,
    per_user: AnyPath | None = None,
    baselines: "WhichBaselines" = True,
    explanations: bool = False,
    device: str | None = None,
    threads: int | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "Evaluation":
    """Measures a run by full ranking, seen items masked and not, beside baselines.

    `settings` are others that evaluation takes: eval_args, eval_batch_size, data_path. The other
    arguments are the options of `kgrec evaluate`; see also `help(kgrec_cli.api)`.

    Returns:
        Metrics by part, of the baselines, and of slices of the test targets; `metrics.json` of the
        run holds them too.
    """
    from kgrec_cli.runs.held_out import evaluation_settings
    from kgrec_cli.runs.run_dir import find_run
    from kgrec_cli.stages.evaluate import run_evaluate

    folder = Path(folder)
    run_dir = find_run(folder, run)
    resolved = evaluation_settings(run_dir, {"topk": topk, "metrics": metrics, **settings})
    with console.listening(quiet) as on_event:
        return run_evaluate(
            run_dir,
            folder,
            settings=resolved,
            per_user_path=_path(per_user),
            baselines=baselines,
            explanations=explanations,
            device=device,
            threads=threads,
            on_event=on_event,
        )


def tune(
    space: AnyPath,
    *,
    dataset: str | None = None,
    search: str = "exhaustive",
    max_trials: int | None = None,
    pruner: str = "none",
    early_stop: int | None = None,
    executor: Literal["serial", "processes", "ray", "batched"] | None = None,
    jobs: int | None = None,
    address: str | None = None,
    storage: str | None = None,
    config: AnyPath | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "Tuning":
    """Searches for the best settings; the same call resumes a stopped search.

    `settings` are shared by all trials. The other arguments are those of `kgrec tune`; see also
    `help(kgrec_cli.api)`.

    Returns:
        The folder of the study, its leaderboard and its best trial.
    """
    from kgrec_cli.stages.tune import run_tune

    resolved = _resolve(folder, config, {"dataset": dataset}, settings, quiet)
    with console.listening(quiet) as on_event:
        return run_tune(
            resolved,
            Path(folder),
            Path(space),
            search=search,
            max_trials=max_trials,
            pruner=pruner,
            early_stop=early_stop,
            executor=executor,
            jobs=jobs,
            address=address,
            storage=storage,
            on_event=on_event,
        )


def report(
    *names: AnyPath,
    out: AnyPath | None = None,
    device: str | None = None,
    threads: int | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
) -> "Report":
    """Writes one HTML page on runs, a study or a data set; without a name on the newest run.

    The arguments are those of `kgrec report`; see also `help(kgrec_cli.api)`.

    Returns:
        Where the page is, and its size.
    """
    from kgrec_cli.stages.report.run import run_report

    with console.listening(quiet) as on_event:
        return run_report(
            [str(name) for name in names],
            Path(folder),
            out=_path(out),
            device=device,
            threads=threads,
            on_event=on_event,
        )


def load_run(
    run: AnyPath | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
) -> "Recommender":
    """A finished run in memory: it recommends, scores, and returns its item vectors.

    For the arguments see `help(kgrec_cli.api)`.
    """
    from kgrec_cli.runs.recommender import load_recommender
    from kgrec_cli.runs.run_dir import find_run

    folder = Path(folder)
    with console.listening(quiet) as on_event:
        return load_recommender(
            find_run(folder, run), folder, device=device, threads=threads, on_event=on_event
        )


def _resolve(
    folder: AnyPath,
    config: AnyPath | None,
    options: Mapping[str, Any],
    values: Mapping[str, Any],
    quiet: bool,
    base: Mapping[str, Any] | None = None,
) -> "Settings":
    """The settings of a call, the data set filled in. None in `options` says nothing."""
    return resolve_settings(
        folder=Path(folder),
        config_paths=None if config is None else [Path(config)],
        options=options,
        values=values,
        base=base,
        needs_dataset=True,
        on_note=(lambda text: None) if quiet else console.note,
    )


def _listed(value: AnyPath | Sequence[AnyPath] | None) -> Sequence[AnyPath]:
    """One path or several, as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str | Path) else value


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)
