"""Everything that is claimed of a GPU, measured in one go, in under ten minutes.

    .venv/bin/python -m benchmarks.speed.gpu --data FOLDER [--recbole COMMAND]
        [--executor batched] [--jobs N] [--limit SECONDS] [--only PART ...] [--out FILE]

FOLDER holds `dataset/ml-100k` (with vectors in `.ent_feature`) and `dataset/ml-1m`, as `kgrec
prepare` makes them. COMMAND runs RecBole 1.2.1 beside kgrec on the same card: it takes --data,
--dataset, --batches, --anomaly and --set, and prints a JSON object with `targets_per_s`. Nothing is
downloaded. Each figure is printed when it is there, with its goal; JSON goes to FILE.
"""

import argparse
import copy
import csv
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy.study import LARGE
from kgrec_cli.config import narrow, resolve_settings
from kgrec_cli.core.data import splits
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure_model, merge_parts
from kgrec_cli.core.kg.fit import fit_kg
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.core.training.fit import fit
from kgrec_cli.core.training.gpu_epoch import GPUEpochRunner
from kgrec_cli.core.training.trial_batch import TrialBatch
from kgrec_cli.core.training.trial_rows import EpochRows
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import Stopped
from kgrec_cli.events import Progress, ignore_event
from kgrec_cli.runs.run_dir import set_up_cpu
from kgrec_cli.setting_blocks import PretrainKGSettings
from kgrec_cli.settings import Settings
from kgrec_cli.stages.prepare.starter_files import REFERENCE_HYPER_TEST
from kgrec_cli.stages.tune import run_tune

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
Found = dict[str, Any]


class Data:
    """A data set, read once; its entity vectors are random where it has none."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.datasets: dict[int, Dataset] = {}
        has_vectors = (folder / "dataset" / name / f"{name}.ent_feature").is_file()
        settings = self.settings()
        self.dataset = load_dataset(settings, folder, ignore_event)
        n_items = len(self.dataset.items)
        self.tables = {"entity": np.random.default_rng(0).normal(size=(n_items, 64)).astype("f4")}
        if has_vectors:
            self.tables = dict(load_feature_tables(settings, self.dataset, folder, ignore_event))
        self.split = split_dataset(settings, self.dataset)
        self.n_targets = len(splits.train_targets(self.dataset.histories, self.split))

    def settings(self, *changes: str) -> Settings:
        """Settings of this data set, each change as `--set` takes it."""
        options = {"dataset": self.name}
        return resolve_settings(folder=self.folder, options=options, assignments=changes)

    def model(self, settings: Settings, device: torch.device) -> GRU4RecKG:
        """An untrained model."""
        tables = {} if settings.model == "GRU4Rec" else self.tables
        return build_model(narrow(settings, ModelSettings), len(self.dataset.items), tables, device)

    def runner(
        self,
        settings: Settings,
        device: torch.device,
        make: type[EpochRunner],
        model: GRU4RecKG | None = None,
    ) -> EpochRunner:
        """What trains an untrained model by epochs."""
        set_up_cpu(settings)
        model = model or self.model(settings, device)
        optimizer = torch.optim.Adam(
            [weight for weight in model.parameters() if weight.requires_grad],
            lr=settings.learning_rate,
            fused=True,
            capturable=device.type == "cuda",
        )
        training = narrow(settings, TrainingSettings)
        return make(model, optimizer, self.dataset.histories, self.split, training, device)


def losses(data: Data) -> Found:
    """The losses of the first epoch beside the CPU's, without dropout."""
    n = data.n_targets
    found: Found = {}
    torch.set_num_threads(os.cpu_count() or 1)
    for name, changes in {
        "defaults": [],
        "preset small": ["preset=small"],
        "SSM": ["loss_type=SSM", "train_neg_sample_args={sample_num: 512}"],
        "two layers": ["num_layers=2"],
        "prefix": ["train_batching=prefix", "train_batch_size=8192"],
    }.items():
        settings = data.settings("dropout_prob=0", *changes)
        model = data.model(settings, CPU)
        on_gpu = copy.deepcopy(model).to(CUDA)
        reference = data.runner(settings, CPU, EpochRunner, model).run(1, n, ignore_event)
        runner = data.runner(settings, CUDA, GPUEpochRunner, on_gpu)
        found[name] = compare(f"losses, {name}", runner.run(1, n, ignore_event), reference)
        if name == "defaults":
            of_defaults = reference
    for name in ("allow_tf32", "enable_amp"):
        settings = data.settings("dropout_prob=0", f"{name}=true")
        runner = data.runner(settings, CUDA, GPUEpochRunner)
        found[name] = compare(f"losses, {name}", runner.run(1, n, ignore_event), of_defaults)
    settings = data.settings()
    twice = []
    for _ in range(2):
        runner = data.runner(settings, CUDA, GPUEpochRunner)
        twice.append([runner.run(epoch, data.n_targets, ignore_event) for epoch in (1, 2, 3)])
    found["same twice"] = twice
    show("losses, the same seed twice", str(twice[0] == twice[1]))
    return found


