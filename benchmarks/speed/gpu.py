"""Everything that is claimed of a GPU, measured in one go, in under ten minutes.

    .venv/bin/python -m benchmarks.speed.gpu --data FOLDER [--recbole FOLDER] [--only PART ...]
        [--out FILE]

FOLDER holds `dataset/ml-100k` (with vectors in `.ent_feature`) and `dataset/ml-1m`, as `kgrec
prepare` makes them. `--recbole` names a folder with the unpacked wheel of RecBole 1.2.1; it trains
beside kgrec on the same card. Nothing is downloaded. Each figure is printed when it is there, with
its goal; JSON goes to FILE.
"""

import argparse
import copy
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.accuracy.study import LARGE
from kgrec_cli.config import narrow, resolve_settings
from kgrec_cli.core.data import splits
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure_model, merge_parts
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.core.training.fit import fit
from kgrec_cli.core.training.gpu_epoch import GPUEpochRunner
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.events import ignore_event
from kgrec_cli.runs.run_dir import set_up_cpu
from kgrec_cli.settings import Settings

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
    found: Found = {}
    for name, changes in {
        "defaults": [],
        "preset best": ["preset=best"],
        "SSM": ["loss_type=SSM", "train_neg_sample_args={sample_num: 512}"],
        "two layers": ["num_layers=2"],
        "prefix": ["train_batching=prefix", "train_batch_size=8192"],
        "TF32": ["allow_tf32=true"],
        "bfloat16 scores": ["enable_amp=true"],
    }.items():
        settings = data.settings("dropout_prob=0", *changes)
        torch.set_num_threads(16)
        if name not in ("TF32", "bfloat16 scores"):
            model = data.model(settings, CPU)
            on_gpu = copy.deepcopy(model).to(CUDA)
            runner = data.runner(settings, CPU, EpochRunner, model)
            on_cpu = [runner.run(epoch, data.n_targets, ignore_event) for epoch in (1, 2)]
            if name == "defaults":
                reference = on_cpu
        else:
            on_cpu, on_gpu = reference, data.model(settings, CUDA)
        runner = data.runner(settings, CUDA, GPUEpochRunner, on_gpu)
        there = [runner.run(epoch, data.n_targets, ignore_event) for epoch in (1, 2)]
        found[name] = {"cpu": on_cpu, "cuda": there, "difference": abs(there[0] - on_cpu[0])}
        show(f"losses, {name}", f"{found[name]['difference']:.2e} (goal 1e-4), then "
             f"{abs(there[1] - on_cpu[1]):.2e}")  # fmt: skip
    settings = data.settings()
    twice = []
    for _ in range(2):
        runner = data.runner(settings, CUDA, GPUEpochRunner)
        twice.append([runner.run(epoch, data.n_targets, ignore_event) for epoch in (1, 2, 3)])
    found["same twice"] = twice
    show("losses, the same seed twice", str(twice[0] == twice[1]))
    return found


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
        "ml-100k, preset best": rate(data, "preset=best", epochs=20),
        "ml-1m": rate(large),
        "ml-1m, TF32": rate(large, "allow_tf32=true"),
        "ml-1m, 20480": rate(large, more),
        "ml-1m, 20480, TF32": rate(large, more, "allow_tf32=true"),
        "ml-1m, 20480, TF32, bfloat16 scores": rate(
            large, more, "allow_tf32=true", "enable_amp=true"
        ),
        "ml-1m, preset best": rate(large, "preset=best", epochs=6),
        "ml-1m, SSM": rate(large, "loss_type=SSM", epochs=6),
        "ml-1m, BPR": rate(large, "loss_type=BPR", epochs=6),
    }


def preset(data: Data) -> Found:
    """`--preset best` to early stopping, the first capture included, and its test figures."""
    settings = data.settings("preset=best")
    began = time.perf_counter()
    model = data.model(settings, CUDA)
    set_up_cpu(settings)
    training = narrow(settings, TrainingSettings)
    state = fit(model, data.dataset.histories, data.split, training, device=CUDA)
    seconds = time.perf_counter() - began
    measured = measure(data, settings, model)
    ndcg = measured["metrics"]["test_masked"]["ndcg@10"]
    show("preset best, ml-100k", f"{seconds:.1f} s (goal 10), {state.epoch} epochs, best "
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


def show(name: str, text: str) -> None:
    """Prints a figure at once."""
    print(f"{name:60} {text}", flush=True)


def main() -> None:
    """Runs all parts, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    small, large = Data(options.data, "ml-100k"), Data(options.data, "ml-1m")
    parts: dict[str, Callable[[], Found]] = {
        "losses": lambda: losses(small),
        "steps": lambda: steps(small, large),
        "preset": lambda: preset(small),
        "large": lambda: large_model(large),
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
