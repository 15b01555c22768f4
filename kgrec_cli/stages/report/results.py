"""The sections on runs: training, metrics, slices, differences, a map of items, sample users."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kgrec_cli.core.evaluation.bootstrap import Difference, paired_differences, user_means
from kgrec_cli.core.evaluation.measure import gains
from kgrec_cli.core.linking.path_metrics import path_metric_rows
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.runs.baselines import measure_baselines
from kgrec_cli.runs.held_out import HeldOut
from kgrec_cli.runs.recommended import Recommendations
from kgrec_cli.runs.recommender import Recommender
from kgrec_cli.runs.run_files import read_history, read_metrics
from kgrec_cli.stages.compare import Comparison
from kgrec_cli.stages.evaluate import measure_slices
from kgrec_cli.stages.report import charts
from kgrec_cli.stages.report.page import Block, Chart, Entry, Lines, Section, Table, show_number

METRICS = ("NDCG", "Hit", "MRR")
VIEWS = {"test_masked": "items already seen are masked", "test": "all items are candidates"}
N_SAMPLE_USERS, N_LISTED, MAX_MAPPED = 50, 6, 2000

ByMetric = dict[str, Difference]
"""By metric, for instance "ndcg@10": its value (`difference`) with the 95% interval."""


@dataclass(frozen=True)
class Measurement:
    """What the test targets of a run say.

    Attributes:
        name: The run's.
        values: By model (the run, then the baselines), then by view, then by metric.
        gaps: By baseline, then by view, then by metric: the run's value less the baseline's.
        slices: By view, then by slice: n_targets and metrics.
        n_users, n_targets: How many were measured.
        cutoff: The cutoff to show first.
        topk: All cutoffs.
    """

    name: str
    values: dict[str, dict[str, ByMetric]]
    gaps: dict[str, dict[str, ByMetric]]
    slices: dict[str, dict[str, dict[str, float]]]
    n_users: int
    n_targets: int
    cutoff: int
    topk: tuple[int, ...]


def measure_run(held_out: HeldOut, on_event: OnEvent, *, baselines: bool) -> Measurement | None:
    """Ranks the test targets by a run and perhaps by the baselines; None without targets."""
    settings, dataset = held_out.recommender.settings, held_out.dataset
    name, histories = held_out.recommender.run_dir.name, dataset.histories
    on_event(Note(f"{name}: ranking the test targets among {len(dataset.items) - 1:,} items"))
    test = held_out.measure("test")
    if not test.metrics:
        return None
    measured = {name: test}
    if baselines:
        found = measure_baselines(held_out, True, on_event)
        measured |= {baseline: each.measured for baseline, each in reversed(found.items())}
    _, rows = np.unique(histories.user_ids[histories.owners[test.targets]], return_inverse=True)
    n_targets = np.bincount(rows)
    names = [(view, metric, k) for view in VIEWS for metric in METRICS for k in settings.topk]
    of_users = {
        model: np.stack(
            [user_means(rows, gains(metric, each.views[view], k)) for view, metric, k in names], 1
        )
        for model, each in measured.items()
    }
    own = of_users[name]
    zeros = np.zeros_like(own)
    on_event(Note(f"intervals by resampling {len(n_targets):,} users"))

    def differ(first: charts.Floats, other: charts.Floats) -> dict[str, ByMetric]:
        found = paired_differences(first, other, n_targets)
        by_name = dict(zip(names, found, strict=True))
        return {
            view: {f"{metric.casefold()}@{k}": by_name[view, metric, k] for _, metric, k in names}
            for view in VIEWS
        }

    return Measurement(
        name=name,
        values={model: differ(zeros, values) for model, values in of_users.items()},
        gaps={model: differ(of_users[model], own) for model in of_users if model != name},
        slices=measure_slices(test, dataset, held_out.popularity, settings),
        n_users=len(n_targets),
        n_targets=len(test.targets),
        cutoff=settings.shown_cutoff,
        topk=settings.topk,
    )


def build_training(recommenders: Sequence[Recommender]) -> Section:
    """What was trained, and the loss and the validation score by epoch.

    Raises:
        KgrecError: A damaged `history.jsonl` or `metrics.json`.
    """
    rows = []
    losses: dict[str, list[tuple[int, float]]] = {}
    scores: dict[str, list[tuple[int, float]]] = {}
    metric = recommenders[0].settings.valid_metric.casefold()
    for recommender in recommenders:
        name, settings = recommender.run_dir.name, recommender.settings
        training, history = (
            read_metrics(recommender.run_dir).training,
            read_history(recommender.run_dir),
        )
        rows.append(
            [
                *(name, settings.model, str(settings.seed), training.best_epoch, training.epochs),
                f"{sum(row.elapsed_s for row in history):.1f}" if history else None,
            ]
        )
        if history:
            losses[name] = [(row.epoch, row.loss) for row in history]
            scores[name] = [(r.epoch, r.valid[metric]) for r in history if metric in r.valid]
    columns = ("run", "model", "seed", "best epoch", "epochs", "seconds")
    blocks: list[Block] = [Table("Runs", columns, rows)]
    if losses:
        figure = charts.curves(losses, "epoch", "loss")
        blocks.append(Chart("loss", "Training loss by epoch.", figure, height=300))
    if any(scores.values()):
        figure = charts.curves(scores, "epoch", metric)
        blocks.append(Chart("valid", f"{metric} on the validation part.", figure, height=300))
    return Section("training", "Training", blocks)


def build_metrics(measurements: Sequence[Measurement]) -> Section:
    """Metrics of runs and baselines with 95% intervals, masked and not."""
    first = measurements[0]
    models = {each.name: each.values[each.name] for each in measurements}
    models |= {name: values for name, values in first.values.items() if name != first.name}
    text = (
        f"{first.n_targets:,} test targets of {first.n_users:,} users. Intervals hold the value "
        "with 95% confidence, by a bootstrap over users. With one target a list, recall equals "
        "hit and MAP equals MRR."
    )
    shown = [f"{metric.casefold()}@{first.cutoff}" for metric in METRICS]
    blocks: list[Block] = [Lines([text]), Lines(_verdicts(first), is_list=True)]
    for view, words in VIEWS.items():
        values = {
            model: {name: of_model[view][name] for name in shown}
            for model, of_model in models.items()
        }
        figure = charts.interval_chart(values)
        blocks.append(Chart(view, f"Test metrics; {words}. Bars are 95% intervals.", figure))
        rows = [
            [
                *(str(k), model),
                *(_interval(of_model[view][f"{metric.casefold()}@{k}"]) for metric in METRICS),
            ]
            for k in first.topk
            for model, of_model in models.items()
        ]
        columns = ("cutoff", "model", *METRICS)
        blocks.append(Table(f"Test metrics; {words}", columns, rows))
    return Section("metrics", "Metrics", blocks)


def _verdicts(measurement: Measurement) -> list[str]:
    """A sentence for each baseline and view: is the run better?"""
    metric = f"ndcg@{measurement.cutoff}"
    lines = []
    for baseline, views in measurement.gaps.items():
        for view, label in (("test_masked", "seen items masked"), ("test", "all items")):
            gap = views[view][metric]
            state = "above" if gap.low > 0 else "below" if gap.high < 0 else "not clearly off"
            lines.append(
                f"{measurement.name} is {state} {baseline} in {metric} ({label}): "
                f"{gap.difference:+.4f}, 95% {gap.low:+.4f} to {gap.high:+.4f}."
            )
    return lines


def _interval(value: Difference) -> str:
    return f"{value.difference:.4f} ({value.low:.4f}–{value.high:.4f})"


def build_slices(measurements: Sequence[Measurement]) -> Section:
    """NDCG of the test targets in each slice, a column a run."""
    metric = f"ndcg@{measurements[0].cutoff}"
    blocks: list[Block] = []
    for view, words in VIEWS.items():
        of_runs = {each.name: each.slices[view] for each in measurements}
        text = f"{metric} by slice; {words}."
        figure = charts.slice_chart(of_runs, metric)
        blocks.append(Chart(f"slices-{view}", text, figure))
        first = measurements[0].slices[view]
        rows = [
            [
                name,
                int(values["n_targets"]),
                *(of_run.get(name, {}).get(metric) for of_run in of_runs.values()),
            ]
            for name, values in first.items()
        ]
        names = of_runs if len(of_runs) > 1 else (metric,)
        blocks.append(Table(text, ("slice", "targets", *names), rows))
    return Section("slices", "Slices", blocks)


def build_comparison(comparison: Comparison) -> Section:
    """Each run beside the first one: paired differences, and the settings that differ."""
    first = comparison.sides[0]
    rows = [
        [
            *(change.run, change.metric + (", masked" if change.view == "test_masked" else "")),
            change.n_users,
            f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})",
            "" if found.relative_percent is None else f"{found.relative_percent:+.1f}%",
            *(show_number(found.p_value), show_number(change.p_holm)),
        ]
        for change in comparison.changes()
        for found in (change.difference,)
    ]
    columns = ("run", "metric", "users", "difference (95%)", "in percent", "p", "p (Holm)")
    text = (
        f"Differences from {first.name}, on users with the same targets and history, by a paired "
        "bootstrap. Holm's p-values are corrected for the number of rows of this table."
    )
    blocks: list[Block] = [Lines([text]), Table(f"Difference from {first.name}", columns, rows)]
    if comparison.settings:
        names = ("setting", *(side.name for side in comparison.sides))
        blocks.append(Table("Settings that differ", names, comparison.setting_rows))
    return Section("comparison", "Comparison", blocks)


def build_map(recommender: Recommender) -> Section | None:
    """Item vectors and entity vectors in the plane of their first two principal components.

    Of a large catalogue the `MAX_MAPPED` most popular items. None with fewer than three.
    """
    dataset = recommender.dataset
    counts = np.bincount(dataset.histories.items, minlength=len(recommender.items))
    ids = 1 + np.argsort(-counts[1:], kind="stable")[:MAX_MAPPED]
    tables = {"Item vectors": recommender.item_vectors()[ids - 1]}
    model = recommender.model
    for branch in model.branches[1:]:
        table = model.table_of(branch).weight.detach().float().cpu().numpy()
        tables[f"Vectors of the branch {branch}"] = table[ids]
    blocks: list[Block] = []
    for number, (words, vectors) in enumerate(tables.items()):
        with_vector = np.flatnonzero(np.abs(vectors).sum(1) > 0)  # zeros: an item without an entity
        if len(with_vector) < 3 or vectors.shape[1] < 2:
            continue
        tokens = [recommender.items.tokens[item] for item in ids[with_vector]]
        titles = [recommender.titles.get(token, token) for token in tokens]
        figure = charts.vector_map(vectors[with_vector], titles, counts[ids[with_vector]])
        text = (
            f"{words} of {len(with_vector):,} items, by principal components. Point at one to see "
            "its title. The colour is the number of its events."
        )
        blocks.append(Chart(f"map-{number}", text, figure, height=480))
    return Section("map", "Map of items", blocks) if blocks else None


def build_explanations(recommender: Recommender) -> Section | None:
    """The metrics of explanation paths that `kgrec evaluate --explanations` has left, if it has.

    Raises:
        KgrecError: A damaged `metrics.json`.
    """
    values = read_metrics(recommender.run_dir).explanations
    topk = sorted(int(name.partition("@")[2]) for name in values if name.startswith("fidelity@"))
    if not topk:
        return None
    text = (
        f"Paths to the items of {values['users']:,.0f} of {values['of_users']:,.0f} test users, "
        "one an item, as kgrec evaluate --explanations measured them."
    )
    rows = [[name, *row, words] for name, row, words in path_metric_rows(values, topk)]
    columns = ("metric", *(f"at {k}" for k in topk), "what")
    table = Table("Metrics of paths through the graph", columns, rows)
    return Section("explanations", "Explanations", [Lines([text]), table])


def build_users(recommender: Recommender, topk: int = N_LISTED) -> Section:
    """Sample users, evenly over all: what they had last, and what is recommended to them."""
    dataset = recommender.dataset
    histories = dataset.histories
    places = np.unique(np.linspace(0, len(histories) - 1, N_SAMPLE_USERS).round().astype(int))
    users = [dataset.users.tokens[user] for user in histories.user_ids[places]]
    rows = [
        [
            str(found.user),
            len(found.history),
            [Entry(title or token) for token, title in reversed(found.history[-topk:])],
            _entries(recommender, found),
        ]
        for found in recommender.recommend(users=users, topk=topk)
    ]
    text = (
        f"{len(rows)} of {len(histories):,} users, evenly over the data set. Recommendations "
        "follow the whole history, held-out events too, as kgrec recommend --explain gives them; "
        "seen items are left out. Under each item: the history items that its score rests on (+: "
        "how far it falls when that item is left out) and paths through the graph."
    )
    columns = ("user", "events", "last items, newest first", "recommended, and why")
    table = Table("Sample users", columns, rows, search=True, unit="users")
    return Section("users", "Sample users", [Lines([text]), table])


def _entries(recommender: Recommender, found: Recommendations) -> list[Entry]:
    """The items of a list with the reasons of each."""
    return [
        Entry(each.title or each.item, recommender.in_words(reason))
        for each, reason in zip(found.items, recommender.explain(found), strict=True)
    ]
