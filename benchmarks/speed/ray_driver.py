"""What Ray's driver costs: trials that compute nothing, their seconds and the driver's memory.

    .venv/bin/python -m benchmarks.speed.ray_driver [--trials 1000] [--jobs 2]

The study lies in memory, so that what is measured is Ray and the search.
"""

import argparse
import resource
import time
from functools import partial

from kgrec_cli.core.tuning.executors import Objective, Report, TrialResult
from kgrec_cli.core.tuning.ray_tasks import run_on_ray
from kgrec_cli.core.tuning.search import run_search
from kgrec_cli.core.tuning.space import Choice, Params
from kgrec_cli.events import Progress


def trivial(point: Params, report: Report) -> TrialResult:
    """A trial of one report."""
    report(1, 0.5)
    return TrialResult({}, {}, float(point["x"]))


def make_objective() -> Objective:
    """What each worker calls once."""
    return trivial


def main() -> None:
    """Runs the trials; prints the seconds of each tenth and the driver's peak."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    began = time.perf_counter()

    def show(event: object) -> None:
        if isinstance(event, Progress) and event.done % max(1, options.trials // 10) == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            seconds = time.perf_counter() - began
            print(f"{event.done:,.0f} trials: {seconds:.1f} s, {peak:,.0f} MB", flush=True)

    run_search(
        {"x": Choice(tuple(range(options.trials)))},
        partial(run_on_ray, make_objective, options.jobs, None),
        storage_url="sqlite:///:memory:", study_name="trivial", on_event=show,
    )  # fmt: skip


if __name__ == "__main__":
    main()
