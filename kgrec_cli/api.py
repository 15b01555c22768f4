"""The Python API: one function a command, offered as `kgrec_cli.train` and so on.

Settings are resolved as on the command line: the defaults, `kgrec.yaml` in `folder`, a settings
file (`config`), then what is typed here. Data sets and runs are in `folder`; paths that are typed
are relative to the current directory. Progress is shown on standard error, with `quiet` only
warnings. Every mistake is a `kgrec_cli.errors.KgrecError` of one line.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kgrec_cli import console
from kgrec_cli.config import choose_dataset, resolve_settings
from kgrec_cli.errors import UsageError
from kgrec_cli.recbole_keys import translate

if TYPE_CHECKING:  # none of them is loaded before it is called
    from kgrec_cli.runs.recommender import Recommender
    from kgrec_cli.settings import Settings
    from kgrec_cli.stages.evaluate import Evaluation
    from kgrec_cli.stages.prepare.run import PrepareResult
    from kgrec_cli.stages.pretrain_kg import Pretrained
    from kgrec_cli.stages.train import TrainedRun
    from kgrec_cli.stages.tune import Tuning

AnyPath = str | Path


def prepare(
    name: str,
    *,
    raw: AnyPath | None = None,
    items: AnyPath | None = None,
    user_col: str | None = None,
    item_col: str | None = None,
    rating_col: str | None = None,
    time_col: str | None = None,
    on_bad_row: Literal["error", "skip"] = "error",
    kg: AnyPath = "auto",
    links: AnyPath | None = None,
    link_by: Literal["id", "title"] | None = None,
    catalog: AnyPath | None = None,
    add_metadata: bool = False,
    min_rating: float | None = None,
    min_user_inter: int = 0,
    min_item_inter: int = 0,
    duplicates: Literal["all", "first", "last"] = "all",
    data_path: str | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
) -> "PrepareResult":
    """Turns raw interactions and a knowledge graph into RecBole's atomic files.

    Args:
        name: Name of the data set: a MovieLens set that is downloaded, or any name with `raw`.
        raw: MovieLens folder or zip, or a table of interactions.
        items: Item list of a table: id, title, year, genres.
        user_col: Column of users, its name or its number from 1.
        item_col: Column of items.
        rating_col: Column of ratings; "none" leaves them out.
        time_col: Column of times; "none" takes the file's order.
        on_bad_row: Stop at a bad row, or set bad rows aside in a file.
        kg: Triples; or "freebase", "metadata", "none", "auto".
        links: Which item is which entity.
        link_by: Whether the ids of the links are the data set's, or items are matched by title.
        catalog: Item list whose ids the links use.
        add_metadata: Put genres, years and tags into the graph.
        min_rating: Drop lower ratings.
        min_user_inter: Drop users with fewer interactions.
        min_item_inter: Drop items with fewer interactions.
        duplicates: Which rows of a repeated (user, item) to keep.
        data_path: Folder of the data sets, below `folder`; None as the settings say.
        folder: The working folder.
        quiet: Show warnings only.

    Returns:
        Where the files are, and the account that `prepare.json` holds.

    Raises:
        KgrecError: A file that cannot be read or understood, an unknown name.
    """
    from kgrec_cli.formats.raw.interactions import ColumnChoice
    from kgrec_cli.stages.prepare.graph import KGRequest
    from kgrec_cli.stages.prepare.run import PrepareRequest, run_prepare

    folder = Path(folder)
    settings = resolve_settings(folder=folder, options={"data_path": data_path})
    request = PrepareRequest(
        name=name,
        raw_path=_path(raw),
        folder=folder,
        data_path=settings.data_path,
        kg=KGRequest(str(kg), _path(links), link_by, _path(catalog), add_metadata),
        items_path=_path(items),
        columns=ColumnChoice(user_col, item_col, rating_col, time_col),
        min_rating=min_rating,
        min_user_inter=min_user_inter,
        min_item_inter=min_item_inter,
        duplicates=duplicates,
        on_bad_row=on_bad_row,
    )
    with console.listening(quiet) as on_event:
        return run_prepare(request, on_event=on_event)


def pretrain_kg(
    dataset: str | None = None,
    *,
    method: str | None = None,
    validate: bool = False,
    resume: bool = False,
    device: str | None = None,
    threads: int | None = None,
    config: AnyPath | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "Pretrained":
    """Gives every entity of the knowledge graph a vector, by PyKEEN.

    Args:
        dataset: Name of the data set; None as the settings say, else the only one there.
        method: A PyKEEN model; None as the settings say (TransE).
        validate: Leave out a share of the triples and rank them: MRR and Hits@k.
        resume: Go on with a training that was stopped.
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads.
        config: A settings file.
        folder: The working folder.
        quiet: Show warnings only.
        settings: Others of the `pretrain_kg` block: embedding_size, epochs, batch_size, ...

    Returns:
        Where the vectors are, losses and metrics.

    Raises:
        KgrecError: A missing or malformed file, an unknown or unusable setting.
    """
    from kgrec_cli.stages.pretrain_kg import run_pretrain_kg

    folder = Path(folder)
    block = settings if method is None else {**settings, "method": method}
    values = {"pretrain_kg": block, "device": device, "threads": threads}
    typed = {name: value for name, value in values.items() if value is not None}
    resolved = _resolve(folder, dataset, config, typed, quiet)
    with console.listening(quiet) as on_event:
        return run_pretrain_kg(
            resolved, folder, validate=validate, resume=resume, on_event=on_event
        )


def train(
    dataset: str | None = None,
    *,
    on_all_data: bool = False,
    like: AnyPath | None = None,
    config: AnyPath | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "TrainedRun":
    """Trains GRU4RecKG (or GRU4Rec) and measures it on the validation and test parts.

    Args:
        dataset: Name of the data set; None as the settings say, else the only one there.
        on_all_data: Final fit: hold nothing out; settings and epochs are those of a finished run.
        like: The run that a final fit follows; None for the newest.
        config: A settings file, `best.yaml` of a study for instance.
        folder: The working folder.
        quiet: Show warnings only.
        settings: Any of docs/settings.md by name, and `preset`. None is a value.

    Returns:
        The run folder, its best epoch, its metrics.

    Raises:
        KgrecError: A missing or malformed file, an unknown or unusable setting.
    """
    from kgrec_cli.stages.train import final_fit_settings, run_train

    folder = Path(folder)
    if like is not None and not on_all_data:
        raise UsageError("train: like goes with on_all_data")
    base = final_fit_settings(folder, _text(like), dataset) if on_all_data else None
    resolved = _resolve(folder, dataset, config, settings, quiet, base=base)
    with console.listening(quiet) as on_event:
        (run,) = run_train(resolved, folder, on_all_data=on_all_data, on_event=on_event)
    return run


def evaluate(
    run: AnyPath | None = None,
    *,
    topk: int | Sequence[int] | None = None,
    metrics: Sequence[str] | None = None,
    per_user: AnyPath | None = None,
    baselines: bool = True,
    device: str | None = None,
    threads: int | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "Evaluation":
    """Measures a run by full ranking, seen items masked and not, beside two baselines.

    Args:
        run: Run folder, its name under `saved/` or the beginning of it; None for the newest.
        topk: Cutoffs; None for the run's.
        metrics: Names; None for all.
        per_user: Where to write the rank of each test target (.tsv, .csv, .parquet, .jsonl).
        baselines: Measure popularity and ItemKNN too.
        device: Where to compute; None as in training.
        threads: CPU threads; None as in training.
        folder: The working folder.
        quiet: Show warnings only.
        settings: What else may be measured otherwise: eval_args, eval_batch_size, data_path.

    Returns:
        Metrics by part, of the baselines, and of slices of the test targets; `metrics.json` of the
        run holds them too.

    Raises:
        KgrecError: No such run, it held nothing out, its data set is missing or has changed.
    """
    from kgrec_cli.runs.held_out import evaluation_settings
    from kgrec_cli.runs.run_dir import find_run, find_saved_dir
    from kgrec_cli.stages.evaluate import run_evaluate

    folder = Path(folder)
    run_dir = find_run(find_saved_dir(folder), _text(run))
    resolved = evaluation_settings(run_dir, {"topk": topk, "metrics": metrics, **settings})
    with console.listening(quiet) as on_event:
        return run_evaluate(
            run_dir,
            folder,
            settings=resolved,
            per_user_path=_path(per_user),
            baselines=baselines,
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
    jobs: int = 1,
    config: AnyPath | None = None,
    folder: AnyPath = ".",
    quiet: bool = False,
    **settings: Any,
) -> "Tuning":
    """Searches for the best settings; the same call goes on where it was stopped.

    Args:
        space: Search space in RecBole's format, `hyper.test` for instance.
        dataset: Name of the data set; None as the settings say, else the only one there.
        search: exhaustive (every point of choices), random or tpe.
        max_trials: Trials at most, those of earlier calls included.
        pruner: Give up poor trials early: none, median, hyperband or asha.
        early_stop: End after this many trials without progress.
        jobs: Trials at a time, each in a process of its own.
        config: A settings file.
        folder: The working folder.
        quiet: Show warnings only.
        settings: What all trials share: any of docs/settings.md by name, and `preset`.

    Returns:
        The folder of the study, its leaderboard and its best trial.

    Raises:
        KgrecError: A file that cannot be used, a parameter that is no setting, a study made with
            another space or other settings.
    """
    from kgrec_cli.stages.tune import run_tune

    folder = Path(folder)
    resolved = _resolve(folder, dataset, config, settings, quiet)
    with console.listening(quiet) as on_event:
        return run_tune(
            resolved,
            folder,
            Path(space),
            search=search,
            max_trials=max_trials,
            pruner=pruner,
            early_stop=early_stop,
            jobs=jobs,
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
    """A finished run in memory: it recommends, scores, and hands out its item vectors.

    Args:
        run: Run folder, its name under `saved/` or the beginning of it; None for the newest.
        device: Where to compute; None as in training.
        threads: CPU threads; None as in training.
        folder: The working folder.
        quiet: Show warnings only.

    Raises:
        KgrecError: No such run, or a file of it is missing or damaged.
    """
    from kgrec_cli.runs.recommender import load_recommender
    from kgrec_cli.runs.run_dir import find_run, find_saved_dir

    folder = Path(folder)
    run_dir = find_run(find_saved_dir(folder), _text(run))
    with console.listening(quiet) as on_event:
        return load_recommender(run_dir, folder, device=device, threads=threads, on_event=on_event)


def _resolve(
    folder: Path,
    dataset: str | None,
    config: AnyPath | None,
    values: Mapping[str, Any],
    quiet: bool,
    *,
    base: Mapping[str, Any] | None = None,
) -> "Settings":
    """The settings of a call, with the data set filled in; a value of None is one."""

    def note(text: str) -> None:
        if not quiet:
            console.note(text)

    typed = {name: value for name, value in values.items() if value is not None}
    settings = resolve_settings(
        folder=folder,
        config_paths=[] if config is None else [Path(config)],
        options={**translate(typed, "settings", note), **({"dataset": dataset} if dataset else {})},
        assignments=[f"{name}=null" for name, value in values.items() if value is None],
        base=base,
        on_note=note,
    )
    return choose_dataset(settings, folder)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _text(path: AnyPath | None) -> str | None:
    return None if path is None else str(path)
