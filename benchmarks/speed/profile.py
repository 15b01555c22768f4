"""Where the time of a training step goes.

    make parity                             # once: RecBole's bundled ml-100k comes with it
    .venv/bin/python -m benchmarks.speed.profile [--threads 1] [--epochs 3] [--set seen_bias=true]

The data and sizes of `benchmarks.speed.training`, kgrec's default. Clocks stand around the parts of
a step; then one more epoch under torch's profiler tells how much of it are matrix products. Run it
alone on the machine.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.accuracy.beside_recbole import write_wide_vectors
from benchmarks.recbole_side.data import write_bundled
from benchmarks.recbole_side.run import example_dir
from kgrec_cli.config import narrow, resolve_settings
from kgrec_cli.core.data import splits
from kgrec_cli.core.model import gru_cpu
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training import epoch as epoch_steps
from kgrec_cli.core.training.epoch import EpochRunner, TrainingSettings
from kgrec_cli.core.training.losses import cross_entropy_in_chunks
from kgrec_cli.dataset.features import load_feature_tables
from kgrec_cli.dataset.load import load_dataset, split_dataset
from kgrec_cli.events import ignore_event
from kgrec_cli.runs.run_dir import keep_freed_memory

CPU = torch.device("cpu")
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::addmm_")


class Clocks:
    """Seconds by part."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to a part."""

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[part] += time.perf_counter() - began

        return timed

    def over(self, part: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
        """The generator, the time that it takes to give each value added to a part."""

        def timed(*arguments: Any, **named: Any) -> Iterator[Any]:
            values = function(*arguments, **named)
            while True:
                began = time.perf_counter()
                try:
                    value = next(values)
                except StopIteration:
                    return
                finally:
                    self.seconds[part] += time.perf_counter() - began
                yield value

        return timed


def main() -> None:
    """Measures, prints two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="a setting of the training")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as the stages do
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundled(folder / "dataset", example_dir())
        write_wide_vectors(folder / "dataset/bundled")
        values = ["dataset=bundled", "recbole_compat=true", "train_batching=sequence"]
        settings = resolve_settings(folder=folder, assignments=[*values, *options.set])
        dataset = load_dataset(settings, folder, ignore_event)
        tables = load_feature_tables(settings, dataset, folder, ignore_event)
    split = split_dataset(settings, dataset)
    model = build_model(narrow(settings, ModelSettings), len(dataset.items), tables, CPU)
    optimizer = torch.optim.Adam(
        [weight for weight in model.parameters() if weight.requires_grad], fused=True
    )
    runner = EpochRunner(
        model, optimizer, dataset.histories, split, narrow(settings, TrainingSettings), CPU
    )
    n_targets = len(splits.train_targets(dataset.histories, split))
    runner.run(1, n_targets, ignore_event)

    clocks, n_steps = Clocks(), 0
    runner.batches = clocks.over("rows", runner.batches)  # type: ignore[method-assign]
    runner.start = clocks.around("context, no gradients", runner.start)  # type: ignore[method-assign]
    runner.seen_items = clocks.around("seen items", runner.seen_items)  # type: ignore[method-assign]
    model.forward = clocks.around("forward", model.forward)  # type: ignore[method-assign]
    loss = clocks.around("loss and its gradient", cross_entropy_in_chunks)
    vars(epoch_steps)["cross_entropy_in_chunks"] = loss
    layer = gru_cpu._Layer
    backward_of_grus = clocks.around("backward: GRUs", layer.backward)
    layer.backward = staticmethod(backward_of_grus)  # type: ignore[method-assign]
    optimizer.step = clocks.around("optimiser", optimizer.step)  # type: ignore[method-assign]
    backward = torch.Tensor.backward
    torch.Tensor.backward = clocks.around("backward", backward)  # type: ignore[method-assign]
    began = time.perf_counter()
    for epoch in range(2, 2 + options.epochs):
        runner.run(epoch, n_targets, ignore_event)
    n_steps = options.epochs * -(-n_targets // settings.train_batch_size)
    whole = time.perf_counter() - began
    parts = dict(clocks.seconds)
    parts["backward: the rest"] = parts.pop("backward") - parts["backward: GRUs"]
    parts["the rest"] = whole - sum(parts.values())
    print(f"{options.threads} threads, {n_targets * options.epochs / whole:,.0f} targets/s")
    for name, seconds in sorted(parts.items(), key=lambda part: -part[1]):
        print(f"{name:24}{1000 * seconds / n_steps:8.2f} ms a step{seconds / whole:8.1%}")
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        runner.run(2 + options.epochs, n_targets, ignore_event)
    events = profiled.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    products = sum(event.self_cpu_time_total for event in events if event.key in PRODUCTS)
    print(f"matrix products: {products / total:.0%} of the time in torch's operations")


if __name__ == "__main__":
    main()