def compare(name: str, loss: float, reference: float) -> Found:
    """A loss on the GPU beside the CPU's."""
    difference = abs(loss - reference)
    show(name, f"{loss:.6f}, the CPU's {reference:.6f}, {difference:.1e} apart (goal 1e-4)")
    return {"cuda": loss, "cpu": reference, "difference": difference}


def rate(data: Data, *changes: str, epochs: int = 12) -> Found:
    """Targets a second: the median and the range of the epochs after the second."""
    settings = data.settings(*changes)
    runner = data.runner(settings, CUDA, GPUEpochRunner)
    seconds = []
    for epoch in range(1, epochs + 1):
        began = time.perf_counter()
        runner.run(epoch, data.n_targets, ignore_event)
        seconds.append(time.perf_counter() - began)
    rates = [data.n_targets / second for second in seconds[2:]]
    planned = time.perf_counter()
    assert isinstance(runner, GPUEpochRunner)
    runner.plan(np.random.default_rng(0))
    planned = time.perf_counter() - planned
    found = {
        "median": statistics.median(rates), "low": min(rates), "high": max(rates),
        "first_epoch_s": seconds[0], "plan_s": planned, "shape": runner.shape._asdict(),
    }  # fmt: skip
    show(f"training, {data.name}, {' '.join(changes) or 'defaults'}",
         f"{found['median']:,.0f} targets/s ({found['low']:,.0f} to {found['high']:,.0f}); first "
         f"epoch {seconds[0]:.2f} s, plan {planned * 1000:.1f} ms, {runner.shape}")  # fmt: skip
    return found


def steps(data: Data, large: Data) -> Found:
    """Training speed in all modes."""
    more = "train_batch_size=20480"
    return {
        "ml-100k": rate(data, epochs=30),
        "ml-100k, TF32": rate(data, "allow_tf32=true", epochs=30),
        "ml-100k, 20480": rate(data, more, epochs=30),
        "ml-100k, prefix": rate(data, "train_batching=prefix", epochs=4),
        "ml-100k, preset small": rate(data, "preset=small", epochs=20),
        "ml-1m": rate(large),
        "ml-1m, TF32": rate(large, "allow_tf32=true"),
        "ml-1m, 20480": rate(large, more),
        "ml-1m, 20480, TF32": rate(large, more, "allow_tf32=true"),
        "ml-1m, 20480, TF32, bfloat16 scores": rate(
            large, more, "allow_tf32=true", "enable_amp=true"
        ),
        "ml-1m, preset small": rate(large, "preset=small", epochs=6),
        "ml-1m, SSM": rate(large, "loss_type=SSM", epochs=6),
        "ml-1m, BPR": rate(large, "loss_type=BPR", epochs=6),
    }


def preset(data: Data) -> Found:
    """`--preset small` to early stopping, the first capture included, and its test figures."""
    settings = data.settings("preset=small")
    began = time.perf_counter()
    model = data.model(settings, CUDA)
    set_up_cpu(settings)
    training = narrow(settings, TrainingSettings)
    state = fit(model, data.dataset.histories, data.split, training, device=CUDA)
    seconds = time.perf_counter() - began
    measured = measure(data, settings, model)
    ndcg = measured["metrics"]["test_masked"]["ndcg@10"]
    show("preset small, ml-100k", f"{seconds:.1f} s (goal 10), {state.epoch} epochs, best "
         f"{state.best_epoch}, test_masked NDCG@10 {ndcg:.4f}")  # fmt: skip
    return {"seconds": seconds, "epochs": state.epoch, **measured}


def measure(data: Data, settings: Settings, model: GRU4RecKG) -> Found:
    """The test figures, and the median seconds of three evaluations."""
    chosen, histories = narrow(settings, MeasureSettings), data.dataset.histories
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        parts = measure_model(model, histories, data.split, chosen, parts=["test"])
        seconds.append(time.perf_counter() - began)
    return {"metrics": merge_parts(parts), "evaluation_s": statistics.median(seconds)}


