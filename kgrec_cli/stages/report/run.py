"""`kgrec report`: what is named is found, measured and written as one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

from kgrec_cli.config import resolve_settings
from kgrec_cli.dataset.files import atomic_path
from kgrec_cli.dataset.load import load_dataset
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note, OnEvent, Warn
from kgrec_cli.formats.files import write_text
from kgrec_cli.runs.held_out import evaluation_settings, load_held_out
from kgrec_cli.runs.recommender import Recommender, load_recommender
from kgrec_cli.runs.run_dir import find_run
from kgrec_cli.runs.run_files import read_metrics
from kgrec_cli.settings import Settings
from kgrec_cli.stages.compare import run_compare
from kgrec_cli.stages.report import results
from kgrec_cli.stages.report.data_card import build_data_card
from kgrec_cli.stages.report.page import render_page
from kgrec_cli.stages.report.study import LEADERBOARD, read_study, render_study


@dataclass(frozen=True)
class Report:
    """What `report` wrote.

    Attributes:
        path: The page.
        about: "runs", "study" or "dataset".
        n_bytes: Its size.
        elapsed_s: Seconds that it took.
    """

    path: Path
    about: Literal["runs", "study", "dataset"]
    n_bytes: int
    elapsed_s: float


def run_report(
    names: Sequence[str],
    folder: Path,
    *,
    out: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> Report:
    """Writes one HTML file on runs, a study or a data set.

    Args:
        names: Runs, or one study or data set (a folder or its name); none for the newest run.
        folder: The working folder.
        out: The file; None for `report-NAME.html` in `folder`.
        device: Where to compute; None as the run says.
        threads: CPU threads; None as the run says.
        on_event: Gets notes and warnings.

    Raises:
        UsageError: `out` is no HTML file.
        KgrecError: Nothing of that name, or what it names is damaged.
    """
    began = perf_counter()
    if out is not None and out.suffix not in (".html", ".htm"):
        raise UsageError(f"{out}: the name must end in .html")
    single = names[0] if len(names) == 1 else None
    study_dir = _find_study(folder, single)
    settings = None if study_dir else _find_dataset(folder, single)
    if study_dir is not None:
        about: Literal["runs", "study", "dataset"] = "study"
        name, page = study_dir.name, render_study(study_dir.name, *read_study(study_dir))
    elif settings is not None:
        about, name = "dataset", str(settings.dataset)
        warnings = Warnings(on_event)
        dataset = load_dataset(settings, folder, warnings)
        card = build_data_card(settings, folder, dataset, warnings.lines)
        page = render_page(f"Data set {name}", "What it holds and how it was read.", [card])
    else:
        about = "runs"
        run_dirs = _find_runs(folder, names)
        name = run_dirs[0].name
        page = _render_runs(run_dirs, folder, device, threads, on_event)
    path = out or folder / f"report-{name}.html"
    write_text(path, page)
    return Report(path, about, path.stat().st_size, round(perf_counter() - began, 2))


def _find_study(folder: Path, name: str | None) -> Path | None:
    """The folder of a study by its path or its name under `studies/`; None when there is none."""
    paths = [] if name is None else [Path(name), folder / "studies" / name]
    found = [path for path in paths if (path / LEADERBOARD).is_file()]
    found += [path for path in paths[1:] if path.is_dir()]
    return found[0] if found else None


def _find_dataset(folder: Path, name: str | None) -> Settings | None:
    """The settings of a data set by its folder or its name; None when there is none."""
    if name is None:
        return None
    settings = resolve_settings(folder=folder, options={"dataset": name})
    try:
        settings = resolve_settings(folder=folder, options={"dataset": name}, needs_dataset=True)
    except KgrecError:
        return None
    return settings if atomic_path(settings, folder, "inter").parent.is_dir() else None


def _find_runs(folder: Path, names: Sequence[str]) -> list[Path]:
    try:
        run_dirs = [find_run(folder, name) for name in names or (None,)]
    except KgrecError as error:
        if len(names) != 1:
            raise
        raise KgrecError(f"{error} (nor is '{names[0]}' a study or a data set)") from error
    return list(dict.fromkeys(run_dirs))


def _render_runs(
    run_dirs: Sequence[Path],
    folder: Path,
    device: str | None,
    threads: int | None,
    on_event: OnEvent,
) -> str:
    warnings = Warnings(on_event)
    recommenders: list[Recommender] = []
    measurements: list[results.Measurement] = []
    for run_dir in run_dirs:
        if read_metrics(run_dir).training.on_all_data:
            on_event(Note(f"{run_dir.name}: trained on all data, so there are no test metrics"))
            recommenders.append(
                load_recommender(run_dir, folder, device=device, threads=threads, on_event=warnings)
            )
            continue
        settings = evaluation_settings(run_dir, {})
        held_out = load_held_out(
            run_dir, folder, settings, device=device, threads=threads, on_event=warnings
        )
        recommenders.append(held_out.recommender)
        measured = results.measure_run(held_out, on_event, baselines=not measurements)
        measurements += [] if measured is None else [measured]
    first = recommenders[0]
    sections = [
        build_data_card(first.settings, folder, first.dataset, warnings.lines),
        results.build_training(recommenders),
    ]
    if measurements:
        sections += [results.build_metrics(measurements), results.build_slices(measurements)]
    if len(run_dirs) > 1:
        comparison = run_compare(
            run_dirs, folder, group=False, device=device, threads=threads, on_event=on_event
        )
        sections.append(results.build_comparison(comparison))
    optional = (results.build_explanations(first), results.build_map(first))
    sections += [section for section in optional if section]
    sections.append(results.build_users(first))
    names = ", ".join(run_dir.name for run_dir in run_dirs)
    title = f"Run {names}" if len(run_dirs) == 1 else f"Runs on {first.dataset.name}"
    lead = f"{first.settings.model} on {first.dataset.name}" if len(run_dirs) == 1 else names
    return render_page(title, lead, sections)


class Warnings:
    """A listener that keeps the lines of warnings, each once, and hands all events on."""

    def __init__(self, on_event: OnEvent) -> None:
        self.lines: list[str] = []
        self._on_event = on_event

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        if isinstance(event, Warn):
            if event.text in self.lines:
                return
            self.lines.append(event.text)
        self._on_event(event)
