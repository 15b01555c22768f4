"""Kills commands by SIGKILL at their file events and looks at what is left.

    python -m benchmarks.reliability.kills [--every N] [--commands A,B] [--jobs N] [--record]

After each kill every other command must give a result of before or after the killed one, or one
line; the same command, run again, must succeed with the figures of one that was not killed and
leave nothing beside them. Exit code 1 when one does not. `--every N` kills at every N-th event
only; `--record` puts the counts into `benchmarks/results/reliability.json`.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.record import machine_words, package_commit
from benchmarks.reliability.children import CRASHED, Command, Outcome, import_all, run_child
from benchmarks.reliability.folder_state import describe, leftovers, without_passing
from benchmarks.reliability.results import record
from benchmarks.reliability.scenarios import Scenario, make_folder, scenarios, succeed
from kgrec_cli.formats.files import UNFINISHED, sha256_of

ONE_THREAD = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
MAX_LINE = 400


Fault = tuple[str, str]
"""The kind, and what was seen after which event."""


@dataclass(frozen=True)
class Report:
    """What was found about one scenario: its file events, the kills, and the faults."""

    n_events: int
    n_points: int
    faults: list[Fault]


class Prober:
    """Kills one scenario's command on copies of a folder; each process has copies of its own."""

    def __init__(self, scenario: Scenario, template: Path, work_dir: Path) -> None:
        self.scenario = scenario
        self.template = template
        self.work_dir = work_dir
        self.known_runs = frozenset(path.name for path in (template / "saved").iterdir())
        self.faults: list[Fault] = []
        self._make_places()
        all_commands = (*scenario.others, *scenario.writers)
        before = self._others(template, all_commands)
        self._reset()
        self.events = succeed(self.folder, [scenario.command], self.scratch_dir).events
        self.expected = describe(self.folder, self.known_runs)
        after = self._others(self.folder, all_commands)
        self.right: dict[Command, set[str]] = {
            outcome.command: {one, other}
            for (outcome, one), (_, other) in zip(before, after, strict=True)
        }

    def run(self, every: int, jobs: int) -> Report:
        """Kills at every `every`-th event, the first and the last among them."""
        n_events = len(self.events)
        points = sorted({*range(1, n_events + 1, every), n_events})
        with multiprocessing.get_context("fork").Pool(jobs) as pool:
            faults = [fault for of_point in pool.imap(self.kill, points) for fault in of_point]
        return Report(n_events, len(points), faults)

    def kill(self, point: int) -> list[Fault]:
        """The faults after a kill before one event, the first being 1."""
        self.faults = []
        self._make_places()
        self.point = f"event {point} ({self.events[point - 1]})"
        self._reset()
        if run_child(
            self.folder, [self.scenario.command], self.scratch_dir, die_at=point
        ).was_killed:
            self._try_others(point)
            self._finish_killed_runs()
            self._try_again()
        else:
            self._add("not killed", "fewer events than undisturbed")
        return self.faults

    def _make_places(self) -> None:
        place = self.work_dir / str(os.getpid())
        self.folder, self.copy, self.scratch_dir = (
            place / name for name in ("folder", "copy", "scratch")
        )
        self.scratch_dir.mkdir(parents=True, exist_ok=True)

    def _try_others(self, point: int) -> None:
        """Other commands: figures of before or after, or one line; nothing is left."""
        writers = self.scenario.writers
        turn = [writers[point % len(writers)]] if writers else []
        for outcome, figures in self._others(self.folder, [*self.scenario.others, *turn]):
            self._judge(outcome)
            if outcome.code == 0 and figures not in self.right[outcome.command]:
                self._add("wrong figures", f"kgrec {' '.join(outcome.command)}")
        left = [path for path in leftovers(self.copy) if not is_mark_or_of_study(path)]
        if left:
            self._add("leftovers after other commands", ", ".join(left))

    def _try_again(self) -> None:
        """The killed command: its files are those of one that was not killed."""
        (outcome,) = run_child(self.folder, [self.scenario.command], self.scratch_dir).outcomes
        self._judge(outcome)
        was_done = self.scenario.is_resume and "is finished" in outcome.stderr
        if outcome.code != 0 and not was_done:
            self._add("does not run again", outcome.stderr.strip()[-MAX_LINE:])
            return
        if left := leftovers(self.folder):
            self._add("leftovers", ", ".join(left))
        self._compare(describe(self.folder, self.known_runs), self.expected)

    def _finish_killed_runs(self) -> None:
        """Resumes the run that a killed training began, compares it, and takes it away."""
        for run_dir in sorted((self.folder / "saved").glob("[!.]*")):
            if run_dir.name in self.known_runs:
                continue
            was_finished = (run_dir / "metrics.json").is_file()
            command: Command = ("doctor",) if was_finished else ("train", "--resume", run_dir.name)
            (outcome,) = run_child(self.folder, [command], self.scratch_dir).outcomes
            self._judge(outcome)
            is_known = "half-begun" in outcome.stderr  # killed before it was a run, and said so
            if outcome.code != 0 and not was_finished and not is_known:
                self._add("half-begun run", outcome.stderr.strip()[-MAX_LINE:])
            elif outcome.code == 0 and not was_finished:
                found = describe(self.folder, self.known_runs)
                self._compare(
                    *(
                        {path: digest for path, digest in state.items() if "/new0/" in path}
                        for state in (found, self.expected)
                    )
                )
            shutil.rmtree(run_dir)

    def _compare(self, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
        paths = found.keys() | expected.keys()
        if differing := sorted(path for path in paths if found.get(path) != expected.get(path)):
            self._add("other files than undisturbed", ", ".join(differing))

    def _judge(self, outcome: Outcome) -> None:
        """A command ends by itself with a result, or with one line of error."""
        lines = outcome.stderr.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        text = f"kgrec {' '.join(outcome.command)}: {outcome.stderr.strip()[-MAX_LINE:]}"
        if outcome.code is None or outcome.code == CRASHED or "Traceback" in outcome.stderr:
            self._add("traceback", text)
        elif outcome.code != 0 and outcome.command[0] != "doctor":  # its findings are its output
            if errors != lines[-1:]:
                self._add("not one line", text)
            elif len(errors[0]) > MAX_LINE:
                self._add("a long line", text)

    def _others(self, folder: Path, commands: Sequence[Command]) -> list[tuple[Outcome, str]]:
        """The outcomes and figures of commands on a copy of a folder."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(folder, self.copy)
        outcomes = run_child(self.copy, commands, self.scratch_dir).outcomes
        return [(outcome, figures_of(outcome, self.copy)) for outcome in outcomes]

    def _reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)

    def _add(self, kind: str, text: str) -> None:
        self.faults.append((kind, f"{self.point}: {text}"))


def figures_of(outcome: Outcome, folder: Path) -> str:
    """What a command gave: its JSON without times, or a digest of the file that it wrote."""
    if outcome.code != 0:
        return ""
    if "--out" in outcome.command:
        return sha256_of(folder / outcome.command[outcome.command.index("--out") + 1])
    return json.dumps(without_passing(json.loads(outcome.stdout)))


def is_mark_or_of_study(path: str) -> bool:
    """Whether only the killed command itself can remove a leftover: a mark, or one of a study."""
    return Path(path).name.startswith(UNFINISHED) or path.startswith("studies/")


def main() -> None:
    """Runs the scenarios, prints the faults, and records the counts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability.kills")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--commands", help="names of scenarios, separated by commas")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--record", action="store_true", help="into benchmarks/results")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        arguments = [sys.executable, "-m", "benchmarks.reliability.kills", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, **ONE_THREAD})
    began = time.monotonic()
    import_all()
    reports = {}
    with tempfile.TemporaryDirectory() as name:
        work_dir = Path(name).resolve()
        (work_dir / "scratch").mkdir()
        template = work_dir / "template"
        known = scenarios(*make_folder(template, work_dir / "scratch"))
        wanted = options.commands.split(",") if options.commands else [one.name for one in known]
        for scenario in known:
            if scenario.name in wanted:
                report = Prober(scenario, template, work_dir).run(options.every, options.jobs)
                reports[scenario.name] = report
                print(f"{scenario.name:20}{report.n_events:6} events{report.n_points:6} kills"
                      f"{len(report.faults):6} faults", flush=True)  # fmt: skip
                for kind, text in report.faults:
                    print(f"  {kind}: {text}", flush=True)
    if missing := set(wanted) - reports.keys():
        parser.error(f"no such command: {', '.join(sorted(missing))}")
    seconds = time.monotonic() - began
    n_points = sum(report.n_points for report in reports.values())
    print(f"{n_points} kills in {seconds:.0f} s")
    if options.record:
        record("kills", summarise(reports, options.every, seconds))
    sys.exit(any(report.faults for report in reports.values()))


def summarise(reports: Mapping[str, Report], every: int, seconds: float) -> dict[str, Any]:
    """The counts as a JSON value: file events, kills and faults by kind for each command."""
    return {
        "command": " ".join(["python -m benchmarks.reliability.kills", *sys.argv[1:]]),
        "every": every,
        "commands": {
            name: {
                "events": report.n_events,
                "kills": report.n_points,
                "faults": dict(Counter(kind for kind, _ in report.faults)),
            }
            for name, report in reports.items()
        },
        "kills": sum(report.n_points for report in reports.values()),
        "faults": sum(len(report.faults) for report in reports.values()),
        "seconds": round(seconds),
        "commit": package_commit(),
        "date": f"{date.today()}",
        "machine": machine_words(),
    }


if __name__ == "__main__":
    main()