def large_model(data: Data) -> Found:
    """ml-1m's large model for 20 epochs, and the evaluation of ml-1m."""
    settings = data.settings("model=GRU4Rec", *LARGE, "epochs=20", "stopping_step=20")
    set_up_cpu(settings)
    began = time.perf_counter()
    model = data.model(settings, CUDA)
    training = narrow(settings, TrainingSettings)
    fit(model, data.dataset.histories, data.split, training, device=CUDA)
    seconds = time.perf_counter() - began
    measured = measure(data, settings, model)
    show("large model, ml-1m, 20 epochs", f"{seconds:.1f} s (goal 60); evaluation "
         f"{measured['evaluation_s']:.3f} s")  # fmt: skip
    usual = measure(data, data.settings(), data.model(data.settings(), CUDA).eval())
    show("evaluation, ml-1m, defaults", f"{usual['evaluation_s']:.3f} s (goal 0.3)")
    return {"seconds": seconds, **measured, "evaluation_of_defaults_s": usual["evaluation_s"]}


def vectors() -> Found:
    """TransE with shared negatives at FB15k-237's size, on invented triples."""
    n_entities, n_relations, n_triples = 14_541, 237, 272_115
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, n, n_triples) for n in (n_entities, n_relations, n_entities)]
    triples = np.stack(columns, axis=1)
    found: Found = {}
    for batch_size in (2048, 8192, 16384):
        settings = PretrainKGSettings(epochs=20, batch_size=batch_size)
        ends: list[float] = []

        def note_end(*_: object, ends: list[float] = ends) -> None:
            ends.append(time.perf_counter())

        _, kg_losses = fit_kg(
            triples, n_entities=n_entities, n_relations=n_relations, settings=settings,
            embedding_size=64, device=CUDA, on_epoch=note_end,
        )  # fmt: skip
        rate = n_triples / statistics.median(np.diff(ends[2:]))
        found[str(batch_size)] = {"triples_per_s": rate, "losses": kg_losses}
        show(f"pretrain-kg, {batch_size} triples a step", f"{rate:,.0f} triples/s (goal "
             f"10,000,000); losses {kg_losses[0]:.4f} to {kg_losses[-1]:.4f}")  # fmt: skip
    return found


class Watch:
    """Prints how far a search is, every few seconds, and ends it after a while, as Ctrl-C does."""

    def __init__(self, limit_s: float) -> None:
        self.began, self.limit_s, self.shown = time.perf_counter(), limit_s, 0.0
        self.n_points, self.epochs = 0, ""

    def __call__(self, event: object) -> None:
        """Hears of trials that ended and of epochs."""
        if not isinstance(event, Progress):
            return
        seconds = time.perf_counter() - self.began
        if event.task == "tune":
            self.n_points = int(event.done)
        else:
            self.epochs = f"{event.done:,.0f} of {event.total:,.0f} epochs, {event.detail}"
        if seconds > self.shown + 3:
            self.shown = seconds
            show("tune", f"{seconds:.0f} s: {self.n_points} points, {self.epochs}")
        if seconds > self.limit_s:
            raise KeyboardInterrupt


def tuning(data: Data, executor: str, jobs: int | None, limit_s: float, *changes: str) -> Found:
    """All points of the starter's `hyper.test`, or as many as end in time."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as name:
        folder = Path(name)
        (folder / "dataset").symlink_to((data.folder / "dataset").resolve())
        space_path = folder / "hyper.test"
        space_path.write_text(REFERENCE_HYPER_TEST)
        watch = Watch(limit_s)
        best, is_whole = None, False
        try:
            best = run_tune(
                data.settings(*changes), folder, space_path, jobs=jobs, on_event=watch,
                executor=executor,
            ).best  # fmt: skip
            is_whole = True
        except Stopped as stopped:
            show("tune", str(stopped))
        seconds = time.perf_counter() - watch.began
        boards = list(folder.glob("studies/*/leaderboard.csv"))
        rows = list(csv.DictReader(boards[0].open())) if boards else []
    epochs = sum(int(row["epochs"]) for row in rows)
    found = {
        "seconds": seconds, "points": len(rows), "whole": is_whole, "epochs": epochs,
        "points_per_s": len(rows) / seconds, "progress": watch.epochs,
        "best": rows[0] if rows else None,
    }  # fmt: skip
    show(f"tune, {executor} {' '.join(changes)}",
         f"{len(rows)} of 180 points in {seconds:.0f} s (goal 60), {len(rows) / seconds:.2f} a "
         f"second, {epochs:,} epochs in them; {watch.epochs}")  # fmt: skip
    if best is not None:
        show("tune, the best point", f"{best.score:.4f} at {best.params}")
    return found


def together(data: Data) -> Found:
    """The loss of trials that train together beside the CPU's, and how long a step of T takes."""
    settings = data.settings("dropout_prob=0", "epochs=3")
    model, training = data.model(settings, CPU), narrow(settings, TrainingSettings)
    reference = data.runner(settings, CPU, EpochRunner, model).run(1, data.n_targets, ignore_event)
    found: Found = {}
    rows = EpochRows(data.dataset.histories, data.split, training, CUDA)
    for layers in (1, 3):
        for tf32 in ("false", "true"):
            change = (f"num_layers={layers}", "epochs=3", "dropout_prob=0", f"allow_tf32={tf32}")
            settings = data.settings(*change)
            for width in (30, 6, 1):
                batch = TrialBatch(width, data.model(settings, CUDA), rows, CUDA)
                set_up_cpu(settings)
                for slot in range(width):
                    batch.start(slot, data.model(settings, CUDA), training)
                seconds = []
                for epoch in (1, 2, 3):
                    torch.cuda.synchronize()
                    began = time.perf_counter()
                    batch.train([epoch] * width)
                    losses = (batch.losses() / data.n_targets).tolist()
                    seconds.append(time.perf_counter() - began)
                    if epoch == layers == 1:
                        name = f"losses, {width} together, TF32 {tf32}"
                        found[name] = compare(name, max(losses), reference)
                rate = width * data.n_targets / seconds[2]
                found[f"{width} of {layers} layers, TF32 {tf32}"] = {
                    "seconds": seconds, "targets_per_s": rate,
                }  # fmt: skip
                show(f"{width} together, {layers} layers, TF32 {tf32}",
                     f"{rate:,.0f} targets/s; epochs {seconds}; "
                     f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GB")  # fmt: skip
    return found


def recbole(command: list[str], data: Data) -> Found:
    """RecBole's training step on the same card, anomaly detection off and as it ships."""
    found: Found = {}
    for anomaly in ("off", "shipped"):
        run = subprocess.run(
            [*command, "--data", str(data.folder / "dataset" / data.name), "--dataset", data.name,
             "--batches", "40", "--anomaly", anomaly, "--set", "use_gpu=True"],
            capture_output=True, text=True,
        )  # fmt: skip
        if run.returncode:
            show("RecBole", run.stderr[-300:])
            return found
        told = json.loads(run.stdout.splitlines()[-1])
        found[anomaly] = told
        show(f"RecBole, ml-100k, anomaly detection {anomaly}",
             f"{told['targets_per_s']:,.0f} targets/s")  # fmt: skip
    return found


def show(name: str, text: str) -> None:
    """Prints a figure at once."""
    print(f"{name:60} {text}", flush=True)


def main() -> None:
    """Runs all parts, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recbole", default="", help="the command that runs RecBole")
    parser.add_argument("--executor", choices=("batched", "processes"), default="batched")
    parser.add_argument("--jobs", type=int, help="trials at a time")
    parser.add_argument("--limit", type=float, default=120, help="seconds of a search at most")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    small = Data(options.data, "ml-100k")
    large = cache(lambda: Data(options.data, "ml-1m"))
    parts: dict[str, Callable[[], Found]] = {
        "losses": lambda: losses(small),
        "steps": lambda: steps(small, large()),
        "preset": lambda: preset(small),
        "large": lambda: large_model(large()),
        "vectors": vectors,
        "recbole": lambda: recbole(shlex.split(options.recbole), small) if options.recbole else {},
        "together": lambda: together(small),
        "tune": lambda: tuning(small, options.executor, options.jobs, options.limit),
        "tune-tf32": lambda: tuning(
            small, options.executor, options.jobs, options.limit, "allow_tf32=true"
        ),
    }
    found: Found = {
        "torch": torch.__version__, "gpu": torch.cuda.get_device_name(), "python": sys.version,
        "processor": platform.processor(),
    }  # fmt: skip
    for name, part in parts.items():
        if options.only is None or name in options.only:
            began = time.perf_counter()
            found[name] = part()
            show(f"part {name}", f"{time.perf_counter() - began:.0f} s")
            if options.out:
                options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
